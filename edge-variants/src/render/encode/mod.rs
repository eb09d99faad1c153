//! From pixels to the bytes of a variant. No encoder here is given anything but pixels.

mod avif;
mod halve;
mod jpeg;
mod png;
mod vp8;
mod webp;

use xfiles_core::variant::{Colour, ImageFormat};

use super::{Picture, Refusal, limits::MAX_AVIF_PIXELS, planes::Range};

/// What a picture is encoded as: the format asked for, or what shows it to every viewer. What would take too long as AVIF
/// is WebP, which every viewer of AVIF knows.
pub(super) fn settle(format: ImageFormat, picture: &Picture) -> ImageFormat {
    let is_large = matches!(picture, Picture::Pixels(pixels)
        if u64::from(pixels.width()) * u64::from(pixels.height()) > MAX_AVIF_PIXELS);
    let is_transparent = matches!(picture, Picture::Pixels(pixels) if pixels.color().has_alpha());
    match format {
        ImageFormat::Auto if is_transparent => ImageFormat::Png,
        ImageFormat::Auto => ImageFormat::Jpeg,
        ImageFormat::Avif if is_large => ImageFormat::WebP,
        ImageFormat::WebP | ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Avif => format,
    }
}

/// The range of the planes that the encoder takes, if it takes planes.
pub(super) fn range(format: ImageFormat) -> Option<Range> {
    match format {
        ImageFormat::WebP => Some(Range::Limited),
        // Planes have no alpha, so what is left to the worker will be JPEG.
        ImageFormat::Jpeg | ImageFormat::Auto => Some(Range::Full),
        ImageFormat::Png | ImageFormat::Avif => None,
    }
}

/// Encodes as `format`, in 8 bits: grey stays grey where the format knows it. Of JPEG, what is transparent shows the
/// background.
pub(super) fn encode(picture: Picture, format: ImageFormat, background: Colour) -> Result<Vec<u8>, Refusal> {
    match (format, picture) {
        (ImageFormat::WebP, Picture::Pixels(pixels)) => webp::encode(pixels),
        (ImageFormat::WebP, Picture::Halves(halves)) => webp::encode_halves(halves),
        (ImageFormat::Jpeg | ImageFormat::Auto, Picture::Pixels(pixels)) => jpeg::encode(pixels, background),
        (ImageFormat::Jpeg | ImageFormat::Auto, Picture::Halves(halves)) => jpeg::encode_halves(&halves),
        (ImageFormat::Png, Picture::Pixels(pixels)) => png::encode(pixels),
        (ImageFormat::Avif, Picture::Pixels(pixels)) => avif::encode(pixels),
        (ImageFormat::Png | ImageFormat::Avif, Picture::Halves(_)) => Err(Refusal::Unencodable),
    }
}
