//! GIF: the first frame in its place, as far as it goes.
//!
//! Many fields of a GIF mean nothing to viewers. A screen that is empty or smaller than its first frame grows to it;
//! code sizes may start anywhere; and an image without a palette is grey.

use image::RgbaImage;
use weezl::{BitOrder, LzwStatus, decode::Configuration};
use xfiles_core::sniff::Dimensions;

use super::Decoded;
use crate::render::{Refusal, limits};

/// The signature and the logical screen descriptor.
const HEADER: usize = 13;
const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2C;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;
/// The greatest number of blocks before the first frame.
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
    /// RGB triples.
    palette: &'a [u8],
    clear: Option<u8>,
    /// The LZW minimum code size.
    depth: u8,
    /// Data sub-blocks, each behind its length.
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
                // Padding of some encoders.
                0 => rest = rest.get(1..)?,
                _ => return None,
            }
        }
        None
    }

    /// The indices of all pixels in the order of the file; missing ones have the transparent index, or 0.
    fn indices(&self) -> Option<Vec<u8>> {
        if self.width == 0 || self.height == 0 || self.depth > 11 {
            return None;
        }
        let codes = joined(self.blocks);
        let mut indices = vec![0; self.width * self.height];
        let mut decoder = Configuration::new(BitOrder::Lsb, self.depth).with_yield_on_full_buffer(true).build();
        let (mut read, mut written) = (0, 0);
        // As far as the codes are valid.
        while read < codes.len() && written < indices.len() {
            let step = decoder.decode_bytes(&codes[read..], &mut indices[written..]);
            (read, written) = (read + step.consumed_in, written + step.consumed_out);
            let goes_on = matches!(step.status, Ok(LzwStatus::Ok));
            if !goes_on || step.consumed_in + step.consumed_out == 0 {
                break;
            }
        }
        indices.truncate(written.next_multiple_of(self.width));
        // Missing pixels of a row are transparent, if there is a transparent index.
        indices[written..].fill(self.clear.unwrap_or_default());
        if self.width * self.height == 1 && written == 0 {
            // A one-pixel file without data is a tracking placeholder: transparent.
            indices = vec![self.clear.unwrap_or_default()];
        }
        (!indices.is_empty()).then_some(indices)
    }

    /// The rows of the image in the order of the file, which may be interlaced.
    fn rows(&self) -> impl Iterator<Item = usize> {
        let passes: &[(usize, usize)] = if self.is_interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
        let height = self.height;
        passes.iter().flat_map(move |(first, step)| (*first..height).step_by(*step))
    }

    fn colour(&self, index: u8) -> [u8; 4] {
        // Transparent pixels have no colour.
        let alpha = if self.clear == Some(index) { 0 } else { u8::MAX };
        let at = usize::from(index) * 3;
        match self.palette.get(at..).and_then(<[u8]>::first_chunk) {
            Some(&[red, green, blue]) => [red, green, blue, alpha],
            // Without a palette, indices are greys.
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

/// The data of sub-blocks, as far as they are there.
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

/// What follows the last of some sub-blocks.
fn behind(mut blocks: &[u8]) -> &[u8] {
    while let Some((&length, after)) = blocks.split_first() {
        blocks = after.get(usize::from(length)..).unwrap_or_default();
        if length == 0 {
            return after;
        }
    }
    blocks
}
