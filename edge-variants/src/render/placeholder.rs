//! The placeholder of a picture, made of what is about to be encoded.

use image::GenericImageView as _;
use xfiles_core::{sniff::Dimensions, thumbhash::ThumbHash};

use super::{
    Picture, colour,
    planes::{Halves, Range},
};

/// Looks at a sample of the pixels: at most 400 in a row and 400 in a column.
pub(super) fn of(picture: &Picture) -> ThumbHash {
    match picture {
        Picture::Pixels(pixels) => {
            let size = Dimensions { width: pixels.width(), height: pixels.height() };
            ThumbHash::of(size, |x, y| pixels.get_pixel(x, y).0)
        }
        Picture::Halves(halves) => of_halves(halves),
    }
}

fn of_halves(halves: &Halves) -> ThumbHash {
    let size = Dimensions { width: halves.luma.width(), height: halves.luma.height() };
    let (luma, difference) = (halves.range.luma(Range::Full), halves.range.difference(Range::Full));
    ThumbHash::of(size, |x, y| {
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
