//! From the bytes of an original to its pixels as they are stored: not yet turned, not yet in sRGB.
//!
//! Every decoder here is handed the size that the header claimed and refuses bytes that turn out to be of another, so
//! that the limits hold for what is allocated as well.

mod avif;
mod jpeg;
mod webp;

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageError, Limits,
    codecs::{bmp::BmpDecoder, gif::GifDecoder, ico::IcoDecoder, png::PngDecoder, tiff::TiffDecoder},
};
use xfiles_core::sniff::{Dimensions, Header, Raster};

use super::{
    Refusal,
    colour::Inks,
    deadline::Deadline,
    limits::{self, MAX_FRAME_BYTES, MAX_SCRATCH_BYTES, MAX_SIDE},
    original::Original,
    planes::Planar,
};

/// The pixels of an original and the colour profile that came with them.
pub(super) struct Decoded {
    /// Grey or RGB, with alpha or without, in 8 or 16 bits.
    pub pixels: DynamicImage,
    /// Whether alpha weighs their colours by now.
    pub is_weighted: bool,
    /// An ICC profile, unchecked.
    pub profile: Option<Vec<u8>>,
}

impl Decoded {
    fn new(pixels: DynamicImage, profile: Option<Vec<u8>>) -> Self {
        Self { pixels, is_weighted: false, profile }
    }
}

/// A picture to make a smaller one of.
pub(super) enum Source {
    /// What lossy formats have, of the stored size or smaller.
    Planes(Planar),
    /// All pixels.
    Pixels(Decoded),
    /// All pixels as what is to be printed: cyan, magenta, yellow and black.
    Inks(DynamicImage, Inks),
}

/// Whether a picture is decoded without being held, however large it is.
pub(super) fn walks(raster: Raster, original: &mut Original<'_>) -> bool {
    raster == Raster::Jpeg && jpeg::walks(original)
}

/// The width, upright, beyond which a picture cannot be shown: its own, or half of it if it cannot be held.
pub(super) fn widest(header: &Header) -> u32 {
    let width = header.upright().width;
    if limits::admit(header.stored).is_ok() { width } else { (width / 2).max(1) }
}

/// How much of a picture is decoded. Variants of the same original with the same choice are made of the same pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    scales: Option<jpeg::Scales>,
    hides_blocks: bool,
    is_own_size: bool,
}

/// As little as a picture of the size `wanted` needs that will have half of the colours or all of them.
pub(super) fn choice(raster: Raster, stored: Dimensions, wanted: Dimensions, has_half_colours: bool) -> Choice {
    match raster {
        Raster::Jpeg => {
            let scales = jpeg::scales(stored, wanted, has_half_colours);
            Choice { scales: Some(scales), hides_blocks: false, is_own_size: false }
        }
        Raster::WebP | Raster::Avif => {
            Choice { scales: None, hides_blocks: hides_blocks(stored, wanted), is_own_size: stored == wanted }
        }
        Raster::Png | Raster::Gif | Raster::Tiff | Raster::Bmp | Raster::Ico => {
            Choice { scales: None, hides_blocks: false, is_own_size: stored == wanted }
        }
    }
}

/// Decodes what was chosen.
pub(super) fn source(
    raster: Raster,
    original: &mut Original<'_>,
    stored: Dimensions,
    Choice { scales, hides_blocks, .. }: Choice,
    deadline: Deadline,
) -> Result<Source, Refusal> {
    let planes = match raster {
        Raster::Jpeg => scales.and_then(|scales| jpeg::decode_planes(original, stored, scales, deadline)),
        Raster::WebP => webp::planes(original.all(), stored, hides_blocks),
        Raster::Avif => return avif::source(original.all(), stored, hides_blocks),
        Raster::Png | Raster::Gif | Raster::Tiff | Raster::Bmp | Raster::Ico => None,
    };
    // What was given up in the middle is not begun in another way.
    deadline.check()?;
    if let Some(planes) = planes {
        return Ok(Source::Planes(planes));
    }
    let original = original.all();
    let inks = match raster {
        Raster::Jpeg => jpeg::inks(original, stored),
        _ => None,
    };
    match inks {
        Some((pixels, inks)) => Ok(Source::Inks(pixels.into(), inks)),
        None => decoder(raster)(original, stored).map(Source::Pixels),
    }
}

/// Whether so little is left of a picture that nobody sees the edges of its blocks. Then they need not be smoothed, which
/// is most of the work of decoding an AVIF of few bytes: at a fourth of the width it scores as high without.
fn hides_blocks(stored: Dimensions, wanted: Dimensions) -> bool {
    const TIMES: u32 = 4;

    let is_far_below = |wanted: u32, stored: u32| wanted.saturating_mul(TIMES) <= stored;
    is_far_below(wanted.width, stored.width) && is_far_below(wanted.height, stored.height)
}

pub(super) type Decoder = fn(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal>;

/// The decoder of all pixels of a kind of picture.
pub(super) fn decoder(raster: Raster) -> Decoder {
    match raster {
        Raster::Jpeg => jpeg::decode,
        Raster::Png => png,
        Raster::Gif => gif,
        Raster::WebP => webp::decode,
        Raster::Avif => avif::decode,
        Raster::Tiff => tiff,
        Raster::Bmp => bmp,
        Raster::Ico => ico,
    }
}

/// The still picture, if it is animated.
fn png(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let decoder = PngDecoder::with_limits(Cursor::new(original), limits(MAX_SCRATCH_BYTES));
    let decoder = decoder.map_err(|error| refusal(&error, stored))?;
    limits::frame_bytes(stored, decoder.color_type().bytes_per_pixel())?;
    if original.len() as u64 * limits::MAX_INFLATION < png_bytes(original, stored).ok_or(Refusal::Corrupt)? {
        return Err(Refusal::Corrupt);
    }
    frame(decoder, stored)
}

/// What the pixels of a PNG are deflated from, at least.
fn png_bytes(original: &[u8], stored: Dimensions) -> Option<u64> {
    let &[depth, colours] = original.get(24..)?.first_chunk()?;
    let channels = match colours {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    Some(u64::from(stored.width) * u64::from(stored.height) * channels * u64::from(depth) / 8)
}

/// The first frame, in its place on a transparent canvas.
fn gif(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let mut decoder = GifDecoder::new(Cursor::new(original)).map_err(|error| refusal(&error, stored))?;
    decoder.set_limits(limits(MAX_FRAME_BYTES)).map_err(|error| refusal(&error, stored))?;
    frame(decoder, stored)
}

/// The first picture of the file.
fn tiff(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let mut decoder = TiffDecoder::new(Cursor::new(original)).map_err(|error| refusal(&error, stored))?;
    decoder.set_limits(limits(MAX_FRAME_BYTES)).map_err(|error| refusal(&error, stored))?;
    frame(decoder, stored)
}

fn bmp(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let mut decoder = BmpDecoder::new(Cursor::new(original)).map_err(|error| refusal(&error, stored))?;
    decoder.set_limits(limits(MAX_FRAME_BYTES)).map_err(|error| refusal(&error, stored))?;
    frame(decoder, stored)
}

/// The largest picture of the icon, with the most colours of those.
fn ico(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    frame(IcoDecoder::new(Cursor::new(original)).map_err(|error| refusal(&error, stored))?, stored)
}

fn frame(mut decoder: impl ImageDecoder, stored: Dimensions) -> Result<Decoded, Refusal> {
    if decoder.dimensions() != (stored.width, stored.height) {
        return Err(Refusal::Corrupt);
    }
    limits::frame_bytes(stored, decoder.color_type().bytes_per_pixel())?;
    // A profile that cannot be read is as good as none.
    let profile = decoder.icc_profile().unwrap_or(None);
    let pixels = match DynamicImage::from_decoder(decoder).map_err(|error| refusal(&error, stored))? {
        // Scientific TIFFs; what is darker than black or brighter than white is cut off.
        DynamicImage::ImageRgb32F(image) => DynamicImage::ImageRgb32F(image).into_rgb16().into(),
        DynamicImage::ImageRgba32F(image) => DynamicImage::ImageRgba32F(image).into_rgba16().into(),
        pixels => pixels,
    };
    Ok(Decoded::new(pixels, profile))
}

fn limits(max_alloc: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(max_alloc);
    limits
}

fn refusal(error: &ImageError, stored: Dimensions) -> Refusal {
    match error {
        ImageError::Unsupported(_) => Refusal::Unsupported,
        ImageError::Limits(_) => Refusal::TooManyPixels { width: stored.width, height: stored.height },
        ImageError::Decoding(_) | ImageError::Encoding(_) | ImageError::Parameter(_) | ImageError::IoError(_) => {
            Refusal::Corrupt
        }
    }
}
