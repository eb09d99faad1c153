//! PNG: row by row into the resizing where its rows come in order, and otherwise whole.

use std::io::Cursor;

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage, codecs::png::PngDecoder};
use png::{BitDepth, ColorType, Limits, Transformations};
use xfiles_core::sniff::Dimensions;

use super::{Decoded, frame, limits, refusal};
use crate::render::{
    Refusal,
    limits::{MAX_SCRATCH_BYTES, MAX_SIDE},
    resample::{Levels, Plan, Shrinker, Side},
};

/// The still picture, if it is animated.
pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let decoder = PngDecoder::with_limits(Cursor::new(original), limits(MAX_SCRATCH_BYTES));
    frame(decoder.map_err(|error| refusal(&error, stored))?, stored)
}

/// The picture at the size `wanted`, which takes no more memory than some of its rows. `None` if it is no smaller, is
/// interlaced, has 16 bits, is damaged, or nearly all rows would have to be held.
pub(super) fn shrunk(original: &[u8], stored: Dimensions, wanted: Dimensions) -> Option<Decoded> {
    let scratch = usize::try_from(MAX_SCRATCH_BYTES).ok()?;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(original), Limits { bytes: scratch });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    let is_known = (info.width, info.height) == (stored.width, stored.height)
        && stored.width <= MAX_SIDE
        && !info.interlaced
        && wanted != stored;
    let profile = info.icc_profile.as_deref().map(<[u8]>::to_vec);
    let (colours, depth) = reader.output_color_type();
    if !is_known || depth != BitDepth::Eight {
        return None;
    }

    let side = |from: u32, to: u32| {
        let step = f64::from(from) / f64::from(to);
        Side { from: from as usize, to: to as usize, first: step / 2.0, step }
    };
    let (x, y) = (side(stored.width, wanted.width), side(stored.height, wanted.height));
    let plan = Plan::new(x, y, colours.samples(), Levels::SAME);
    if plan.held() > scratch {
        return None;
    }
    let has_alpha = matches!(colours, ColorType::GrayscaleAlpha | ColorType::Rgba);
    let mut shrinker = if has_alpha { Shrinker::weighing(&plan) } else { Shrinker::new(&plan) };
    for _ in 0..stored.height {
        shrinker.push(reader.next_row().ok()??.data());
    }

    let Dimensions { width, height } = wanted;
    let samples = shrinker.finish();
    let pixels = match colours {
        ColorType::Grayscale => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        ColorType::GrayscaleAlpha => GrayAlphaImage::from_raw(width, height, samples).map(DynamicImage::from),
        ColorType::Rgb => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        ColorType::Rgba => RgbaImage::from_raw(width, height, samples).map(DynamicImage::from),
        // Expanded.
        ColorType::Indexed => None,
    };
    Some(Decoded { pixels: pixels?, profile })
}
