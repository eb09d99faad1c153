//! WebP: lossy and lossless, with alpha or without, and the first frame of an animation.
//!
//! libwebp decodes. It takes a quarter of the time of the decoder in Rust, and compares the size of the image with the
//! canvas before it allocates. It has no call for the first frame alone, so the frame is made a file of its own.

use image::{DynamicImage, GenericImage as _, RgbImage, RgbaImage};
use webp::{BitstreamFeatures, PixelLayout};
use xfiles_core::sniff::Dimensions;
use xfiles_webp_planes::Finish;

use super::{Decoded, png};
use crate::render::{
    Refusal, limits, need,
    planes::{Planar, Plane, Range},
};

const RIFF_HEADER: usize = 12;

pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let chunk = |name| chunks(original.get(RIFF_HEADER..)?).find_map(|(kind, data)| (kind == name).then_some(data));
    let features = BitstreamFeatures::new(original).ok_or(Refusal::Corrupt)?;
    let pixels = if features.has_animation() {
        let frame = chunk(*b"ANMF").and_then(Frame::parse).ok_or(Refusal::Corrupt)?;
        on_canvas(&frame, stored)?
    } else {
        still(original, stored)?
    };
    Ok(Decoded::new(pixels, chunk(*b"ICCP").map(<[u8]>::to_vec)))
}

/// The memory that decoding and scaling take.
pub(super) fn need(head: &[u8], stored: Dimensions, wanted: Dimensions) -> u64 {
    let pixels = stored.pixels();
    if head.get(12..16) == Some(b"VP8 ") {
        // Planes of the whole image, and rows of the decoder.
        pixels * 2 + u64::from(stored.width) * 128 + need::streaming(stored, wanted, 1)
    } else {
        // libwebp's pixels and what they were transformed from, and our copy.
        pixels * 13 + need::whole(stored, wanted, 4, false)
    }
}

/// The planes of a lossy still image without alpha.
pub(super) fn planes(original: &[u8], stored: Dimensions, hides_blocks: bool) -> Option<Planar> {
    let side = |pixels: u32| usize::try_from(pixels).ok();
    let (width, height) = (side(stored.width)?, side(stored.height)?);
    let finish = if hides_blocks { Finish::Bare } else { Finish::Whole };
    let [luma, blue, red] = xfiles_webp_planes::decode(original, width, height, finish).ok()?.into_samples();
    let sides = (f64::from(stored.width), f64::from(stored.height));
    let halves = (sides.0 / 2.0, sides.1 / 2.0);
    let half = |samples| Plane::new(samples, width.div_ceil(2), halves);
    let profile =
        chunks(original.get(RIFF_HEADER..)?).find_map(|(kind, data)| (kind == *b"ICCP").then(|| data.to_vec()));
    Some(Planar { planes: vec![Plane::new(luma, width, sides), half(blue), half(red)], range: Range::Limited, profile })
}

fn still(file: &[u8], stored: Dimensions) -> Result<DynamicImage, Refusal> {
    let Dimensions { width, height } = stored;
    let features = BitstreamFeatures::new(file).ok_or(Refusal::Corrupt)?;
    if (features.width(), features.height()) != (width, height) {
        return Err(Refusal::Corrupt);
    }
    limits::frame_bytes(stored, 4)?;
    let Some(decoded) = webp::Decoder::new(file).decode() else { return beginning(file, stored) };
    let samples = decoded.to_vec();
    let pixels = match decoded.layout() {
        PixelLayout::Rgb => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        PixelLayout::Rgba => RgbaImage::from_raw(width, height, samples).map(DynamicImage::from),
    };
    Ok(pixels.expect("there is one sample for each channel of each pixel"))
}

/// As much of an image as is there.
fn beginning(file: &[u8], stored: Dimensions) -> Result<DynamicImage, Refusal> {
    let (width, height) = (stored.width as usize, stored.height as usize);
    let (pixels, rows) = xfiles_webp_planes::decode_beginning(file, width, height).map_err(|_| Refusal::Corrupt)?;
    let whole = RgbaImage::from_raw(stored.width, stored.height, pixels);
    Ok(png::cut(whole.expect("there is one sample for each channel of each pixel").into(), rows))
}

/// Puts the first frame in its place. The rest of the canvas is transparent: no viewer paints the background colour
/// that a file may ask for.
fn on_canvas(frame: &Frame<'_>, canvas: Dimensions) -> Result<DynamicImage, Refusal> {
    // Both are within 25 bits.
    if frame.left + frame.size.width > canvas.width || frame.top + frame.size.height > canvas.height {
        return Err(Refusal::Corrupt);
    }
    let picture = still(&frame.as_file(), frame.size)?;
    if frame.size == canvas {
        return Ok(picture);
    }
    let mut whole = RgbaImage::new(canvas.width, canvas.height);
    whole.copy_from(&picture.into_rgba8(), frame.left, frame.top).map_err(|_| Refusal::Corrupt)?;
    Ok(whole.into())
}

/// The first frame of an animation.
struct Frame<'a> {
    left: u32,
    top: u32,
    size: Dimensions,
    /// The chunks of a still image: VP8 or VP8L, and perhaps ALPH before it.
    chunks: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Two offsets and two sides of three bytes each, then three of duration, and one of flags.
    const HEADER: usize = 16;

    fn parse(data: &'a [u8]) -> Option<Self> {
        let (header, chunks) = data.split_at_checked(Self::HEADER)?;
        let field = |at: usize| {
            let [low, middle, high] = *header.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes([low, middle, high, 0]))
        };
        let size = Dimensions { width: field(6)? + 1, height: field(9)? + 1 };
        Some(Self { left: field(0)? * 2, top: field(3)? * 2, size, chunks })
    }

    /// The frame as a file of its own. Its header claims alpha, which it may or may not have.
    fn as_file(&self) -> Vec<u8> {
        const HAS_ALPHA: u32 = 0x10;

        let side = |pixels: u32| (pixels - 1).to_le_bytes();
        let [[w0, w1, w2, _], [h0, h1, h2, _]] = [side(self.size.width), side(self.size.height)];
        let mut body = b"WEBPVP8X\x0A\0\0\0".to_vec();
        body.extend(HAS_ALPHA.to_le_bytes());
        body.extend([w0, w1, w2, h0, h1, h2]);
        body.extend(self.chunks);
        let length = u32::try_from(body.len()).expect("a chunk is shorter than 4 GiB, and so is its file");
        [b"RIFF", length.to_le_bytes().as_slice(), &body].concat()
    }
}

/// The chunks of a file. The data of the last may be cut short.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&kind, after) = rest.split_first_chunk()?;
        let (&length, after) = after.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let data = after.get(..length).unwrap_or(after);
        // Chunks of odd length are padded.
        rest = length.checked_add(length % 2).and_then(|padded| after.get(padded..)).unwrap_or_default();
        Some((kind, data))
    })
}
