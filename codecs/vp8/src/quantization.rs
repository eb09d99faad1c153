//! Quantization of coefficients (RFC 6386, sections 9.6 and 14.1), and the distortion that it causes.
//!
//! Distortions and estimated rates are in one unit, 1/64 bit, so that they can be added.

use crate::{
    tables::{AC_QLOOKUP, DC_QLOOKUP, ZIGZAG},
    transform::{Lanes, Subblocks},
    tuning::Tuning,
};

/// The quantizer index of a segment (section 9.6): 0..=84.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuantizerIndex(i32);

impl QuantizerIndex {
    /// The format has indices up to 127. Beyond this one, squares of errors would exceed 16 bits.
    pub(crate) const MAX: i32 = 84;

    /// Clamps to the valid range.
    pub(crate) fn new(index: i32) -> Self {
        Self(index.clamp(0, Self::MAX))
    }

    pub(crate) fn get(self) -> i32 {
        self.0
    }

    /// The step of the AC coefficients of luma.
    pub(crate) fn ac_step(self) -> u16 {
        lookup(&AC_QLOOKUP, self.0, AC_QLOOKUP.len())
    }
}

/// An entry of the first `count` of a table, with the index clamped.
fn lookup(table: &[u16], index: i32, count: usize) -> u16 {
    table[usize::try_from(index).unwrap_or(0).min(count - 1)]
}

/// `uv_dc_delta_q` and `uv_ac_delta_q` (section 9.6): steps of flat colour are visible, so chroma DC is finer.
pub(crate) const UV_DELTA_Q: [i32; 2] = [-9, 2];

/// The quantization of a type of block. Arrays are in zig-zag order.
#[derive(Clone, Copy)]
pub(crate) struct BlockQuantizer {
    step: [u16; 16],
    /// 1 / step, in 1 / 2^16.
    inverse: [u16; 16],
    /// Added before rounding down.
    rounding: [u16; 16],
    distortion: Distortion,
    /// Coefficients that are larger are certainly not quantized to 0.
    max_zeroed: i16,
    zeroed_distortion: Distortion,
    /// The estimated rate of a coefficient for each 1/16 of its magnitude, in 1 / 2^16.
    slope: u16,
}

/// The quantization of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Quantizer {
    pub(crate) luma: BlockQuantizer,
    pub(crate) y2: BlockQuantizer,
    pub(crate) chroma: BlockQuantizer,
}

impl Quantizer {
    /// Section 14.1.
    pub(crate) fn new(index: QuantizerIndex, tuning: &Tuning) -> Self {
        let QuantizerIndex(index) = index;
        let [dc, ac] = [lookup(&DC_QLOOKUP, index, 128), lookup(&AC_QLOOKUP, index, 128)];
        let y2 = [2 * dc, (ac * 155 / 100).max(8)];
        let [dc_delta, ac_delta] = UV_DELTA_Q;
        // The step of chroma DC is at most 132, which is entry 117.
        let chroma = [lookup(&DC_QLOOKUP, index + dc_delta, 118), lookup(&AC_QLOOKUP, index + ac_delta, 128)];
        let [chroma_dc, chroma_ac] = tuning.chroma_rounding;
        let mut chroma_rounding = [chroma_ac; 16];
        chroma_rounding[0] = chroma_dc;
        Self {
            luma: BlockQuantizer::new([dc, ac], tuning.luma_rounding, ac, tuning),
            // For the same error of samples, Y2 coefficients are off by twice as much as those of luma.
            y2: BlockQuantizer::new(y2, [tuning.y2_rounding; 16], 2 * ac, tuning),
            chroma: BlockQuantizer::new(chroma, chroma_rounding, chroma[1], tuning),
        }
    }
}

/// The quantized coefficients of a block, in zig-zag order.
#[derive(Clone, Copy)]
pub(crate) struct QuantizedBlock {
    pub(crate) coefficients: [i16; 16],
    /// The position behind the last nonzero coefficient.
    pub(crate) end: usize,
    pub(crate) distortion: u32,
}

impl QuantizedBlock {
    pub(crate) const ZERO: Self = Self { coefficients: [0; 16], end: 0, distortion: 0 };
}

impl BlockQuantizer {
    /// With steps of DC and AC. An error of `unit` counts as an error of one step of luma.
    fn new([dc, ac]: [u16; 2], rounding: [u16; 16], unit: u16, tuning: &Tuning) -> Self {
        let mut step = [ac; 16];
        step[0] = dc;
        let mut quantizer = Self {
            step,
            inverse: step.map(|step| short((65_536 + u32::from(step) / 2) / u32::from(step))),
            rounding,
            distortion: Distortion::new(dc.max(ac), unit, tuning),
            max_zeroed: i16::try_from(2 * ac).expect("steps have 9 bits"),
            zeroed_distortion: Distortion::new(2 * ac, unit, tuning),
            slope: short(u32::from(tuning.rate) * 4096 / u32::from(ac)),
        };
        for (rounding, step) in quantizer.rounding.iter_mut().zip(step) {
            *rounding = short((u32::from(*rounding) * u32::from(step)) >> 8);
        }
        quantizer
    }

    /// Estimates the cost of sixteen blocks from coefficient `first` on: for each coefficient the distortion of zeroing
    /// it or the rate of keeping it, whichever is less.
    #[inline(always)]
    pub(crate) fn estimate(&self, coefficients: &Subblocks, first: usize, rates: &PositionRates) -> Lanes {
        let mut costs = [0_i16; 16];
        for at in first..16 {
            let coefficients = &coefficients[ZIGZAG[at]];
            for lane in 0..16 {
                let size = coefficients[lane].unsigned_abs();
                let zeroed = self.zeroed_distortion.of(size.cast_signed().min(self.max_zeroed).cast_unsigned());
                let kept = rates.0[at].saturating_add(upper_half(size << 4, self.slope));
                costs[lane] = costs[lane].saturating_add(zeroed.min(kept));
            }
        }
        costs
    }

    /// Quantizes a block from coefficient `first` on.
    #[inline(always)]
    pub(crate) fn quantize(&self, block: &ZigzagBlock, first: usize) -> QuantizedBlock {
        let ZigzagBlock(block) = block;
        let (mut coefficients, mut distortions, mut is_nonzero) = ([0; 16], [0; 16], [0; 16]);
        for at in 0..16 {
            let size = block[at].unsigned_abs();
            let quantized = upper_half(size + self.rounding[at], self.inverse[at]);
            let error = size.abs_diff(quantized.cast_unsigned() * self.step[at]);
            distortions[at] = self.distortion.of(error);
            coefficients[at] = if block[at] < 0 { -quantized } else { quantized };
            is_nonzero[at] = u8::from(quantized > 0);
        }
        if first == 1 {
            (coefficients[0], distortions[0], is_nonzero[0]) = (0, 0, 0);
        }
        let end = 16 - u128::from_le_bytes(is_nonzero).leading_zeros() as usize / 8;
        let distortion = distortions.iter().map(|&distortion| u32::from(distortion.cast_unsigned())).sum();
        QuantizedBlock { coefficients, end, distortion }
    }

    /// Dequantizes a block as a decoder does (section 14.1), to coefficients row by row.
    #[inline(always)]
    pub(crate) fn dequantize(&self, block: &QuantizedBlock) -> [i16; 16] {
        let mut coefficients = [0; 16];
        for at in 0..16 {
            coefficients[ZIGZAG[at]] = block.coefficients[at] * self.step[at].cast_signed();
        }
        coefficients
    }
}

/// The distortion of errors: proportional to their square.
#[derive(Clone, Copy)]
struct Distortion {
    /// Errors are shifted before they are squared, so that little is lost to rounding.
    shift: u32,
    /// Multiplied with the square, in 1 / 2^16.
    factor: u16,
}

impl Distortion {
    /// For errors up to `max`, of which `unit` counts as a step of luma.
    fn new(max: u16, unit: u16, tuning: &Tuning) -> Self {
        let shift = (255 / max).max(1).ilog2();
        let unit = u32::from(unit) << shift;
        Self { shift, factor: short((u32::from(tuning.distortion) << 16) / (unit * unit)) }
    }

    #[inline(always)]
    fn of(self, error: u16) -> i16 {
        let error = error << self.shift;
        upper_half(error.wrapping_mul(error), self.factor)
    }
}

/// The coefficients of a block in zig-zag order.
pub(crate) struct ZigzagBlock([i16; 16]);

impl ZigzagBlock {
    /// One of sixteen blocks.
    #[inline(always)]
    pub(crate) fn from_lane(blocks: &Subblocks, lane: usize) -> Self {
        Self(ZIGZAG.map(|at| blocks[at][lane]))
    }

    /// From coefficients row by row.
    #[inline(always)]
    pub(crate) fn from_rows(coefficients: &[i16; 16]) -> Self {
        Self(ZIGZAG.map(|at| coefficients[at]))
    }
}

/// The estimated rate of a nonzero coefficient, by its position.
#[derive(Clone, Copy)]
pub(crate) struct PositionRates(pub(crate) Lanes);

/// The upper 16 bits of a product that has at most 31.
#[inline(always)]
fn upper_half(a: u16, b: u16) -> i16 {
    ((u32::from(a) * u32::from(b)) >> 16) as i16
}

fn short(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
