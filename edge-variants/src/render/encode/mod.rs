//! From pixels to the bytes of a variant. No encoder here is given anything but pixels.

mod jpeg;
mod png;
mod webp;

use image::DynamicImage;
use xfiles_core::variant::ImageFormat;

use super::Refusal;

/// Encodes as `format`, in 8 bits: grey stays grey where the format knows it.
pub(super) fn encode(pixels: DynamicImage, format: ImageFormat) -> Result<Vec<u8>, Refusal> {
    match format {
        ImageFormat::WebP => webp::encode(pixels),
        ImageFormat::Jpeg => jpeg::encode(pixels),
        ImageFormat::Png => png::encode(pixels),
        ImageFormat::Avif => Err(Refusal::FormatNotOffered),
    }
}
