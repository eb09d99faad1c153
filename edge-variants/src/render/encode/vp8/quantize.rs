//! From coefficients to levels, and what is lost by it.
//!
//! Losses and what levels take are told in one unit, so that they can be weighed against each other: 1 / 64 of a bit.

use super::{
    tables::{FIRST_STEPS, OTHER_STEPS},
    transform::{Blocks, Lanes},
};

/// How finely a picture is stored, from fine to coarse: the index of its steps, of which there are sixteen parts between
/// one and the next, because its segments differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fineness(i32);

impl Fineness {
    /// The most that makes a difference.
    const MAX: i32 = Index::MAX * Self::PARTS;
    /// Parts of an index.
    pub(super) const PARTS: i32 = 16;

    /// In parts of 16, or the nearest that there is: 0..=1344.
    pub const fn new(parts: i32) -> Self {
        if parts < 0 {
            Self(0)
        } else if parts > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(parts)
        }
    }

    pub(super) fn parts(self) -> i32 {
        self.0
    }
}

/// The index of the steps of a segment, 0..=84.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index(i32);

impl Index {
    /// Beyond, what is lost would not fit where it is squared.
    const MAX: i32 = 84;

    /// The index, or the nearest that there is.
    pub(super) fn new(index: i32) -> Self {
        Self(index.clamp(0, Self::MAX))
    }

    pub(super) fn get(self) -> i32 {
        self.0
    }

    /// The step of nearly all coefficients of luma.
    pub(super) fn step(self) -> u16 {
        at(&OTHER_STEPS, self.0, OTHER_STEPS.len())
    }
}

/// The first indices of a table, of which the last stands for all that follow.
fn at(table: &[u16], index: i32, count: usize) -> u16 {
    table[usize::try_from(index).unwrap_or(0).min(count - 1)]
}

/// The order of levels, from the low frequencies to the high ones: RFC 6386, section 13.
const ZIGZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// What is added to a coefficient before it is rounded down, in parts of 256 of its step: half a step would be nearest, but
/// the last bit of fine detail is not worth what it takes. Found by trial, by SSIMULACRA2 at equal bytes.
const LUMA_ROUNDING: [u16; 16] = [133, 94, 94, 82, 71, 82, 71, 71, 71, 71, 71, 71, 71, 71, 71, 71];
const MEANS_ROUNDING: [u16; 16] = [105; 16];
const CHROMA_ROUNDING: [u16; 16] = [125, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117, 117];

/// By how much the indices of the differences differ from that of luma: the first coefficient's, and the others'. Flat
/// colour shows its steps.
pub(super) const CHROMA_OFFSETS: [i32; 2] = [-9, 2];

/// A loss of a whole step of luma, squared, is worth this much.
const STEP_LOST: u32 = 730;
/// What each step takes that a coefficient has more than none, about.
const STEP_TAKEN: u32 = 90;

/// How finely one kind of block is stored. What belongs to a coefficient is in the order of levels.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    step: [u16; 16],
    /// 1 / step, in parts of `1 << 16`.
    inverse: [u16; 16],
    /// What is added before it is rounded down.
    rounding: [u16; 16],
    loss: Loss,
    /// Coefficients beyond are surely not given up.
    most_lost: i16,
    most_loss: Loss,
    /// What a coefficient takes for each 1 / 16 that it is large, in parts of `1 << 16`.
    slope: u16,
}

/// How finely one segment is stored: luma, its means, and the differences.
#[derive(Clone, Copy)]
pub(super) struct Quantizer {
    pub(super) luma: Steps,
    pub(super) means: Steps,
    pub(super) chroma: Steps,
}

impl Quantizer {
    /// RFC 6386, section 14.1.
    pub(super) fn new(index: Index) -> Self {
        let Index(index) = index;
        let [first, other] = [at(&FIRST_STEPS, index, 128), at(&OTHER_STEPS, index, 128)];
        let means = [2 * first, (other * 155 / 100).max(8)];
        let [first_offset, other_offset] = CHROMA_OFFSETS;
        let chroma = [at(&FIRST_STEPS, index + first_offset, 118), at(&OTHER_STEPS, index + other_offset, 128)];
        Self {
            luma: Steps::new([first, other], LUMA_ROUNDING, other),
            // Their coefficients are twice as large as those of luma for the same loss.
            means: Steps::new(means, MEANS_ROUNDING, 2 * other),
            chroma: Steps::new(chroma, CHROMA_ROUNDING, chroma[1]),
        }
    }
}

/// The levels of a block, low frequencies first.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    pub(super) signed: [i16; 16],
    /// How many there are up to the last that is not 0.
    pub(super) end: usize,
    /// What is lost.
    pub(super) loss: u32,
}

impl Levels {
    pub(super) const NONE: Self = Self { signed: [0; 16], end: 0, loss: 0 };
}

impl Steps {
    /// With these steps for the first coefficient and the others, where a loss of `unit` is that of a step of luma.
    fn new([first, other]: [u16; 2], rounding: [u16; 16], unit: u16) -> Self {
        let mut step = [other; 16];
        step[0] = first;
        let mut steps = Self {
            step,
            inverse: step.map(|step| short((65_536 + u32::from(step) / 2) / u32::from(step))),
            rounding,
            loss: Loss::new(first.max(other), unit),
            most_lost: i16::try_from(2 * other).expect("steps have 8 bits"),
            most_loss: Loss::new(2 * other, unit),
            slope: short(STEP_TAKEN * 4096 / u32::from(other)),
        };
        for (rounding, step) in steps.rounding.iter_mut().zip(step) {
            *rounding = short((u32::from(*rounding) * u32::from(step)) >> 8);
        }
        steps
    }

    /// About what the coefficients of sixteen blocks cost from the `first` on: of each either what is lost, or what it
    /// takes.
    #[inline(always)]
    pub(super) fn estimate(&self, coefficients: &Blocks, first: usize, rates: &Rates) -> Lanes {
        let mut costs = [0_i16; 16];
        for at in first..16 {
            let coefficients = &coefficients[ZIGZAG[at]];
            for lane in 0..16 {
                let size = coefficients[lane].unsigned_abs();
                let lost = self.most_loss.of(size.cast_signed().min(self.most_lost).cast_unsigned());
                let taken = rates.0[at].saturating_add(upper(size << 4, self.slope));
                costs[lane] = costs[lane].saturating_add(lost.min(taken));
            }
        }
        costs
    }

    /// The levels of a block from the `first` on.
    #[inline(always)]
    pub(super) fn levels(&self, coefficients: &Coefficients, first: usize) -> Levels {
        let Coefficients(coefficients) = coefficients;
        let (mut signed, mut losses, mut is_there) = ([0; 16], [0; 16], [0; 16]);
        for at in 0..16 {
            let size = coefficients[at].unsigned_abs();
            let level = upper(size + self.rounding[at], self.inverse[at]);
            let error = size.abs_diff(level.cast_unsigned() * self.step[at]);
            losses[at] = self.loss.of(error);
            signed[at] = if coefficients[at] < 0 { -level } else { level };
            is_there[at] = u8::from(level > 0);
        }
        if first == 1 {
            (signed[0], losses[0], is_there[0]) = (0, 0, 0);
        }
        let end = 16 - u128::from_le_bytes(is_there).leading_zeros() as usize / 8;
        let loss = losses.iter().map(|&loss| u32::from(loss.cast_unsigned())).sum();
        Levels { signed, end, loss }
    }

    /// The coefficients that a decoder makes of levels, rows first.
    #[inline(always)]
    pub(super) fn restore(&self, levels: &Levels) -> [i16; 16] {
        let mut coefficients = [0; 16];
        for at in 0..16 {
            coefficients[ZIGZAG[at]] = levels.signed[at] * self.step[at].cast_signed();
        }
        coefficients
    }
}

/// What errors are worth.
#[derive(Clone, Copy)]
struct Loss {
    /// Before it is squared, so that little is lost to rounding.
    shift: u32,
    /// What the square is multiplied with, in parts of `1 << 16`.
    factor: u16,
}

impl Loss {
    /// For errors up to `most`, of which `unit` is that of a step of luma.
    fn new(most: u16, unit: u16) -> Self {
        let shift = (255 / most).max(1).ilog2();
        let unit = u32::from(unit) << shift;
        Self { shift, factor: short((STEP_LOST << 16) / (unit * unit)) }
    }

    #[inline(always)]
    fn of(self, error: u16) -> i16 {
        let error = error << self.shift;
        upper(error.wrapping_mul(error), self.factor)
    }
}

/// The coefficients of a block, low frequencies first.
pub(super) struct Coefficients([i16; 16]);

impl Coefficients {
    /// Of one of sixteen blocks.
    #[inline(always)]
    pub(super) fn of_lane(blocks: &Blocks, lane: usize) -> Self {
        Self(ZIGZAG.map(|at| blocks[at][lane]))
    }

    /// Of those that come rows first.
    #[inline(always)]
    pub(super) fn of_rows(coefficients: &[i16; 16]) -> Self {
        Self(ZIGZAG.map(|at| coefficients[at]))
    }
}

/// About what it takes that a level is not 0, by where it is.
#[derive(Clone, Copy)]
pub(super) struct Rates(pub(super) Lanes);

/// The upper half of a product, which has 15 bits.
#[inline(always)]
fn upper(a: u16, b: u16) -> i16 {
    ((u32::from(a) * u32::from(b)) >> 16) as i16
}

fn short(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
