//! Which parts of a picture are stored more coarsely than others: where it is busy nobody sees what is lost, and where it
//! is flat everybody.

use super::{
    macroblock::differences_16,
    plane::Plane,
    quantize::{Fineness, Index},
    transform::forward,
};

/// How many segments there are: RFC 6386, section 9.3.
const MAX: usize = 4;

/// The segment of each macroblock, and how finely each of them is stored.
pub(super) struct Segments {
    pub(super) of: Vec<u8>,
    pub(super) indices: [Index; MAX],
}

/// Where a picture is twice as busy, the steps are this much larger than the mean, in parts of 1024. By SSIMULACRA2 at
/// equal bytes, found by trial.
const COARSER: i64 = 240;

/// How much less and more busy than the mean counts, in sixteenths of twice: beyond, it is flat, or writing rather than
/// noise.
const FLAT: i64 = -20;
const BUSY: i64 = 40;

/// Less busy, a macroblock is blank.
const BLANK: usize = 16;

/// How busy a macroblock can be: see [`busyness`].
const LEVELS: usize = 256;

impl Segments {
    /// Of a picture of so many macroblocks each way.
    pub(super) fn of(luma: &Plane, columns: usize, rows: usize, fineness: Fineness) -> Self {
        let macroblocks = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        let busy: Vec<u8> = macroblocks.map(|(column, row)| busyness(luma, column, row)).collect();
        let mut counts = [0; LEVELS];
        for &level in &busy {
            counts[usize::from(level)] += 1;
        }
        let centers = centers(&counts);
        let of_level: Vec<usize> = (0..LEVELS).map(|level| nearest(&centers, level)).collect();
        // What is blank takes nothing anyway, and is not what the others are compared with.
        let (mut sum, mut count) = (0, 0);
        for (&segment, &macroblocks) in of_level.iter().zip(&counts).skip(BLANK) {
            sum += i64::from(centers[segment]) * macroblocks;
            count += macroblocks;
        }
        let mean = sum / count.max(1);
        let indices = centers.map(|center| {
            let busier = (i64::from(center) - mean).clamp(FLAT, BUSY);
            // Up to where it matters, a step is its index and four.
            let steps = i64::from(fineness.parts() + 4 * Fineness::PARTS);
            let parts = i64::from(fineness.parts()) + steps * busier * COARSER / (16 << 10);
            let index = (parts + i64::from(Fineness::PARTS) / 2) / i64::from(Fineness::PARTS);
            Index::new(i32::try_from(index).expect("a few times as many parts"))
        });
        let of_level = |level: &u8| u8::try_from(of_level[usize::from(*level)]).expect("there are four");
        Self { of: busy.iter().map(of_level).collect(), indices }
    }
}

/// How busy a macroblock is: sixteen times the logarithm, to the base 2, of the sum of the coefficients that a block has
/// beside its mean, in the mean of its blocks.
fn busyness(luma: &Plane, column: usize, row: usize) -> u8 {
    let mut blocks = differences_16(&luma.square(column * 16, row * 16), &[[128; 16]; 16]);
    forward(&mut blocks);
    let mut sums = [0_i16; 16];
    for coefficients in &blocks[1..] {
        for lane in 0..16 {
            sums[lane] = sums[lane].saturating_add(coefficients[lane].abs());
        }
    }
    let logarithms: u32 = sums.iter().map(|&sum| logarithm(sum.unsigned_abs())).sum();
    u8::try_from(logarithms / 16).expect("16 times 15 is the most")
}

/// Sixteen times the logarithm of a number and 1; between powers of two, on a straight line.
fn logarithm(number: u16) -> u32 {
    let number = u32::from(number) + 1;
    let whole = number.ilog2();
    whole * 16 + ((number << 4 >> whole) & 15)
}

/// Four levels around which the levels gather, by Lloyd's algorithm.
fn centers(counts: &[i64; LEVELS]) -> [i32; MAX] {
    const ROUNDS: usize = 6;

    let level = |level: Option<usize>| i32::try_from(level.unwrap_or(0)).expect("there are 256");
    let first = level(counts.iter().position(|&count| count > 0));
    let last = level(counts.iter().rposition(|&count| count > 0));
    let mut centers = [1, 3, 5, 7].map(|eighth| first + eighth * (last - first) / 8);
    for _ in 0..ROUNDS {
        let (mut sums, mut sizes) = ([0, 0, 0, 0], [0, 0, 0, 0]);
        for (level, &count) in counts.iter().enumerate() {
            let nearest = nearest(&centers, level);
            sums[nearest] += level as i64 * count;
            sizes[nearest] += count;
        }
        for at in 0..MAX {
            if sizes[at] > 0 {
                centers[at] =
                    i32::try_from((sums[at] + sizes[at] / 2) / sizes[at]).expect("a mean of levels is a level");
            }
        }
    }
    centers
}

fn nearest(centers: &[i32; MAX], level: usize) -> usize {
    let level = i32::try_from(level).expect("there are 256");
    (0..MAX).min_by_key(|&at| (centers[at] - level).abs()).expect("there are four")
}
