//! From the bytes of an original to its pixels as they are stored: not yet turned, not yet in sRGB.
//!
//! Every decoder here is handed the size that the header claimed and refuses bytes that turn out to be of another, so
//! that the limits hold for what is allocated as well.

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

/// Why there are no pixels.
pub(super) enum Failure {
    Refused(Refusal),
    /// So many bytes were asked for and not granted.
    Short(u64),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The memory for a decoding.
pub(super) struct Memory<'m> {
    /// What is needed beside it.
    pub beside: u64,
    /// What was asked for it alone.
    pub asked: u64,
    /// Whether there are so many bytes in all.
    pub allowance: &'m mut dyn FnMut(u64) -> bool,
}

impl Memory<'_> {
    /// Asks for so many bytes beside those that the original takes.
    fn ask(&mut self, original: &Original<'_>, bytes: u64) -> Result<(), Failure> {
        self.asked = need::BASE + original.held_bytes() + bytes;
        let all = self.asked + self.beside;
        if (self.allowance)(all) { Ok(()) } else { Err(Failure::Short(all)) }
    }
}

/// What people call a kind of picture.
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
    /// A picture of the wanted size already, for no other.
    Small(Decoded),
    /// All pixels as what is to be printed: cyan, magenta, yellow and black.
    Inks(DynamicImage, Inks),
}

/// Whether a picture is decoded without being held, however large it is.
pub(super) fn walks(raster: Raster, original: &mut Original<'_>) -> bool {
    raster == Raster::Jpeg && jpeg::walks(original)
}

/// Where the pixels of a JPEG begin, or 0.
pub(super) fn start(original: &mut Original<'_>) -> usize {
    jpeg::start(original)
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
    /// Made smaller while it is decoded, to that size.
    exactly: Option<Dimensions>,
}

impl Choice {
    /// The same for a picture of the size `wanted`, where another choice for the same original serves one size only.
    pub(super) fn or_exactly(self, other: &Self, wanted: Dimensions) -> Self {
        if other.exactly.is_some() { Self { exactly: Some(wanted), is_own_size: false, ..self } } else { self }
    }
}

/// As little as a picture of the size `wanted` needs that will have half of the colours or all of them.
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

/// The choice, by what the original says of its pixels beside their number.
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

/// Decodes what was chosen, once there is the memory for it.
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
    // What was given up in the middle is not begun in another way.
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

/// What decoding and making smaller take, by what the header tells.
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
                // While bytes become words there are both.
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
        // What is not there is black. Rows are stored from the bottom, so that is the upper part.
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

/// The bytes of a bitmap that ends within its pixels, with zeros for what lacks.
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
    // A profile that cannot be read is as good as none.
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
