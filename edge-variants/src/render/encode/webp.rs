//! Lossy WebP: a VP8 frame and, if there is alpha, an ALPH chunk by libwebp's lossless encoder.

use image::{DynamicImage, GrayImage, RgbaImage};
use webp::{Encoder, WebPConfig};

use xfiles_vp8::{Image, Quantization};

use super::halve::halves;
use crate::render::{
    Refusal, colour,
    planes::{Halves, Range},
    retreat,
};

/// Scores like sharp's quality 80 or better at fewer bytes, on average over two photographs at the seven widths.
const QUANTIZATION: Quantization = Quantization::new(15 * 16 + 14);

pub(super) fn encode(pixels: DynamicImage) -> Result<Vec<u8>, Refusal> {
    if !pixels.color().has_alpha() {
        return encode_halves(halves(&pixels.into_rgb8(), Range::Limited));
    }
    let mut pixels = pixels.into_rgba8();
    hide(&mut pixels);
    if retreat::VP8_ENCODER {
        return by_libwebp(Encoder::from_rgba(&pixels, pixels.width(), pixels.height()));
    }
    let alpha = encode_alpha(&pixels)?;
    let (width, height) = pixels.dimensions();
    let frame = encode_frame(halves(&DynamicImage::from(pixels).into_rgb8(), Range::Limited))?;

    const HAS_ALPHA: u32 = 1 << 4;
    let mut extended = HAS_ALPHA.to_le_bytes().to_vec();
    for side in [width, height] {
        extended.extend_from_slice(&(side - 1).to_le_bytes()[..3]);
    }
    Ok(file(&[(b"VP8X", &extended), (b"ALPH", &alpha), (b"VP8 ", &frame)]))
}

pub(super) fn encode_halves(halves: Halves) -> Result<Vec<u8>, Refusal> {
    if retreat::VP8_ENCODER {
        let rgb = to_rgb(&halves);
        return by_libwebp(Encoder::from_rgb(&rgb, halves.luma.width(), halves.luma.height()));
    }
    Ok(file(&[(b"VP8 ", &encode_frame(halves)?)]))
}

fn encode_frame(halves: Halves) -> Result<Vec<u8>, Refusal> {
    const NO_COLOUR: u8 = 128;

    let side = |pixels: u32| usize::try_from(pixels).expect("a variant's sides are within 14 bits");
    let (width, height) = (side(halves.luma.width()), side(halves.luma.height()));
    let grey = || vec![NO_COLOUR; width.div_ceil(2) * height.div_ceil(2)];
    let [u, v] = halves.differences.map_or_else(|| [grey(), grey()], |planes| planes.map(GrayImage::into_raw));
    let image = Image::new(width, height, [&halves.luma, &u, &v]).ok_or(Refusal::Unencodable)?;
    xfiles_vp8::encode(&image, QUANTIZATION).ok_or(Refusal::Unencodable)
}

/// The retreat from our own encoder.
fn by_libwebp(encoder: Encoder<'_>) -> Result<Vec<u8>, Refusal> {
    /// About as fine as [`QUANTIZATION`].
    const QUALITY: f32 = 80.0;

    let mut config = WebPConfig::new().expect("libwebp knows its own defaults");
    config.quality = QUALITY;
    // Like our own encoder: alpha is lossless, and hidden colours are those that `hide` chose.
    config.alpha_quality = 100;
    config.exact = 1;
    encoder.encode_advanced(&config).map(|bytes| bytes.to_vec()).map_err(|_| Refusal::Unencodable)
}

/// Red, green and blue, pixel by pixel.
fn to_rgb(halves: &Halves) -> Vec<u8> {
    let (luma, difference) = (halves.range.luma(Range::Full), halves.range.difference(Range::Full));
    let pixel = |(x, y, sample): (u32, u32, &image::Luma<u8>)| {
        let lightness = luma.of(sample.0[0]);
        match &halves.differences {
            Some(planes) => {
                let [u, v] = planes.each_ref().map(|plane| difference.of(plane.get_pixel(x / 2, y / 2).0[0]));
                colour::pixel_from_ycbcr(lightness, u, v)
            }
            None => [lightness; 3],
        }
    };
    halves.luma.enumerate_pixels().flat_map(pixel).collect()
}

/// The side of the squares in which hidden pixels are replaced, in pixels: a chroma block of VP8.
const SQUARE: u32 = 8;

/// Gives transparent pixels a colour that costs little: the mean of visible pixels in the same square, or that of the
/// previous square.
fn hide(pixels: &mut RgbaImage) {
    let (width, height) = pixels.dimensions();
    let mut before = [0; 3];
    for top in (0..height).step_by(SQUARE as usize) {
        for left in (0..width).step_by(SQUARE as usize) {
            let (right, bottom) = ((left + SQUARE).min(width), (top + SQUARE).min(height));
            let square = || (top..bottom).flat_map(move |y| (left..right).map(move |x| (x, y)));
            let (mut sums, mut seen) = ([0; 3], 0);
            for (x, y) in square() {
                let [colours @ .., alpha] = pixels.get_pixel(x, y).0;
                if alpha > 0 {
                    seen += 1;
                    for (sum, colour) in sums.iter_mut().zip(colours) {
                        *sum += u32::from(colour);
                    }
                }
            }
            if seen == (right - left) * (bottom - top) {
                continue;
            }
            if seen > 0 {
                before = sums.map(|sum| u8::try_from(sum / seen).expect("a mean of samples is a sample"));
            }
            for (x, y) in square() {
                let pixel = &mut pixels.get_pixel_mut(x, y).0;
                if pixel[3] == 0 {
                    pixel[..3].copy_from_slice(&before);
                }
            }
        }
    }
}

/// Alpha as an ALPH chunk has it: a lossless image with alpha in its green channel, without the header that has the
/// size.
fn encode_alpha(pixels: &RgbaImage) -> Result<Vec<u8>, Refusal> {
    /// Before the VP8L chunk, and before its data.
    const FILE_HEADER: usize = 12;
    const CHUNK_HEADER: usize = 8;
    /// A signature byte, two sides of 14 bits, one bit of alpha and three of a version.
    const PICTURE_HEADER: usize = 5;
    /// Lossless compression without a filter.
    const METHOD: u8 = 1;

    let mut config = WebPConfig::new().expect("libwebp knows its own defaults");
    config.lossless = 1;
    config.exact = 1;
    // libwebp's own parameters for ALPH, except its method 4, which takes half as long again for 0.3 % fewer bytes.
    config.method = 3;
    config.quality = 32.0;
    let green: Vec<u8> = pixels.pixels().flat_map(|pixel| [0, pixel.0[3], 0]).collect();
    let encoded = Encoder::from_rgb(&green, pixels.width(), pixels.height()).encode_advanced(&config);
    let encoded = encoded.map_err(|_| Refusal::Unencodable)?;
    let chunk = encoded.get(FILE_HEADER..).filter(|chunk| chunk.starts_with(b"VP8L")).ok_or(Refusal::Unencodable)?;
    let length = chunk.get(4..CHUNK_HEADER).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(Refusal::Unencodable)?;
    let data = chunk.get(CHUNK_HEADER + PICTURE_HEADER..CHUNK_HEADER + length).ok_or(Refusal::Unencodable)?;
    Ok([&[METHOD], data].concat())
}

/// A RIFF file of chunks, padded to even lengths.
pub(super) fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a variant is smaller than 4 GB").to_le_bytes();
    let mut body = b"WEBP".to_vec();
    for (name, data) in chunks {
        body.extend_from_slice(*name);
        body.extend_from_slice(&size(data));
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &size(&body)[..], &body].concat()
}

#[cfg(test)]
mod tests {
    use image::Rgba;
    use webp::Decoder;

    use super::*;

    /// Two and a half squares across and one and a half down. Visible pixels are a gradient, the others noise.
    fn half_seen(is_seen: impl Fn(u32, u32) -> bool) -> RgbaImage {
        let mut state = 1_u32;
        RgbaImage::from_fn(20, 12, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [noise, ..] = state.to_be_bytes();
            let level = u8::try_from(x * 8 + y).unwrap();
            if is_seen(x, y) { Rgba([level, level / 2, 255 - level, 1]) } else { Rgba([noise, !noise, noise / 2, 0]) }
        })
    }

    #[test]
    fn what_is_seen_keeps_its_colour_and_what_is_not_gets_that_of_its_square_or_the_one_before() {
        // The third square has no visible pixels.
        let is_seen = |x: u32, y: u32| x < 16 && (x + y).is_multiple_of(3);
        let original = half_seen(is_seen);
        let mut pixels = original.clone();
        hide(&mut pixels);
        let seen = |left: u32| {
            let square = (0..8).flat_map(|y| (left..left + 8).map(move |x| (x, y))).filter(|(x, y)| is_seen(*x, *y));
            square.map(|(x, y)| original.get_pixel(x, y).0).collect::<Vec<_>>()
        };
        for (x, y, pixel) in pixels.enumerate_pixels() {
            if is_seen(x, y) {
                assert_eq!(pixel, original.get_pixel(x, y), "{x}, {y}");
            } else if y < 8 {
                let seen = seen((x / 8).min(1) * 8);
                let count = u32::try_from(seen.len()).unwrap();
                let mean = |channel| seen.iter().map(|pixel| u32::from(pixel[channel])).sum::<u32>() / count;
                assert_eq!(pixel.0.map(u32::from), [mean(0), mean(1), mean(2), 0], "{x}, {y}");
            } else {
                assert_eq!(pixel[3], 0);
            }
        }
    }

    #[test]
    fn a_picture_of_which_nothing_is_seen_is_one_colour() {
        let mut pixels = half_seen(|_, _| false);
        hide(&mut pixels);
        assert!(pixels.pixels().all(|pixel| pixel.0 == [0; 4]));
    }

    #[test]
    fn alpha_comes_back_as_it_was_at_every_size() {
        for (width, height) in [(1, 1), (2, 1), (7, 5), (16, 16), (33, 20)] {
            let pixels = RgbaImage::from_fn(width, height, |x, y| {
                let level = u8::try_from((x * 37 + y * 91) % 256).unwrap();
                Rgba([200, level, 40, level])
            });
            let encoded = encode(pixels.clone().into()).unwrap();
            let decoded = Decoder::new(&encoded).decode().unwrap();
            assert_eq!((decoded.width(), decoded.height()), (width, height));
            let alpha = |bytes: &[u8]| bytes.iter().skip(3).step_by(4).copied().collect::<Vec<_>>();
            assert_eq!(alpha(&decoded), alpha(&pixels), "{width} x {height}");
        }
    }
}
