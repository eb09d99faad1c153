//! Decodes a JPEG straight to a half, a quarter or an eighth of its size.
//!
//! The walker forms only the coefficients that the smaller picture needs, transforms them at its size and keeps the
//! planes as they are stored: YCbCr, with less of the colours. Of a progressive file it reads the scans of the mean
//! values alone, so an eighth is all that it makes of one. What it does not know, and what contradicts itself, it leaves
//! to the decoder of whole pictures by answering `None`.
#![expect(
    clippy::cast_possible_truncation,
    reason = "places are within a block, and means that are out of range are wrong"
)]

use xfiles_core::sniff::Dimensions;

use super::{
    bits::{Bits, Reader, Window, next_marker},
    huffman::{Code, Coefficients, Differences},
    transform::{self, Band, Steps},
};
use crate::render::{deadline::Deadline, limits::MAX_SCANS, planes::Plane};

/// The size of the reduced picture: eighths of the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Eighth = 1,
    Quarter = 2,
    ThreeEighths = 3,
    Half = 4,
}

impl Scale {
    /// Smallest first.
    pub(super) const ALL: [Self; 4] = [Self::Eighth, Self::Quarter, Self::ThreeEighths, Self::Half];

    /// Samples on a side of what was a block of eight.
    const fn side(self) -> usize {
        self as usize
    }

    /// How many coefficients, in zig-zag order, hold all that the transform takes.
    const fn wanted(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 5,
            Self::ThreeEighths => 13,
            Self::Half => 25,
        }
    }
}

/// Where the coefficients stand in their block, by zig-zag order.
const ZIG_ZAG: [u8; 25] = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27];

/// More blocks in a unit than the standard allows make no picture.
const MOST_BLOCKS: usize = 10;

struct Component {
    id: u8,
    scale: Scale,
    across: usize,
    down: usize,
    quantization_table: usize,
    /// Where coefficients go, by zig-zag order, also those that overshoot the block.
    places: [u8; 128],
    /// What they count there.
    steps: Steps,
    /// Blocks with samples of the picture in them.
    blocks: (usize, usize),
    /// What the plane holds, padding included.
    stride: usize,
    samples: Vec<u8>,
    /// The rows of blocks of a unit.
    bands: Vec<Band>,
    /// The mean values of the blocks of a progressive picture.
    means: Vec<i16>,
    blocks_across: usize,
}

struct Frame {
    is_progressive: bool,
    units: (usize, usize),
    components: Vec<Component>,
}

/// Decodes `data`, which claims the size `stored`, to one or three planes, unless the deadline comes first.
pub(super) fn decode(data: &[u8], stored: Dimensions, scale: Scale, deadline: Deadline) -> Option<Vec<Plane>> {
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
                frame.as_mut()?.scan(payload, &tables, &mut bits, deadline)?;
                at = bits.place();
            }
            _ => {}
        }
    }
    (scans > 0).then_some(())?;
    frame?.planes(stored)
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
    quantization: [Option<[u8; 64]>; 4],
    dc: [Option<Code>; 4],
    ac: [Option<Code>; 4],
    restart_interval: usize,
}

impl Tables {
    fn quantization(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            // The upper half says whether the steps have 16 bits.
            let steps = rest.first_chunk::<64>().filter(|_| kind < 4)?;
            self.quantization[usize::from(kind)] = Some(*steps);
            payload = &rest[64..];
        }
        Some(())
    }

    /// Keeps the codes as they are: only a scan makes tables of those that it reads by, and there are not many scans.
    fn huffman(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            let counts = rest.first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, after) = rest[16..].split_at_checked(total)?;
            let tables = if kind >> 4 == 1 { &mut self.ac } else { &mut self.dc };
            *tables.get_mut(usize::from(kind & 15)).filter(|_| kind < 0x20)? = Some(Code::new(*counts, symbols));
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
        if specs.iter().map(factors).map(|(across, down)| across * down).sum::<usize>() > MOST_BLOCKS {
            return None;
        }
        let most = specs.iter().map(factors).fold((1, 1), |most, it| (most.0.max(it.0), most.1.max(it.1)));
        let sides = (usize::try_from(stored.width).ok()?, usize::try_from(stored.height).ok()?);
        let units = (sides.0.div_ceil(8 * most.0), sides.1.div_ceil(8 * most.1));
        let components = specs.iter().map(|spec| {
            let (across, down) = factors(spec);
            let blocks = ((sides.0 * across).div_ceil(most.0 * 8), (sides.1 * down).div_ceil(most.1 * 8));
            let (blocks_across, blocks_down) = (units.0 * across, units.1 * down);
            // An eighth is hardly enough for a picture that has all of its colours; half of it is not.
            let is_halved = most.0 >= 2 * across && most.1 >= 2 * down;
            let scale = match scale {
                Scale::Eighth if is_halved && !is_progressive => Scale::Quarter,
                _ => scale,
            };
            let stride = if is_progressive { blocks_across } else { Band::stride(scale.side(), blocks_across) };
            let bands = if scale == Scale::Eighth { 0 } else { down };
            Component {
                id: spec[0],
                scale,
                across,
                down,
                quantization_table: usize::from(spec[2]),
                places: [0; 128],
                steps: Steps::default(),
                blocks,
                stride,
                // Grey, as in a browser, is what a file that ends early does not tell.
                samples: vec![128; stride * blocks_down * scale.side()],
                bands: (0..bands).map(|_| Band::new(scale.side(), blocks_across)).collect(),
                means: if is_progressive { vec![0; blocks_across * blocks_down] } else { Vec::new() },
                blocks_across,
            }
        });
        Some(Self { is_progressive, units, components: components.collect() })
    }

    /// Reads one scan, as far as the file has it.
    fn scan(&mut self, payload: &[u8], tables: &Tables, bits: &mut Bits<'_>, deadline: Deadline) -> Option<()> {
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
        let mut chosen_parts = Vec::<(usize, Option<&Code>, Option<&Code>)>::new();
        for [id, choice] in chosen.as_chunks::<2>().0 {
            let index = self.components.iter().position(|it| it.id == *id)?;
            let component = &mut self.components[index];
            component.quantize(tables.quantization.get(component.quantization_table)?.as_ref()?);
            let dc = tables.dc.get(usize::from(choice >> 4))?.as_ref();
            let ac = tables.ac.get(usize::from(choice & 15))?.as_ref();
            if chosen_parts.iter().any(|(other, ..)| *other == index) {
                return None;
            }
            chosen_parts.push((index, dc, ac));
        }
        let mut parts = Vec::new();
        for (index, dc, ac) in chosen_parts {
            let dc = if earlier == 0 { Some(Differences::new(dc?)?) } else { None };
            let ac = if self.is_progressive { None } else { Some(Coefficients::new(ac?)?) };
            parts.push(Part { index, dc, ac, mean: 0 });
        }
        let reading = Reading { is_progressive: self.is_progressive, shift };
        let interleaved = parts.len() > 1;
        let (columns, rows) = if interleaved { self.units } else { self.components[parts.first()?.index].blocks };
        let mut until_restart = tables.restart_interval;
        for row in 0..rows {
            if deadline.is_past() {
                return None;
            }
            let mut goes_on = true;
            for column in 0..columns {
                if tables.restart_interval > 0 {
                    if until_restart == 0 {
                        if !bits.restart() {
                            goes_on = false;
                            break;
                        }
                        parts.iter_mut().for_each(|part| part.mean = 0);
                        until_restart = tables.restart_interval;
                    }
                    until_restart -= 1;
                }
                let (mut reader, window) = bits.unit();
                for part in &mut parts {
                    let component = &mut self.components[part.index];
                    let (across, down) = if interleaved { (component.across, component.down) } else { (1, 1) };
                    for y in 0..down {
                        for x in 0..across {
                            let place = (column * across + x, row * down + y);
                            reader = reading.block(component, part, reader, window, place, y)?;
                        }
                    }
                }
                bits.read(reader);
                // Restart markers let the picture go on behind a gap; the end of the file does not.
                if bits.is_overdrawn() && tables.restart_interval == 0 {
                    goes_on = false;
                    break;
                }
            }
            for part in &parts {
                self.components[part.index].finish(row, interleaved);
            }
            if !goes_on {
                break;
            }
        }
        Some(())
    }

    fn planes(self, stored: Dimensions) -> Option<Vec<Plane>> {
        let most = self.components.iter().fold((1, 1), |most, it| (most.0.max(it.across), most.1.max(it.down)));
        let (width, height) = (usize::try_from(stored.width).ok()?, usize::try_from(stored.height).ok()?);
        let planes = self.components.into_iter().map(|mut component| {
            for (sample, mean) in component.samples.iter_mut().zip(&component.means) {
                *sample = transform::mean(i32::from(*mean), component.steps[0]);
            }
            // How many samples the picture covers, the last of them perhaps in part.
            let eighths = component.scale.side();
            let covered = |side: usize, of: usize, most: usize| (side * of * eighths) as f64 / (most * 8) as f64;
            let covers = (covered(width, component.across, most.0), covered(height, component.down, most.1));
            Plane::new(component.samples, component.stride, covers)
        });
        Some(planes.collect())
    }
}

impl Component {
    fn quantize(&mut self, steps: &[u8; 64]) {
        let side = self.scale.side();
        // What is not wanted goes behind the block.
        self.places = [(side * side) as u8; 128];
        for ((place, source), step) in self.places.iter_mut().zip(ZIG_ZAG).zip(steps) {
            let (x, y) = (usize::from(source % 8), usize::from(source / 8));
            if x < side && y < side {
                *place = (y * side + x) as u8;
                self.steps[y * side + x] = *step;
            }
        }
    }

    /// Makes samples of a row of units.
    fn finish(&mut self, row: usize, interleaved: bool) {
        let down = if interleaved { self.down } else { 1 };
        for (y, band) in self.bands.iter_mut().take(down).enumerate() {
            let first = (row * down + y) * band.side() * self.stride;
            if let Some(samples) = self.samples.get_mut(first..) {
                band.finish(samples, self.stride, &self.steps);
            }
        }
    }
}

/// A component in a scan.
struct Part {
    index: usize,
    dc: Option<Differences>,
    ac: Option<Coefficients>,
    /// That of the block before, which the next is told against.
    mean: i32,
}

/// How the blocks of a scan are read.
struct Reading {
    is_progressive: bool,
    shift: u32,
}

impl Reading {
    /// Reads the block at `place`, into the band of that number.
    #[inline(always)]
    fn block(
        &self,
        component: &mut Component,
        part: &mut Part,
        mut reader: Reader,
        window: &Window,
        place: (usize, usize),
        band: usize,
    ) -> Option<Reader> {
        reader.refill(window);
        if self.is_progressive {
            let mean = &mut component.means[place.1 * component.blocks_across + place.0];
            if let Some(dc) = &part.dc {
                part.mean = part.mean.wrapping_add(dc.next(&mut reader)?);
                // What is out of range is wrong in any case.
                *mean = (part.mean << self.shift) as i16;
            } else {
                *mean |= ((reader.held >> 63) << self.shift) as i16;
                reader.skip(1);
            }
            return Some(reader);
        }
        let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else { return None };
        part.mean = part.mean.wrapping_add(dc.next(&mut reader)?);
        if component.scale == Scale::Eighth {
            component.samples[place.1 * component.stride + place.0] = transform::mean(part.mean, component.steps[0]);
            return ac.read(reader, window, 1, |_, _| ());
        }
        let mut block = component.bands[band].block(place.0);
        block.put(0, part.mean);
        ac.read(reader, window, component.scale.wanted(), |k, value| {
            block.put(component.places[(k & 127) as usize].into(), value);
        })
    }
}
