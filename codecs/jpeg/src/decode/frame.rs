//! Frames (B.2.2): the components of an image, and their planes.

use super::{
    Plane, bit_reader,
    huffman::{AcTable, DcTable},
    idct::{self, BlockRow, StepTable},
    progressive::{AcScan, Coefficients},
    scale::{Positions, Scale, Scales},
};
use crate::{BLOCK_SIDE, BLOCK_SIZE, CodingProcess, Size};

/// The most blocks of an MCU (B.2.3).
const MAX_MCU_BLOCKS: usize = 10;

/// The only sample precision that is decoded.
const PRECISION: u8 = 8;

/// The sample of which nothing is known: grey, as browsers show what is missing of a file.
const GREY: u8 = 128;

/// What a frame header says, at the scales that are wanted.
pub(super) struct Layout {
    /// MCUs across and down.
    mcus: (usize, usize),
    components: Vec<ComponentLayout>,
}

struct ComponentLayout {
    /// Ci.
    id: u8,
    /// Tqi.
    quantization_table: usize,
    /// Hi and Vi.
    sampling: (usize, usize),
    /// Blocks that contain samples of the image.
    blocks: (usize, usize),
    /// Blocks of all MCUs.
    padded_blocks: (usize, usize),
    scale: Scale,
}

impl Layout {
    /// `None` if the frame is of another size than `size`, or of a kind that is not decoded.
    pub(super) fn parse(parameters: &[u8], size: Size, scales: Scales) -> Option<Self> {
        let (&[precision, y1, y0, x1, x0, count], specifications) = parameters.split_first_chunk()?;
        let [width, height] = [u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0])].map(u32::from);
        // A height of 0 is defined by DNL after the first scan (B.2.5).
        let is_size = width == size.width && (height == size.height || height == 0);
        if precision != PRECISION || !is_size || !matches!(count, 1 | 3) {
            return None;
        }
        let specifications = specifications.as_chunks::<3>().0.get(..usize::from(count))?;
        // The blocks of a single component are not interleaved, whatever its sampling factors (A.2.2).
        let sampling = |specification: &[u8; 3]| match count {
            1 => (1, 1),
            _ => (usize::from(specification[1] >> 4), usize::from(specification[1] & 15)),
        };
        let factors = || specifications.iter().map(sampling);
        if factors().any(|(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v)) {
            return None;
        }
        if factors().map(|(h, v)| h * v).sum::<usize>() > MAX_MCU_BLOCKS {
            return None;
        }
        let max = factors().fold((1, 1), |max, (h, v)| (max.0.max(h), max.1.max(v)));
        let sides = (usize::try_from(size.width).ok()?, usize::try_from(size.height).ok()?);
        let mcus = (sides.0.div_ceil(BLOCK_SIDE * max.0), sides.1.div_ceil(BLOCK_SIDE * max.1));
        let components = specifications.iter().map(|specification| {
            let (h, v) = sampling(specification);
            let is_subsampled = max.0 >= 2 * h && max.1 >= 2 * v;
            ComponentLayout {
                id: specification[0],
                quantization_table: usize::from(specification[2]),
                sampling: (h, v),
                // A.1.1 and A.2.4.
                blocks: ((sides.0 * h).div_ceil(max.0 * BLOCK_SIDE), (sides.1 * v).div_ceil(max.1 * BLOCK_SIDE)),
                padded_blocks: (mcus.0 * h, mcus.1 * v),
                scale: if is_subsampled { scales.subsampled } else { scales.full },
            }
        });
        Some(Self { mcus, components: components.collect() })
    }

    /// The bytes of planes and coefficients.
    pub(super) fn bytes(&self, process: CodingProcess) -> u64 {
        let bytes = |it: &ComponentLayout| {
            let area = it.scale.side() * it.scale.side();
            let samples = BlockRow::stride(it.scale.side(), it.padded_blocks.0) * it.padded_blocks.1 * it.scale.side();
            let row = it.padded_blocks.0.next_multiple_of(16) * (area + 1) * 2;
            let blocks = it.padded_blocks.0 * it.padded_blocks.1;
            let coefficients = if process.is_sequential() { row * it.sampling.1 } else { blocks * (area * 2 + 8) };
            (samples + coefficients + row) as u64
        };
        self.components.iter().map(bytes).sum()
    }
}

/// A frame while its scans are decoded.
pub(super) struct Frame {
    pub process: CodingProcess,
    /// MCUs across and down.
    pub mcus: (usize, usize),
    pub components: Vec<Component>,
}

impl Frame {
    pub(super) fn parse(parameters: &[u8], process: CodingProcess, size: Size, scales: Scales) -> Option<Self> {
        let Layout { mcus, components } = Layout::parse(parameters, size, scales)?;
        let components = components.into_iter().map(|it| Component::new(it, process));
        Some(Self { process, mcus, components: components.collect() })
    }

    /// Whether no later scan can have coefficients that are wanted.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.missing == 0)
    }

    pub(super) fn into_planes(self, size: Size) -> Option<Vec<Plane>> {
        let max = self.components.iter().fold((1, 1), |max, it| (max.0.max(it.sampling.0), max.1.max(it.sampling.1)));
        let (width, height) = (usize::try_from(size.width).ok()?, usize::try_from(size.height).ok()?);
        let planes = self.components.into_iter().map(|mut component| {
            component.transform_coefficients();
            let side = component.scale.side();
            let covered =
                |length: usize, of: usize, max: usize| (length * of * side) as f64 / (max * BLOCK_SIDE) as f64;
            let covers = (covered(width, component.sampling.0, max.0), covered(height, component.sampling.1, max.1));
            Plane { samples: component.samples, stride: component.stride, covers }
        });
        Some(planes.collect())
    }
}

/// A component while its scans are decoded.
pub(super) struct Component {
    pub id: u8,
    pub scale: Scale,
    pub sampling: (usize, usize),
    pub quantization_table: usize,
    /// Blocks that contain samples of the image.
    pub blocks: (usize, usize),
    /// The wanted coefficients that no scan has completed yet, one bit for each, in zig-zag order.
    pub missing: u64,
    /// The number of coefficients, in zig-zag order, that include all that the scale needs.
    wanted: u32,
    positions: Positions,
    steps: StepTable,
    /// Samples from one line to the next.
    stride: usize,
    samples: Vec<u8>,
    /// The rows of blocks of an MCU, of a sequential image.
    rows: Vec<BlockRow>,
    /// All coefficients, of a progressive image.
    coefficients: Option<Coefficients>,
    blocks_across: usize,
}

impl Component {
    fn new(layout: ComponentLayout, process: CodingProcess) -> Self {
        let ComponentLayout { id, quantization_table, sampling, blocks, padded_blocks, scale } = layout;
        let stride = BlockRow::stride(scale.side(), padded_blocks.0);
        let rows = if process.is_sequential() { sampling.1 } else { 0 };
        let positions = scale.positions();
        let coefficients = || Coefficients::new(scale, positions, padded_blocks.0 * padded_blocks.1);
        Self {
            id,
            scale,
            sampling,
            quantization_table,
            blocks,
            missing: scale.coefficients(),
            wanted: scale.wanted(),
            positions,
            steps: [0; BLOCK_SIZE],
            stride,
            samples: vec![GREY; stride * padded_blocks.1 * scale.side()],
            rows: (0..rows).map(|_| BlockRow::new(scale.side(), padded_blocks.0)).collect(),
            coefficients: (!process.is_sequential()).then(coefficients),
            blocks_across: padded_blocks.0,
        }
    }

    pub(super) fn set_quantization(&mut self, table: &[u8; BLOCK_SIZE]) {
        for (position, step) in self.positions.into_iter().zip(table) {
            if usize::from(position) < self.scale.side() * self.scale.side() {
                self.steps[usize::from(position)] = *step;
            }
        }
    }

    /// F.2.2: decodes a block of a sequential scan.
    #[inline(always)]
    pub(super) fn decode_sequential(
        &mut self,
        part: &mut ScanComponent,
        mut bits: bit_reader::BitReader,
        window: &bit_reader::Window,
        place: BlockPlace,
    ) -> Option<bit_reader::BitReader> {
        let Coding::Sequential(dc, ac) = &part.coding else { return None };
        part.prediction = part.prediction.wrapping_add(dc.difference(&mut bits, window)?);
        let mut block = self.rows[place.mcu_row].block(place.column);
        block.put(0, idct::saturated(part.prediction));
        ac.read(bits, window, self.wanted, |k, value| {
            block.put(self.positions[(k & 127) as usize].into(), value);
        })
    }

    /// G.2: decodes what a progressive scan has of a block.
    #[inline(always)]
    pub(super) fn decode_progressive(
        &mut self,
        part: &mut ScanComponent,
        mut bits: bit_reader::BitReader,
        window: &bit_reader::Window,
        place: BlockPlace,
    ) -> Option<bit_reader::BitReader> {
        let block = place.row * self.blocks_across + place.column;
        let coefficients = self.coefficients.as_mut()?;
        match &part.coding {
            Coding::DcFirst(dc, low_bit) => {
                part.prediction = part.prediction.wrapping_add(dc.difference(&mut bits, window)?);
                // Values out of range come of damage.
                #[expect(clippy::cast_possible_truncation, reason = "see above")]
                let value = (part.prediction << low_bit) as i16;
                *coefficients.dc(block) = value;
            }
            Coding::DcRefinement(low_bit) => {
                #[expect(clippy::cast_possible_truncation, reason = "one bit, shifted by at most 13")]
                let bit = ((bits.held >> 63) << low_bit) as i16;
                *coefficients.dc(block) |= bit;
                bits.skip(1);
            }
            Coding::Ac(scan) => return coefficients.read_ac(block, bits, window, scan, &mut part.eob_run),
            Coding::Sequential(..) => return None,
        }
        Some(bits)
    }

    /// Makes samples of a row of MCUs of a sequential image.
    pub(super) fn transform_row(&mut self, row: usize, interleaved: bool) {
        let v = if interleaved { self.sampling.1 } else { 1 };
        for (y, blocks) in self.rows.iter_mut().take(v).enumerate() {
            let first = (row * v + y) * blocks.side() * self.stride;
            if let Some(samples) = self.samples.get_mut(first..) {
                blocks.transform_into(samples, self.stride, &self.steps);
            }
        }
    }

    /// Makes samples of all coefficients of a progressive image.
    fn transform_coefficients(&mut self) {
        let Some(coefficients) = self.coefficients.take() else { return };
        let side = self.scale.side();
        let mut blocks = BlockRow::new(side, self.blocks_across);
        for (row, samples) in self.samples.chunks_exact_mut(self.stride * side).enumerate() {
            blocks.fill(coefficients.blocks(row * self.blocks_across, self.blocks_across));
            blocks.transform_into(samples, self.stride, &self.steps);
        }
    }
}

/// Where a block is.
#[derive(Clone, Copy)]
pub(super) struct BlockPlace {
    pub column: usize,
    pub row: usize,
    /// The row of blocks within its MCU.
    pub mcu_row: usize,
}

/// A component of a scan.
pub(super) struct ScanComponent {
    /// Its index in the frame.
    pub index: usize,
    pub coding: Coding,
    /// PRED (F.1.1.5.1): the DC coefficient of the previous block.
    pub prediction: i32,
    /// EOBRUN: how many further blocks have no coefficients in this scan.
    pub eob_run: u32,
}

/// What a scan has of a component.
pub(super) enum Coding {
    /// All coefficients.
    Sequential(DcTable, AcTable),
    /// DC coefficients without their low bits.
    DcFirst(DcTable, u32),
    /// That bit of the DC coefficients.
    DcRefinement(u32),
    /// A band of AC coefficients.
    Ac(AcScan),
}
