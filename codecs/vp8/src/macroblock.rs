//! Encodes macroblocks: chooses their prediction modes, and quantizes the residues.
//!
//! Each choice minimizes cost, the bits and the distortion in units of bits. All modes are estimated side by side, and
//! only the best are counted exactly.

use crate::{
    bool_encoder::{cost, path_cost},
    plane::Plane,
    predict::{IntraMode, Square, SubblockMode, predict},
    quantization::{PositionRates, QuantizedBlock, Quantizer, ZigzagBlock},
    tables,
    tokens::{BlockType, TokenCosts, Tokens},
    transform::{Lanes, Subblocks, add_inverse_dct, forward_dct, forward_wht, inverse_wht},
};

/// How luma is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LumaMode {
    /// 16 x 16 samples at once. The DC coefficients are in a Y2 block.
    Whole(IntraMode),
    /// B_PRED: each subblock with a mode of its own.
    BPred([SubblockMode; 16]),
}

/// The modes of a macroblock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macroblock {
    pub(crate) luma: LumaMode,
    pub(crate) chroma: IntraMode,
    /// mb_skip_coeff: there are no coefficients.
    pub(crate) is_skipped: bool,
}

/// What the following macroblocks need to know of one, along one of its sides.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    /// Which blocks have coefficients.
    luma: [bool; 4],
    chroma: [[bool; 2]; 2],
    y2: bool,
    modes: [SubblockMode; 4],
}

/// The contexts above and to the left.
pub(crate) struct Contexts<'a> {
    pub(crate) above: &'a mut Context,
    pub(crate) left: &'a mut Context,
}

/// The planes of an image, in whole macroblocks.
pub(crate) struct Planes {
    pub(crate) luma: Plane,
    pub(crate) chroma: [Plane; 2],
}

/// Costs and rates of tokens, estimated from those so far.
pub(crate) struct Prices {
    costs: TokenCosts,
    luma_with_dc: PositionRates,
    luma_after_y2: PositionRates,
    chroma: PositionRates,
}

impl Prices {
    pub(crate) fn of(tokens: &Tokens) -> Self {
        let costs = tokens.costs();
        let [luma_with_dc, luma_after_y2, chroma] =
            [BlockType::YWithDc, BlockType::YAfterY2, BlockType::Chroma].map(|kind| costs.rates(kind));
        Self { costs, luma_with_dc, luma_after_y2, chroma }
    }
}

/// Estimates and distortions, in 1/64 bit, in units of costs, 1/256 bit.
const ESTIMATE: u32 = 4;

/// Encodes one macroblock after the other.
pub(crate) struct FrameEncoder {
    pub(crate) source: Planes,
    /// What a decoder reconstructs before its loop filter.
    pub(crate) reconstructed: Planes,
    pub(crate) tokens: Tokens,
    /// Macroblocks in a row.
    pub(crate) columns: usize,
    /// B_PRED may be chosen.
    pub(crate) allows_bpred: bool,
    /// See [`Tuning::y2_token_rate`](crate::Tuning::y2_token_rate).
    pub(crate) y2_token_rate: u32,
}

/// Luma predicted as a whole.
struct WholeLuma {
    mode: IntraMode,
    predicted: Square<16>,
    y2: QuantizedBlock,
    blocks: [QuantizedBlock; 16],
    cost: u32,
}

impl FrameEncoder {
    /// Encodes the macroblock in this column and row.
    pub(crate) fn encode(
        &mut self,
        at: (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        contexts: &mut Contexts<'_>,
    ) -> Macroblock {
        let whole = self.choose_whole_luma(at, quantizer, prices, contexts);
        let bpred =
            if self.allows_bpred { self.encode_bpred(at, quantizer, prices, contexts, whole.cost) } else { None };
        let (chroma, chroma_blocks) = self.encode_chroma(at, quantizer, prices);

        let are_zero = |blocks: &[QuantizedBlock]| blocks.iter().all(|block| block.end == 0);
        let is_skipped = are_zero(&chroma_blocks)
            && match &bpred {
                Some((_, blocks)) => are_zero(blocks),
                None => whole.y2.end == 0 && are_zero(&whole.blocks),
            };
        let luma = match bpred {
            Some((modes, blocks)) => {
                self.push_luma(BlockType::YWithDc, &blocks, contexts, is_skipped);
                contexts.above.modes.copy_from_slice(&modes[12..]);
                contexts.left.modes = [3, 7, 11, 15].map(|at| modes[at]);
                LumaMode::BPred(modes)
            }
            None => {
                self.reconstruct_whole_luma(at, &whole, quantizer);
                self.push_y2(&whole.y2, contexts, is_skipped);
                self.push_luma(BlockType::YAfterY2, &whole.blocks, contexts, is_skipped);
                contexts.above.modes = [whole.mode.implied(); 4];
                contexts.left.modes = contexts.above.modes;
                LumaMode::Whole(whole.mode)
            }
        };
        self.push_chroma(&chroma_blocks, contexts, is_skipped);
        Macroblock { luma, chroma, is_skipped }
    }

    fn push_y2(&mut self, block: &QuantizedBlock, contexts: &mut Contexts<'_>, is_skipped: bool) {
        let neighbours = [contexts.above.y2, contexts.left.y2];
        let has_any = !is_skipped && self.tokens.push(BlockType::Y2, neighbours, block);
        (contexts.above.y2, contexts.left.y2) = (has_any, has_any);
    }

    fn push_luma(
        &mut self,
        kind: BlockType,
        blocks: &[QuantizedBlock; 16],
        contexts: &mut Contexts<'_>,
        is_skipped: bool,
    ) {
        for (at, block) in blocks.iter().enumerate() {
            let (above, left) = (&mut contexts.above.luma[at % 4], &mut contexts.left.luma[at / 4]);
            let has_any = !is_skipped && self.tokens.push(kind, [*above, *left], block);
            (*above, *left) = (has_any, has_any);
        }
    }

    fn push_chroma(&mut self, blocks: &[QuantizedBlock; 8], contexts: &mut Contexts<'_>, is_skipped: bool) {
        for (at, block) in blocks.iter().enumerate() {
            let (plane, x, y) = (at / 4, at % 2, at / 2 % 2);
            let (above, left) = (&mut contexts.above.chroma[plane][x], &mut contexts.left.chroma[plane][y]);
            let has_any = !is_skipped && self.tokens.push(BlockType::Chroma, [*above, *left], block);
            (*above, *left) = (has_any, has_any);
        }
    }

    /// Chooses the best mode of luma as a whole by estimate, and counts its cost.
    fn choose_whole_luma(
        &self,
        (column, row): (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        contexts: &Contexts<'_>,
    ) -> WholeLuma {
        let (x, y) = (column * 16, row * 16);
        let source: Square<16> = self.source.luma.square(x, y);
        let edges = self.reconstructed.luma.edges(x, y);
        let mut best: Option<(u32, IntraMode, Square<16>, Subblocks, QuantizedBlock)> = None;
        for mode in IntraMode::ALL {
            let predicted = predict(mode, &edges);
            let mut blocks = luma_residues(&source, &predicted);
            forward_dct(&mut blocks);
            let y2 = quantizer.y2.quantize(&ZigzagBlock::from_rows(&forward_wht(&blocks[0])), 0);
            let rest = sum(&quantizer.luma.estimate(&blocks, 1, &prices.luma_after_y2));
            let estimate = rest
                + y2.distortion
                + u32::try_from(y2.end).expect("at most 16") * self.y2_token_rate
                + luma_mode_cost(mode) / ESTIMATE;
            if best.as_ref().is_none_or(|(least, ..)| estimate < *least) {
                best = Some((estimate, mode, predicted, blocks, y2));
            }
        }
        let (_, mode, predicted, residues, y2) = best.expect("there are four modes");

        let mut cost = luma_mode_cost(mode) + y2.distortion * ESTIMATE;
        cost += prices.costs.of(BlockType::Y2, [contexts.above.y2, contexts.left.y2], &y2);
        let (mut above, mut left) = (contexts.above.luma, contexts.left.luma);
        let mut blocks = [QuantizedBlock::ZERO; 16];
        for (at, block) in blocks.iter_mut().enumerate() {
            let (above, left) = (&mut above[at % 4], &mut left[at / 4]);
            *block = quantizer.luma.quantize(&ZigzagBlock::from_lane(&residues, at), 1);
            cost += prices.costs.of(BlockType::YAfterY2, [*above, *left], block) + block.distortion * ESTIMATE;
            (*above, *left) = (block.end > 0, block.end > 0);
        }
        WholeLuma { mode, predicted, y2, blocks, cost }
    }

    fn reconstruct_whole_luma(&mut self, (column, row): (usize, usize), whole: &WholeLuma, quantizer: &Quantizer) {
        let dc = inverse_wht(&quantizer.y2.dequantize(&whole.y2));
        for (at, (block, &dc)) in whole.blocks.iter().zip(&dc).enumerate() {
            let (x, y) = (at % 4 * 4, at / 4 * 4);
            let mut coefficients = quantizer.luma.dequantize(block);
            coefficients[0] = dc;
            let samples = add_inverse_dct(&coefficients, &subblock_of(&whole.predicted, x, y));
            self.reconstructed.luma.put_subblock(column * 16 + x, row * 16 + y, &samples);
        }
    }

    /// Encodes luma with B_PRED, unless that costs `limit` or more. Subblocks are reconstructed at once, because the next
    /// are predicted from them.
    fn encode_bpred(
        &mut self,
        (column, row): (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
        contexts: &Contexts<'_>,
        limit: u32,
    ) -> Option<([SubblockMode; 16], [QuantizedBlock; 16])> {
        let (mut above, mut left) = (*contexts.above, *contexts.left);
        let mut modes = [SubblockMode::Dc; 16];
        let mut blocks = [QuantizedBlock::ZERO; 16];
        let mut sum = cost(false, tables::KF_YMODE_PROBS[0]);
        let beyond = self.above_right_of_macroblock(column, row);
        for at in 0..16 {
            let (x, y) = (column * 16 + at % 4 * 4, row * 16 + at / 4 * 4);
            let (mode_above, mode_left) = (&mut above.modes[at % 4], &mut left.modes[at / 4]);
            let (is_above, is_left) = (&mut above.luma[at % 4], &mut left.luma[at / 4]);
            let above_right = if at % 4 == 3 { beyond } else { self.reconstructed.luma.above_right(x, y) };
            let predictions = self.reconstructed.luma.subblock_edges(x, y, above_right).predictions();
            let mut residues = predictions.residues(&self.source.luma.subblock(x, y));
            forward_dct(&mut residues);

            let mode_costs = &SUBBLOCK_MODE_COSTS[*mode_above as usize][*mode_left as usize];
            let estimates = quantizer.luma.estimate(&residues, 0, &prices.luma_with_dc);
            let mut best = (u32::MAX, SubblockMode::Dc, QuantizedBlock::ZERO);
            for mode in best_three(&estimates, mode_costs) {
                let block = quantizer.luma.quantize(&ZigzagBlock::from_lane(&residues, mode as usize), 0);
                let cost = u32::from(mode_costs[mode as usize])
                    + prices.costs.of(BlockType::YWithDc, [*is_above, *is_left], &block)
                    + block.distortion * ESTIMATE;
                if cost < best.0 {
                    best = (cost, mode, block);
                }
            }
            let (cost, mode, found) = best;
            sum += cost;
            if sum >= limit {
                return None;
            }
            let samples = add_inverse_dct(&quantizer.luma.dequantize(&found), &predictions.of(mode));
            self.reconstructed.luma.put_subblock(x, y, &samples);
            (*is_above, *is_left) = (found.end > 0, found.end > 0);
            (*mode_above, *mode_left) = (mode, mode);
            (modes[at], blocks[at]) = (mode, found);
        }
        Some((modes, blocks))
    }

    /// The samples above and to the right of all subblocks at the right side of a macroblock: those of the row above the
    /// macroblock (section 12.3).
    fn above_right_of_macroblock(&self, column: usize, row: usize) -> [u8; 4] {
        let (x, y) = (column * 16, row * 16);
        if column + 1 == self.columns && row > 0 {
            // Behind the last column, decoders repeat the last sample.
            return [self.reconstructed.luma.above_right(x + 8, y)[3]; 4];
        }
        self.reconstructed.luma.above_right(x + 12, y)
    }

    /// Encodes both chroma planes, which have the same mode, and reconstructs them.
    fn encode_chroma(
        &mut self,
        (column, row): (usize, usize),
        quantizer: &Quantizer,
        prices: &Prices,
    ) -> (IntraMode, [QuantizedBlock; 8]) {
        let (x, y) = (column * 8, row * 8);
        let sources: [Square<8>; 2] = self.source.chroma.each_ref().map(|plane| plane.square(x, y));
        let edges = self.reconstructed.chroma.each_ref().map(|plane| plane.edges(x, y));
        let mut best: Option<(u32, IntraMode, usize, Subblocks, [Square<8>; 2])> = None;
        // Two modes have sixteen subblocks together.
        for pair in [[IntraMode::Dc, IntraMode::Vertical], [IntraMode::Horizontal, IntraMode::TrueMotion]] {
            let predicted = pair.map(|mode| edges.each_ref().map(|edges| predict(mode, edges)));
            let mut residues = chroma_residues(&sources, &predicted);
            forward_dct(&mut residues);
            let estimates = quantizer.chroma.estimate(&residues, 0, &prices.chroma);
            for (half, (mode, predicted)) in pair.into_iter().zip(predicted).enumerate() {
                let estimate = sum(&estimates[half * 8..][..8]) + chroma_mode_cost(mode) / ESTIMATE;
                if best.as_ref().is_none_or(|(least, ..)| estimate < *least) {
                    best = Some((estimate, mode, half * 8, residues, predicted));
                }
            }
        }
        let (_, mode, first_lane, residues, predicted) = best.expect("there are four modes");
        let mut blocks = [QuantizedBlock::ZERO; 8];
        for (at, block) in blocks.iter_mut().enumerate() {
            let (plane, right, down) = (at / 4, at % 2 * 4, at / 2 % 2 * 4);
            *block = quantizer.chroma.quantize(&ZigzagBlock::from_lane(&residues, first_lane + at), 0);
            let predicted = subblock_of(&predicted[plane], right, down);
            let samples = add_inverse_dct(&quantizer.chroma.dequantize(block), &predicted);
            self.reconstructed.chroma[plane].put_subblock(x + right, y + down, &samples);
        }
        (mode, blocks)
    }
}

/// A subblock of a square, row by row.
#[inline(always)]
fn subblock_of<const N: usize>(square: &Square<N>, x: usize, y: usize) -> [u8; 16] {
    let mut block = [0; 16];
    for (row, from) in block.chunks_exact_mut(4).zip(&square[y..]) {
        row.copy_from_slice(&from[x..x + 4]);
    }
    block
}

/// Estimates are saturated at 15 bits, and not negative.
#[inline(always)]
fn sum(estimates: &[i16]) -> u32 {
    estimates.iter().map(|&estimate| u32::from(estimate.cast_unsigned())).sum()
}

/// The three modes that are best by estimate, the cost of the mode included. Of equal ones, the first.
#[inline(always)]
fn best_three(estimates: &Lanes, mode_costs: &[u16; 16]) -> [SubblockMode; 3] {
    let mut least = [u32::MAX; 3];
    for (mode, (&estimate, &cost)) in (0..).zip(estimates.iter().zip(mode_costs)).take(SubblockMode::COUNT) {
        let estimate = u32::from(estimate.cast_unsigned()) + u32::from(cost) / ESTIMATE;
        let mut key = (estimate << 4) | mode;
        for kept in &mut least {
            (*kept, key) = ((*kept).min(key), (*kept).max(key));
        }
    }
    least.map(|key| SubblockMode::ALL[(key & 15) as usize])
}

/// The residue of luma: for each sample of a subblock, that of each of the sixteen subblocks.
#[inline(always)]
pub(crate) fn luma_residues(source: &Square<16>, predicted: &Square<16>) -> Subblocks {
    let mut blocks = [[0; 16]; 16];
    for y in 0..16 {
        for x in 0..16 {
            blocks[y % 4 * 4 + x % 4][y / 4 * 4 + x / 4] = i16::from(source[y][x]) - i16::from(predicted[y][x]);
        }
    }
    blocks
}

/// The residues of chroma under two predictions: eight subblocks of the first, then eight of the second.
#[inline(always)]
fn chroma_residues(sources: &[Square<8>; 2], predicted: &[[Square<8>; 2]; 2]) -> Subblocks {
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

fn luma_mode_cost(mode: IntraMode) -> u32 {
    path_cost(tables::KF_YMODE_PATHS[mode as usize], &tables::KF_YMODE_PROBS)
}

fn chroma_mode_cost(mode: IntraMode) -> u32 {
    path_cost(tables::UV_MODE_PATHS[mode as usize], &tables::KF_UV_MODE_PROBS)
}

/// The cost of each subblock mode, by the modes above and to the left.
static SUBBLOCK_MODE_COSTS: [[[u16; 16]; SubblockMode::COUNT]; SubblockMode::COUNT] = subblock_mode_costs();

#[expect(clippy::cast_possible_truncation, reason = "nine bools of at most 8 bits")]
const fn subblock_mode_costs() -> [[[u16; 16]; SubblockMode::COUNT]; SubblockMode::COUNT] {
    const COUNT: usize = SubblockMode::COUNT;

    let mut costs = [[[0; 16]; COUNT]; COUNT];
    let mut at = 0;
    while at < COUNT * COUNT * COUNT {
        let (above, left, mode) = (at / COUNT / COUNT, at / COUNT % COUNT, at % COUNT);
        costs[above][left][mode] = path_cost(tables::BMODE_PATHS[mode], &tables::KF_BMODE_PROBS[above][left]) as u16;
        at += 1;
    }
    costs
}
