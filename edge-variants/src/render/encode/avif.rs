//! AVIF by rav1e: 4:4:4 in 8 bits, with alpha.
//!
//! It takes ten to fifty times as long as other formats, nearly all of it in one call that cannot be interrupted. The
//! caller decides how long a request waits for it.

use image::DynamicImage;
use ravif::{BitDepth, EncodedImage, Encoder, Img, RGB8, RGBA8};

use crate::render::Refusal;

/// 1..=100. Scores like sharp's default, 50, on average over two photographs at three widths.
const QUALITY: f32 = 68.0;

/// 1..=10, from small to fast. Each step down doubles the time for a few percent fewer bytes.
const SPEED: u8 = 10;

pub(super) fn encode(pixels: DynamicImage) -> Result<Vec<u8>, Refusal> {
    let side = |pixels: u32| usize::try_from(pixels).expect("a variant's sides are within 14 bits");
    let (width, height) = (side(pixels.width()), side(pixels.height()));
    // 10 bits take twice the time for 3 % fewer bytes, and old viewers do not show them.
    let encoder = Encoder::new()
        .with_quality(QUALITY)
        .with_alpha_quality(QUALITY)
        .with_speed(SPEED)
        .with_bit_depth(BitDepth::Eight)
        .with_num_threads(Some(1));
    let encoded = if pixels.color().has_alpha() {
        let samples: Vec<RGBA8> = pixels.into_rgba8().pixels().map(|pixel| RGBA8::from(pixel.0)).collect();
        encoder.encode_rgba(Img::new(&samples, width, height))
    } else {
        let samples: Vec<RGB8> = pixels.into_rgb8().pixels().map(|pixel| RGB8::from(pixel.0)).collect();
        encoder.encode_rgb(Img::new(&samples, width, height))
    };
    encoded.map(|EncodedImage { avif_file, .. }| avif_file).map_err(|_| Refusal::Unencodable)
}
