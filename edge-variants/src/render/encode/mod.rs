//! Encoders: from pixels or planes to the bytes of a variant. They get nothing else, so no metadata can pass.

mod avif;
mod halve;
mod jpeg;
mod png;
mod webp;

use xfiles_core::variant::{Colour, ImageFormat};

use super::{Picture, Refusal, limits::MAX_AVIF_PIXELS, planes::Range};

/// The format that is encoded: the one asked for or, for `auto`, one that every viewer shows. An image that would take
/// too long as AVIF becomes WebP, which every viewer of AVIF knows.
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

/// The range of planes that the encoder takes, if it takes planes.
pub(super) fn range(format: ImageFormat) -> Option<Range> {
    match format {
        ImageFormat::WebP => Some(Range::Limited),
        // Planes have no alpha, so `auto` becomes JPEG.
        ImageFormat::Jpeg | ImageFormat::Auto => Some(Range::Full),
        ImageFormat::Png | ImageFormat::Avif => None,
    }
}

/// Encodes in 8 bits. Grey stays grey if the format has grey. In JPEG, transparent pixels show the background.
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
