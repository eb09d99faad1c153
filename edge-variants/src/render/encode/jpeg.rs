//! Baseline JPEG, 4:2:0 or grey.

use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};
use xfiles_core::variant::Colour;
use xfiles_jpeg::encode::{Image, Quality};

use super::halve::halves;
use crate::render::{
    Refusal,
    planes::{Halves, Range},
    retreat,
};

/// The background shows through where an image is transparent.
pub(super) fn encode(pixels: DynamicImage, background: Colour) -> Result<Vec<u8>, Refusal> {
    let Colour { red, green, blue } = background;
    let has_color = pixels.color().has_color() || pixels.color().has_alpha() && (red != green || green != blue);
    let grey = |luma| Halves { luma, differences: None, range: Range::Full };
    encode_halves(&match (has_color, pixels.color().has_alpha()) {
        (true, true) => halves(&flatten(&pixels.into_rgba8(), background), Range::Full),
        (true, false) => halves(&pixels.into_rgb8(), Range::Full),
        (false, true) => grey(flatten_grey(&pixels.into_luma_alpha8(), red)),
        (false, false) => grey(pixels.into_luma8()),
    })
}

pub(super) fn encode_halves(halves: &Halves) -> Result<Vec<u8>, Refusal> {
    if retreat::JPEG_ENCODER {
        return by_jpeg_encoder(halves);
    }
    let (width, height) = (halves.luma.width() as usize, halves.luma.height() as usize);
    let chroma = halves.differences.as_ref().map(|planes| planes.each_ref().map(|plane| plane.as_raw().as_slice()));
    let image = Image::new(width, height, halves.luma.as_raw(), chroma).ok_or(Refusal::Unencodable)?;
    Ok(xfiles_jpeg::encode::encode(&image, Quality::DEFAULT))
}

/// The retreat from our own encoder.
#[cfg(feature = "retreat-jpeg-encoder")]
fn by_jpeg_encoder(halves: &Halves) -> Result<Vec<u8>, Refusal> {
    use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

    /// By eye and size about as fine as [`Quality::DEFAULT`].
    const QUALITY: u8 = 80;

    struct Planes<'a>(&'a Halves);

    impl ImageBuffer for Planes<'_> {
        fn get_jpeg_color_type(&self) -> JpegColorType {
            if self.0.differences.is_some() { JpegColorType::Ycbcr } else { JpegColorType::Luma }
        }

        fn width(&self) -> u16 {
            u16::try_from(self.0.luma.width()).expect("the encoder is given no other")
        }

        fn height(&self) -> u16 {
            u16::try_from(self.0.luma.height()).expect("the encoder is given no other")
        }

        fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
            let Halves { luma, differences, .. } = self.0;
            for x in 0..luma.width() {
                buffers[0].push(luma.get_pixel(x, y.into()).0[0]);
                // The encoder takes the mean of equal samples.
                for (plane, buffer) in differences.iter().flatten().zip(&mut buffers[1..]) {
                    buffer.push(plane.get_pixel(x / 2, u32::from(y) / 2).0[0]);
                }
            }
        }
    }

    let has_side = |side: u32| u16::try_from(side).is_ok_and(|side| side > 0);
    if !has_side(halves.luma.width()) || !has_side(halves.luma.height()) {
        return Err(Refusal::Unencodable);
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode_image(Planes(halves)).map_err(|_| Refusal::Unencodable)?;
    Ok(bytes)
}

#[cfg(not(feature = "retreat-jpeg-encoder"))]
fn by_jpeg_encoder(_: &Halves) -> Result<Vec<u8>, Refusal> {
    Err(Refusal::Unencodable)
}

fn flatten(picture: &RgbaImage, background: Colour) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let on = |sample, background| mixed(sample, background, alpha);
        Rgb([on(red, background.red), on(green, background.green), on(blue, background.blue)])
    })
}

fn flatten_grey(picture: &GrayAlphaImage, background: u8) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [sample, alpha] = picture.get_pixel(x, y).0;
        Luma([mixed(sample, background, alpha)])
    })
}

fn mixed(sample: u8, background: u8, alpha: u8) -> u8 {
    let [sample, background, alpha, max] = [sample, background, alpha, u8::MAX].map(u32::from);
    let mixed = (sample * alpha + background * (max - alpha) + max / 2) / max;
    u8::try_from(mixed).expect("a mean of two samples is a sample")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use zune_jpeg::JpegDecoder;

    use super::*;

    #[test]
    fn transparent_pixels_show_the_background() {
        let clear = DynamicImage::from(RgbaImage::new(20, 20));
        let file = encode(clear, "#204080".parse().unwrap()).unwrap();
        let shown = JpegDecoder::new(Cursor::new(&file)).decode().unwrap();
        for pixel in shown.as_chunks::<3>().0 {
            assert!(pixel.iter().zip([0x20, 0x40, 0x80]).all(|(a, b)| a.abs_diff(b) <= 4), "{pixel:?}");
        }
    }

    #[test]
    fn a_side_beyond_sixteen_bits_is_refused() {
        let grey =
            |width, height| Halves { luma: GrayImage::new(width, height), differences: None, range: Range::Full };
        assert!(encode_halves(&grey(1, 65_535)).is_ok());
        assert_eq!(encode_halves(&grey(65_536, 1)).unwrap_err(), Refusal::Unencodable);
    }
}
