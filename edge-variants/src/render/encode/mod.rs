//! From pixels to the bytes of a variant. No encoder here is given anything but pixels.

mod avif;
mod jpeg;
mod png;
mod webp;

use image::DynamicImage;
use xfiles_core::variant::ImageFormat;

use super::Refusal;

/// What a picture is encoded as: the format asked for, or what shows it to every viewer.
pub(super) fn settle(format: ImageFormat, pixels: &DynamicImage) -> ImageFormat {
    match format {
        ImageFormat::Auto if pixels.color().has_alpha() => ImageFormat::Png,
        ImageFormat::Auto => ImageFormat::Jpeg,
        ImageFormat::WebP | ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Avif => format,
    }
}

/// Encodes as `format`, in 8 bits: grey stays grey where the format knows it.
pub(super) fn encode(pixels: DynamicImage, format: ImageFormat) -> Result<Vec<u8>, Refusal> {
    match format {
        ImageFormat::WebP => webp::encode(pixels),
        ImageFormat::Jpeg | ImageFormat::Auto => jpeg::encode(pixels),
        ImageFormat::Png => png::encode(pixels),
        ImageFormat::Avif => avif::encode(pixels),
    }
}
