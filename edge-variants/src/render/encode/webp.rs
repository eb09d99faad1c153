//! WebP by libwebp, lossy, with alpha kept.

use image::{DynamicImage, GrayImage};
use webp::{Encoder, WebPConfig};
use xfiles_webp_planes::{Effort, Planes};

use crate::render::{Refusal, planes::Halves};

/// 0..=100. Looks and weighs like sharp's 80, on average over two photographs at the seven widths.
const QUALITY: f32 = 79.8;

/// 0..=6, from fast to small: the least that optimises rate against distortion.
const METHOD: i32 = 4;

pub(super) fn encode(pixels: DynamicImage) -> Result<Vec<u8>, Refusal> {
    let mut config = WebPConfig::new().expect("libwebp knows its own defaults");
    config.quality = QUALITY;
    config.method = METHOD;
    // At this effort a prediction of alpha that is tried beside the prediction of the lossless codec never makes it smaller,
    // and takes up to a third of the time.
    config.alpha_filtering = 0;
    let (width, height) = (pixels.width(), pixels.height());
    let encoded = if pixels.color().has_alpha() {
        Encoder::from_rgba(&pixels.into_rgba8(), width, height).encode_advanced(&config)
    } else {
        Encoder::from_rgb(&pixels.into_rgb8(), width, height).encode_advanced(&config)
    };
    Ok(encoded.map_err(|_| Refusal::Unencodable)?.to_vec())
}

pub(super) fn encode_halves(halves: Halves) -> Result<Vec<u8>, Refusal> {
    const NO_COLOUR: u8 = 128;

    let side = |pixels: u32| usize::try_from(pixels).expect("a variant's sides are within 14 bits");
    let (width, height) = (side(halves.luma.width()), side(halves.luma.height()));
    let grey = || vec![NO_COLOUR; width.div_ceil(2) * height.div_ceil(2)];
    let [blue, red] = halves.differences.map_or_else(|| [grey(), grey()], |planes| planes.map(GrayImage::into_raw));
    let planes = Planes::new(width, height, [halves.luma.into_raw(), blue, red]).map_err(|_| Refusal::Unencodable)?;
    let effort = Effort { quality: QUALITY, method: METHOD };
    xfiles_webp_planes::encode(&planes, effort).map_err(|_| Refusal::Unencodable)
}
