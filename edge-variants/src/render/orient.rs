//! Turns a picture upright.

use image::DynamicImage;
use xfiles_core::sniff::Orientation;

/// Turns and mirrors as the Exif value says. Made for the small picture: it moves every pixel.
pub(super) fn turn(mut pixels: DynamicImage, orientation: Orientation) -> DynamicImage {
    let turn = image::metadata::Orientation::from_exif(orientation.exif());
    pixels.apply_orientation(turn.expect("an Orientation is one of the eight values of Exif"));
    pixels
}

/// Whether turning mirrors what was stored from left to right, and from top to bottom.
pub(super) fn mirrors(orientation: Orientation) -> (bool, bool) {
    (matches!(orientation.exif(), 2 | 3 | 7 | 8), matches!(orientation.exif(), 3 | 4 | 6 | 7))
}
