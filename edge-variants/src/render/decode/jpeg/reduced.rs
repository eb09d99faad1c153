//! Decodes a JPEG straight to a half, a quarter or an eighth of its size.
//!
//! The walker forms only the coefficients that the smaller picture needs, transforms them at its size and keeps the
//! planes as they are stored: YCbCr, with less of the colours. Of a progressive file it reads the scans of the mean
//! values alone, so an eighth is all that it makes of one. What it does not know, and what contradicts itself, it leaves
//! to the decoder of whole pictures by answering `None`.
#![expect(clippy::cast_possible_truncation, reason = "sums are clamped to the range of a sample before")]

use xfiles_core::sniff::Dimensions;

use super::bits::{Bits, Huffman, next_marker};
use crate::render::limits::MAX_SCANS;

/// One plane of samples, row by row.
pub(in crate::render) struct Plane {
    pub width: usize,
    pub height: usize,
    pub samples: Vec<u8>,
}

/// The size of the reduced picture: eighths of the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Eighth = 1,
    Quarter = 2,
    Half = 4,
}

impl Scale {
    /// Samples on a side of what was a block of eight.
    const fn side(self) -> usize {
        self as usize
    }

    /// How many coefficients, in zig-zag order, hold all that the transform takes.
    const fn wanted(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 5,
            Self::Half => 25,
        }
    }
}

/// Where the coefficients stand in their block, by zig-zag order.
const ZIG_ZAG: [u8; 25] = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27];

struct Component {
    id: u8,
    across: usize,
    down: usize,
    /// By zig-zag order.
    quantization: [i32; 64],
    quantization_table: usize,
    /// Blocks with samples of the picture in them.
    blocks: (usize, usize),
    /// What the plane holds, padding included.
    stride: usize,
    samples: Vec<u8>,
    /// The mean values of the blocks of a progressive picture.
    means: Vec<i16>,
    blocks_across: usize,
}

struct Frame {
    is_progressive: bool,
    units: (usize, usize),
    components: Vec<Component>,
}

/// Decodes `data`, which claims the size `stored`, to one or three planes.
pub(super) fn decode(data: &[u8], stored: Dimensions, scale: Scale) -> Option<Vec<Plane>> {
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    let mut at = 2;
    loop {
        at = next_marker(data, at);
        let Some(&marker) = data.get(at + 1) else { break };
        if marker == 0xD9 {
            break;
        }
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            at += 2;
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*data.get(at + 2..)?.first_chunk()?));
        let Some(payload) = data.get(at + 4..at + 2 + length) else { break };
        at += 2 + length;
        match marker {
            0xC0..=0xC2 if frame.is_none() => frame = Some(Frame::parse(payload, marker == 0xC2, stored, scale)?),
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return None,
            0xC4 => tables.huffman(payload)?,
            0xDB => tables.quantization(payload)?,
            0xDD => tables.restart_interval = usize::from(u16::from_be_bytes(*payload.first_chunk()?)),
            0xDA => {
                scans += 1;
                if scans > MAX_SCANS {
                    return None;
                }
                let mut bits = Bits::new(data, at);
                frame.as_mut()?.scan(payload, &tables, &mut bits, scale)?;
                at = bits.place();
            }
            _ => {}
        }
    }
    (scans > 0).then_some(())?;
    frame?.planes(stored, scale)
}

/// Whether the first frame is told in scans that refine one another.
pub(super) fn is_progressive(data: &[u8]) -> bool {
    let mut at = 2;
    loop {
        at = next_marker(data, at);
        match data.get(at + 1) {
            Some(0x01 | 0xD0..=0xD8) => at += 2,
            Some(0xC2) => return true,
            Some(0xC0 | 0xC1 | 0xD9 | 0xDA) | None => return false,
            Some(_) => {
                let length = data.get(at + 2..).and_then(<[u8]>::first_chunk).map_or(2, |it| u16::from_be_bytes(*it));
                at += 2 + usize::from(length);
            }
        }
    }
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[i32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
}

impl Tables {
    fn quantization(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            // The upper half says whether the steps have 16 bits.
            let steps = rest.first_chunk::<64>().filter(|_| kind < 4)?;
            self.quantization[usize::from(kind)] = Some(steps.map(i32::from));
            payload = &rest[64..];
        }
        Some(())
    }

    fn huffman(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            let counts = rest.first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, after) = rest[16..].split_at_checked(total)?;
            let is_ac = kind >> 4 == 1;
            let tables = if is_ac { &mut self.ac } else { &mut self.dc };
            *tables.get_mut(usize::from(kind & 15)).filter(|_| kind < 0x20)? =
                Some(Huffman::new(counts, symbols, is_ac)?);
            payload = after;
        }
        Some(())
    }
}

impl Frame {
    fn parse(payload: &[u8], is_progressive: bool, stored: Dimensions, scale: Scale) -> Option<Self> {
        let (&[depth, h0, h1, w0, w1, count], specs) = payload.split_first_chunk()?;
        let claimed = [u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])].map(u32::from);
        let known = depth == 8 && claimed == [stored.width, stored.height] && matches!(count, 1 | 3);
        if !known || is_progressive && scale != Scale::Eighth {
            return None;
        }
        let specs = specs.as_chunks::<3>().0.get(..usize::from(count))?;
        let factors = |spec: &[u8; 3]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        // A picture of one component has no sampling.
        let factors = |spec: &[u8; 3]| if count == 1 { (1, 1) } else { factors(spec) };
        if specs.iter().map(factors).any(|(across, down)| !(1..=4).contains(&across) || !(1..=4).contains(&down)) {
            return None;
        }
        let most = specs.iter().map(factors).fold((1, 1), |most, it| (most.0.max(it.0), most.1.max(it.1)));
        let sides = (usize::try_from(stored.width).ok()?, usize::try_from(stored.height).ok()?);
        let units = (sides.0.div_ceil(8 * most.0), sides.1.div_ceil(8 * most.1));
        let components = specs.iter().map(|spec| {
            let (across, down) = factors(spec);
            let blocks = ((sides.0 * across).div_ceil(most.0 * 8), (sides.1 * down).div_ceil(most.1 * 8));
            let (blocks_across, blocks_down) = (units.0 * across, units.1 * down);
            let total = blocks_across * blocks_down;
            Component {
                id: spec[0],
                across,
                down,
                quantization: [0; 64],
                quantization_table: usize::from(spec[2]),
                blocks,
                stride: blocks_across * scale.side(),
                // Grey, as in a browser, is what a file that ends early does not tell.
                samples: vec![128; total * scale.side() * scale.side()],
                means: if is_progressive { vec![0; total] } else { Vec::new() },
                blocks_across,
            }
        });
        Some(Self { is_progressive, units, components: components.collect() })
    }

    /// Reads one scan, as far as the file has it.
    fn scan(&mut self, payload: &[u8], tables: &Tables, bits: &mut Bits<'_>, scale: Scale) -> Option<()> {
        let (&count, rest) = payload.split_first()?;
        let (chosen, rest) = rest.split_at_checked(usize::from(count) * 2)?;
        let &[from, to, approximation] = rest.first_chunk()?;
        let (earlier, shift) = (approximation >> 4, u32::from(approximation & 15));
        if self.is_progressive && from > 0 {
            return Some(());
        }
        if self.is_progressive && (to != 0 || shift > 13) {
            return None;
        }
        let mut parts = Vec::new();
        for [id, choice] in chosen.as_chunks::<2>().0 {
            let index = self.components.iter().position(|it| it.id == *id)?;
            let component = &mut self.components[index];
            component.quantization = (*tables.quantization.get(component.quantization_table)?)?;
            let dc = tables.dc.get(usize::from(choice >> 4))?.as_ref();
            let ac = tables.ac.get(usize::from(choice & 15))?.as_ref();
            if parts.iter().any(|part: &Part<'_>| part.index == index)
                || dc.is_none() && earlier == 0
                || ac.is_none() && !self.is_progressive
            {
                return None;
            }
            parts.push(Part { index, dc, ac, mean: 0 });
        }
        let reading = Reading { is_progressive: self.is_progressive, refines: earlier > 0, shift, scale };
        let interleaved = parts.len() > 1;
        let (columns, rows) = if interleaved { self.units } else { self.components[parts.first()?.index].blocks };
        let mut until_restart = tables.restart_interval;
        for row in 0..rows {
            for column in 0..columns {
                if tables.restart_interval > 0 {
                    if until_restart == 0 {
                        if !bits.restart() {
                            return Some(());
                        }
                        parts.iter_mut().for_each(|part| part.mean = 0);
                        until_restart = tables.restart_interval;
                    }
                    until_restart -= 1;
                }
                for part in &mut parts {
                    let component = &mut self.components[part.index];
                    let (across, down) = if interleaved { (component.across, component.down) } else { (1, 1) };
                    for y in 0..down {
                        for x in 0..across {
                            let place = (column * across + x, row * down + y);
                            reading.block(component, part, bits, place)?;
                        }
                    }
                }
                if bits.is_overdrawn() {
                    // Restart markers let the picture go on behind a gap; the end of the file does not.
                    if tables.restart_interval > 0 {
                        continue;
                    }
                    return Some(());
                }
            }
        }
        Some(())
    }

    fn planes(self, stored: Dimensions, scale: Scale) -> Option<Vec<Plane>> {
        let most = self.components.iter().fold((1, 1), |most, it| (most.0.max(it.across), most.1.max(it.down)));
        let (width, height) = (usize::try_from(stored.width).ok()?, usize::try_from(stored.height).ok()?);
        let planes = self.components.into_iter().map(|mut component| {
            for (sample, mean) in component.samples.iter_mut().zip(&component.means) {
                *sample = sample_of(i32::from(*mean) * component.quantization[0]);
            }
            // The samples that the picture covers, to the nearest.
            let covered = |side: usize, of: usize, most: usize| {
                let eighths = side * of * scale.side();
                ((eighths + most * 4) / (most * 8)).max(1)
            };
            let width = covered(width, component.across, most.0);
            let height = covered(height, component.down, most.1);
            if component.stride > width {
                for row in 0..height {
                    component.samples.copy_within(row * component.stride..row * component.stride + width, row * width);
                }
            }
            component.samples.truncate(width * height);
            Plane { width, height, samples: component.samples }
        });
        Some(planes.collect())
    }
}

/// A component in a scan.
struct Part<'a> {
    index: usize,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
    /// That of the block before, which the next is told against.
    mean: i32,
}

/// How the blocks of a scan are read.
struct Reading {
    is_progressive: bool,
    refines: bool,
    shift: u32,
    scale: Scale,
}

impl Reading {
    #[inline(always)]
    fn block(
        &self,
        component: &mut Component,
        part: &mut Part<'_>,
        bits: &mut Bits<'_>,
        place: (usize, usize),
    ) -> Option<()> {
        if self.is_progressive {
            let mean = &mut component.means[place.1 * component.blocks_across + place.0];
            if self.refines {
                *mean |= i16::try_from(bits.bit() << self.shift).ok()?;
            } else {
                part.mean = part.mean.wrapping_add(part.dc?.difference(bits)?);
                // What is out of range is wrong in any case.
                let shifted = (part.mean << self.shift) as i16;
                *mean = shifted;
            }
            return Some(());
        }
        part.mean = part.mean.wrapping_add(part.dc?.difference(bits)?);
        let side = self.scale.side();
        let target = place.1 * side * component.stride + place.0 * side;
        match self.scale {
            Scale::Eighth => {
                part.ac?.coefficients(bits, self.scale.wanted(), |_, _| ())?;
                component.samples[target] = sample_of(dequantized(part.mean, component.quantization[0]));
            }
            Scale::Quarter => {
                let mut block = [dequantized(part.mean, component.quantization[0]), 0, 0, 0];
                part.ac?.coefficients(bits, self.scale.wanted(), |k, value| {
                    let at = match k {
                        1 => 1,
                        2 => 2,
                        4 => 3,
                        _ => return,
                    };
                    block[at] = dequantized(value, component.quantization[k as usize]);
                })?;
                let [mean, right, down, both] = block;
                let (top, bottom) = ((mean + down, right + both), (mean - down, right - both));
                for (row, (even, odd)) in [top, bottom].into_iter().enumerate() {
                    let at = target + row * component.stride;
                    component.samples[at..at + 2].copy_from_slice(&[sample_of(even + odd), sample_of(even - odd)]);
                }
            }
            Scale::Half => {
                let mut block = [0; 16];
                block[0] = dequantized(part.mean, component.quantization[0]);
                let mut is_flat = true;
                part.ac?.coefficients(bits, self.scale.wanted(), |k, value| {
                    let at = usize::from(ZIG_ZAG[k as usize]);
                    if at % 8 < 4 && at / 8 < 4 {
                        is_flat = false;
                        block[at / 8 * 4 + at % 8] = dequantized(value, component.quantization[k as usize]);
                    }
                })?;
                let rows = if is_flat { [[sample_of(block[0]); 4]; 4] } else { half(&block) };
                for (row, samples) in rows.iter().enumerate() {
                    let at = target + row * component.stride;
                    component.samples[at..at + 4].copy_from_slice(samples);
                }
            }
        }
        Some(())
    }
}

/// A coefficient, within four times what 8-bit samples can yield, so that no sum of them overflows.
#[inline(always)]
fn dequantized(value: i32, step: i32) -> i32 {
    value.wrapping_mul(step).clamp(-4096, 4096)
}

/// From eighths about zero to a sample.
#[inline(always)]
fn sample_of(eighths: i32) -> u8 {
    (((eighths + 4) >> 3) + 128).clamp(0, 255) as u8
}

/// The inverse transform of the lowest 4 x 4 coefficients.
fn half(block: &[i32; 16]) -> [[u8; 4]; 4] {
    /// Fractional bits of the factors, and those that the first pass leaves for the second.
    const FACTOR: u32 = 13;
    const KEPT: u32 = 2;
    /// The root of 2 times the cosines of an eighth and of three eighths of pi.
    const LARGE: i32 = 10_703;
    const SMALL: i32 = 4_433;

    let transform = |[a, b, c, d]: [i32; 4]| {
        let (even, odd) = ((a + c) << FACTOR, (a - c) << FACTOR);
        let (outer, inner) = (b * LARGE + d * SMALL, b * SMALL - d * LARGE);
        [even + outer, odd + inner, odd - inner, even - outer]
    };
    let mut columns = [[0; 4]; 4];
    for (x, column) in columns.iter_mut().enumerate() {
        let sums = transform([block[x], block[4 + x], block[8 + x], block[12 + x]]);
        *column = sums.map(|sum| (sum + (1 << (FACTOR - KEPT - 1))) >> (FACTOR - KEPT));
    }
    let mut rows = [[0; 4]; 4];
    for (y, row) in rows.iter_mut().enumerate() {
        let sums = transform([columns[0][y], columns[1][y], columns[2][y], columns[3][y]]);
        *row = sums.map(|sum| (((sum + (1 << (FACTOR + KEPT + 2))) >> (FACTOR + KEPT + 3)) + 128).clamp(0, 255) as u8);
    }
    rows
}
