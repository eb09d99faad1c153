//! Tokens (RFC 6386, section 13): how quantized coefficients are written, and what they cost.

use crate::{
    bool_encoder::{BIT, BoolEncoder, Path, Prob, cost, path_cost},
    quantization::{PositionRates, QuantizedBlock},
    tables::{COEFF_BANDS, COEFF_UPDATE_PROBS, DEFAULT_COEFF_PROBS},
};

/// The type of a block (section 13.3), numbered as the tables of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockType {
    /// Luma without DC, which is in a Y2 block.
    YAfterY2 = 0,
    /// The DC coefficients of a macroblock's luma.
    Y2 = 1,
    Chroma = 2,
    /// Luma with DC: of B_PRED.
    YWithDc = 3,
}

impl BlockType {
    const ALL: [Self; 4] = [Self::YAfterY2, Self::Y2, Self::Chroma, Self::YWithDc];

    /// The position of the first token.
    fn first(self) -> usize {
        usize::from(self == Self::YAfterY2)
    }
}

/// The set of probabilities of a token (section 13.3): by the type of the block, the band of the position, and the context
/// `before`: whether the previous coefficient is zero, one or more, and for the first token how many of the blocks above
/// and to the left have coefficients.
#[inline(always)]
fn context(kind: BlockType, position: usize, before: usize) -> usize {
    (kind as usize * 8 + COEFF_BANDS[position]) * 3 + before
}

const CONTEXTS: usize = 4 * 8 * 3;

/// The probabilities of `coeff_tree` (section 13.2).
type TreeProbs = [Prob; 11];

fn flat(table: &[[[TreeProbs; 3]; 8]; 4]) -> &[TreeProbs] {
    table.as_flattened().as_flattened()
}

/// The tokens but EOB (section 13.2): DCT_0, the ones from 1 to 4, and the categories dct_cat1 to dct_cat6. This is the
/// least magnitude of each.
const LEAST: [usize; TOKENS] = [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67];
const TOKENS: usize = 11;

/// The first category.
const CATEGORY_1: usize = 5;

/// The extra bits of each category, the highest first: `Pcat1` to `Pcat6` (section 13.2).
const EXTRA_BITS: [&[Prob]; 6] = [
    &[159],
    &[165, 145],
    &[173, 148, 140],
    &[176, 155, 140, 135],
    &[180, 157, 141, 134, 130],
    &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129],
];

/// The node of `coeff_tree` that decides EOB or not.
const NOT_EOB: usize = 0;

/// The path of `coeff_tree` to each token, behind [`NOT_EOB`].
const PATHS: [&Path; TOKENS] = [
    &[(1, false)],
    &[(1, true), (2, false)],
    &[(1, true), (2, true), (3, false), (4, false)],
    &[(1, true), (2, true), (3, false), (4, true), (5, false)],
    &[(1, true), (2, true), (3, false), (4, true), (5, true)],
    &[(1, true), (2, true), (3, true), (6, false), (7, false)],
    &[(1, true), (2, true), (3, true), (6, false), (7, true)],
    &[(1, true), (2, true), (3, true), (6, true), (8, false), (9, false)],
    &[(1, true), (2, true), (3, true), (6, true), (8, false), (9, true)],
    &[(1, true), (2, true), (3, true), (6, true), (8, true), (10, false)],
    &[(1, true), (2, true), (3, true), (6, true), (8, true), (10, true)],
];

/// The largest magnitude that the transforms produce.
const MAX_MAGNITUDE: usize = 2047;

/// For each magnitude its token, and the cost of its extra bits and its sign.
static MAGNITUDES: [(u8, u16); MAX_MAGNITUDE + 1] = magnitudes();

#[expect(clippy::cast_possible_truncation, reason = "there are 11 tokens, and 12 bools of at most 8 bits")]
const fn magnitudes() -> [(u8, u16); MAX_MAGNITUDE + 1] {
    let mut magnitudes = [(0, 0); MAX_MAGNITUDE + 1];
    let mut magnitude = 1;
    let mut token = 1;
    while magnitude <= MAX_MAGNITUDE {
        if token + 1 < TOKENS && magnitude == LEAST[token + 1] {
            token += 1;
        }
        let mut sum = BIT;
        if token >= CATEGORY_1 {
            let extra = EXTRA_BITS[token - CATEGORY_1];
            let mut bit = 0;
            while bit < extra.len() {
                sum += cost(extra_bit(magnitude, token, bit), extra[bit]);
                bit += 1;
            }
        }
        magnitudes[magnitude] = (token as u8, sum as u16);
        magnitude += 1;
    }
    magnitudes
}

/// One of the extra bits of a magnitude.
const fn extra_bit(magnitude: usize, token: usize, bit: usize) -> bool {
    (magnitude - LEAST[token]) >> (EXTRA_BITS[token - CATEGORY_1].len() - 1 - bit) & 1 == 1
}

/// The magnitude of a coefficient, and its token.
#[inline(always)]
fn token(coefficient: i16) -> (usize, usize) {
    let magnitude = usize::from(coefficient.unsigned_abs()) & MAX_MAGNITUDE;
    (magnitude, usize::from(MAGNITUDES[magnitude].0) & 15)
}

/// The costs of tokens under some probabilities, in 1/256 bit.
pub(crate) struct TokenCosts {
    /// By type, position, `before` and token: the cost of the token with the bool that says that it is not EOB. Behind a
    /// zero there is no such bool, because EOB cannot follow (section 13.2).
    tokens: Box<[[[[u16; 16]; 3]; 16]; 4]>,
    /// By type: the cost of the bool that says that the first token is not EOB, where `before` is 0.
    not_eob: [u16; 4],
    /// By type, position and `before`: the cost of EOB. There is none behind position 15.
    eob: [[[u16; 3]; 17]; 4],
}

impl TokenCosts {
    fn new(probs: &[TreeProbs; CONTEXTS]) -> Self {
        let mut costs = Self { tokens: Box::new([[[[0; 16]; 3]; 16]; 4]), not_eob: [0; 4], eob: [[[0; 3]; 17]; 4] };
        for kind in BlockType::ALL {
            for position in kind.first()..16 {
                for before in 0..3 {
                    let probs = &probs[context(kind, position, before)];
                    let short = |sum: u32| u16::try_from(sum).expect("seven bools of at most 8 bits");
                    let not_eob = cost(true, probs[NOT_EOB]);
                    for (token, path) in PATHS.iter().enumerate() {
                        let known = if before == 0 { 0 } else { not_eob };
                        costs.tokens[kind as usize][position][before][token] = short(known + path_cost(path, probs));
                    }
                    if position == kind.first() && before == 0 {
                        costs.not_eob[kind as usize] = short(not_eob);
                    }
                    costs.eob[kind as usize][position][before] = short(cost(false, probs[NOT_EOB]));
                }
            }
        }
        costs
    }

    /// The cost of a block, by whether the blocks above and to the left have coefficients.
    #[inline(always)]
    pub(crate) fn of(&self, kind: BlockType, neighbours: [bool; 2], block: &QuantizedBlock) -> u32 {
        let (first, mut before) = (kind.first(), count(neighbours));
        let eob = &self.eob[kind as usize];
        if block.end <= first {
            return eob[first][before].into();
        }
        let mut sum = if before == 0 { u32::from(self.not_eob[kind as usize]) } else { 0 };
        for position in first..block.end.min(16) {
            let (magnitude, token) = token(block.coefficients[position]);
            sum += u32::from(self.tokens[kind as usize][position][before][token]) + u32::from(MAGNITUDES[magnitude].1);
            before = magnitude.min(2);
        }
        sum + u32::from(eob[block.end.min(16)][before])
    }

    /// The part of a nonzero coefficient's cost that depends on its position. The farther it is, the more tokens come
    /// before it.
    pub(crate) fn rates(&self, kind: BlockType) -> PositionRates {
        /// From 1/256 bit to 1/64 bit.
        const SCALE: usize = 4;
        const PER_POSITION: usize = 5;

        let mut rates = [0; 16];
        for (position, rate) in rates.iter_mut().enumerate() {
            let [after_zero, after_one, _] = self.tokens[kind as usize][position].map(|tokens| tokens[1] / 2);
            let sum = usize::from(after_zero.saturating_add(after_one)) + BIT as usize;
            *rate = i16::try_from(sum / SCALE + position * PER_POSITION).expect("a few bits");
        }
        PositionRates(rates)
    }
}

#[inline(always)]
fn count(neighbours: [bool; 2]) -> usize {
    usize::from(neighbours[0]) + usize::from(neighbours[1])
}

/// The tokens of a frame. They are collected before they are written, because the probabilities depend on all of them.
pub(crate) struct Tokens {
    tokens: Vec<Token>,
    /// For each context, how often each token or EOB occurred: where EOB was possible, and where it was not.
    counts: Box<[[[u32; 16]; 2]; CONTEXTS]>,
}

/// A coefficient, or EOB.
#[derive(Clone, Copy)]
struct Token {
    context: u8,
    /// EOB is not possible here.
    follows_zero: bool,
    coefficient: i16,
}

impl Token {
    /// In place of a coefficient.
    const EOB: i16 = i16::MIN;
    /// In place of a token.
    const EOB_TOKEN: usize = TOKENS;
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { tokens: Vec::new(), counts: Box::new([[[0; 16]; 2]; CONTEXTS]) }
    }

    /// Appends a block, and returns whether it has coefficients.
    #[inline(always)]
    pub(crate) fn push(&mut self, kind: BlockType, neighbours: [bool; 2], block: &QuantizedBlock) -> bool {
        let (first, mut before) = (kind.first(), count(neighbours));
        let mut tokens = [Token { context: 0, follows_zero: false, coefficient: Token::EOB }; 17];
        let mut pushed = 0;
        let mut follows_zero = false;
        let mut push = |position, before, follows_zero, coefficient, token| {
            let context = context(kind, position, before);
            self.counts[context][usize::from(follows_zero)][token] += 1;
            let context = u8::try_from(context).expect("there are 96");
            tokens[pushed] = Token { context, follows_zero, coefficient };
            pushed += 1;
        };
        for position in first..block.end.min(16) {
            let (magnitude, token) = token(block.coefficients[position]);
            push(position, before, follows_zero, block.coefficients[position], token);
            (follows_zero, before) = (magnitude == 0, magnitude.min(2));
        }
        let end = block.end.max(first);
        if end < 16 {
            push(end, before, false, Token::EOB, Token::EOB_TOKEN);
        }
        self.tokens.extend_from_slice(&tokens[..pushed]);
        block.end > first
    }

    /// For each node of each context, how often it was false, and true.
    fn node_counts(&self) -> [[[u64; 2]; 11]; CONTEXTS] {
        let mut all = [[[0; 2]; 11]; CONTEXTS];
        for (nodes, [any, after_zero]) in all.iter_mut().zip(self.counts.iter()) {
            nodes[NOT_EOB][0] = any[Token::EOB_TOKEN].into();
            for (path, (&any, &after_zero)) in PATHS.iter().zip(any.iter().zip(after_zero)) {
                nodes[NOT_EOB][1] += u64::from(any);
                for &(node, value) in *path {
                    nodes[usize::from(node)][usize::from(value)] += u64::from(any) + u64::from(after_zero);
                }
            }
        }
        all
    }

    /// The costs of tokens, estimated from those so far.
    pub(crate) fn costs(&self) -> TokenCosts {
        /// How many observations the default probabilities count as.
        const PRIOR: u64 = 24;

        let mut probs = [[0; 11]; CONTEXTS];
        for ((probs, counts), defaults) in probs.iter_mut().zip(self.node_counts()).zip(flat(&DEFAULT_COEFF_PROBS)) {
            for ((prob, [falses, trues]), &default) in probs.iter_mut().zip(counts).zip(defaults) {
                *prob = to_prob(falses * 256 + PRIOR * u64::from(default), falses + trues + PRIOR);
            }
        }
        TokenCosts::new(&probs)
    }

    /// The probabilities that make the frame smallest, the cost of sending them included.
    pub(crate) fn prob_updates(&self) -> ProbUpdates {
        let mut updates = [[None; 11]; CONTEXTS];
        for (((updates, counts), defaults), update_probs) in
            updates.iter_mut().zip(self.node_counts()).zip(flat(&DEFAULT_COEFF_PROBS)).zip(flat(&COEFF_UPDATE_PROBS))
        {
            for (((update, [falses, trues]), &default), &update_prob) in
                updates.iter_mut().zip(counts).zip(defaults).zip(update_probs)
            {
                let best = to_prob(falses * 256 + (falses + trues) / 2, (falses + trues).max(1));
                let size = |prob| falses * u64::from(cost(false, prob)) + trues * u64::from(cost(true, prob));
                let update_cost = u64::from(cost(true, update_prob) + 8 * BIT);
                if size(best) + update_cost < size(default) + u64::from(cost(false, update_prob)) {
                    *update = Some(best);
                }
            }
        }
        ProbUpdates(updates)
    }

    /// The second partition: all tokens (section 9.5).
    pub(crate) fn write(&self, updates: &ProbUpdates) -> Vec<u8> {
        let mut all = [[0; 11]; CONTEXTS];
        for ((probs, updates), defaults) in all.iter_mut().zip(&updates.0).zip(flat(&DEFAULT_COEFF_PROBS)) {
            for ((prob, update), default) in probs.iter_mut().zip(updates).zip(defaults) {
                *prob = update.unwrap_or(*default);
            }
        }
        let mut encoder = BoolEncoder::with_capacity(self.tokens.len() / 2);
        for token in &self.tokens {
            let probs = &all[usize::from(token.context) % CONTEXTS];
            if !token.follows_zero {
                encoder.put(token.coefficient != Token::EOB, probs[NOT_EOB]);
                if token.coefficient == Token::EOB {
                    continue;
                }
            }
            write_coefficient(token.coefficient, probs, &mut encoder);
        }
        encoder.finish()
    }
}

#[inline(always)]
fn write_coefficient(coefficient: i16, probs: &TreeProbs, encoder: &mut BoolEncoder) {
    let (magnitude, token) = token(coefficient);
    // Nearly all are 0 or 1.
    encoder.put(magnitude > 0, probs[1]);
    if magnitude == 0 {
        return;
    }
    encoder.put(magnitude > 1, probs[2]);
    if magnitude > 1 {
        encoder.put_path(&PATHS[token][2..], probs);
        if token >= CATEGORY_1 {
            for (bit, &prob) in EXTRA_BITS[token - CATEGORY_1].iter().enumerate() {
                encoder.put(extra_bit(magnitude, token, bit), prob);
            }
        }
    }
    encoder.put(coefficient < 0, 128);
}

/// A probability in 1/256 that is not certainty.
fn to_prob(parts: u64, of: u64) -> Prob {
    u8::try_from((parts / of).clamp(1, 255)).expect("255 is the most")
}

/// The token probabilities of a frame that differ from the defaults.
pub(crate) struct ProbUpdates([[Option<Prob>; 11]; CONTEXTS]);

impl ProbUpdates {
    /// Section 13.4.
    pub(crate) fn write(&self, encoder: &mut BoolEncoder) {
        for (update, &update_prob) in self.0.as_flattened().iter().zip(flat(&COEFF_UPDATE_PROBS).as_flattened()) {
            encoder.put(update.is_some(), update_prob);
            if let Some(prob) = *update {
                encoder.put_literal(prob.into(), 8);
            }
        }
    }
}
