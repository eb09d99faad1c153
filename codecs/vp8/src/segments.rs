//! Segments (RFC 6386, section 9.3): busy areas hide coarse quantization, flat ones show it.

use crate::{
    macroblock::luma_residues,
    plane::Plane,
    quantization::QuantizerIndex,
    transform::forward_dct,
    tuning::{Quantization, Tuning},
};

/// The number of segments of the format.
const SEGMENTS: usize = 4;

/// The segment of each macroblock, and the quantizer index of each segment.
pub(crate) struct Segments {
    pub(crate) of: Vec<u8>,
    pub(crate) indices: [QuantizerIndex; SEGMENTS],
}

/// Macroblocks of less activity are blank.
const BLANK: usize = 16;

/// Activities: see [`activity`].
const ACTIVITIES: usize = 256;

impl Segments {
    /// Segments an image of `columns` x `rows` macroblocks.
    pub(crate) fn of(luma: &Plane, columns: usize, rows: usize, quantization: Quantization, tuning: &Tuning) -> Self {
        let macroblocks = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        let activities: Vec<u8> = macroblocks.map(|(column, row)| activity(luma, column, row)).collect();
        let mut counts = [0; ACTIVITIES];
        for &activity in &activities {
            counts[usize::from(activity)] += 1;
        }
        let centers = centers(&counts);
        let segment_of: Vec<usize> = (0..ACTIVITIES).map(|activity| nearest(&centers, activity)).collect();
        // Blank macroblocks take no bits at any index, so they do not count for the mean.
        let (mut sum, mut count) = (0, 0);
        for (&segment, &macroblocks) in segment_of.iter().zip(&counts).skip(BLANK) {
            sum += i64::from(centers[segment]) * macroblocks;
            count += macroblocks;
        }
        let mean = sum / count.max(1);
        let [least, greatest] = tuning.segment_range.map(i64::from);
        let indices = centers.map(|center| {
            let relative = (i64::from(center) - mean).clamp(least, greatest);
            // In the range that is used, the step of an index is about the index and four.
            let step = i64::from(quantization.sixteenths() + 4 * Quantization::PARTS);
            let sixteenths = i64::from(quantization.sixteenths())
                + step * relative * i64::from(tuning.segment_strength) / (16 << 10);
            let index = (sixteenths + i64::from(Quantization::PARTS) / 2) / i64::from(Quantization::PARTS);
            QuantizerIndex::new(i32::try_from(index).expect("a small multiple of the quantization"))
        });
        let segment_of = |activity: &u8| u8::try_from(segment_of[usize::from(*activity)]).expect("there are four");
        Self { of: activities.iter().map(segment_of).collect(), indices }
    }
}

/// The activity of a macroblock: 16 log2 of the sum of magnitudes of a subblock's AC coefficients, averaged over the
/// subblocks.
fn activity(luma: &Plane, column: usize, row: usize) -> u8 {
    let mut blocks = luma_residues(&luma.square(column * 16, row * 16), &[[128; 16]; 16]);
    forward_dct(&mut blocks);
    let mut sums = [0_i16; 16];
    for coefficients in &blocks[1..] {
        for lane in 0..16 {
            sums[lane] = sums[lane].saturating_add(coefficients[lane].abs());
        }
    }
    let logarithms: u32 = sums.iter().map(|&sum| log2_sixteenths(sum.unsigned_abs())).sum();
    u8::try_from(logarithms / 16).expect("at most 16 times 15")
}

/// 16 log2(number + 1), interpolated linearly between powers of two.
fn log2_sixteenths(number: u16) -> u32 {
    let number = u32::from(number) + 1;
    let whole = number.ilog2();
    whole * 16 + ((number << 4 >> whole) & 15)
}

/// The centers of four clusters of activities, by Lloyd's algorithm.
fn centers(counts: &[i64; ACTIVITIES]) -> [i32; SEGMENTS] {
    const ROUNDS: usize = 6;

    let activity = |activity: Option<usize>| i32::try_from(activity.unwrap_or(0)).expect("there are 256");
    let first = activity(counts.iter().position(|&count| count > 0));
    let last = activity(counts.iter().rposition(|&count| count > 0));
    let mut centers = [1, 3, 5, 7].map(|eighth| first + eighth * (last - first) / 8);
    for _ in 0..ROUNDS {
        let (mut sums, mut sizes) = ([0, 0, 0, 0], [0, 0, 0, 0]);
        for (activity, &count) in counts.iter().enumerate() {
            let nearest = nearest(&centers, activity);
            sums[nearest] += activity as i64 * count;
            sizes[nearest] += count;
        }
        for at in 0..SEGMENTS {
            if sizes[at] > 0 {
                centers[at] =
                    i32::try_from((sums[at] + sizes[at] / 2) / sizes[at]).expect("a mean of activities is one");
            }
        }
    }
    centers
}

fn nearest(centers: &[i32; SEGMENTS], activity: usize) -> usize {
    let activity = i32::try_from(activity).expect("there are 256");
    (0..SEGMENTS).min_by_key(|&at| (centers[at] - activity).abs()).expect("there are four")
}
