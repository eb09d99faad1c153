//! Icons: the largest intact image, and of those the one with the most colours.
//!
//! The directory's description of an image is a hint only. The image's own header counts, and if it is damaged, the
//! next image is shown.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, codecs::ico::IcoDecoder};
use xfiles_core::sniff::{Dimensions, IconPicture, icon_pictures};

use super::{Decoded, png};
use crate::render::{Refusal, limits};

pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let mut last = Refusal::Corrupt;
    for picture in icon_pictures(original) {
        match decode_one(&picture) {
            // An image other than the largest is shown at the largest's size.
            Ok(decoded) if picture.size == stored => return Ok(decoded),
            Ok(Decoded { pixels, profile, .. }) => {
                let pixels = pixels.resize_exact(stored.width, stored.height, image::imageops::FilterType::Triangle);
                return Ok(Decoded::new(pixels, profile));
            }
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

fn decode_one(picture: &IconPicture<'_>) -> Result<Decoded, Refusal> {
    limits::frame_bytes(picture.size, 8)?;
    if png::is_png(picture.bytes) {
        return png::decode(picture.bytes, picture.size);
    }
    // A BMP without its file header, in a directory with the same description as its own header.
    let side = |pixels: u32| u8::try_from(pixels).unwrap_or_default();
    let length = u32::try_from(picture.bytes.len()).map_err(|_| Refusal::Corrupt)?;
    let mut file = vec![0, 0, 1, 0, 1, 0, side(picture.size.width), side(picture.size.height), 0, 0, 1, 0, 32, 0];
    file.extend(length.to_le_bytes());
    file.extend(22_u32.to_le_bytes());
    file.extend(picture.bytes);
    let decoder = IcoDecoder::new(Cursor::new(&file)).map_err(|error| super::refusal(&error, picture.size))?;
    if decoder.dimensions() != (picture.size.width, picture.size.height) {
        return Err(Refusal::Corrupt);
    }
    let pixels = DynamicImage::from_decoder(decoder).map_err(|error| super::refusal(&error, picture.size))?;
    Ok(Decoded::new(pixels, None))
}
