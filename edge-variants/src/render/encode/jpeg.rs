//! Baseline JPEG, 4:2:0, with the standard Huffman tables.
//!
//! Tables made for the picture would save 3 %, but this encoder then writes a scan for each component, and decoders are
//! in use (that of the `image` crate among them) that make stripes of it.

use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use xfiles_core::variant::Colour;

use crate::render::{Refusal, planes::Halves};

/// 1..=100. Weighs like sharp's 80 on average, which comes with codes for each picture alone.
const QUALITY: u8 = 79;

/// The background shows through where a picture is transparent.
pub(super) fn encode(pixels: DynamicImage, background: Colour) -> Result<Vec<u8>, Refusal> {
    let Colour { red, green, blue } = background;
    let has_color = pixels.color().has_color() || pixels.color().has_alpha() && (red != green || green != blue);
    let (width, height) = (side(pixels.width()), side(pixels.height()));
    let (samples, colours) = match (has_color, pixels.color().has_alpha()) {
        (true, true) => (flatten(&pixels.into_rgba8(), background).into_raw(), ColorType::Rgb),
        (true, false) => (pixels.into_rgb8().into_raw(), ColorType::Rgb),
        (false, true) => (flatten_grey(&pixels.into_luma_alpha8(), red).into_raw(), ColorType::Luma),
        (false, false) => (pixels.into_luma8().into_raw(), ColorType::Luma),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.encode(&samples, width, height, colours).map_err(|_| Refusal::Unencodable)?;
    Ok(bytes)
}

pub(super) fn encode_halves(halves: &Halves) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    // Of the differences, doubled for an encoder that expects them at full size, it takes every other one.
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode_image(Rows(halves)).map_err(|_| Refusal::Unencodable)?;
    Ok(bytes)
}

/// The rows of a picture, as the encoder asks for them.
struct Rows<'a>(&'a Halves);

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        if self.0.differences.is_some() { JpegColorType::Ycbcr } else { JpegColorType::Luma }
    }

    fn width(&self) -> u16 {
        side(self.0.luma.width())
    }

    fn height(&self) -> u16 {
        side(self.0.luma.height())
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let [luma, blue, red, _] = buffers;
        luma.extend_from_slice(row(&self.0.luma, y));
        if let Some(differences) = &self.0.differences {
            for (plane, buffer) in differences.iter().zip([blue, red]) {
                let doubled = row(plane, y / 2).iter().flat_map(|sample| [*sample; 2]);
                buffer.extend(doubled.take(self.width().into()));
            }
        }
    }
}

fn row(plane: &GrayImage, y: u16) -> &[u8] {
    let (width, y) = (usize::from(side(plane.width())), usize::from(y));
    &plane.as_raw()[y * width..(y + 1) * width]
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).expect("a variant's sides are within those of WebP, 14 bits")
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
