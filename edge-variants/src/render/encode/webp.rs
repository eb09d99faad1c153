//! WebP by libwebp, lossy, with alpha kept.

use image::DynamicImage;
use webp::{Encoder, WebPConfig};

use crate::render::Refusal;

/// 0..=100. Looks like 80 from a decoder that reduces further before it resizes.
const QUALITY: f32 = 78.0;

/// 0..=6, from fast to small: the least that optimises rate against distortion.
const METHOD: i32 = 4;

pub(super) fn encode(pixels: DynamicImage) -> Result<Vec<u8>, Refusal> {
    let mut config = WebPConfig::new().expect("libwebp knows its own defaults");
    config.quality = QUALITY;
    config.method = METHOD;
    let (width, height) = (pixels.width(), pixels.height());
    let encoded = if pixels.color().has_alpha() {
        Encoder::from_rgba(&pixels.into_rgba8(), width, height).encode_advanced(&config)
    } else {
        Encoder::from_rgb(&pixels.into_rgb8(), width, height).encode_advanced(&config)
    };
    Ok(encoded.map_err(|_| Refusal::Unencodable)?.to_vec())
}
