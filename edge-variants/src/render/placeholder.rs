//! The placeholder of an image, made from what is about to be encoded.

use image::GenericImageView as _;
use xfiles_core::thumbhash::ThumbHash;

use super::{
    Picture, colour,
    planes::{Halves, Range},
};

/// Reads at most 400 x 400 of the pixels.
pub(super) fn of(picture: &Picture) -> ThumbHash {
    match picture {
        Picture::Pixels(pixels) => ThumbHash::of(pixels.width(), pixels.height(), |x, y| pixels.get_pixel(x, y).0),
        Picture::Halves(halves) => of_halves(halves),
    }
}

fn of_halves(halves: &Halves) -> ThumbHash {
    let (luma, difference) = (halves.range.luma(Range::Full), halves.range.difference(Range::Full));
    ThumbHash::of(halves.luma.width(), halves.luma.height(), |x, y| {
        let lightness = luma.of(halves.luma.get_pixel(x, y).0[0]);
        let [red, green, blue] = match &halves.differences {
            Some(planes) => {
                let [blue, red] = planes.each_ref().map(|plane| difference.of(plane.get_pixel(x / 2, y / 2).0[0]));
                colour::pixel_from_ycbcr(lightness, blue, red)
            }
            None => [lightness; 3],
        };
        [red, green, blue, u8::MAX]
    })
}
