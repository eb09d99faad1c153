//! A strip or tile of a TIFF: from its bytes to its samples.

#![expect(
    clippy::cast_possible_truncation,
    reason = "samples are clamped to what they are cast to, or cut to their upper half"
)]

use std::io::Read as _;

use flate2::read::{DeflateDecoder, ZlibDecoder};
use weezl::{BitOrder, LzwStatus, decode::Configuration};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, options::DecoderOptions},
};

use super::fax::{self, Coding};
use crate::render::Refusal;

/// SampleFormat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Unsigned,
    Signed,
    Float,
}

/// How a chunk is compressed, and the layout of its samples.
pub(super) struct Chunk<'a> {
    pub width: usize,
    pub height: usize,
    /// SamplesPerPixel within the chunk.
    pub samples: usize,
    pub bits: usize,
    pub format: Format,
    pub is_little: bool,
    pub compression: u16,
    pub predictor: u16,
    pub fax_options: u32,
    /// FillOrder 2: the first bit is the lowest.
    pub is_reversed: bool,
    pub tables: Option<&'a [u8]>,
    pub subsampling: (usize, usize),
}

/// The samples of a chunk, row by row, expanded to their type.
pub(super) enum Decoded {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

#[derive(Clone, Copy)]
pub(super) enum Samples<'a> {
    Eight(&'a [u8]),
    Sixteen(&'a [u16]),
}

impl Samples<'_> {
    #[inline(always)]
    pub(super) fn eight(self, at: usize) -> u8 {
        match self {
            Self::Eight(samples) => samples[at],
            Self::Sixteen(samples) => (samples[at] >> 8) as u8,
        }
    }

    #[inline(always)]
    pub(super) fn sixteen(self, at: usize) -> u16 {
        match self {
            Self::Eight(samples) => u16::from(samples[at]) * 257,
            Self::Sixteen(samples) => samples[at],
        }
    }
}

impl Decoded {
    pub(super) fn samples(&self) -> Samples<'_> {
        match self {
            Self::Eight(samples) => Samples::Eight(samples),
            Self::Sixteen(samples) => Samples::Sixteen(samples),
        }
    }
}

impl Chunk<'_> {
    /// Bytes of a row.
    fn stride(&self) -> usize {
        (self.width * self.samples * self.bits).div_ceil(8)
    }

    /// Decodes as much of the chunk as is there; the rest is zero. Refused if nothing is there or the compression is
    /// unknown.
    pub(super) fn decode(&self, data: &[u8]) -> Result<Decoded, Refusal> {
        if data.is_empty() {
            return Err(Refusal::Corrupt);
        }
        if self.compression == super::JPEG {
            return self.jpeg(data);
        }
        let reversed: Vec<u8>;
        let data = if self.is_reversed {
            reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            data
        };
        let length = if self.subsampling == (1, 1) { self.stride() * self.height } else { self.subsampled_bytes() };
        let mut bytes = self.inflated(data, length)?;
        if bytes.is_empty() {
            return Err(Refusal::Corrupt);
        }
        bytes.resize(length, 0);
        if self.subsampling != (1, 1) {
            return Ok(Decoded::Eight(self.upsampled(&bytes)));
        }
        self.predict(&mut bytes)?;
        Ok(self.unpacked(bytes))
    }

    /// Decompresses the chunk to at most this many bytes.
    fn inflated(&self, data: &[u8], length: usize) -> Result<Vec<u8>, Refusal> {
        let read = |mut reader: Box<dyn std::io::Read + '_>| {
            let mut bytes = vec![0; length];
            let mut filled = 0;
            // As far as the data go.
            while filled < length {
                match reader.read(&mut bytes[filled..]) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => filled += count,
                }
            }
            bytes.truncate(filled);
            bytes
        };
        let coding = match self.compression {
            1 => return Ok(data[..length.min(data.len())].to_vec()),
            5 => return Ok(unpacked_lzw(data, length)),
            8 | 32_946 => {
                let bytes = read(Box::new(ZlibDecoder::new(data)));
                // Some encoders leave out the zlib header.
                return Ok(if bytes.is_empty() { read(Box::new(DeflateDecoder::new(data))) } else { bytes });
            }
            32_773 => return Ok(unpacked_bits(data, length)),
            2 | 32_771 => Coding::Rle,
            3 => Coding::Group3 { is_two_dimensional: self.fax_options & 1 == 1 },
            4 => Coding::Group4,
            _ => return Err(Refusal::Unsupported),
        };
        if self.bits != 1 || self.samples != 1 {
            return Err(Refusal::Corrupt);
        }
        Ok(fax::decode(data, self.width, self.height, coding))
    }

    /// Undoes the horizontal predictor.
    fn predict(&self, bytes: &mut [u8]) -> Result<(), Refusal> {
        let stride = self.stride();
        match self.predictor {
            2 if self.bits == 8 => {
                for row in bytes.chunks_exact_mut(stride) {
                    for at in self.samples..row.len() {
                        row[at] = row[at].wrapping_add(row[at - self.samples]);
                    }
                }
            }
            2 if matches!(self.bits, 16 | 32) => {
                let width = self.bits / 8;
                for row in bytes.chunks_exact_mut(stride) {
                    for at in (self.samples * width..row.len()).step_by(width) {
                        let before = self.word(&row[at - self.samples * width..]);
                        let sum = self.word(&row[at..]).wrapping_add(before);
                        let digits = if self.is_little { sum.to_le_bytes() } else { sum.to_be_bytes() };
                        let digits = if self.is_little { &digits[..width] } else { &digits[4 - width..] };
                        row[at..at + width].copy_from_slice(digits);
                    }
                }
            }
            3 if self.format == Format::Float => {
                let width = self.bits / 8;
                for row in bytes.chunks_exact_mut(stride) {
                    for at in self.samples..row.len() {
                        row[at] = row[at].wrapping_add(row[at - self.samples]);
                    }
                    // The highest bytes of all samples come first, then the next lower ones.
                    let planes = row.to_vec();
                    let count = planes.len() / width;
                    for (sample, place) in row.chunks_exact_mut(width).enumerate() {
                        for (digit, byte) in place.iter_mut().enumerate() {
                            let plane = if self.is_little { width - 1 - digit } else { digit };
                            *byte = planes[plane * count + sample];
                        }
                    }
                }
            }
            2 | 3 => return Err(Refusal::Unsupported),
            _ => {}
        }
        Ok(())
    }

    /// A sample of 16 or 32 bits.
    fn word(&self, bytes: &[u8]) -> u32 {
        let width = self.bits / 8;
        let sum = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        if self.is_little { bytes[..width].iter().rev().fold(0, sum) } else { bytes[..width].iter().fold(0, sum) }
    }

    /// Converts samples of any depth to 8 or 16 bits.
    fn unpacked(&self, bytes: Vec<u8>) -> Decoded {
        let count = self.width * self.samples;
        let stride = self.stride();
        match (self.format, self.bits) {
            (Format::Unsigned, 8) => Decoded::Eight(bytes),
            // Negative values are black.
            (Format::Signed, 8) => {
                Decoded::Eight(bytes.into_iter().map(|byte| if byte < 128 { byte } else { 0 }).collect())
            }
            (Format::Unsigned, bits @ (1 | 2 | 4)) => {
                let most = (1_u8 << bits) - 1;
                let spread = u8::MAX / most;
                let sample = |row: &[u8], at: usize| {
                    let place = at * bits;
                    (row[place / 8] >> (8 - bits - place % 8) & most) * spread
                };
                let rows = bytes.chunks_exact(stride);
                Decoded::Eight(rows.flat_map(|row| (0..count).map(move |at| sample(row, at))).collect())
            }
            (Format::Unsigned, 12) => {
                let sample = |row: &[u8], at: usize| {
                    let pair = at / 2 * 3;
                    let byte = |place: usize| u16::from(row.get(pair + place).copied().unwrap_or_default());
                    let value =
                        if at.is_multiple_of(2) { byte(0) << 4 | byte(1) >> 4 } else { (byte(1) & 15) << 8 | byte(2) };
                    value << 4 | value >> 8
                };
                let rows = bytes.chunks_exact(stride);
                Decoded::Sixteen(rows.flat_map(|row| (0..count).map(move |at| sample(row, at))).collect())
            }
            (Format::Unsigned, 16) => {
                let word =
                    |pair: &[u8; 2]| if self.is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) };
                Decoded::Sixteen(bytes.as_chunks::<2>().0.iter().map(word).collect())
            }
            (Format::Signed, 16) => {
                let word =
                    |pair: &[u8; 2]| if self.is_little { i16::from_le_bytes(*pair) } else { i16::from_be_bytes(*pair) };
                Decoded::Sixteen(
                    bytes.as_chunks::<2>().0.iter().map(|pair| word(pair).max(0).cast_unsigned()).collect(),
                )
            }
            (Format::Float, _) => {
                let double = |word: &[u8]| -> f64 {
                    let digits: Vec<u8> =
                        if self.is_little { word.to_vec() } else { word.iter().rev().copied().collect() };
                    match digits.len() {
                        4 => f32::from_le_bytes(digits.try_into().unwrap_or_default()).into(),
                        _ => f64::from_le_bytes(digits.try_into().unwrap_or_default()),
                    }
                };
                let values: Vec<f32> = bytes.chunks_exact(self.bits / 8).map(|word| double(word) as f32).collect();
                // Programs use 1, or 255, as the maximum.
                let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0_f32, f32::max);
                let scale = if most <= 1.0 { 65_535.0 } else { 257.0 };
                Decoded::Sixteen(values.into_iter().map(|value| (value * scale).clamp(0.0, 65_535.0) as u16).collect())
            }
            (format, _) => {
                let words = bytes.as_chunks::<4>().0.iter().map(|word| {
                    let value = self.word(word);
                    if format == Format::Signed { value.cast_signed().max(0).cast_unsigned() } else { value }
                });
                let words: Vec<u32> = words.collect();
                // Few programs use the full range of 32 bits.
                let most = words.iter().copied().max().unwrap_or_default();
                let sixteen = |value: u32| match most {
                    ..=0xFF => value * 257,
                    0x100..=0xFFFF => value,
                    0x1_0000.. => value >> 16,
                };
                Decoded::Sixteen(
                    words.into_iter().map(|value| u16::try_from(sixteen(value)).unwrap_or(u16::MAX)).collect(),
                )
            }
        }
    }

    /// The bytes of a chunk with subsampled YCbCr: luma of several pixels, then their chroma.
    fn subsampled_bytes(&self) -> usize {
        let (across, down) = self.subsampling;
        self.width.div_ceil(across) * self.height.div_ceil(down) * (across * down + 2)
    }

    fn upsampled(&self, bytes: &[u8]) -> Vec<u8> {
        let (across, down) = self.subsampling;
        let unit = across * down + 2;
        let units = self.width.div_ceil(across);
        let mut samples = vec![0; self.width * self.height * 3];
        for y in 0..self.height {
            for x in 0..self.width {
                let start = (y / down * units + x / across) * unit;
                let luma = bytes[start + y % down * across + x % across];
                let place = (y * self.width + x) * 3;
                samples[place..place + 3].copy_from_slice(&[luma, bytes[start + unit - 2], bytes[start + unit - 1]]);
            }
        }
        samples
    }

    /// A chunk that is a JPEG, with tables that all chunks share.
    fn jpeg(&self, data: &[u8]) -> Result<Decoded, Refusal> {
        const START: &[u8] = b"\xFF\xD8";
        const END: &[u8] = b"\xFF\xD9";

        let joined: Vec<u8>;
        let data = match self.tables {
            Some(tables) => {
                let tables = tables.strip_suffix(END).unwrap_or(tables);
                joined = [tables, data.strip_prefix(START).unwrap_or(data)].concat();
                &joined
            }
            None => data,
        };
        let options = DecoderOptions::default().set_strict_mode(false);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
        decoder.decode_headers().map_err(|_| Refusal::Corrupt)?;
        let info = decoder.info().ok_or(Refusal::Corrupt)?;
        let own = decoder.input_colorspace().ok_or(Refusal::Corrupt)?;
        // The photometric interpretation counts, so the decoder must not convert colours.
        decoder.set_options(options.jpeg_set_out_colorspace(own));
        let channels = own.num_components();
        let (width, height) = (usize::from(info.width), usize::from(info.height));
        if self.bits != 8 || channels != self.samples || width * height > 2 * self.width * self.height.max(16) {
            return Err(Refusal::Corrupt);
        }
        let decoded = decoder.decode().map_err(|_| Refusal::Corrupt)?;
        if (width, height) == (self.width, self.height) {
            return Ok(Decoded::Eight(decoded));
        }
        let mut samples = vec![0; self.width * self.height * channels];
        let shown = width.min(self.width) * channels;
        let rows = samples.chunks_exact_mut(self.width * channels).zip(decoded.chunks_exact(width * channels));
        for (to, from) in rows {
            to[..shown].copy_from_slice(&from[..shown]);
        }
        Ok(Decoded::Eight(samples))
    }
}

fn unpacked_lzw(data: &[u8], length: usize) -> Vec<u8> {
    // The old LZW variant has the bits of codes reversed, and lengthens codes one code later.
    let is_old = data.first() == Some(&0) && data.get(1).is_some_and(|byte| byte & 1 == 1);
    let configuration = if is_old {
        Configuration::new(BitOrder::Lsb, 8)
    } else {
        Configuration::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let mut decoder = configuration.with_yield_on_full_buffer(true).build();
    let mut bytes = vec![0; length];
    let (mut read, mut written) = (0, 0);
    while written < length && read < data.len() {
        let step = decoder.decode_bytes(&data[read..], &mut bytes[written..]);
        (read, written) = (read + step.consumed_in, written + step.consumed_out);
        if !matches!(step.status, Ok(LzwStatus::Ok)) || step.consumed_in + step.consumed_out == 0 {
            break;
        }
    }
    bytes.truncate(written);
    bytes
}

fn unpacked_bits(data: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut rest = data;
    while let (Some((&head, after)), true) = (rest.split_first(), bytes.len() < length) {
        let count = usize::from(head);
        match head {
            0..=127 => {
                let literal = after.get(..count + 1).unwrap_or(after);
                bytes.extend_from_slice(literal);
                rest = &after[literal.len()..];
            }
            128 => rest = after,
            129.. => {
                let Some((byte, after)) = after.split_first() else { break };
                bytes.extend(std::iter::repeat_n(*byte, 257 - count));
                rest = after;
            }
        }
    }
    bytes.truncate(length);
    bytes
}
