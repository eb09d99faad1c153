//! Decoders: from an original to its pixels as stored, before orientation and colour conversion.
//!
//! Every decoder is given the size that the header claims, and refuses data of another size, so that the limits hold
//! for what it allocates as well.

mod avif;
mod gif;
mod ico;
mod jpeg;
mod png;
mod tiff;
mod webp;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, Limits, codecs::bmp::BmpDecoder};
use xfiles_core::sniff::{Dimensions, Header, Raster};

use super::{
    Refusal,
    colour::Inks,
    deadline::Deadline,
    limits::{self, MAX_FRAME_BYTES, MAX_SIDE},
    need,
    original::Original,
    planes::Planar,
};

/// Why decoding failed.
pub(super) enum Failure {
    Refused(Refusal),
    /// This much memory was asked for and not granted.
    Short(u64),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The memory of a decoding.
pub(super) struct Memory<'m> {
    /// What is needed besides.
    pub beside: u64,
    /// What was asked for decoding alone.
    pub asked: u64,
    /// Grants this much memory in all, or refuses.
    pub allowance: &'m mut dyn FnMut(u64) -> bool,
}

impl Memory<'_> {
    /// Asks for this much memory besides the original itself.
    fn ask(&mut self, original: &Original<'_>, bytes: u64) -> Result<(), Failure> {
        self.asked = need::BASE + original.held_bytes() + bytes;
        let all = self.asked + self.beside;
        if (self.allowance)(all) { Ok(()) } else { Err(Failure::Short(all)) }
    }
}

/// The usual name of a format.
pub(super) fn name(raster: Raster) -> &'static str {
    match raster {
        Raster::Jpeg => "JPEG",
        Raster::Png => "PNG",
        Raster::Gif => "GIF",
        Raster::WebP => "WebP",
        Raster::Avif => "AVIF",
        Raster::Tiff => "TIFF",
        Raster::Bmp => "BMP",
        Raster::Ico => "ICO",
    }
}

/// The pixels of an original, and its colour profile.
pub(super) struct Decoded {
    /// Grey or RGB, with alpha or without, in 8 or 16 bits.
    pub pixels: DynamicImage,
    /// Whether colours are multiplied by alpha.
    pub is_weighted: bool,
    /// An ICC profile, unchecked.
    pub profile: Option<Vec<u8>>,
}

impl Decoded {
    fn new(pixels: DynamicImage, profile: Option<Vec<u8>>) -> Self {
        Self { pixels, is_weighted: false, profile }
    }
}

/// A decoded image, to be scaled.
pub(super) enum Source {
    /// Planes, of the stored size or smaller.
    Planes(Planar),
    /// All pixels.
    Pixels(Decoded),
    /// An image of the wanted size, which serves no other.
    Small(Decoded),
    /// All pixels in CMYK.
    Inks(DynamicImage, Inks),
}

/// Whether an image of any size can be decoded, because the frame is not held.
pub(super) fn walks(raster: Raster, original: &mut Original<'_>) -> bool {
    raster == Raster::Jpeg && jpeg::walks(original)
}

/// Where the entropy-coded data of a JPEG begin, or 0.
pub(super) fn start(original: &mut Original<'_>) -> usize {
    jpeg::start(original)
}

/// The greatest width of a variant: that of the upright image, or half of it if the frame is too large to be held.
pub(super) fn widest(header: &Header) -> u32 {
    let width = header.upright().width;
    if limits::admit(header.stored).is_ok() { width } else { (width / 2).max(1) }
}

/// How much of an image is decoded. Variants of one original with equal choices are made from the same pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    scales: Option<jpeg::Scales>,
    hides_blocks: bool,
    is_own_size: bool,
    /// Scaled to this size while it is decoded.
    exactly: Option<Dimensions>,
}

impl Choice {
    /// The same choice for the size `wanted`, if `other`, for the same original, serves only one size.
    pub(super) fn or_exactly(self, other: &Self, wanted: Dimensions) -> Self {
        if other.exactly.is_some() { Self { exactly: Some(wanted), is_own_size: false, ..self } } else { self }
    }
}

/// The least that a variant of the size `wanted` needs, with chroma subsampled or not.
pub(super) fn choice(raster: Raster, stored: Dimensions, wanted: Dimensions, has_half_colours: bool) -> Choice {
    let whole = Choice { scales: None, hides_blocks: false, is_own_size: stored == wanted, exactly: None };
    match raster {
        Raster::Jpeg => {
            let scales = jpeg::scales(stored, wanted, has_half_colours);
            Choice { scales: Some(scales), is_own_size: false, ..whole }
        }
        Raster::WebP | Raster::Avif => Choice { hides_blocks: hides_blocks(stored, wanted), ..whole },
        Raster::Png | Raster::Gif | Raster::Tiff | Raster::Bmp | Raster::Ico => whole,
    }
}

/// The choice, adjusted to what the header says about pixels besides their number.
pub(super) fn settled(
    raster: Raster,
    original: &mut Original<'_>,
    header: &Header,
    choice: Choice,
    wanted: Dimensions,
) -> Choice {
    let is_streamed = raster == Raster::Png
        && png::Shape::of(original.head(super::HEAD_BYTES)).is_some_and(|shape| shape.is_streamed(header.stored));
    if is_streamed { Choice { exactly: Some(wanted), is_own_size: false, ..choice } } else { choice }
}

/// Decodes what was chosen, once the memory is granted.
pub(super) fn source(
    raster: Raster,
    original: &mut Original<'_>,
    stored: Dimensions,
    wanted: Dimensions,
    Choice { scales, hides_blocks, exactly, .. }: Choice,
    deadline: Deadline,
    memory: &mut Memory<'_>,
) -> Result<Source, Failure> {
    let bytes = match (raster, scales) {
        (Raster::Jpeg, Some(scales)) => jpeg::planes_need(original, stored, wanted, scales),
        _ => need(raster, original, stored, wanted),
    };
    memory.ask(original, bytes)?;
    let planes = match raster {
        Raster::Jpeg => scales.and_then(|scales| jpeg::decode_planes(original, stored, scales, deadline)),
        Raster::WebP => webp::planes(original.all(), stored, hides_blocks),
        Raster::Avif => return Ok(avif::source(original.all(), stored, hides_blocks)?),
        Raster::Tiff => return Ok(tiff::source(original.all(), stored)?),
        Raster::Png if exactly.is_some() => {
            return Ok(Source::Small(png::shrink(original.all(), stored, wanted, deadline)?));
        }
        Raster::Png | Raster::Gif | Raster::Bmp | Raster::Ico => None,
    };
    // After the deadline, no other decoder is tried.
    deadline.check()?;
    if let Some(planes) = planes {
        return Ok(Source::Planes(planes));
    }
    if raster == Raster::Jpeg {
        let bytes = jpeg::whole_need(original, stored, wanted);
        memory.ask(original, bytes)?;
    }
    let original = original.all();
    let inks = match raster {
        Raster::Jpeg => jpeg::inks(original, stored),
        _ => None,
    };
    match inks {
        Some((pixels, inks)) => Ok(Source::Inks(pixels.into(), inks)),
        None => Ok(decoder(raster)(original, stored).map(Source::Pixels)?),
    }
}

/// The memory that decoding and scaling take, estimated from the header.
fn need(raster: Raster, original: &mut Original<'_>, stored: Dimensions, wanted: Dimensions) -> u64 {
    let pixels = stored.pixels();
    match raster {
        Raster::Png => match png::Shape::of(original.head(super::HEAD_BYTES)) {
            Some(shape) if shape.is_streamed(stored) => {
                let row = u64::from(stored.width) * shape.bytes_per_pixel() * 8;
                row + need::streaming(stored, wanted, shape.channels)
            }
            Some(shape) => {
                let held = shape.held_per_pixel(stored);
                // The expansion from 8 to 16 bits holds both.
                let frame = if held > shape.channels { pixels * held * 2 } else { pixels * held };
                frame + need::whole(stored, wanted, shape.channels, held > shape.channels)
            }
            None => pixels * 8,
        },
        Raster::Gif => pixels * 6 + need::whole(stored, wanted, 4, false),
        Raster::WebP => webp::need(original.head(super::HEAD_BYTES), stored, wanted),
        Raster::Avif => avif::need(original.all(), stored) + need::whole(stored, wanted, 4, true),
        Raster::Jpeg => pixels * 4,
        Raster::Tiff => tiff::need(original.all(), stored, wanted),
        Raster::Bmp => pixels * 8 + need::whole(stored, wanted, 4, false),
        Raster::Ico => pixels * 12 + need::whole(stored, wanted, 4, false),
    }
}

/// Whether the image is scaled down so much that the edges of its blocks do not show. Then they need not be filtered,
/// which is most of the work for an AVIF of few bytes: at a fourth of the width it scores as high without.
fn hides_blocks(stored: Dimensions, wanted: Dimensions) -> bool {
    const TIMES: u32 = 4;

    let is_far_below = |wanted: u32, stored: u32| wanted.saturating_mul(TIMES) <= stored;
    is_far_below(wanted.width, stored.width) && is_far_below(wanted.height, stored.height)
}

pub(super) type Decoder = fn(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal>;

/// The decoder of whole frames of a format.
pub(super) fn decoder(raster: Raster) -> Decoder {
    match raster {
        Raster::Jpeg => jpeg::decode,
        Raster::Png => png::decode,
        Raster::Gif => gif::decode,
        Raster::WebP => webp::decode,
        Raster::Avif => avif::decode,
        Raster::Tiff => tiff::decode,
        Raster::Bmp => bmp,
        Raster::Ico => ico::decode,
    }
}

fn bmp(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    match whole_bmp(original, stored) {
        // Missing pixels are black. Rows are stored bottom up, so it is the upper part that is missing.
        Err(refusal) => match padded_bmp(original, stored) {
            Some(padded) => whole_bmp(&padded, stored),
            None => Err(refusal),
        },
        decoded => decoded,
    }
}

fn whole_bmp(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let mut decoder = BmpDecoder::new(Cursor::new(original)).map_err(|error| refusal(&error, stored))?;
    decoder.set_limits(limits(MAX_FRAME_BYTES)).map_err(|error| refusal(&error, stored))?;
    frame(decoder, stored)
}

/// A BMP that ends within its pixels, padded with zeros.
fn padded_bmp(original: &[u8], stored: Dimensions) -> Option<Vec<u8>> {
    let pixels = usize::try_from(u32::from_le_bytes(*original.get(10..)?.first_chunk()?)).ok()?;
    let bits = u64::from(u16::from_le_bytes(*original.get(28..)?.first_chunk()?));
    let row = (u64::from(stored.width) * bits).div_ceil(32) * 4;
    let length = usize::try_from(row * u64::from(stored.height)).ok()?.checked_add(pixels)?;
    let is_cut = original.len() > pixels && original.len() < length && length as u64 <= MAX_FRAME_BYTES * 2;
    is_cut.then(|| {
        let mut padded = original.to_vec();
        padded.resize(length, 0);
        padded
    })
}

fn frame(mut decoder: impl ImageDecoder, stored: Dimensions) -> Result<Decoded, Refusal> {
    if decoder.dimensions() != (stored.width, stored.height) {
        return Err(Refusal::Corrupt);
    }
    limits::frame_bytes(stored, decoder.color_type().bytes_per_pixel())?;
    // An unreadable profile is ignored.
    let profile = decoder.icc_profile().unwrap_or(None);
    let pixels = DynamicImage::from_decoder(decoder).map_err(|error| refusal(&error, stored))?;
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
