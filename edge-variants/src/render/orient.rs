//! Turns an image upright.

use image::DynamicImage;
use xfiles_core::sniff::Orientation;

/// Rotates and mirrors by the Exif orientation. It moves every pixel, so it is done after scaling.
pub(super) fn turn(mut pixels: DynamicImage, orientation: Orientation) -> DynamicImage {
    let turn = image::metadata::Orientation::from_exif(orientation.exif());
    pixels.apply_orientation(turn.expect("an Orientation is one of the eight values of Exif"));
    pixels
}

/// Whether turning mirrors the stored image horizontally, and vertically.
pub(super) fn mirrors(orientation: Orientation) -> (bool, bool) {
    (matches!(orientation.exif(), 2 | 3 | 7 | 8), matches!(orientation.exif(), 3 | 4 | 6 | 7))
}
