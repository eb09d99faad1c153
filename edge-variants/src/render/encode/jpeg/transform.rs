//! The forward transform of blocks, and its rounding to steps.
//!
//! Blocks are transformed beside each other, in whole numbers of 16 bits: compilers make of that what a processor has for
//! vectors, and the coefficients are the same on every one.
#![expect(clippy::cast_possible_truncation, reason = "products are cut to their upper half, and places fit a byte")]

use super::steps::{COEFFICIENTS, ROUNDED_DOWN, SIDE};
use crate::render::{fixed::times, zig_zag::ZIG_ZAG};

/// Blocks that are transformed beside each other: every processor has room for so many numbers in a vector.
pub(super) const LANES: usize = 8;

/// Samples from left to right in as many blocks.
pub(super) const SPAN: usize = LANES * SIDE;

type Lane = [i16; LANES];

/// How many bits samples have below the point when they are transformed, and coefficients in the end.
const FRACTION: u32 = 5;

/// In each of its two directions the transform makes numbers larger by so many bits.
const GROWTH: u32 = 3;

/// Blocks beside each other.
pub(super) struct Group {
    /// From left to right, row by row.
    samples: [[u8; SPAN]; SIDE],
    /// What becomes of them.
    turned: [[u8; SPAN]; SIDE],
    waves: [Lane; COEFFICIENTS],
    /// In steps, in the order of the file.
    coefficients: [Lane; COEFFICIENTS],
    /// For each block which of them are not zero, from the lowest bit on.
    present: [u64; LANES],
}

impl Group {
    pub(super) const EMPTY: Self = Self {
        samples: [[0; SPAN]; SIDE],
        turned: [[0; SPAN]; SIDE],
        waves: [[0; LANES]; COEFFICIENTS],
        coefficients: [[0; LANES]; COEFFICIENTS],
        present: [0; LANES],
    };

    /// Transforms samples that are given row by row.
    pub(super) fn transform(&mut self, fill: impl Fn(usize, &mut [u8; SPAN]), steps: &Steps) {
        for (y, row) in self.samples.iter_mut().enumerate() {
            fill(y, row);
        }
        // What was in blocks one after the other is then in places one after the other.
        shuffle(&self.samples, &mut self.turned);
        shuffle(&self.turned, &mut self.samples);
        shuffle(&self.samples, &mut self.turned);
        for (row, waves) in self.turned.iter().zip(self.waves.as_chunks_mut::<SIDE>().0) {
            for lane in 0..LANES {
                let sums = line(std::array::from_fn(|x| (i16::from(row[x * LANES + lane]) - 128) << FRACTION));
                for (wave, sum) in waves.iter_mut().zip(sums) {
                    wave[lane] = sum.wrapping_add(1 << (GROWTH - 1)) >> GROWTH;
                }
            }
        }
        for x in 0..SIDE {
            for lane in 0..LANES {
                let sums = line(std::array::from_fn(|y| self.waves[y * SIDE + x][lane]));
                for (y, sum) in sums.into_iter().enumerate() {
                    self.waves[y * SIDE + x][lane] = sum;
                }
            }
        }
        for ((lane, place), step) in self.coefficients.iter_mut().zip(ZIG_ZAG).zip(&steps.0) {
            *lane = step.rounded(self.waves[usize::from(place)]);
        }
        self.present = present(&self.coefficients);
    }

    /// A coefficient of a block, in the order of the file: first the mean.
    #[inline(always)]
    pub(super) fn coefficient(&self, place: usize, block: usize) -> i16 {
        self.coefficients[place % COEFFICIENTS][block % LANES]
    }

    /// Which coefficients of a block but for the mean are not zero, from the lowest bit on.
    #[inline(always)]
    pub(super) fn waves(&self, block: usize) -> u64 {
        self.present[block % LANES] & !1
    }
}

/// Puts the samples of the second half of each row between those of the first.
#[inline(always)]
fn shuffle(from: &[[u8; SPAN]; SIDE], to: &mut [[u8; SPAN]; SIDE]) {
    for (from, to) in from.iter().zip(to) {
        for x in 0..SPAN / 2 {
            to[2 * x] = from[x];
            to[2 * x + 1] = from[x + SPAN / 2];
        }
    }
}

#[inline(always)]
fn present(coefficients: &[Lane; COEFFICIENTS]) -> [u64; LANES] {
    const PART: usize = 16;

    let mut present = [0; LANES];
    for (part, lanes) in coefficients.as_chunks::<PART>().0.iter().enumerate() {
        let mut absent = [0_u16; LANES];
        for lane in lanes.iter().rev() {
            absent = std::array::from_fn(|block| absent[block] << 1 | u16::from(lane[block] == 0));
        }
        for (present, absent) in present.iter_mut().zip(absent) {
            *present |= u64::from(!absent) << (part * PART);
        }
    }
    present
}

/// What each coefficient counts in, in the order of the file.
pub(super) struct Steps([Step; COEFFICIENTS]);

impl Steps {
    pub(super) fn new(table: &[u8; COEFFICIENTS]) -> Self {
        Self(std::array::from_fn(|place| Step::new(table[place], if place == 0 { 50 } else { ROUNDED_DOWN })))
    }
}

/// Division by one step, in multiplications of which the lower half of the product is dropped: that rounds down.
struct Step {
    /// What is added before.
    add: Lane,
    /// And what to negative numbers beside that, because they are to be rounded towards zero as well.
    add_below: Lane,
    factor: Lane,
    scale: Lane,
}

impl Step {
    /// What is beyond a whole step by less than so many hundredths is rounded down.
    fn new(step: u8, rounded_down: i32) -> Self {
        let step = i32::from(step) << FRACTION;
        let add = step * (100 - rounded_down) / 100;
        // Of fourteen bits.
        let shift = step.ilog2() - 2;
        let factor = ((1 << (16 + shift)) + step / 2) / step;
        let lane = |value: i32| [value as i16; LANES];
        Self {
            add: lane(add),
            add_below: lane(step - 1 - 2 * add),
            factor: lane(factor),
            scale: lane(1 << (16 - shift)),
        }
    }

    #[inline(always)]
    fn rounded(&self, waves: Lane) -> Lane {
        std::array::from_fn(|block| {
            let below = (waves[block] >> 15) & self.add_below[block];
            let wave = waves[block].saturating_add(self.add[block]).saturating_add(below);
            times(times(wave, self.factor[block]), self.scale[block])
        })
    }
}

/// The waves in eight numbers. A constant becomes one that is eight times as large.
#[inline(always)]
fn line([a, b, c, d, e, f, g, h]: [i16; SIDE]) -> [i16; SIDE] {
    let plus = i16::wrapping_add;
    let minus = i16::wrapping_sub;
    let times_more = |value, factor| plus(value, times(value, factor));
    // The root of 2 times the cosines of one to seven sixteenths of pi, less one but for the last.
    let first = |value| times_more(value, 25_365);
    let second = |value| times_more(value, 20_091);
    let third = |value| times_more(value, 11_527);
    let fifth = |value| times_more(value, -14_045);
    let sixth = |value| times_more(value, -30_068);
    let seventh = |value| times(value, 18_081);

    let [p, q, r, s] = [plus(a, h), plus(b, g), plus(c, f), plus(d, e)];
    let [t, u, v, w] = [minus(a, h), minus(b, g), minus(c, f), minus(d, e)];
    let [even, odd] = [plus(p, s), plus(q, r)];
    let [outer, inner] = [minus(p, s), minus(q, r)];
    [
        plus(even, odd),
        plus(plus(first(t), third(u)), plus(fifth(v), seventh(w))),
        plus(second(outer), sixth(inner)),
        minus(minus(third(t), seventh(u)), plus(first(v), fifth(w))),
        minus(even, odd),
        plus(minus(fifth(t), first(u)), plus(seventh(v), third(w))),
        minus(sixth(outer), second(inner)),
        plus(minus(seventh(t), fifth(u)), minus(third(v), first(w))),
    ]
}
