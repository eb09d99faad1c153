//! Upper bounds of the memory that rendering takes, from what is known before it begins.
//!
//! The factors are measured: `render::memory` renders images of every kind, each in a process of its own, and fails if
//! one takes more than is estimated here.

use xfiles_core::{sniff::Dimensions, variant::ImageFormat};

use super::limits::MAX_AVIF_PIXELS;

/// What every render takes: Huffman tables, bit windows, the conversion of a profile.
pub(super) const BASE: u64 = 4 << 20;

/// A scaled image at the greatest depth.
pub(super) fn small(size: Dimensions) -> u64 {
    size.pixels() * 8
}

/// A scaled image in planes of 4:2:0.
pub(super) fn halves(size: Dimensions) -> u64 {
    size.pixels() * 3 / 2 + u64::from(size.width + size.height)
}

/// What encoding takes besides the image itself.
pub(super) fn encoding(format: ImageFormat, size: Dimensions, is_opaque: bool) -> u64 {
    let pixels = size.pixels();
    let per_pixel = match format {
        ImageFormat::Jpeg => 8,
        // A transparent image becomes PNG.
        ImageFormat::Png | ImageFormat::Auto => 12,
        ImageFormat::WebP if is_opaque => 12,
        // Alpha is encoded losslessly.
        ImageFormat::WebP => 48,
        ImageFormat::Avif if pixels > MAX_AVIF_PIXELS => 48,
        ImageFormat::Avif => 44,
    };
    (2 << 20) + pixels * per_pixel
}

/// What resampling by rows takes: the latest rows, expanded, and lanes after the vertical pass.
pub(super) fn streaming(stored: Dimensions, wanted: Dimensions, channels: u64) -> u64 {
    /// Lanes, and rows that are transposed into them.
    const LANES: u64 = 64 + 8;
    /// Rows that are held if few are grouped.
    const FEW: u64 = 36;

    // The kernel covers six steps, and a group has at most eight rows.
    let step = u64::from(stored.height).div_ceil(u64::from(wanted.height));
    let rows = FEW.max(6 * step / 8 + 4);
    (u64::from(stored.width) + 64) * channels * 2 * (rows + LANES) + wanted.pixels() * channels
}

/// What resampling a whole image takes besides it: rows of the target width and the source height, and for 16 bits with
/// alpha a copy weighted by alpha.
pub(super) fn whole(stored: Dimensions, wanted: Dimensions, channels: u64, is_deep: bool) -> u64 {
    let between = u64::from(wanted.width) * u64::from(stored.height) * channels * if is_deep { 8 } else { 2 };
    // Grey with alpha is expanded to colour with alpha for it.
    let weighed = match channels {
        2 if is_deep => stored.pixels() * 16,
        4 if is_deep => stored.pixels() * 8,
        _ => 0,
    };
    between + weighed + small(wanted)
}
