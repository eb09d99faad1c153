//! Resamples rows as they arrive: Lanczos3 in gamma space, in 16 bits from the first pass to the last.
//!
//! The vertical pass holds no more rows than one output row needs. Samples are rounded to 8 bits once, together with
//! the change of range. All arithmetic is in whole numbers, so the result is the same on every processor. If an image
//! is scaled down a lot, groups of two, four or eight rows are added first, as long as 2.5 of them are left for each
//! output row: this saves most of Lanczos' work, and costs a fifteenth of the contrast of the finest detail.

#![expect(clippy::cast_possible_truncation, reason = "samples are clamped to a byte, and places are within a side")]

use std::sync::LazyLock;

/// Samples that the vertical pass works on at once.
const BLOCK: usize = 64;

/// Rows that the horizontal pass works on at once.
const LANES: usize = 64;

/// Rows that are transposed into lanes at once. A row alone would write each sample far from the previous one.
const TURNED: usize = 8;

/// Fractional bits: of an expanded sample, of the weights of the vertical pass, and of its result.
const EXPANDED: u32 = 7;
const DOWN_WEIGHT: u32 = 15;
const DOWN: u32 = EXPANDED + DOWN_WEIGHT - 16;

/// `value * factor / 2^16`, rounded down.
#[inline(always)]
fn times(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}

/// How the samples of one dimension map to those of the other size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// Source samples.
    pub from: usize,
    /// Target samples.
    pub to: usize,
    /// The center of the first target sample in source samples. The first source sample reaches from 0 to 1.
    pub first: f64,
    /// The distance between the centers of target samples, in source samples.
    pub step: f64,
}

impl Side {
    /// Maps a whole dimension.
    pub(super) fn whole(from: usize, to: usize) -> Self {
        let step = from as f64 / to as f64;
        Self { from, to, first: step / 2.0, step }
    }

    /// How many source samples are added to one. The sum of eight 12-bit samples fits in 16 bits.
    fn group(self) -> usize {
        const LEFT: f64 = 2.5;

        [8, 4, 2].into_iter().find(|group| self.step >= LEFT * *group as f64).unwrap_or(1)
    }

    /// The same mapping from groups of source samples.
    fn grouped(self, group: usize) -> Self {
        let share = 1.0 / group as f64;
        Self { from: self.from.div_ceil(group), first: self.first * share, step: self.step * share, ..self }
    }

    /// For each target sample, the first source sample with a weight, and the weights from there on, whose sum is 1.
    fn weights(self) -> Vec<(usize, Vec<f32>)> {
        let scale = self.step.max(1.0);
        let (reach, kernel): (f64, fn(f64) -> f32) =
            if self.step < 1.0 { (1.0, triangle) } else { (3.0 * scale, lanczos3) };
        let last = self.from as f64;
        let weigh = |index: usize| {
            let middle = self.first + index as f64 * self.step;
            let start = (middle - reach + 0.5).clamp(0.0, last - 1.0) as usize;
            let end = ((middle + reach + 0.5).clamp(1.0, last) as usize).max(start + 1);
            let mut weights: Vec<f32> = (start..end).map(|at| kernel((at as f64 + 0.5 - middle) / scale)).collect();
            let sum: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            (start, weights)
        };
        (0..self.to).map(weigh).collect()
    }
}

/// A triangle filter for chroma that is scaled up, as in libjpeg: sharper filters ring at edges.
fn triangle(x: f64) -> f32 {
    (1.0 - x.abs()).max(0.0) as f32
}

/// The kernel is tabulated, because two sines for each weight would take as long as resampling a small image.
fn lanczos3(x: f64) -> f32 {
    const STEPS: usize = 1024;
    static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { x.sin() / x };
        let angle = |step: usize| std::f64::consts::PI * step as f64 / STEPS as f64;
        let inside = (0..3 * STEPS).map(|step| (sinc(angle(step)) * sinc(angle(step) / 3.0)) as f32);
        inside.chain([0.0; 2]).collect()
    });
    let place = (x.abs() as f32 * STEPS as f32).min((3 * STEPS) as f32);
    let step = place as usize;
    let part = place - step as f32;
    TABLE[step] * (1.0 - part) + TABLE[step + 1] * part
}

/// Rounds `weights` to whole numbers whose sum is `one`.
fn whole(weights: &[f32], one: i32) -> Vec<i16> {
    // Rounds to the nearest without a function call.
    let round = |value: f32| (value + 65_536.5) as i32 - 65_536;
    let mut whole: Vec<i32> = weights.iter().map(|weight| round(weight * one as f32)).collect();
    let missing = one - whole.iter().sum::<i32>();
    if let Some(largest) = whole.iter_mut().max_by_key(|weight| **weight) {
        *largest += missing;
    }
    whole.into_iter().map(|weight| weight.clamp(i16::MIN.into(), i16::MAX.into()) as i16).collect()
}

/// A linear change of sample values: `sample * gain + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub gain: f64,
    pub offset: f64,
}

impl Levels {
    pub(super) const SAME: Self = Self { gain: 1.0, offset: 0.0 };

    /// For 12-bit samples, whose maximum is 255.94 in 8-bit steps and means 255.
    pub(super) const WHITE_OF_12_BITS: Self = Self { gain: 4080.0 / 4095.0, offset: 0.0 };

    /// The same for samples whose distance from `zero` is first multiplied by `gain`.
    pub(super) fn after(self, gain: f64, zero: f64) -> Self {
        Self { gain: self.gain * gain, offset: self.offset + self.gain * zero * (1.0 - gain) }
    }

    pub(super) fn of(self, sample: u8) -> u8 {
        (f64::from(sample) * self.gain + self.offset).round().clamp(0.0, 255.0) as u8
    }
}

/// The weights of one target sample in whole numbers.
struct Taps {
    first: usize,
    weights: Vec<i16>,
}

impl Taps {
    fn all(weights: &[(usize, Vec<f32>)], one: f64) -> Vec<Self> {
        let one = (one + 0.5) as i32;
        weights.iter().map(|(first, weights)| Self { first: *first, weights: whole(weights, one) }).collect()
    }
}

/// How to resample images of one size to another.
pub(super) struct Plan {
    width: usize,
    height: usize,
    /// How many rows are added to one first.
    group: usize,
    channels: usize,
    across: Vec<Taps>,
    down: Vec<Taps>,
    /// Fractional bits of the result of the horizontal pass.
    left: u32,
    /// Includes the half for rounding.
    offset: i16,
}

impl Plan {
    /// For rows of interleaved channels.
    pub(super) fn new(x: Side, y: Side, channels: usize, levels: Levels) -> Self {
        let across = x.weights();
        let largest =
            across.iter().flat_map(|(_, weights)| weights).fold(0.0, |most: f32, weight| most.max(weight.abs()));
        // More bits lose less in the many taps of a strong reduction, but weights have 16 bits.
        let bits = match f64::from(largest) * levels.gain {
            ..0.499 => 16,
            0.499..0.999 => 15,
            _ => 14,
        };
        let left = DOWN + bits - 16;
        let group = y.group();
        Self {
            width: x.from,
            height: y.from,
            group,
            channels,
            across: Taps::all(&across, levels.gain * f64::from(1_u32 << bits)),
            down: Taps::all(&y.grouped(group).weights(), f64::from(1 << DOWN_WEIGHT)),
            left,
            offset: ((levels.offset + 0.5) * f64::from(1 << left)).round() as i16,
        }
    }
}

/// Products are rounded down, by half on average, which this adds up.
fn lost(weights: &[i16]) -> i16 {
    (weights.len() / 2) as i16
}

/// Takes the rows of an image from the top, and yields the scaled image.
pub(super) struct Shrinker<'a> {
    plan: &'a Plan,
    /// A ring of the latest rows, expanded.
    rows: Vec<Vec<[i16; BLOCK]>>,
    taken: usize,
    given: usize,
    /// A few rows after the vertical pass, interleaved by blocks of samples.
    sums: Vec<[[i16; BLOCK]; TURNED]>,
    /// More rows after the vertical pass, interleaved by samples.
    lines: Vec<[i16; LANES]>,
    samples: Vec<u8>,
}

impl<'a> Shrinker<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let most = plan.down.iter().map(|it| it.weights.len()).max().unwrap_or(1);
        let blocks = (plan.width * plan.channels).div_ceil(BLOCK);
        Self {
            plan,
            rows: vec![vec![[0; BLOCK]; blocks]; most],
            taken: 0,
            given: 0,
            sums: vec![[[0; BLOCK]; TURNED]; blocks],
            lines: vec![[0; LANES]; blocks * BLOCK],
            samples: vec![0; plan.across.len() * plan.channels * plan.down.len()],
        }
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: &[u8]) {
        self.add(row, EXPANDED);
    }

    /// Takes the next row, whose samples have this many bits.
    pub(super) fn push_words(&mut self, row: &[u16], bits: u32) {
        self.add(row, (EXPANDED + 8).saturating_sub(bits));
    }

    fn add<S: Copy + Into<u32>>(&mut self, row: &[S], expand: u32) {
        let Plan { group, height, .. } = *self.plan;
        let (slot, place) = (self.taken / group % self.rows.len(), self.taken % group);
        // The last row is repeated to complete a group.
        let is_last = self.taken + 1 == height;
        let times = if is_last { group - place } else { 1 };
        let slot = self.rows[slot].as_flattened_mut();
        if group == 1 {
            for (expanded, sample) in slot.iter_mut().zip(row) {
                *expanded = ((*sample).into() << expand) as i16;
            }
        } else {
            // One bit less for each doubling of the group.
            let expand = expand - group.ilog2();
            for (expanded, sample) in slot.iter_mut().zip(row) {
                let sample = ((*sample).into() << expand) as i16 * times as i16;
                *expanded = if place == 0 { sample } else { *expanded + sample };
            }
        }
        self.taken += 1;
        let groups = if is_last { height.div_ceil(group) } else { self.taken / group };
        while self.plan.down.get(self.given).is_some_and(|down| down.first + down.weights.len() <= groups) {
            self.give();
        }
    }

    /// The samples of the scaled image, after all rows.
    pub(super) fn finish(self) -> Vec<u8> {
        self.samples
    }

    /// Runs the vertical pass of a row, and the horizontal pass once there are enough rows.
    fn give(&mut self) {
        let Taps { first, weights } = &self.plan.down[self.given];
        let lane = self.given % LANES;
        self.given += 1;
        let is_last = self.given == self.plan.down.len();
        let turned = lane % TURNED;
        let (later, sooner) = self.rows.split_at(first % self.rows.len());
        for (block, turning) in self.sums.iter_mut().enumerate() {
            let mut sums = [lost(weights); BLOCK];
            for (row, weight) in sooner.iter().chain(later).zip(weights) {
                let samples = &row[block];
                sums = std::array::from_fn(|at| sums[at].wrapping_add(times(samples[at], *weight)));
            }
            turning[turned] = sums;
        }
        if turned + 1 == TURNED || is_last {
            let lanes = lane - turned..lane - turned + TURNED;
            for (turning, lines) in self.sums.iter().zip(self.lines.as_chunks_mut::<BLOCK>().0) {
                for (at, line) in lines.iter_mut().enumerate() {
                    let samples: [i16; TURNED] = std::array::from_fn(|row| turning[row][at]);
                    line[lanes.clone()].copy_from_slice(&samples);
                }
            }
        }
        if lane + 1 == LANES || is_last {
            match self.plan.channels {
                1 => self.across::<1>(lane + 1),
                2 => self.across::<2>(lane + 1),
                3 => self.across::<3>(lane + 1),
                _ => self.across::<4>(lane + 1),
            }
        }
    }

    fn across<const CHANNELS: usize>(&mut self, rows: usize) {
        let width = self.plan.across.len() * CHANNELS;
        let first_row = self.given - rows;
        let (left, pixels) = (self.plan.left, self.lines.as_chunks::<CHANNELS>().0);
        for (x, Taps { first, weights }) in self.plan.across.iter().enumerate() {
            let mut sums = [[lost(weights) + self.plan.offset; LANES]; CHANNELS];
            for (place, weight) in (*first..).zip(weights) {
                let pixel = &pixels[place];
                for (sums, samples) in sums.iter_mut().zip(pixel) {
                    *sums = std::array::from_fn(|lane| sums[lane].wrapping_add(times(samples[lane], *weight)));
                }
            }
            for (channel, sums) in sums.iter().enumerate() {
                let bytes = sums.map(|sum| (sum >> left).clamp(0, 255) as u8);
                for (row, byte) in bytes.into_iter().take(rows).enumerate() {
                    self.samples[(first_row + row) * width + x * CHANNELS + channel] = byte;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Levels, Plan, Shrinker, Side};

    fn whole(from: usize, to: usize) -> Side {
        let step = from as f64 / to as f64;
        Side { from, to, first: step / 2.0, step }
    }

    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn shrunk(samples: &[u8], x: Side, y: Side, channels: usize, levels: Levels) -> Vec<u8> {
        let plan = Plan::new(x, y, channels, levels);
        let mut shrinker = Shrinker::new(&plan);
        samples.chunks(x.from * channels).for_each(|row| shrinker.push(row));
        shrinker.finish()
    }

    /// The mean of each group of rows. The last row is repeated to complete a group.
    fn grouped(samples: &[u8], row: usize, group: usize) -> Vec<f64> {
        let rows: Vec<&[u8]> = samples.chunks(row).collect();
        let mean = |start: usize, at: usize| {
            let sum: u32 = (start..start + group).map(|y| u32::from(rows[y.min(rows.len() - 1)][at])).sum();
            f64::from(sum) / group as f64
        };
        (0..rows.len())
            .step_by(group)
            .flat_map(|start| (0..row).map(move |at| (start, at)))
            .map(|(y, x)| mean(y, x))
            .collect()
    }

    /// A reference in floating point, by the definition of Lanczos.
    fn expected(samples: &[f64], x: Side, y: Side, channels: usize, levels: Levels) -> Vec<f64> {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
        let weights = |side: Side| -> Vec<Vec<f64>> {
            let scale = side.step.max(1.0);
            let weigh = |to: usize| {
                let middle = side.first + to as f64 * side.step;
                let at = |from: usize| (from as f64 + 0.5 - middle) / scale;
                let all = (0..side.from)
                    .map(|from| if at(from).abs() < 3.0 { sinc(at(from)) * sinc(at(from) / 3.0) } else { 0.0 });
                let all: Vec<f64> = all.collect();
                let sum: f64 = all.iter().sum();
                all.into_iter().map(|weight| weight / sum).collect()
            };
            (0..side.to).map(weigh).collect()
        };
        let (across, down) = (weights(x), weights(y));
        let mut all = Vec::new();
        for (down, across) in down.iter().flat_map(|down| across.iter().map(move |across| (down, across))) {
            for channel in 0..channels {
                let mut sum = 0.0;
                for (row, weight) in down.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                    let line: f64 = across
                        .iter()
                        .enumerate()
                        .map(|(at, weight)| weight * samples[(row * x.from + at) * channels + channel])
                        .sum();
                    sum += weight * line;
                }
                all.push((sum * levels.gain + levels.offset).clamp(0.0, 255.0));
            }
        }
        all
    }

    #[test]
    fn samples_are_those_of_floating_point() {
        for (width, height, to_width, to_height, channels) in [
            (100, 80, 40, 30, 1),
            (100, 80, 99, 79, 1),
            (257, 31, 64, 9, 3),
            (300, 200, 17, 101, 4),
            (90, 70, 90, 70, 1),
            (1, 90, 1, 7, 1),
            (70, 501, 20, 61, 1),
            (70, 503, 20, 31, 3),
            (9, 999, 4, 7, 1),
            (90, 1, 7, 1, 2),
        ] {
            let samples = noise(width * height * channels);
            let (x, y) = (whole(width, to_width), whole(height, to_height));
            for levels in [
                Levels::SAME,
                Levels { gain: 219.0 / 255.0, offset: 16.0 },
                Levels { gain: 255.0 / 219.0, offset: -18.6 },
            ] {
                let ours = shrunk(&samples, x, y, channels, levels);
                let rows = grouped(&samples, width * channels, y.group());
                let expected = expected(&rows, x, y.grouped(y.group()), channels, levels);
                assert_eq!(ours.len(), expected.len());
                let most = ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(most < 1.0, "{width} x {height} to {to_width} x {to_height}, {levels:?}: {most}");
            }
        }
    }

    #[test]
    fn what_is_made_much_smaller_is_the_same_in_groups() {
        let wave = |x: usize, y: usize| (127.5 + 60.0 * (x as f64 / 9.0).sin() + 60.0 * (y as f64 / 19.0).cos()) as u8;
        let samples: Vec<u8> = (0..600).flat_map(|y| (0..40).map(move |x| wave(x, y))).collect();
        let rows: Vec<f64> = samples.iter().map(|sample| f64::from(*sample)).collect();
        for height in [75, 50, 37, 18] {
            let (x, y) = (whole(40, 20), whole(600, height));
            assert!(y.group() > 1);
            let ours = shrunk(&samples, x, y, 1, Levels::SAME);
            let expected = expected(&rows, x, y, 1, Levels::SAME);
            let most = ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(most < 1.0, "{height}: {most}");
        }
    }

    #[test]
    fn words_are_resampled_as_bytes_and_keep_what_they_have_more() {
        let samples = noise(90 * 800);
        let (x, y) = (whole(90, 30), whole(800, 50));
        let plan = Plan::new(x, y, 1, Levels::SAME);
        for bits in [10, 12] {
            let mut shrinker = Shrinker::new(&plan);
            for row in samples.chunks(90) {
                let words: Vec<u16> = row.iter().map(|sample| u16::from(*sample) << (bits - 8)).collect();
                shrinker.push_words(&words, bits);
            }
            assert_eq!(shrinker.finish(), shrunk(&samples, x, y, 1, Levels::SAME));
        }
        // Half an 8-bit step, at twice the contrast.
        let twice = Plan::new(whole(8, 8), whole(64, 4), 1, Levels { gain: 2.0, offset: 0.0 });
        let mut shrinker = Shrinker::new(&twice);
        (0..64).for_each(|_| shrinker.push_words(&[202; 8], 10));
        assert_eq!(shrinker.finish(), [101; 32]);
    }

    #[test]
    fn flat_stays_flat_and_the_same_size_the_same_picture() {
        for value in [0, 1, 127, 128, 254, 255] {
            let flat = shrunk(&vec![value; 200 * 150], whole(200, 77), whole(150, 50), 1, Levels::SAME);
            assert!(flat.iter().all(|sample| *sample == value), "{value}");
            let flat = shrunk(&vec![value; 40 * 999], whole(40, 11), whole(999, 31), 1, Levels::SAME);
            assert!(flat.iter().all(|sample| *sample == value), "{value} in groups");
        }
        let samples = noise(64 * 48 * 3);
        assert_eq!(shrunk(&samples, whole(64, 64), whole(48, 48), 3, Levels::SAME), samples);
    }
}
