//! How much memory the steps of a rendering take at most, from what is known before they begin.
//!
//! The factors are measured: `render::memory` renders pictures of every kind in processes of their own and fails if one
//! of them takes more than is said here.

use xfiles_core::{sniff::Dimensions, variant::ImageFormat};

use super::limits::MAX_AVIF_PIXELS;

/// What a rendering takes whatever the picture: tables of codes, a window of bits, a profile that is converted.
pub(super) const BASE: u64 = 4 << 20;

/// A small picture, as deep as it can be.
pub(super) fn small(size: Dimensions) -> u64 {
    size.pixels() * 8
}

/// A small picture in planes with half of the colours.
pub(super) fn halves(size: Dimensions) -> u64 {
    size.pixels() * 3 / 2 + u64::from(size.width + size.height)
}

/// What encoding takes beside the picture itself.
pub(super) fn encoding(format: ImageFormat, size: Dimensions, is_opaque: bool) -> u64 {
    let pixels = size.pixels();
    let per_pixel = match format {
        ImageFormat::Jpeg => 8,
        // What is transparent is PNG then.
        ImageFormat::Png | ImageFormat::Auto => 12,
        ImageFormat::WebP if is_opaque => 12,
        // Alpha goes through the lossless coder.
        ImageFormat::WebP => 48,
        ImageFormat::Avif if pixels > MAX_AVIF_PIXELS => 48,
        ImageFormat::Avif => 44,
    };
    (2 << 20) + pixels * per_pixel
}

/// What resampling rows takes: the latest of them expanded, and lanes of those that are through the vertical pass.
pub(super) fn streaming(stored: Dimensions, wanted: Dimensions, channels: u64) -> u64 {
    /// Lanes, and rows on the way to them.
    const LANES: u64 = 64 + 8;
    /// Rows that are held where few are left out.
    const FEW: u64 = 36;

    // Six steps are looked at, and eight rows at most are added to one.
    let step = u64::from(stored.height).div_ceil(u64::from(wanted.height));
    let rows = FEW.max(6 * step / 8 + 4);
    (u64::from(stored.width) + 64) * channels * 2 * (rows + LANES) + wanted.pixels() * channels
}

/// What resampling a whole picture takes beside it: rows that are as wide as is wanted and as many as are stored, and in 16
/// bits with alpha a copy whose colours alpha weighs.
pub(super) fn whole(stored: Dimensions, wanted: Dimensions, channels: u64, is_deep: bool) -> u64 {
    let between = u64::from(wanted.width) * u64::from(stored.height) * channels * if is_deep { 8 } else { 2 };
    // Grey with alpha becomes colour with alpha for it.
    let weighed = match channels {
        2 if is_deep => stored.pixels() * 16,
        4 if is_deep => stored.pixels() * 8,
        _ => 0,
    };
    between + weighed + small(wanted)
}
