//! How levels are written, RFC 6386, section 13: what they take, and in which order their bits come.

use super::{
    bits::{BIT, Path, Probability, Writer, cost, path_cost},
    quantize::{Levels, Rates},
    tables::{COEFFICIENTS, UPDATES},
};

/// What kind of block levels belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Luma whose means are in a block of their own.
    LumaRest = 0,
    Means = 1,
    Chroma = 2,
    Luma = 3,
}

impl Kind {
    const ALL: [Self; 4] = [Self::LumaRest, Self::Means, Self::Chroma, Self::Luma];

    /// Where its levels begin.
    fn first(self) -> usize {
        usize::from(self == Self::LumaRest)
    }
}

/// Where levels are written with the same probabilities: by their kind, by where they are in their block, and by whether
/// the one before, or as many of the neighbours, is none, one or more.
#[inline(always)]
fn place(kind: Kind, at: usize, before: usize) -> usize {
    const BANDS: [usize; 16] = [0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7];

    (kind as usize * 8 + BANDS[at]) * 3 + before
}

const PLACES: usize = 4 * 8 * 3;

/// The nodes of the tree by which a level is written, one probability each.
type Nodes = [Probability; 11];

fn flat(table: &[[[Nodes; 3]; 8]; 4]) -> &[Nodes] {
    table.as_flattened().as_flattened()
}

/// Levels come in groups: 0, 1, 2, 3, 4, and six that have more bits. The least level of each.
const LEAST: [usize; GROUPS] = [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67];
const GROUPS: usize = 11;

/// The bits that the last six groups have more, the highest first, each with its probability.
const EXTRA: [&[Probability]; 6] = [
    &[159],
    &[165, 145],
    &[173, 148, 140],
    &[176, 155, 140, 135],
    &[180, 157, 141, 134, 130],
    &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129],
];

/// The way to a group: at which node which bit, once it is known that there is a level.
const PATHS: [&Path; GROUPS] = [
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

/// The highest level that there is a use for.
const MAX_LEVEL: usize = 2047;

/// For each level its group, and what its sign and its bits beyond the group take.
static LEVELS: [(u8, u16); MAX_LEVEL + 1] = levels();

#[expect(clippy::cast_possible_truncation, reason = "there are 11 groups, and 12 bits of at most 8 each, times 256")]
const fn levels() -> [(u8, u16); MAX_LEVEL + 1] {
    let mut levels = [(0, 0); MAX_LEVEL + 1];
    let mut level = 1;
    let mut group = 1;
    while level <= MAX_LEVEL {
        if group + 1 < GROUPS && level == LEAST[group + 1] {
            group += 1;
        }
        let mut sum = BIT;
        if group > 4 {
            let extra = EXTRA[group - 5];
            let mut bit = 0;
            while bit < extra.len() {
                sum += cost(is_set(level, group, bit), extra[bit]);
                bit += 1;
            }
        }
        levels[level] = (group as u8, sum as u16);
        level += 1;
    }
    levels
}

/// One of the bits that a level of a group has more.
const fn is_set(level: usize, group: usize, bit: usize) -> bool {
    (level - LEAST[group]) >> (EXTRA[group - 5].len() - 1 - bit) & 1 == 1
}

/// The size of a level, and its group.
#[inline(always)]
fn group(level: i16) -> (usize, usize) {
    let size = usize::from(level.unsigned_abs()) & MAX_LEVEL;
    (size, usize::from(LEVELS[size].0) & 15)
}

/// What levels take under some probabilities, in 1 / 256 of a bit.
pub(super) struct Costs {
    /// For each kind, where it is, and what is before: that a level is of a group, and that there is one, unless that is
    /// known because the one before is 0.
    groups: Box<[[[[u16; 16]; 3]; 16]; 4]>,
    /// That there is one at the first place, where that is not known though there is none before.
    any: [u16; 4],
    /// That there is none any more.
    end: [[[u16; 3]; 17]; 4],
}

impl Costs {
    fn new(probabilities: &[Nodes; PLACES]) -> Self {
        let mut costs = Self { groups: Box::new([[[[0; 16]; 3]; 16]; 4]), any: [0; 4], end: [[[0; 3]; 17]; 4] };
        for kind in Kind::ALL {
            for at in kind.first()..16 {
                for before in 0..3 {
                    let nodes = &probabilities[place(kind, at, before)];
                    let short = |sum: u32| u16::try_from(sum).expect("seven bits of at most 8 each, times 256");
                    let any = cost(true, nodes[0]);
                    for (group, path) in PATHS.iter().enumerate() {
                        let known = if before == 0 { 0 } else { any };
                        costs.groups[kind as usize][at][before][group] = short(known + path_cost(path, nodes));
                    }
                    if at == kind.first() && before == 0 {
                        costs.any[kind as usize] = short(any);
                    }
                    costs.end[kind as usize][at][before] = short(cost(false, nodes[0]));
                }
            }
        }
        costs
    }

    /// What the levels of a block take, where the blocks above and to the left have levels or not.
    #[inline(always)]
    pub(super) fn of(&self, kind: Kind, neighbours: [bool; 2], levels: &Levels) -> u32 {
        let (first, mut before) = (kind.first(), count(neighbours));
        let end = &self.end[kind as usize];
        if levels.end <= first {
            return end[first][before].into();
        }
        let mut sum = if before == 0 { u32::from(self.any[kind as usize]) } else { 0 };
        for at in first..levels.end.min(16) {
            let (size, group) = group(levels.signed[at]);
            sum += u32::from(self.groups[kind as usize][at][before][group]) + u32::from(LEVELS[size].1);
            before = size.min(2);
        }
        // At 16 it is known.
        sum + u32::from(end[levels.end.min(16)][before])
    }

    /// What it takes that a level is not 0, as far as that depends on where it is. The farther it is, the more levels come
    /// before it.
    pub(super) fn rates(&self, kind: Kind) -> Rates {
        /// 1 / 64 of a bit rather than 1 / 256.
        const SCALE: usize = 4;
        const PER_PLACE: usize = 5;

        let mut rates = [0; 16];
        for (at, rate) in rates.iter_mut().enumerate() {
            let [after_none, after_one, _] = self.groups[kind as usize][at].map(|groups| groups[1] / 2);
            let sum = usize::from(after_none.saturating_add(after_one)) + BIT as usize;
            *rate = i16::try_from(sum / SCALE + at * PER_PLACE).expect("some bits, times 64");
        }
        Rates(rates)
    }
}

#[inline(always)]
fn count(neighbours: [bool; 2]) -> usize {
    usize::from(neighbours[0]) + usize::from(neighbours[1])
}

/// The levels of a picture, before it is known with which probabilities they are written.
pub(super) struct Tokens {
    tokens: Vec<Token>,
    /// For each place how often there was a level of a group, or none any more: where it was not known whether there is
    /// one, and where it was.
    counts: Box<[[[u32; 16]; 2]; PLACES]>,
}

/// A level, or that there is none any more.
#[derive(Clone, Copy)]
struct Token {
    place: u8,
    /// It was known that there is a level.
    is_known: bool,
    level: i16,
}

impl Token {
    /// What stands for a level where there is none any more.
    const END: i16 = i16::MIN;
    /// As which group that is counted.
    const END_GROUP: usize = GROUPS;
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { tokens: Vec::new(), counts: Box::new([[[0; 16]; 2]; PLACES]) }
    }

    /// Takes the levels of a block, and says whether there are any.
    #[inline(always)]
    pub(super) fn take(&mut self, kind: Kind, neighbours: [bool; 2], levels: &Levels) -> bool {
        let (first, mut before) = (kind.first(), count(neighbours));
        let mut tokens = [Token { place: 0, is_known: false, level: Token::END }; 17];
        let mut taken = 0;
        let mut is_known = false;
        let mut token = |at, before, is_known, level, group| {
            let place = place(kind, at, before);
            self.counts[place][usize::from(is_known)][group] += 1;
            tokens[taken] = Token { place: u8::try_from(place).expect("there are 96"), is_known, level };
            taken += 1;
        };
        for at in first..levels.end.min(16) {
            let (size, group) = group(levels.signed[at]);
            token(at, before, is_known, levels.signed[at], group);
            (is_known, before) = (size == 0, size.min(2));
        }
        let end = levels.end.max(first);
        if end < 16 {
            token(end, before, false, Token::END, Token::END_GROUP);
        }
        self.tokens.extend_from_slice(&tokens[..taken]);
        levels.end > first
    }

    /// How often each bit was 0, and 1.
    fn bits(&self) -> [[[u64; 2]; 11]; PLACES] {
        let mut all = [[[0; 2]; 11]; PLACES];
        for (bits, [unknown, known]) in all.iter_mut().zip(self.counts.iter()) {
            bits[0][0] = unknown[Token::END_GROUP].into();
            for (path, (&unknown, &known)) in PATHS.iter().zip(unknown.iter().zip(known)) {
                bits[0][1] += u64::from(unknown);
                for &(node, bit) in *path {
                    bits[usize::from(node)][usize::from(bit)] += u64::from(unknown) + u64::from(known);
                }
            }
        }
        all
    }

    /// What levels take, as far as the ones so far tell.
    pub(super) fn costs(&self) -> Costs {
        /// As how many bits the probabilities of the format count.
        const EXPECTED: u64 = 24;

        let mut probabilities = [[0; 11]; PLACES];
        for ((nodes, bits), given) in probabilities.iter_mut().zip(self.bits()).zip(flat(&COEFFICIENTS)) {
            for ((node, [zeros, ones]), &given) in nodes.iter_mut().zip(bits).zip(given) {
                *node = part(zeros * 256 + EXPECTED * u64::from(given), zeros + ones + EXPECTED);
            }
        }
        Costs::new(&probabilities)
    }

    /// The probabilities with which the levels are smallest, with what it takes to send them.
    pub(super) fn probabilities(&self) -> Probabilities {
        let mut sent = [[None; 11]; PLACES];
        for (((sent, bits), given), flags) in
            sent.iter_mut().zip(self.bits()).zip(flat(&COEFFICIENTS)).zip(flat(&UPDATES))
        {
            for (((sent, [zeros, ones]), &given), &flag) in sent.iter_mut().zip(bits).zip(given).zip(flags) {
                let best = part(zeros * 256 + (zeros + ones) / 2, (zeros + ones).max(1));
                let size = |zero| zeros * u64::from(cost(false, zero)) + ones * u64::from(cost(true, zero));
                let sending = u64::from(cost(true, flag) + 8 * BIT);
                if size(best) + sending < size(given) + u64::from(cost(false, flag)) {
                    *sent = Some(best);
                }
            }
        }
        Probabilities(sent)
    }

    /// Writes all levels.
    pub(super) fn write(&self, probabilities: &Probabilities) -> Vec<u8> {
        let mut all = [[0; 11]; PLACES];
        for ((nodes, sent), given) in all.iter_mut().zip(&probabilities.0).zip(flat(&COEFFICIENTS)) {
            for ((node, sent), given) in nodes.iter_mut().zip(sent).zip(given) {
                *node = sent.unwrap_or(*given);
            }
        }
        let mut writer = Writer::with_capacity(self.tokens.len() / 2);
        for token in &self.tokens {
            let nodes = &all[usize::from(token.place) % PLACES];
            if !token.is_known {
                writer.put(token.level != Token::END, nodes[0]);
                if token.level == Token::END {
                    continue;
                }
            }
            write_level(token.level, nodes, &mut writer);
        }
        writer.finish()
    }
}

#[inline(always)]
fn write_level(level: i16, nodes: &Nodes, writer: &mut Writer) {
    let (size, group) = group(level);
    // Nearly all are 0 or 1.
    writer.put(size > 0, nodes[1]);
    if size == 0 {
        return;
    }
    writer.put(size > 1, nodes[2]);
    if size > 1 {
        writer.put_path(&PATHS[group][2..], nodes);
        if group > 4 {
            for (bit, &probability) in EXTRA[group - 5].iter().enumerate() {
                writer.put(is_set(size, group, bit), probability);
            }
        }
    }
    writer.put(level < 0, 128);
}

/// A probability that is not certain.
fn part(parts: u64, of: u64) -> Probability {
    u8::try_from((parts / of).clamp(1, 255)).expect("255 is the most")
}

/// The probabilities of a picture, where they are not those of the format.
pub(super) struct Probabilities([[Option<Probability>; 11]; PLACES]);

impl Probabilities {
    /// Section 13.4.
    pub(super) fn write(&self, writer: &mut Writer) {
        for (sent, &flag) in self.0.as_flattened().iter().zip(flat(&UPDATES).as_flattened()) {
            writer.put(sent.is_some(), flag);
            if let Some(probability) = *sent {
                writer.put_number(probability.into(), 8);
            }
        }
    }
}
