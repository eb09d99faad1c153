//! GIF: the first frame in its place, as far as it goes.
//!
//! Few fields of a GIF say anything that viewers rely on. A screen that is smaller than its first frame, or nothing, grows
//! to it; codes may begin at any length; and a picture without a palette is of greys.

use image::RgbaImage;
use weezl::{BitOrder, LzwStatus, decode::Configuration};
use xfiles_core::sniff::Dimensions;

use super::Decoded;
use crate::render::{Refusal, limits};

/// The signature, and the description of the screen.
const HEADER: usize = 13;
const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2C;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;
/// The first frame is not searched for behind more blocks than that.
const MAX_BLOCKS: usize = 10_000;

pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    limits::frame_bytes(stored, 4)?;
    let frame = Frame::first(original).ok_or(Refusal::Corrupt)?;
    let indices = frame.indices().ok_or(Refusal::Corrupt)?;
    let mut canvas = RgbaImage::new(stored.width, stored.height);
    let shown = frame.width.min((stored.width as usize).saturating_sub(frame.left));
    let stride = stored.width as usize * 4;
    for (row, indices) in frame.rows().zip(indices.chunks(frame.width.max(1))) {
        let start = (frame.top + row) * stride + frame.left * 4;
        let Some(pixels) = canvas.get_mut(start..start + shown * 4) else { continue };
        for (pixel, index) in pixels.as_chunks_mut::<4>().0.iter_mut().zip(indices) {
            *pixel = frame.colour(*index);
        }
    }
    Ok(Decoded::new(canvas.into(), frame.profile))
}

struct Frame<'a> {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    is_interlaced: bool,
    /// Red, green and blue, one after the other.
    palette: &'a [u8],
    clear: Option<u8>,
    /// Bits of an index.
    depth: u8,
    /// Blocks of codes, each behind its length.
    blocks: &'a [u8],
    profile: Option<Vec<u8>>,
}

impl<'a> Frame<'a> {
    fn first(file: &'a [u8]) -> Option<Self> {
        let flags = *file.get(10)?;
        let (global, mut rest) = palette(file.get(HEADER..)?, flags)?;
        let (mut clear, mut profile) = (None, None);
        for _ in 0..MAX_BLOCKS {
            match *rest.first()? {
                EXTENSION => {
                    let (kind, blocks) = (*rest.get(1)?, rest.get(2..)?);
                    match kind {
                        GRAPHIC_CONTROL => {
                            let is_set = blocks.get(1)? & 1 == 1;
                            clear = blocks.get(4).copied().filter(|_| is_set);
                        }
                        APPLICATION if blocks.get(1..12) == Some(b"ICCRGBG1012") => {
                            profile = Some(joined(blocks.get(12..)?));
                        }
                        _ => {}
                    }
                    rest = behind(blocks);
                }
                FRAME => {
                    let field = |at: usize| Some(usize::from(u16::from_le_bytes(*rest.get(at..)?.first_chunk()?)));
                    let flags = *rest.get(9)?;
                    let (local, data) = palette(rest.get(10..)?, flags)?;
                    let (&depth, blocks) = data.split_first()?;
                    return Some(Self {
                        left: field(1)?,
                        top: field(3)?,
                        width: field(5)?,
                        height: field(7)?,
                        is_interlaced: flags & 0x40 != 0,
                        palette: if local.is_empty() { global } else { local },
                        clear,
                        depth,
                        blocks,
                        profile,
                    });
                }
                // Padding, which some writers leave.
                0 => rest = rest.get(1..)?,
                _ => return None,
            }
        }
        None
    }

    /// The indices of all pixels that are there, in the order of the file; the rest are those of what is clear, or 0.
    fn indices(&self) -> Option<Vec<u8>> {
        if self.width == 0 || self.height == 0 || self.depth > 11 {
            return None;
        }
        let codes = joined(self.blocks);
        let mut indices = vec![0; self.width * self.height];
        let mut decoder = Configuration::new(BitOrder::Lsb, self.depth).with_yield_on_full_buffer(true).build();
        let (mut read, mut written) = (0, 0);
        // As far as the codes make sense.
        while read < codes.len() && written < indices.len() {
            let step = decoder.decode_bytes(&codes[read..], &mut indices[written..]);
            (read, written) = (read + step.consumed_in, written + step.consumed_out);
            let goes_on = matches!(step.status, Ok(LzwStatus::Ok));
            if !goes_on || step.consumed_in + step.consumed_out == 0 {
                break;
            }
        }
        indices.truncate(written.next_multiple_of(self.width));
        // Pixels of a row that breaks off are clear if any can be.
        indices[written..].fill(self.clear.unwrap_or_default());
        if self.width * self.height == 1 && written == 0 {
            // A file of one pixel that says nothing is a placeholder, and clear.
            indices = vec![self.clear.unwrap_or_default()];
        }
        (!indices.is_empty()).then_some(indices)
    }

    /// Where the rows go, in the order of the file.
    fn rows(&self) -> impl Iterator<Item = usize> {
        let passes: &[(usize, usize)] = if self.is_interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
        let height = self.height;
        passes.iter().flat_map(move |(first, step)| (*first..height).step_by(*step))
    }

    fn colour(&self, index: u8) -> [u8; 4] {
        // Nobody sees the colour of what is clear.
        let alpha = if self.clear == Some(index) { 0 } else { u8::MAX };
        let at = usize::from(index) * 3;
        match self.palette.get(at..).and_then(<[u8]>::first_chunk) {
            Some(&[red, green, blue]) => [red, green, blue, alpha],
            // Without a palette there are greys.
            None if self.palette.is_empty() => {
                let most = (1_u32 << self.depth.min(8)) - 1;
                let grey = u8::try_from(u32::from(index).min(most) * 255 / most.max(1)).unwrap_or(u8::MAX);
                [grey, grey, grey, alpha]
            }
            None => [0, 0, 0, alpha],
        }
    }
}

/// The palette that the flags announce, and what follows it.
fn palette(bytes: &[u8], flags: u8) -> Option<(&[u8], &[u8])> {
    let length = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    bytes.split_at_checked(length)
}

/// What blocks hold, as far as they are there.
fn joined(blocks: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = blocks;
    while let Some((&length, after)) = rest.split_first() {
        let length = usize::from(length);
        if length == 0 {
            break;
        }
        all.extend_from_slice(after.get(..length).unwrap_or(after));
        rest = after.get(length..).unwrap_or_default();
    }
    all
}

/// What follows the last of some blocks.
fn behind(mut blocks: &[u8]) -> &[u8] {
    while let Some((&length, after)) = blocks.split_first() {
        blocks = after.get(usize::from(length)..).unwrap_or_default();
        if length == 0 {
            return after;
        }
    }
    blocks
}
