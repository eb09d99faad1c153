//! The forward DCT of blocks (A.3.3), and quantization (A.3.4).
//!
//! Blocks are transformed side by side in 16-bit integers, which compilers turn into vector instructions; the
//! coefficients are the same on every processor.
#![expect(clippy::cast_possible_truncation, reason = "products are cut to their upper half, and positions fit a byte")]

use super::quantization::Table;
use crate::{BLOCK_SIDE, BLOCK_SIZE, fixed::mul_high, zigzag::ZIGZAG};

/// Blocks that are transformed side by side: every processor has vectors of that many 16-bit integers.
pub(super) const LANES: usize = 8;

/// Samples of a line in that many blocks.
pub(super) const SPAN: usize = LANES * BLOCK_SIDE;

type Lane = [i16; LANES];

/// Fractional bits of samples before the transform, and of coefficients after it.
const FRACTION: u32 = 5;

/// The transform scales by this many bits in each direction.
const GROWTH: u32 = 3;

/// Blocks side by side.
pub(super) struct BlockGroup {
    /// Line by line.
    samples: [[u8; SPAN]; BLOCK_SIDE],
    /// The samples of each position of the blocks side by side.
    transposed: [[u8; SPAN]; BLOCK_SIDE],
    frequencies: [Lane; BLOCK_SIZE],
    /// Quantized, in zig-zag order.
    coefficients: [Lane; BLOCK_SIZE],
    /// For each block, which coefficients are nonzero, from the lowest bit on.
    nonzero: [u64; LANES],
}

impl BlockGroup {
    pub(super) const EMPTY: Self = Self {
        samples: [[0; SPAN]; BLOCK_SIDE],
        transposed: [[0; SPAN]; BLOCK_SIDE],
        frequencies: [[0; LANES]; BLOCK_SIZE],
        coefficients: [[0; LANES]; BLOCK_SIZE],
        nonzero: [0; LANES],
    };

    /// Transforms and quantizes samples, which `fill` writes line by line.
    pub(super) fn transform(&mut self, fill: impl Fn(usize, &mut [u8; SPAN]), quantizer: &Quantizer) {
        for (y, line) in self.samples.iter_mut().enumerate() {
            fill(y, line);
        }
        // Three perfect shuffles transpose the 8 x 8 blocks-by-positions of each line.
        shuffle(&self.samples, &mut self.transposed);
        shuffle(&self.transposed, &mut self.samples);
        shuffle(&self.samples, &mut self.transposed);
        for (line, frequencies) in self.transposed.iter().zip(self.frequencies.as_chunks_mut::<BLOCK_SIDE>().0) {
            for lane in 0..LANES {
                let sums = fdct_8(std::array::from_fn(|x| (i16::from(line[x * LANES + lane]) - 128) << FRACTION));
                for (frequency, sum) in frequencies.iter_mut().zip(sums) {
                    frequency[lane] = sum.wrapping_add(1 << (GROWTH - 1)) >> GROWTH;
                }
            }
        }
        for x in 0..BLOCK_SIDE {
            for lane in 0..LANES {
                let sums = fdct_8(std::array::from_fn(|y| self.frequencies[y * BLOCK_SIDE + x][lane]));
                for (y, sum) in sums.into_iter().enumerate() {
                    self.frequencies[y * BLOCK_SIDE + x][lane] = sum;
                }
            }
        }
        for ((lane, position), step) in self.coefficients.iter_mut().zip(ZIGZAG).zip(&quantizer.0) {
            *lane = step.quantize(self.frequencies[usize::from(position)]);
        }
        self.nonzero = nonzero(&self.coefficients);
    }

    /// A coefficient of a block, in zig-zag order: the first is DC.
    #[inline(always)]
    pub(super) fn coefficient(&self, position: usize, block: usize) -> i16 {
        self.coefficients[position % BLOCK_SIZE][block % LANES]
    }

    /// Which AC coefficients of a block are nonzero, one bit for each position in zig-zag order.
    #[inline(always)]
    pub(super) fn nonzero_ac(&self, block: usize) -> u64 {
        self.nonzero[block % LANES] & !1
    }
}

/// Interleaves the halves of each line.
#[inline(always)]
fn shuffle(from: &[[u8; SPAN]; BLOCK_SIDE], to: &mut [[u8; SPAN]; BLOCK_SIDE]) {
    for (from, to) in from.iter().zip(to) {
        for x in 0..SPAN / 2 {
            to[2 * x] = from[x];
            to[2 * x + 1] = from[x + SPAN / 2];
        }
    }
}

#[inline(always)]
fn nonzero(coefficients: &[Lane; BLOCK_SIZE]) -> [u64; LANES] {
    const PART: usize = 16;

    let mut nonzero = [0; LANES];
    for (part, lanes) in coefficients.as_chunks::<PART>().0.iter().enumerate() {
        let mut zero = [0_u16; LANES];
        for lane in lanes.iter().rev() {
            zero = std::array::from_fn(|block| zero[block] << 1 | u16::from(lane[block] == 0));
        }
        for (nonzero, zero) in nonzero.iter_mut().zip(zero) {
            *nonzero |= u64::from(!zero) << (part * PART);
        }
    }
    nonzero
}

/// Divides each coefficient by its step, in zig-zag order.
pub(super) struct Quantizer([Step; BLOCK_SIZE]);

impl Quantizer {
    /// AC coefficients are rounded down below `dead_zone` hundredths of a step. DC is rounded to the nearest.
    pub(super) fn new(table: &Table, dead_zone: u8) -> Self {
        Self(std::array::from_fn(|position| Step::new(table[position], if position == 0 { 50 } else { dead_zone })))
    }
}

/// Division by one step, by multiplications of which the upper half of the product is kept, so rounded down.
struct Step {
    /// Added before.
    add: Lane,
    /// Added to negative numbers as well, so that they round towards zero.
    add_if_negative: Lane,
    factor: Lane,
    scale: Lane,
}

impl Step {
    fn new(step: u8, dead_zone: u8) -> Self {
        let step = i32::from(step) << FRACTION;
        let add = step * (100 - i32::from(dead_zone)) / 100;
        // The factor has 14 bits.
        let shift = step.ilog2() - 2;
        let factor = ((1 << (16 + shift)) + step / 2) / step;
        let lane = |value: i32| [value as i16; LANES];
        Self {
            add: lane(add),
            add_if_negative: lane(step - 1 - 2 * add),
            factor: lane(factor),
            scale: lane(1 << (16 - shift)),
        }
    }

    #[inline(always)]
    fn quantize(&self, coefficients: Lane) -> Lane {
        std::array::from_fn(|block| {
            let if_negative = (coefficients[block] >> 15) & self.add_if_negative[block];
            let sum = coefficients[block].saturating_add(self.add[block]).saturating_add(if_negative);
            mul_high(mul_high(sum, self.factor[block]), self.scale[block])
        })
    }
}

/// The DCT of eight numbers. A constant becomes one that is eight times as large.
#[inline(always)]
fn fdct_8([a, b, c, d, e, f, g, h]: [i16; BLOCK_SIDE]) -> [i16; BLOCK_SIDE] {
    let plus = i16::wrapping_add;
    let minus = i16::wrapping_sub;
    let mul_one_plus = |value, factor| plus(value, mul_high(value, factor));
    // sqrt(2) cos(k pi/16) - 1 for k = 1, 2, 3, 5 and 6, and sqrt(2) cos(7 pi/16).
    let c1 = |value| mul_one_plus(value, 25_365);
    let c2 = |value| mul_one_plus(value, 20_091);
    let c3 = |value| mul_one_plus(value, 11_527);
    let c5 = |value| mul_one_plus(value, -14_045);
    let c6 = |value| mul_one_plus(value, -30_068);
    let c7 = |value| mul_high(value, 18_081);

    let [p, q, r, s] = [plus(a, h), plus(b, g), plus(c, f), plus(d, e)];
    let [t, u, v, w] = [minus(a, h), minus(b, g), minus(c, f), minus(d, e)];
    let [even, odd] = [plus(p, s), plus(q, r)];
    let [outer, inner] = [minus(p, s), minus(q, r)];
    [
        plus(even, odd),
        plus(plus(c1(t), c3(u)), plus(c5(v), c7(w))),
        plus(c2(outer), c6(inner)),
        minus(minus(c3(t), c7(u)), plus(c1(v), c5(w))),
        minus(even, odd),
        plus(minus(c5(t), c1(u)), plus(c7(v), c3(w))),
        minus(c6(outer), c2(inner)),
        plus(minus(c7(t), c5(u)), minus(c3(v), c1(w))),
    ]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn coefficients_are_those_of_the_definition() {
        const STEP: u8 = 2;

        let mut state = 11_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u16
        };
        for contrast in [2, 30, 255] {
            let samples: [[u8; SPAN]; BLOCK_SIDE] =
                std::array::from_fn(|_| std::array::from_fn(|_| (noise() * contrast / 255) as u8));
            let mut group = BlockGroup::EMPTY;
            group.transform(|y, line| *line = samples[y], &Quantizer::new(&[STEP; BLOCK_SIZE], 56));
            for block in 0..LANES {
                let mut nonzero = 0;
                // The zig-zag sequence by its definition: along the diagonals, in alternating directions.
                let mut order: Vec<(usize, usize)> = (0..64).map(|at| (at % 8, at / 8)).collect();
                order.sort_by_key(|(x, y)| (x + y, if (x + y) % 2 == 0 { *x } else { *y }));
                for (position, (u, v)) in order.into_iter().enumerate() {
                    let cosine = |at: usize, k: usize| (PI * (2 * at + 1) as f64 * k as f64 / 16.0).cos();
                    let norm = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
                    let sum: f64 = (0..64)
                        .map(|at| (at % 8, at / 8))
                        .map(|(x, y)| (f64::from(samples[y][block * 8 + x]) - 128.0) * cosine(x, u) * cosine(y, v))
                        .sum();
                    let exact = sum * norm(u) * norm(v) / 4.0 / f64::from(STEP);
                    let quantized = group.coefficient(position, block);
                    // Half a step, the rounding of the transform, and the dead zone.
                    assert!((exact - f64::from(quantized)).abs() < 0.7, "{position} of {block}: {exact}, {quantized}");
                    nonzero |= u64::from(position > 0 && quantized != 0) << position;
                }
                assert_eq!(group.nonzero_ac(block), nonzero);
            }
        }
    }
}
