//! Decodes a JPEG straight to its size, or to an eighth, two, three or four of it.
//!
//! The walker forms only the coefficients that the smaller picture needs, transforms them at its size and keeps the
//! planes as they are stored: YCbCr, with less of the colours. Of a progressive file it passes over the scans that tell
//! none of them. What it does not know, and what contradicts itself, it leaves to the decoder of whole pictures by
//! answering `None`.
#![expect(
    clippy::cast_possible_truncation,
    reason = "places are within a block, and means that are out of range are wrong"
)]

use xfiles_core::sniff::Dimensions;

use super::{
    bits::{Bits, Reader, Window, next_marker},
    huffman::{Code, Coefficients, Differences, Runs},
    progressive::{Gathered, Others, Spectrum},
    transform::{self, Band, Steps},
    usual,
};
use crate::render::{deadline::Deadline, limits::MAX_SCANS, original::Original, planes::Plane, zig_zag::ZIG_ZAG};

/// The size of the reduced picture: eighths of the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render::decode) enum Scale {
    Eighth = 1,
    Quarter = 2,
    ThreeEighths = 3,
    Half = 4,
    Whole = 8,
}

impl Scale {
    /// Smallest first.
    pub(super) const ALL: [Self; 5] = [Self::Eighth, Self::Quarter, Self::ThreeEighths, Self::Half, Self::Whole];

    /// Samples on a side of what was a block of eight.
    pub(super) const fn side(self) -> usize {
        self as usize
    }

    /// How many coefficients, in zig-zag order, hold all that the transform takes.
    pub(super) const fn wanted(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 5,
            Self::ThreeEighths => 13,
            Self::Half => 25,
            Self::Whole => 64,
        }
    }

    /// The same, with one bit for each of them.
    fn coefficients(self) -> u64 {
        u64::MAX >> (64 - self.wanted())
    }

    /// Twice the scale, or as good as that, up to a half.
    fn doubled(self) -> Self {
        match self {
            Self::Eighth => Self::Quarter,
            Self::Quarter | Self::ThreeEighths => Self::Half,
            Self::Half | Self::Whole => self,
        }
    }

    /// The same, or half of the size if that is smaller.
    pub(super) fn at_most_half(self) -> Self {
        if self == Self::Whole { Self::Half } else { self }
    }

    fn places(self) -> Places {
        let side = self.side();
        let mut places = [(side * side) as u8; 128];
        for (place, source) in places.iter_mut().zip(ZIG_ZAG) {
            let (x, y) = (usize::from(source % 8), usize::from(source / 8));
            if x < side && y < side {
                *place = (y * side + x) as u8;
            }
        }
        places
    }
}

/// How a picture is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render::decode) struct Scales {
    /// Luma, and colours of which there are as many samples.
    pub(super) whole: Scale,
    /// Colours that are stored at half the samples each way.
    pub(super) halved: Scale,
}

impl Scales {
    /// For a picture that has half of the colours again: all planes alike.
    pub(super) fn for_halves(scale: Scale) -> Self {
        Self { whole: scale, halved: scale }
    }

    /// For a picture that has a colour for each pixel. Half of them at the same scale would be hardly enough.
    pub(super) fn for_pixels(scale: Scale) -> Self {
        Self { whole: scale, halved: scale.doubled() }
    }
}

/// Where coefficients stand in a block of the scale, by zig-zag order, also those that overshoot a block. What the scale
/// does not want stands behind the block.
pub(super) type Places = [u8; 128];

/// A scan, a part of the picture, follows the segment.
pub(super) const START_OF_SCAN: u8 = 0xDA;

/// More blocks in a unit than the standard allows make no picture.
const MOST_BLOCKS: usize = 10;

struct Component {
    id: u8,
    scale: Scale,
    /// Before which coefficient those stand that the scale wants, in zig-zag order.
    wanted: u32,
    across: usize,
    down: usize,
    quantization_table: usize,
    places: Places,
    /// What coefficients count, by place.
    steps: Steps,
    /// Blocks with samples of the picture in them.
    blocks: (usize, usize),
    /// What the plane holds, padding included.
    stride: usize,
    samples: Vec<u8>,
    /// The rows of blocks of a unit, of a baseline picture.
    bands: Vec<Band>,
    /// Of a progressive picture.
    gathered: Option<Gathered>,
    /// Which coefficients are wanted and not yet told to the last bit, in zig-zag order: one bit for each.
    missing: u64,
    blocks_across: usize,
}

struct Frame {
    is_progressive: bool,
    units: (usize, usize),
    components: Vec<Component>,
}

/// Decodes an original that claims the size `stored` to one or three planes, unless the deadline comes first. It reads as
/// far as the last scan that it needs.
pub(super) fn decode(
    original: &mut Original<'_>,
    stored: Dimensions,
    scales: Scales,
    deadline: Deadline,
) -> Option<Vec<Plane>> {
    let mut tables = Tables::new();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    let mut at = 2;
    while let Some((marker, payload)) = next_segment(original, &mut at) {
        match marker {
            0xC0..=0xC2 if frame.is_none() => frame = Some(Frame::parse(payload, marker == 0xC2, stored, scales)?),
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return None,
            0xC4 => tables.huffman(payload)?,
            0xDB => tables.quantization(payload)?,
            0xDD => tables.restart_interval = usize::from(u16::from_be_bytes(*payload.first_chunk()?)),
            START_OF_SCAN => {
                scans += 1;
                if scans > MAX_SCANS {
                    return None;
                }
                let (frame, payload) = (frame.as_mut()?, payload.to_vec());
                let mut bits = Bits::new(original, at);
                frame.scan(&payload, &tables, &mut bits, deadline)?;
                at = bits.place();
                if frame.is_told() {
                    break;
                }
            }
            _ => {}
        }
    }
    (scans > 0).then_some(())?;
    frame?.planes(stored)
}

/// What [`decode`] takes. `None` if it would not decode.
pub(super) fn need(original: &mut Original<'_>, stored: Dimensions, scales: Scales) -> Option<u64> {
    let mut at = 2;
    while let Some((marker, payload)) = next_segment(original, &mut at) {
        if matches!(marker, 0xC0..=0xC2) {
            return Some(Layout::parse(payload, stored, scales)?.bytes(marker == 0xC2));
        }
        if marker == START_OF_SCAN {
            return None;
        }
    }
    None
}

/// The coding process of the first frame, by its marker, and where the first scan begins. Until there all has arrived.
pub(super) fn process(original: &mut Original<'_>) -> Option<(u8, usize)> {
    let (mut process, mut at) = (None, 2);
    while let Some((marker, _)) = next_segment(original, &mut at) {
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => process = process.or(Some(marker)),
            START_OF_SCAN => return Some((process?, at)),
            _ => {}
        }
    }
    None
}

/// The marker and the payload of the next segment that has one, and the place behind it. `None` at the end of the picture
/// or of the file.
pub(super) fn next_segment<'a>(original: &'a mut Original<'_>, at: &mut usize) -> Option<(u8, &'a [u8])> {
    loop {
        *at = next_marker(original, *at);
        match original.byte(*at + 1)? {
            0xD9 => return None,
            0x01 | 0xD0..=0xD8 => *at += 2,
            marker => {
                let start = *at + 4;
                let length = u16::from_be_bytes(*original.up_to(start).get(*at + 2..)?.first_chunk()?);
                // The length counts itself, so less is wrong; decoders take the segment for empty then.
                *at += 2 + usize::from(length.max(2));
                return Some((marker, original.up_to(*at).get(start..*at)?));
            }
        }
    }
}

struct Tables {
    quantization: [Option<[u8; 64]>; 4],
    dc: [Option<Code>; 4],
    ac: [Option<Code>; 4],
    restart_interval: usize,
}

impl Tables {
    /// The codes are those that the standard has as examples, because frames of motion JPEG come without.
    fn new() -> Self {
        let mut tables =
            Self { quantization: [None; 4], dc: Default::default(), ac: Default::default(), restart_interval: 0 };
        for (table, [dc, ac]) in usual::CODES.into_iter().enumerate() {
            tables.dc[table] = Some(Code::new(*dc.0, dc.1));
            tables.ac[table] = Some(Code::new(*ac.0, ac.1));
        }
        tables
    }

    fn quantization(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            // The upper half says whether the steps have 16 bits.
            let place = self.quantization.get_mut(usize::from(kind & 15)).filter(|_| kind < 0x20)?;
            if kind < 0x10 {
                *place = Some(*rest.first_chunk::<64>()?);
                payload = &rest[64..];
            } else {
                let wide = rest.first_chunk::<128>()?.as_chunks::<2>().0;
                let mut steps = [0; 64];
                for (step, wide) in steps.iter_mut().zip(wide) {
                    *step = u8::try_from(u16::from_be_bytes(*wide)).ok()?;
                }
                *place = Some(steps);
                payload = &rest[128..];
            }
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

/// What the header of a frame says, at the scales at which it is decoded.
struct Layout {
    units: (usize, usize),
    components: Vec<Shape>,
}

/// A component in it.
struct Shape {
    id: u8,
    quantization_table: usize,
    across: usize,
    down: usize,
    blocks: (usize, usize),
    blocks_across: usize,
    blocks_down: usize,
    scale: Scale,
}

impl Layout {
    fn parse(payload: &[u8], stored: Dimensions, scales: Scales) -> Option<Self> {
        let (&[depth, h0, h1, w0, w1, count], specs) = payload.split_first_chunk()?;
        let [width, height] = [u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])].map(u32::from);
        // A height that is told after the first scan is zero here.
        let is_size = width == stored.width && (height == stored.height || height == 0);
        if depth != 8 || !is_size || !matches!(count, 1 | 3) {
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
            let is_halved = most.0 >= 2 * across && most.1 >= 2 * down;
            Shape {
                id: spec[0],
                quantization_table: usize::from(spec[2]),
                across,
                down,
                blocks: ((sides.0 * across).div_ceil(most.0 * 8), (sides.1 * down).div_ceil(most.1 * 8)),
                blocks_across: units.0 * across,
                blocks_down: units.1 * down,
                scale: if is_halved { scales.halved } else { scales.whole },
            }
        });
        Some(Self { units, components: components.collect() })
    }

    /// The bytes of its planes, and of the coefficients that are gathered for them.
    fn bytes(&self, is_progressive: bool) -> u64 {
        let of = |it: &Shape| {
            let area = it.scale.side() * it.scale.side();
            let samples = Band::stride(it.scale.side(), it.blocks_across) * it.blocks_down * it.scale.side();
            let band = it.blocks_across.next_multiple_of(16) * (area + 1) * 2;
            let blocks = it.blocks_across * it.blocks_down;
            let gathered = if is_progressive { blocks * (area * 2 + 8) } else { band * it.down };
            (samples + gathered + band) as u64
        };
        self.components.iter().map(of).sum()
    }
}

impl Frame {
    fn parse(payload: &[u8], is_progressive: bool, stored: Dimensions, scales: Scales) -> Option<Self> {
        let Layout { units, components } = Layout::parse(payload, stored, scales)?;
        let components = components.into_iter().map(|it| {
            let Shape { id, quantization_table, across, down, blocks, blocks_across, blocks_down, scale } = it;
            let stride = Band::stride(scale.side(), blocks_across);
            let bands = if is_progressive { 0 } else { down };
            let places = scale.places();
            let gathered = || Gathered::new(scale, places, blocks_across * blocks_down);
            Component {
                id,
                scale,
                wanted: scale.wanted(),
                across,
                down,
                quantization_table,
                places,
                steps: [0; 64],
                blocks,
                stride,
                // Grey, as in a browser, is what a file that ends early does not tell.
                samples: vec![128; stride * blocks_down * scale.side()],
                bands: (0..bands).map(|_| Band::new(scale.side(), blocks_across)).collect(),
                gathered: is_progressive.then(gathered),
                missing: scale.coefficients(),
                blocks_across,
            }
        });
        Some(Self { is_progressive, units, components: components.collect() })
    }

    /// Reads one scan, as far as the file has it.
    fn scan(&mut self, payload: &[u8], tables: &Tables, bits: &mut Bits<'_, '_>, deadline: Deadline) -> Option<()> {
        let (&count, rest) = payload.split_first()?;
        let (chosen, rest) = rest.split_at_checked(usize::from(count) * 2)?;
        let spectrum = if self.is_progressive { Some(Spectrum::parse(*rest.first_chunk()?)?) } else { None };
        let mut chosen_parts = Vec::<(usize, Option<&Code>, Option<&Code>)>::new();
        for [id, choice] in chosen.as_chunks::<2>().0 {
            // Some writers give several components one number; they come in order then.
            let is_free = |index: usize| chosen_parts.iter().all(|(other, ..)| *other != index);
            let index =
                (0..self.components.len()).find(|index| self.components[*index].id == *id && is_free(*index))?;
            let component = &mut self.components[index];
            component.quantize(tables.quantization.get(component.quantization_table)?.as_ref()?);
            let dc = tables.dc.get(usize::from(choice >> 4))?.as_ref();
            let ac = tables.ac.get(usize::from(choice & 15))?.as_ref();
            chosen_parts.push((index, dc, ac));
        }
        // Only means are told of several components at once.
        if spectrum.is_some_and(|it| !it.is_of_means()) {
            let &[(index, ..)] = chosen_parts.as_slice() else { return None };
            if self.components[index].scale == Scale::Eighth {
                return Some(());
            }
        }
        let mut parts = Vec::new();
        for (index, dc, ac) in chosen_parts {
            let coding = match spectrum {
                None => Coding::Whole(Differences::new(dc?)?, Coefficients::new(ac?)?),
                Some(spectrum) if !spectrum.is_of_means() => Coding::Others(Others { runs: Runs::new(ac?)?, spectrum }),
                Some(Spectrum { shift, refines: true, .. }) => Coding::MeanBits(shift),
                Some(Spectrum { shift, .. }) => Coding::Means(Differences::new(dc?)?, shift),
            };
            parts.push(Part { index, coding, mean: 0, ended: 0 });
        }
        match spectrum {
            None => self.walk(&mut parts, bits, tables.restart_interval, deadline, Component::read_block)?,
            Some(_) => self.walk(&mut parts, bits, tables.restart_interval, deadline, Component::gather)?,
        }
        let told = spectrum.map_or(u64::MAX, Spectrum::told);
        for part in &parts {
            self.components[part.index].missing &= !told;
        }
        Some(())
    }

    /// Reads the blocks of a scan, one after the other.
    fn walk(
        &mut self,
        parts: &mut [Part],
        bits: &mut Bits<'_, '_>,
        restart_interval: usize,
        deadline: Deadline,
        read: impl Fn(&mut Component, &mut Part, Reader, &Window, Place) -> Option<Reader>,
    ) -> Option<()> {
        let interleaved = parts.len() > 1;
        let (columns, rows) = if interleaved { self.units } else { self.components[parts.first()?.index].blocks };
        let mut until_restart = restart_interval;
        let mut restarts = Restarts::default();
        for row in 0..rows {
            if deadline.is_past() {
                return None;
            }
            let mut goes_on = true;
            for column in 0..columns {
                if restart_interval > 0 {
                    if until_restart == 0 {
                        if restarts.next(bits).is_none() {
                            goes_on = false;
                            break;
                        }
                        parts.iter_mut().for_each(|part| (part.mean, part.ended) = (0, 0));
                        until_restart = restart_interval;
                    }
                    until_restart -= 1;
                    if restarts.is_lost {
                        continue;
                    }
                }
                let (mut reader, window) = bits.unit();
                'unit: for part in &mut *parts {
                    let component = &mut self.components[part.index];
                    let (across, down) = if interleaved { (component.across, component.down) } else { (1, 1) };
                    for y in 0..down {
                        for x in 0..across {
                            let place = Place { column: column * across + x, row: row * down + y, band: y };
                            reader.refill(window);
                            match read(component, part, reader, window, place) {
                                Some(next) => reader = next,
                                // Damage reaches to the next marker, if there are any.
                                None if restart_interval > 0 => {
                                    restarts.is_lost = true;
                                    break 'unit;
                                }
                                None => return None,
                            }
                        }
                    }
                }
                bits.read(reader);
                // Restart markers let the picture go on behind a gap; the end of the file does not.
                if bits.is_overdrawn() && restart_interval == 0 {
                    goes_on = false;
                    break;
                }
            }
            for part in &*parts {
                self.components[part.index].finish(row, interleaved);
            }
            if !goes_on {
                break;
            }
        }
        Some(())
    }

    /// Whether no scan can follow that tells what is wanted.
    fn is_told(&self) -> bool {
        self.components.iter().all(|component| component.missing == 0)
    }

    fn planes(self, stored: Dimensions) -> Option<Vec<Plane>> {
        let most = self.components.iter().fold((1, 1), |most, it| (most.0.max(it.across), most.1.max(it.down)));
        let (width, height) = (usize::try_from(stored.width).ok()?, usize::try_from(stored.height).ok()?);
        let planes = self.components.into_iter().map(|mut component| {
            if let Some(gathered) = component.gathered.take() {
                component.transform(&gathered);
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
        for (place, step) in self.places.into_iter().zip(steps) {
            if usize::from(place) < self.scale.side() * self.scale.side() {
                self.steps[usize::from(place)] = *step;
            }
        }
    }

    /// Reads the block at `place`.
    #[inline(always)]
    fn read_block(&mut self, part: &mut Part, mut reader: Reader, window: &Window, place: Place) -> Option<Reader> {
        let Coding::Whole(dc, ac) = &part.coding else { return None };
        part.mean = part.mean.wrapping_add(dc.next(&mut reader, window)?);
        let mut block = self.bands[place.band].block(place.column);
        block.put(0, transform::saturated(part.mean));
        ac.read(reader, window, self.wanted, |k, value| {
            block.put(self.places[(k & 127) as usize].into(), value);
        })
    }

    /// Reads what a progressive scan has of the block at `place`.
    #[inline(always)]
    fn gather(&mut self, part: &mut Part, mut reader: Reader, window: &Window, place: Place) -> Option<Reader> {
        let block = place.row * self.blocks_across + place.column;
        let gathered = self.gathered.as_mut()?;
        match &part.coding {
            Coding::Means(dc, shift) => {
                part.mean = part.mean.wrapping_add(dc.next(&mut reader, window)?);
                // What is out of range is wrong in any case.
                *gathered.mean(block) = (part.mean << shift) as i16;
            }
            Coding::MeanBits(shift) => {
                *gathered.mean(block) |= ((reader.held >> 63) << shift) as i16;
                reader.skip(1);
            }
            Coding::Others(scan) => return gathered.read(block, reader, window, scan, &mut part.ended),
            Coding::Whole(..) => return None,
        }
        Some(reader)
    }

    /// Makes samples of all that was gathered.
    fn transform(&mut self, gathered: &Gathered) {
        let side = self.scale.side();
        let mut band = Band::new(side, self.blocks_across);
        for (row, samples) in self.samples.chunks_exact_mut(self.stride * side).enumerate() {
            band.fill(gathered.blocks(row * self.blocks_across, self.blocks_across));
            band.finish(samples, self.stride, &self.steps);
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

/// The restart markers of a scan.
#[derive(Default)]
struct Restarts {
    /// The number of the next.
    number: u8,
    /// How many intervals, the present one among them, come before the one that the file goes on with.
    missing: u8,
    /// Whether the present interval is not read, or no further.
    is_lost: bool,
}

impl Restarts {
    /// Begins the next interval. `None` if there are no more.
    ///
    /// As libjpeg does: a number that is a little ahead says that intervals are missing, one that is a little behind
    /// belongs to what was read, and any other is taken for the right one.
    fn next(&mut self, bits: &mut Bits<'_, '_>) -> Option<()> {
        if self.missing > 0 {
            self.missing -= 1;
        } else {
            self.missing = loop {
                match bits.restart()?.wrapping_sub(self.number) & 7 {
                    6 | 7 => {}
                    ahead @ (1 | 2) => break ahead,
                    _ => break 0,
                }
            };
        }
        self.number = (self.number + 1) & 7;
        self.is_lost = self.missing > 0;
        Some(())
    }
}

/// Where a block is, and in which row of blocks of its unit.
#[derive(Clone, Copy)]
struct Place {
    column: usize,
    row: usize,
    band: usize,
}

/// A component in a scan.
struct Part {
    index: usize,
    coding: Coding,
    /// That of the block before, which the next is told against.
    mean: i32,
    /// Of how many blocks, from the next on, a progressive scan has nothing more.
    ended: u32,
}

/// What a scan tells of a component.
enum Coding {
    /// All coefficients of a baseline picture.
    Whole(Differences, Coefficients),
    /// The means of a progressive one, but for so many of their bits.
    Means(Differences, u32),
    /// That bit of the means.
    MeanBits(u32),
    /// Other coefficients.
    Others(Others),
}
