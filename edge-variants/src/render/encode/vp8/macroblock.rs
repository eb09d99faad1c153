//! How one macroblock is stored: with which predictions, and with which levels.
//!
//! Every choice is by its cost: the bits that it takes, and what is lost in units of what a bit is worth. All ways to
//! predict are estimated side by side, and the best are counted exactly.

use super::{
    bits::{cost, path_cost},
    plane::Plane,
    predict::{Mode, SMALL_MODE_COUNT, SmallMode, Square, square},
    quantize::{Coefficients, Levels, Quantizer, Rates},
    tables,
    tokens::{Costs, Kind, Tokens},
    transform::{Blocks, Lanes, add_inverse, forward, forward_means, inverse_means},
};

/// How luma is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luma {
    Whole(Mode),
    /// Each block of 4 x 4 in its own way.
    Small([SmallMode; 16]),
}

/// What was chosen for a macroblock, but for its levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) luma: Luma,
    pub(super) chroma: Mode,
    /// There are no levels at all.
    pub(super) is_empty: bool,
}

/// What the macroblocks after this one have to know of it, on one of its sides.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside {
    /// Which blocks have levels: of luma, of the two differences, and the means.
    luma: [bool; 4],
    chroma: [[bool; 2]; 2],
    means: bool,
    modes: [SmallMode; 4],
}

/// The macroblocks above and to the left.
pub(super) struct Neighbours<'a> {
    pub(super) above: &'a mut Beside,
    pub(super) left: &'a mut Beside,
}

/// The three planes of a picture, in whole macroblocks.
pub(super) struct Planes {
    pub(super) luma: Plane,
    pub(super) chroma: [Plane; 2],
}

/// What levels take, as far as is known.
pub(super) struct Prices {
    costs: Costs,
    small: Rates,
    whole: Rates,
    chroma: Rates,
}

impl Prices {
    pub(super) fn of(tokens: &Tokens) -> Self {
        let costs = tokens.costs();
        let [small, whole, chroma] = [Kind::Luma, Kind::LumaRest, Kind::Chroma].map(|kind| costs.rates(kind));
        Self { costs, small, whole, chroma }
    }
}

/// 1 / 64 of a bit, in which estimates and losses are told, in the units of costs.
const ESTIMATE: u32 = 4;

/// What each level of the means takes, about, in 1 / 64 of a bit.
const MEAN_TAKEN: u32 = 200;

/// Encodes one macroblock after the other.
pub(super) struct Macroblocks {
    pub(super) source: Planes,
    /// What a decoder makes of what was chosen, before its filter.
    pub(super) made: Planes,
    pub(super) tokens: Tokens,
    /// Macroblocks in a row.
    pub(super) columns: usize,
    /// Luma may be predicted in small blocks.
    pub(super) may_be_small: bool,
}

/// Luma as one block of 16 x 16.
struct Whole {
    mode: Mode,
    predicted: Square<16>,
    means: Levels,
    rest: [Levels; 16],
    cost: u32,
}

impl Macroblocks {
    /// Chooses for the macroblock in that column and row, and takes its levels.
    pub(super) fn encode(
        &mut self,
        at: (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        beside: &mut Neighbours<'_>,
    ) -> Choice {
        let whole = self.whole(at, quantizer, prices, beside);
        let small = if self.may_be_small { self.small(at, quantizer, prices, beside, whole.cost) } else { None };
        let (chroma, chroma_levels) = self.chroma(at, quantizer, prices);

        let are_empty = |levels: &[Levels]| levels.iter().all(|levels| levels.end == 0);
        let is_empty = are_empty(&chroma_levels)
            && match &small {
                Some((_, levels)) => are_empty(levels),
                None => whole.means.end == 0 && are_empty(&whole.rest),
            };
        let luma = match small {
            Some((modes, levels)) => {
                self.take_luma(Kind::Luma, &levels, beside, is_empty);
                beside.above.modes.copy_from_slice(&modes[12..]);
                beside.left.modes = [3, 7, 11, 15].map(|at| modes[at]);
                Luma::Small(modes)
            }
            None => {
                self.restore_whole(at, &whole, quantizer);
                self.take_means(&whole.means, beside, is_empty);
                self.take_luma(Kind::LumaRest, &whole.rest, beside, is_empty);
                beside.above.modes = [whole.mode.as_small(); 4];
                beside.left.modes = beside.above.modes;
                Luma::Whole(whole.mode)
            }
        };
        self.take_chroma(&chroma_levels, beside, is_empty);
        Choice { luma, chroma, is_empty }
    }

    fn take_means(&mut self, levels: &Levels, beside: &mut Neighbours<'_>, is_empty: bool) {
        let neighbours = [beside.above.means, beside.left.means];
        let is_there = !is_empty && self.tokens.take(Kind::Means, neighbours, levels);
        (beside.above.means, beside.left.means) = (is_there, is_there);
    }

    fn take_luma(&mut self, kind: Kind, levels: &[Levels; 16], beside: &mut Neighbours<'_>, is_empty: bool) {
        for (at, levels) in levels.iter().enumerate() {
            let (above, left) = (&mut beside.above.luma[at % 4], &mut beside.left.luma[at / 4]);
            let is_there = !is_empty && self.tokens.take(kind, [*above, *left], levels);
            (*above, *left) = (is_there, is_there);
        }
    }

    fn take_chroma(&mut self, levels: &[Levels; 8], beside: &mut Neighbours<'_>, is_empty: bool) {
        for (at, levels) in levels.iter().enumerate() {
            let (plane, x, y) = (at / 4, at % 2, at / 2 % 2);
            let (above, left) = (&mut beside.above.chroma[plane][x], &mut beside.left.chroma[plane][y]);
            let is_there = !is_empty && self.tokens.take(Kind::Chroma, [*above, *left], levels);
            (*above, *left) = (is_there, is_there);
        }
    }

    /// Luma as one block: the best way to predict it by estimate, counted.
    fn whole(
        &self,
        (column, row): (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        beside: &Neighbours<'_>,
    ) -> Whole {
        let (x, y) = (column * 16, row * 16);
        let source: Square<16> = self.source.luma.square(x, y);
        let edges = self.made.luma.edges(x, y);
        let mut best: Option<(u32, Mode, Square<16>, Blocks, Levels)> = None;
        for mode in Mode::ALL {
            let predicted = square(mode, &edges);
            let mut blocks = differences_16(&source, &predicted);
            forward(&mut blocks);
            let means = quantizer.means.levels(&Coefficients::of_rows(&forward_means(&blocks[0])), 0);
            let rest = sum(&quantizer.luma.estimate(&blocks, 1, &prices.whole));
            let estimate = rest
                + means.loss
                + u32::try_from(means.end).expect("at most 16") * MEAN_TAKEN
                + whole_cost(mode) / ESTIMATE;
            if best.as_ref().is_none_or(|(least, ..)| estimate < *least) {
                best = Some((estimate, mode, predicted, blocks, means));
            }
        }
        let (_, mode, predicted, blocks, means) = best.expect("there are four modes");

        let mut cost = whole_cost(mode) + means.loss * ESTIMATE;
        cost += prices.costs.of(Kind::Means, [beside.above.means, beside.left.means], &means);
        let (mut above, mut left) = (beside.above.luma, beside.left.luma);
        let mut rest = [Levels::NONE; 16];
        for (at, levels) in rest.iter_mut().enumerate() {
            let (above, left) = (&mut above[at % 4], &mut left[at / 4]);
            *levels = quantizer.luma.levels(&Coefficients::of_lane(&blocks, at), 1);
            cost += prices.costs.of(Kind::LumaRest, [*above, *left], levels) + levels.loss * ESTIMATE;
            (*above, *left) = (levels.end > 0, levels.end > 0);
        }
        Whole { mode, predicted, means, rest, cost }
    }

    fn restore_whole(&mut self, (column, row): (usize, usize), whole: &Whole, quantizer: &Quantizer) {
        let means = inverse_means(&quantizer.means.restore(&whole.means));
        for (at, (levels, &mean)) in whole.rest.iter().zip(&means).enumerate() {
            let (x, y) = (at % 4 * 4, at / 4 * 4);
            let mut coefficients = quantizer.luma.restore(levels);
            coefficients[0] = mean;
            let made = add_inverse(&coefficients, &part(&whole.predicted, x, y));
            self.made.luma.put_block(column * 16 + x, row * 16 + y, &made);
        }
    }

    /// Luma as sixteen blocks, unless that costs `limit` or more. They are made at once: each is predicted from others.
    fn small(
        &mut self,
        (column, row): (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        beside: &Neighbours<'_>,
        limit: u32,
    ) -> Option<([SmallMode; 16], [Levels; 16])> {
        let (mut above, mut left) = (*beside.above, *beside.left);
        let mut modes = [0; 16];
        let mut levels = [Levels::NONE; 16];
        let mut sum = cost(false, tables::LUMA_MODES[0]);
        let beyond = self.beyond(column, row);
        for at in 0..16 {
            let (x, y) = (column * 16 + at % 4 * 4, row * 16 + at / 4 * 4);
            let (mode_above, mode_left) = (&mut above.modes[at % 4], &mut left.modes[at / 4]);
            let (is_above, is_left) = (&mut above.luma[at % 4], &mut left.luma[at / 4]);
            let upper_right = if at % 4 == 3 { beyond } else { self.made.luma.upper_right(x, y) };
            let predictions = self.made.luma.small_edges(x, y, upper_right).predictions();
            let mut blocks = predictions.differences(&self.source.luma.block(x, y));
            forward(&mut blocks);

            let mode_costs = &SMALL_COSTS[usize::from(*mode_above)][usize::from(*mode_left)];
            let estimates = quantizer.luma.estimate(&blocks, 0, &prices.small);
            let mut best = (u32::MAX, 0, Levels::NONE);
            for mode in least_three(&estimates, mode_costs) {
                let levels = quantizer.luma.levels(&Coefficients::of_lane(&blocks, usize::from(mode)), 0);
                let cost = u32::from(mode_costs[usize::from(mode)])
                    + prices.costs.of(Kind::Luma, [*is_above, *is_left], &levels)
                    + levels.loss * ESTIMATE;
                if cost < best.0 {
                    best = (cost, mode, levels);
                }
            }
            let (cost, mode, found) = best;
            sum += cost;
            if sum >= limit {
                return None;
            }
            let made = add_inverse(&quantizer.luma.restore(&found), &predictions.of(mode));
            self.made.luma.put_block(x, y, &made);
            (*is_above, *is_left) = (found.end > 0, found.end > 0);
            (*mode_above, *mode_left) = (mode, mode);
            (modes[at], levels[at]) = (mode, found);
        }
        Some((modes, levels))
    }

    /// The four samples that all blocks on the right of a macroblock see to their upper right.
    fn beyond(&self, column: usize, row: usize) -> [u8; 4] {
        let (x, y) = (column * 16, row * 16);
        if column + 1 == self.columns && row > 0 {
            // There is no macroblock: decoders go on with the last sample.
            return [self.made.luma.upper_right(x + 8, y)[3]; 4];
        }
        self.made.luma.upper_right(x + 12, y)
    }

    /// Both differences, which are predicted alike, made at once.
    fn chroma(&mut self, (column, row): (usize, usize), quantizer: &Quantizer, prices: &Prices) -> (Mode, [Levels; 8]) {
        let (x, y) = (column * 8, row * 8);
        let sources: [Square<8>; 2] = self.source.chroma.each_ref().map(|plane| plane.square(x, y));
        let edges = self.made.chroma.each_ref().map(|plane| plane.edges(x, y));
        let mut best: Option<(u32, Mode, usize, Blocks, [Square<8>; 2])> = None;
        for pair in [[Mode::Mean, Mode::Vertical], [Mode::Horizontal, Mode::Gradient]] {
            let predicted = pair.map(|mode| edges.each_ref().map(|edges| square(mode, edges)));
            let mut blocks = differences_8(&sources, &predicted);
            forward(&mut blocks);
            let estimates = quantizer.chroma.estimate(&blocks, 0, &prices.chroma);
            for (half, (mode, predicted)) in pair.into_iter().zip(predicted).enumerate() {
                let estimate = sum(&estimates[half * 8..][..8]) + chroma_cost(mode) / ESTIMATE;
                if best.as_ref().is_none_or(|(least, ..)| estimate < *least) {
                    best = Some((estimate, mode, half * 8, blocks, predicted));
                }
            }
        }
        let (_, mode, first_lane, blocks, predicted) = best.expect("there are four modes");
        let mut levels = [Levels::NONE; 8];
        for (at, levels) in levels.iter_mut().enumerate() {
            let (plane, right, down) = (at / 4, at % 2 * 4, at / 2 % 2 * 4);
            *levels = quantizer.chroma.levels(&Coefficients::of_lane(&blocks, first_lane + at), 0);
            let made = add_inverse(&quantizer.chroma.restore(levels), &part(&predicted[plane], right, down));
            self.made.chroma[plane].put_block(x + right, y + down, &made);
        }
        (mode, levels)
    }
}

/// A block of 4 x 4 of a square, rows first.
#[inline(always)]
fn part<const N: usize>(square: &Square<N>, x: usize, y: usize) -> [u8; 16] {
    let mut part = [0; 16];
    for (row, from) in part.chunks_exact_mut(4).zip(&square[y..]) {
        row.copy_from_slice(&from[x..x + 4]);
    }
    part
}

/// Estimates are saturated, not negative.
#[inline(always)]
fn sum(estimates: &[i16]) -> u32 {
    estimates.iter().map(|&estimate| u32::from(estimate.cast_unsigned())).sum()
}

/// The three small modes that are best by estimate, with what they take themselves.
#[inline(always)]
fn least_three(estimates: &Lanes, mode_costs: &[u16; 16]) -> [SmallMode; 3] {
    let mut least = [u32::MAX; 3];
    for (mode, (&estimate, &cost)) in (0..).zip(estimates.iter().zip(mode_costs)).take(SMALL_MODE_COUNT) {
        let estimate = u32::from(estimate.cast_unsigned()) + u32::from(cost) / ESTIMATE;
        let mut key = (estimate << 4) | mode;
        for kept in &mut least {
            (*kept, key) = ((*kept).min(key), (*kept).max(key));
        }
    }
    least.map(|key| SmallMode::try_from(key & 15).expect("4 bits"))
}

/// What a prediction leaves of luma: for each sample of a block that of each of the sixteen blocks.
#[inline(always)]
pub(super) fn differences_16(source: &Square<16>, predicted: &Square<16>) -> Blocks {
    let mut blocks = [[0; 16]; 16];
    for y in 0..16 {
        for x in 0..16 {
            blocks[y % 4 * 4 + x % 4][y / 4 * 4 + x / 4] = i16::from(source[y][x]) - i16::from(predicted[y][x]);
        }
    }
    blocks
}

/// What two predictions leave of the differences: eight blocks of the first, then of the second.
#[inline(always)]
fn differences_8(sources: &[Square<8>; 2], predicted: &[[Square<8>; 2]; 2]) -> Blocks {
    let mut blocks = [[0; 16]; 16];
    for (half, predicted) in predicted.iter().enumerate() {
        for (plane, (source, predicted)) in sources.iter().zip(predicted).enumerate() {
            let lane = half * 8 + plane * 4;
            for y in 0..8 {
                for x in 0..8 {
                    blocks[y % 4 * 4 + x % 4][lane + y / 4 * 2 + x / 4] =
                        i16::from(source[y][x]) - i16::from(predicted[y][x]);
                }
            }
        }
    }
    blocks
}

fn whole_cost(mode: Mode) -> u32 {
    path_cost(tables::LUMA_MODE_PATHS[mode as usize], &tables::LUMA_MODES)
}

fn chroma_cost(mode: Mode) -> u32 {
    path_cost(tables::CHROMA_MODE_PATHS[mode as usize], &tables::CHROMA_MODES)
}

/// What a small mode takes, under the ones above and to the left.
static SMALL_COSTS: [[[u16; 16]; SMALL_MODE_COUNT]; SMALL_MODE_COUNT] = small_costs();

#[expect(clippy::cast_possible_truncation, reason = "nine bits of at most 8 each, times 256")]
const fn small_costs() -> [[[u16; 16]; SMALL_MODE_COUNT]; SMALL_MODE_COUNT] {
    const COUNT: usize = SMALL_MODE_COUNT;

    let mut costs = [[[0; 16]; COUNT]; COUNT];
    let mut at = 0;
    while at < COUNT * COUNT * COUNT {
        let (above, left, mode) = (at / COUNT / COUNT, at / COUNT % COUNT, at % COUNT);
        costs[above][left][mode] = path_cost(tables::SMALL_MODE_PATHS[mode], &tables::SMALL_MODES[above][left]) as u16;
        at += 1;
    }
    costs
}
