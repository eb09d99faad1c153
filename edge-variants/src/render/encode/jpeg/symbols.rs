//! What there is to be said of blocks, how often, and how it is written.
#![expect(clippy::cast_possible_truncation, reason = "numbers of a few bits are packed into words")]

use super::{bits::Bits, huffman::Code, steps::COEFFICIENTS, transform::Group};

/// A coefficient behind zeros: in the lowest four bits how many zeros, and its value above them. A mean is told by how
/// much it is more than the one before, in all sixteen bits.
type Token = u16;

/// What is left of the block is zero.
const END: Token = 0;

/// Nothing is left of the block. This is not written.
const FULL: Token = 1;

/// Sixteen zeros with more behind them.
const ZEROS: Token = 15;

/// Values from so much below zero to less than so much above it come so often that each has its place in a table.
const NEAR: u16 = 16;

/// How many tokens have such a value.
const NEAR_TOKENS: usize = (2 * NEAR as usize) << 4;

/// Room for the tokens of a block, which are its mean, 63 coefficients at most and an end: a power of two, to which a place is
/// cut at once.
const BLOCK: usize = 128;

/// Which components share their codes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Luma,
    Difference,
}

/// What is said of a picture, block by block as it is to be written.
pub(super) struct Tokens {
    tokens: Vec<Token>,
    /// How many of them are valid.
    count: usize,
    frequencies: [Frequencies; 2],
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { tokens: Vec::new(), count: 0, frequencies: [Frequencies::NONE, Frequencies::NONE] }
    }

    /// Makes room for so many blocks.
    pub(super) fn reserve(&mut self, blocks: usize) {
        self.tokens.resize(self.count + (blocks + 1) * (COEFFICIENTS + 1), 0);
    }

    /// Appends a block, for which there is room. `mean` is that of the block before, of the same component.
    #[inline(always)]
    pub(super) fn push(&mut self, kind: Kind, group: &Group, block: usize, mean: &mut i16) {
        let tokens = self.tokens[self.count..].first_chunk_mut::<BLOCK>().expect("the caller made room");
        let frequencies = &mut self.frequencies[kind as usize];
        let difference = group.coefficient(0, block) - std::mem::replace(mean, group.coefficient(0, block));
        tokens[0] = difference.cast_unsigned();
        frequencies.means[size(difference.into()) as usize] += 1;
        let mut count = 1;
        let mut put = |token| {
            tokens[count % BLOCK] = token;
            frequencies.count(token, count);
            count += 1;
        };
        let (mut waves, mut next) = (group.waves(block), 1);
        while waves != 0 {
            let place = waves.trailing_zeros();
            waves &= waves - 1;
            while place - next > 15 {
                put(ZEROS);
                next += 16;
            }
            put(group.coefficient(place as usize, block).cast_unsigned() << 4 | (place - next) as u16);
            next = place + 1;
        }
        put(if next < COEFFICIENTS as u32 { END } else { FULL });
        self.count += count;
    }

    /// Appends a block beyond the edge of the picture, where nobody looks: it is as the one before.
    pub(super) fn push_any(&mut self, kind: Kind) {
        let frequencies = &mut self.frequencies[kind as usize];
        frequencies.means[0] += 1;
        frequencies.count(END, 0);
        self.tokens[self.count..self.count + 2].copy_from_slice(&[0, END]);
        self.count += 2;
    }

    /// The codes that take the fewest bits: one pair for each kind that there is.
    pub(super) fn codes(&self) -> Vec<Codes> {
        self.frequencies.iter().filter(|it| it.means != [0; _]).map(Frequencies::codes).collect()
    }

    /// Writes everything by those codes. A unit has blocks of these kinds, again and again.
    pub(super) fn write(&self, codes: &[Codes], unit: &[Kind], mut bits: Bits) {
        let words: Vec<Words> = codes.iter().map(Words::new).collect();
        let mut tokens = self.tokens[..self.count].iter();
        while !tokens.as_slice().is_empty() {
            for kind in unit {
                words[*kind as usize].write_block(&mut tokens, &mut bits);
            }
        }
        bits.finish();
    }
}

/// How often what is said.
struct Frequencies {
    means: [u32; 256],
    /// For every other token, because a count waits for the one before it in the same place.
    near: [[u32; NEAR_TOKENS]; 2],
    far: [u32; 256],
}

impl Frequencies {
    const NONE: Self = Self { means: [0; 256], near: [[0; NEAR_TOKENS]; 2], far: [0; 256] };

    #[inline(always)]
    fn count(&mut self, token: Token, number: usize) {
        match self.near[number % 2].get_mut(usize::from(place(token))) {
            Some(frequency) => *frequency += 1,
            None => self.far[usize::from(symbol(token))] += 1,
        }
    }

    fn codes(&self) -> Codes {
        let mut symbols = self.far;
        for (place, (even, odd)) in (0..).zip(self.near[0].iter().zip(&self.near[1])) {
            let token = token_at(place);
            if token != FULL {
                symbols[usize::from(symbol(token))] += even + odd;
            }
        }
        Codes { means: Code::shortest(&self.means), waves: Code::shortest(&symbols) }
    }
}

/// The codes of a kind of component.
pub(super) struct Codes {
    /// For how many bits tell the difference between two means.
    pub means: Code,
    /// For how many zeros come before a coefficient, in the upper half, and how many bits tell its value.
    pub waves: Code,
}

/// What tokens become.
struct Words {
    means: [(u32, u32); 256],
    /// With their values.
    near: [Word; NEAR_TOKENS],
    far: [(u32, u32); 256],
}

impl Words {
    fn new(codes: &Codes) -> Self {
        let far = codes.waves.words();
        let mut near = [Word(0); NEAR_TOKENS];
        for (place, word) in (0..).zip(&mut near) {
            let token = token_at(place);
            if token != FULL {
                *word = Word::new(with(far[usize::from(symbol(token))], value(token)));
            }
        }
        Self { means: codes.means.words(), near, far }
    }

    #[inline(always)]
    fn write_block(&self, tokens: &mut std::slice::Iter<Token>, bits: &mut Bits) {
        let Some(difference) = tokens.next() else { return };
        let difference = i32::from(difference.cast_signed());
        let (number, length) = with(self.means[size(difference) as usize], difference);
        bits.put(number, length);
        for token in tokens {
            let (number, length) = match self.near.get(usize::from(place(*token))) {
                Some(word) => word.parts(),
                None => with(self.far[usize::from(symbol(*token))], value(*token)),
            };
            bits.put(number, length);
            if *token <= FULL {
                return;
            }
        }
    }
}

/// A code with the value behind it: in the lowest six bits how many bits they have, and those above.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    fn new((number, length): (u32, u32)) -> Self {
        Self(number << 6 | length)
    }

    #[inline(always)]
    fn parts(self) -> (u32, u32) {
        (self.0 >> 6, self.0 & 0x3F)
    }
}

/// A code that tells the size of a value, with that value behind it. Of a negative one the bits are inverted.
#[inline(always)]
fn with((number, length): (u32, u32), value: i32) -> (u32, u32) {
    let size = size(value);
    let bits = (value + (value >> 31)).cast_unsigned() & ((1 << size) - 1);
    (number << size | bits, length + size)
}

/// Where a token has its place, if its value is near zero.
#[inline(always)]
fn place(token: Token) -> u16 {
    token.wrapping_add(NEAR << 4)
}

fn token_at(place: u16) -> Token {
    place.wrapping_sub(NEAR << 4)
}

#[inline(always)]
fn value(token: Token) -> i32 {
    i32::from(token.cast_signed() >> 4)
}

/// What is coded of a token: how many zeros, and how many bits tell its value.
#[inline(always)]
fn symbol(token: Token) -> u8 {
    (token << 4) as u8 | size(value(token)) as u8
}

/// How many bits tell a value.
#[inline(always)]
fn size(value: i32) -> u32 {
    u32::BITS - value.unsigned_abs().leading_zeros()
}
