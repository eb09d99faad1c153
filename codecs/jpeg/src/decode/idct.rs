//! Inverse DCTs of the lowest coefficients of a block, at 1, 2, 3, 4 or 8 samples on a side.
//!
//! The n x n lowest coefficients of a block, transformed at n x n, are the block at n/8 of its size. A row of blocks is
//! transformed at a time, sixteen blocks side by side in 16-bit integers, which compilers turn into vector instructions;
//! the samples are the same on every processor.
#![expect(
    clippy::cast_possible_truncation,
    reason = "products are cut to their upper half, and samples clamped before"
)]

use crate::{BLOCK_SIZE, fixed::mul_high};

/// Blocks that are transformed side by side.
const LANES: usize = 16;

type Lane<T> = [T; LANES];

/// Fractional bits of dequantized coefficients.
const FRACTION: u32 = 2;

/// The largest coefficient that 8-bit samples can yield (F.1.1.3 needs 11 bits for DC).
const MAX_COEFFICIENT: i16 = 2047;

/// Quantization table elements by position in a block of the scale.
pub(super) type StepTable = [u8; BLOCK_SIZE];

/// The quantized coefficients of a row of blocks.
pub(super) struct BlockRow {
    /// Samples on a side of a block.
    side: usize,
    /// By group of blocks, position in the block, and block. One more position takes what is not wanted.
    coefficients: Vec<Lane<i16>>,
}

impl BlockRow {
    pub(super) fn new(side: usize, blocks: usize) -> Self {
        Self { side, coefficients: vec![[0; LANES]; blocks.div_ceil(LANES) * (side * side + 1)] }
    }

    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// How many samples a line takes, padding included.
    pub(super) fn stride(side: usize, blocks: usize) -> usize {
        blocks.next_multiple_of(LANES) * side
    }

    /// The block with this number, to put coefficients into.
    #[inline(always)]
    pub(super) fn block(&mut self, number: usize) -> Block<'_> {
        let first = number / LANES * (self.side * self.side + 1) * LANES + number % LANES;
        Block(&mut self.coefficients.as_flattened_mut()[first..])
    }

    /// Puts in complete blocks, one after the other.
    pub(super) fn fill(&mut self, blocks: &[i16]) {
        let area = self.side * self.side;
        let groups = self.coefficients.chunks_exact_mut(area + 1);
        for (group, blocks) in groups.zip(blocks.chunks(area * LANES)) {
            for (lane, block) in blocks.chunks_exact(area).enumerate() {
                for (position, value) in group.iter_mut().zip(block) {
                    position[lane] = *value;
                }
            }
        }
    }

    /// Dequantizes and transforms all coefficients to lines of samples, and clears them.
    pub(super) fn transform_into(&mut self, samples: &mut [u8], stride: usize, steps: &StepTable) {
        match self.side {
            1 => self.transform::<1, 1>(samples, stride, steps, |dc| dc),
            2 => self.transform::<2, 4>(samples, stride, steps, in_lanes(idct_2)),
            3 => self.transform::<3, 9>(samples, stride, steps, in_lanes(idct_3)),
            4 => self.transform::<4, 16>(samples, stride, steps, in_lanes(idct_4)),
            _ => self.transform::<8, 64>(samples, stride, steps, in_lanes(idct_8)),
        }
    }

    #[inline(always)]
    fn transform<const SIDE: usize, const AREA: usize>(
        &mut self,
        samples: &mut [u8],
        stride: usize,
        steps: &StepTable,
        idct: impl Fn([Lane<i16>; SIDE]) -> [Lane<i16>; SIDE],
    ) {
        let steps: [Step; AREA] = std::array::from_fn(|position| Step::new(steps[position]));
        for (number, group) in self.coefficients.chunks_exact_mut(AREA + 1).enumerate() {
            let Some(block) = group.first_chunk_mut::<AREA>() else { return };
            for (lane, step) in block.iter_mut().zip(&steps) {
                *lane = lane.map(|value| step.dequantize(value));
            }
            for x in 0..SIDE {
                let column = idct(std::array::from_fn(|y| block[y * SIDE + x]));
                for (y, sums) in column.into_iter().enumerate() {
                    block[y * SIDE + x] = sums;
                }
            }
            for y in 0..SIDE {
                let row = idct(std::array::from_fn(|x| block[y * SIDE + x])).map(|sums| sums.map(to_sample));
                let start = y * stride + number * LANES * SIDE;
                let Some(target) = samples.get_mut(start..start + LANES * SIDE) else { continue };
                for (lane, target) in target.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
                    *target = std::array::from_fn(|x| row[x][lane]);
                }
            }
            *block = [[0; LANES]; AREA];
        }
    }
}

/// An element of a quantization table.
struct Step {
    step: i16,
    /// Larger quantized values exceed [`MAX_COEFFICIENT`], and would exceed 16 bits.
    max: i16,
}

impl Step {
    fn new(step: u8) -> Self {
        let step = i16::from(step);
        Self { step, max: MAX_COEFFICIENT / step.max(1) + 1 }
    }

    /// Dequantizes (A.3.4) a value, and scales it for the transform.
    #[inline(always)]
    fn dequantize(&self, value: i16) -> i16 {
        (value.clamp(-self.max, self.max) * self.step).clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT) << FRACTION
    }
}

/// One block of a row, from its first coefficient on; the next are [`LANES`] apart.
pub(super) struct Block<'a>(&'a mut [i16]);

impl Block<'_> {
    #[inline(always)]
    pub(super) fn put(&mut self, position: usize, value: i16) {
        if let Some(coefficient) = self.0.get_mut(position * LANES) {
            *coefficient = value;
        }
    }
}

#[inline(always)]
pub(super) fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Rounds, shifts the level (A.3.1) and clamps: from eight times a sample, about zero, to a sample.
#[inline(always)]
fn to_sample(eighths: i16) -> u8 {
    ((eighths.saturating_add(4 << FRACTION) >> (3 + FRACTION)) + 128).clamp(0, 255) as u8
}

/// `value * (1 + factor / 2^16)`.
#[inline(always)]
fn mul_one_plus(value: i16, factor: i16) -> i16 {
    value.saturating_add(mul_high(value, factor))
}

#[inline(always)]
fn idct_2([a, b]: [i16; 2]) -> [i16; 2] {
    [a.saturating_add(b), a.saturating_sub(b)]
}

#[inline(always)]
fn idct_3([a, b, c]: [i16; 3]) -> [i16; 3] {
    /// sqrt(1/2) - 1.
    const HALF_ROOT: i16 = -19_195;
    /// sqrt(3/2) - 1.
    const ODD: i16 = 14_730;

    let (odd, half) = (mul_one_plus(b, ODD), mul_one_plus(c, HALF_ROOT));
    let even = a.saturating_add(half);
    [even.saturating_add(odd), a.saturating_sub(half).saturating_sub(half), even.saturating_sub(odd)]
}

#[inline(always)]
fn idct_4([a, b, c, d]: [i16; 4]) -> [i16; 4] {
    /// sqrt(2) cos(pi/8) - 1.
    const C1: i16 = 20_091;
    /// sqrt(2) cos(3 pi/8) - 1.
    const C3: i16 = -30_068;

    let (even, odd) = (a.saturating_add(c), a.saturating_sub(c));
    let outer = mul_one_plus(b, C1).saturating_add(mul_one_plus(d, C3));
    let inner = mul_one_plus(b, C3).saturating_sub(mul_one_plus(d, C1));
    [even.saturating_add(outer), odd.saturating_add(inner), odd.saturating_sub(inner), even.saturating_sub(outer)]
}

#[inline(always)]
fn idct_8([a, b, c, d, e, f, g, h]: [i16; 8]) -> [i16; 8] {
    let (plus, minus) = (i16::saturating_add, i16::saturating_sub);
    // sqrt(2) cos(k pi/16) - 1 for k = 1, 3 and 5, and sqrt(2) cos(7 pi/16).
    let c1 = |value| mul_one_plus(value, 25_365);
    let c3 = |value| mul_one_plus(value, 11_527);
    let c5 = |value| mul_one_plus(value, -14_045);
    let c7 = |value| mul_high(value, 18_081);

    let odd = [
        plus(plus(c1(b), c3(d)), plus(c5(f), c7(h))),
        minus(minus(c3(b), c7(d)), plus(c1(f), c5(h))),
        plus(minus(c5(b), c1(d)), plus(c7(f), c3(h))),
        plus(minus(c7(b), c5(d)), minus(c3(f), c1(h))),
    ];
    let even = idct_4([a, c, e, g]);
    let [p, q, r, s] = std::array::from_fn(|x| (plus(even[x], odd[x]), minus(even[x], odd[x])));
    [p.0, q.0, r.0, s.0, s.1, r.1, q.1, p.1]
}

/// Applies a transform of single numbers to each lane.
#[inline(always)]
fn in_lanes<const SIDE: usize>(
    idct: impl Fn([i16; SIDE]) -> [i16; SIDE],
) -> impl Fn([Lane<i16>; SIDE]) -> [Lane<i16>; SIDE] {
    move |lanes| {
        let mut sums = [[0; LANES]; SIDE];
        for lane in 0..LANES {
            for (sums, sum) in sums.iter_mut().zip(idct(std::array::from_fn(|x| lanes[x][lane]))) {
                sums[lane] = sum;
            }
        }
        sums
    }
}
