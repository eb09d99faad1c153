//! The symbols of blocks (F.1.2): collected first, because optimal Huffman tables need their frequencies, then written.
#![expect(clippy::cast_possible_truncation, reason = "numbers of a few bits are packed into words")]

use super::{bit_writer::BitWriter, fdct::BlockGroup, huffman::HuffmanTable};
use crate::BLOCK_SIZE;

/// A coefficient to be coded.
///
/// ```text
///   15                       4 3         0
///  +--------------------------+-----------+
///  |  value, two's complement |   RRRR    |   AC: the coefficient, and the zeros before it
///  +--------------------------+-----------+
///  |                 DIFF                 |   DC, the first token of each block
///  +--------------------------------------+
/// ```
///
/// A value of 0 marks what is no coefficient: [`EOB`], [`BLOCK_FULL`] and [`ZRL`].
type Token = u16;

/// EOB: the rest of the block is zero.
const EOB: Token = 0;

/// The last coefficient of the block was coded. Nothing is written.
const BLOCK_FULL: Token = 1;

/// ZRL: sixteen zeros, with more coefficients behind them.
const ZRL: Token = 15;

/// Values from -NEAR up to, but not including, NEAR are so frequent that each with its run has an entry in a table.
const NEAR: u16 = 16;

/// How many tokens have such a value.
const NEAR_TOKENS: usize = (2 * NEAR as usize) << 4;

/// Room for the tokens of a block: DC, at most 63 coefficients, and an end. A power of two, so that an index is cut with
/// one instruction.
const MAX_BLOCK_TOKENS: usize = 128;

/// Which Huffman tables a component uses.
#[derive(Clone, Copy)]
pub(super) enum TableClass {
    Luma,
    Chroma,
}

/// The symbols of an image, block by block in the order of the file.
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

    /// Makes room for this many blocks.
    pub(super) fn reserve(&mut self, blocks: usize) {
        self.tokens.resize(self.count + (blocks + 1) * (BLOCK_SIZE + 1), 0);
    }

    /// Appends a block, for which there is room. `prediction` is PRED: the DC coefficient of the component's previous
    /// block.
    #[inline(always)]
    pub(super) fn push(&mut self, class: TableClass, group: &BlockGroup, block: usize, prediction: &mut i16) {
        let tokens = self.tokens[self.count..].first_chunk_mut::<MAX_BLOCK_TOKENS>().expect("the caller made room");
        let frequencies = &mut self.frequencies[class as usize];
        let difference = group.coefficient(0, block) - std::mem::replace(prediction, group.coefficient(0, block));
        tokens[0] = difference.cast_unsigned();
        frequencies.dc[size(difference.into()) as usize] += 1;
        let mut count = 1;
        let mut put = |token| {
            tokens[count % MAX_BLOCK_TOKENS] = token;
            frequencies.count(token, count);
            count += 1;
        };
        let (mut nonzero, mut next) = (group.nonzero_ac(block), 1);
        while nonzero != 0 {
            let position = nonzero.trailing_zeros();
            nonzero &= nonzero - 1;
            while position - next > 15 {
                put(ZRL);
                next += 16;
            }
            put(group.coefficient(position as usize, block).cast_unsigned() << 4 | (position - next) as u16);
            next = position + 1;
        }
        put(if next < BLOCK_SIZE as u32 { EOB } else { BLOCK_FULL });
        self.count += count;
    }

    /// Appends a block that completes an MCU beyond the edge of the image (A.2.4), at the least cost: its DC is that of
    /// the previous block.
    pub(super) fn push_padding(&mut self, class: TableClass) {
        let frequencies = &mut self.frequencies[class as usize];
        frequencies.dc[0] += 1;
        frequencies.count(EOB, 0);
        self.tokens[self.count..self.count + 2].copy_from_slice(&[0, EOB]);
        self.count += 2;
    }

    /// The optimal tables of each class that is used.
    pub(super) fn tables(&self) -> Vec<Tables> {
        self.frequencies.iter().filter(|it| it.dc != [0; _]).map(Frequencies::tables).collect()
    }

    /// Writes all blocks. An MCU consists of blocks of these classes.
    pub(super) fn write(&self, tables: &[Tables], mcu: &[TableClass], mut bits: BitWriter) {
        let codes: Vec<Codes> = tables.iter().map(Codes::new).collect();
        let mut tokens = self.tokens[..self.count].iter();
        while !tokens.as_slice().is_empty() {
            for class in mcu {
                codes[*class as usize].write_block(&mut tokens, &mut bits);
            }
        }
        bits.finish();
    }
}

/// How often each symbol occurs.
struct Frequencies {
    dc: [u32; 256],
    /// By token. Even and odd tokens of a block are counted apart, because an increment waits for the previous one of the
    /// same counter.
    near: [[u32; NEAR_TOKENS]; 2],
    /// By symbol, of values that are not near.
    far: [u32; 256],
}

impl Frequencies {
    const NONE: Self = Self { dc: [0; 256], near: [[0; NEAR_TOKENS]; 2], far: [0; 256] };

    #[inline(always)]
    fn count(&mut self, token: Token, number: usize) {
        match self.near[number % 2].get_mut(usize::from(near_index(token))) {
            Some(frequency) => *frequency += 1,
            None => self.far[usize::from(symbol(token))] += 1,
        }
    }

    fn tables(&self) -> Tables {
        let mut symbols = self.far;
        for (index, (even, odd)) in (0..).zip(self.near[0].iter().zip(&self.near[1])) {
            let token = near_token(index);
            if token != BLOCK_FULL {
                symbols[usize::from(symbol(token))] += even + odd;
            }
        }
        Tables { dc: HuffmanTable::optimal(&self.dc), ac: HuffmanTable::optimal(&symbols) }
    }
}

/// The Huffman tables of a class.
pub(super) struct Tables {
    /// For SSSS of DIFF.
    pub dc: HuffmanTable,
    /// For RRRRSSSS.
    pub ac: HuffmanTable,
}

/// The codes of a class.
struct Codes {
    dc: [(u32, u32); 256],
    /// Code and additional bits, by token.
    near: [PackedCode; NEAR_TOKENS],
    /// Code, by symbol.
    far: [(u32, u32); 256],
}

impl Codes {
    fn new(tables: &Tables) -> Self {
        let far = tables.ac.codes();
        let mut near = [PackedCode(0); NEAR_TOKENS];
        for (index, code) in (0..).zip(&mut near) {
            let token = near_token(index);
            if token != BLOCK_FULL {
                *code = PackedCode::new(with_value(far[usize::from(symbol(token))], value(token)));
            }
        }
        Self { dc: tables.dc.codes(), near, far }
    }

    #[inline(always)]
    fn write_block(&self, tokens: &mut std::slice::Iter<Token>, bits: &mut BitWriter) {
        let Some(difference) = tokens.next() else { return };
        let difference = i32::from(difference.cast_signed());
        let (number, length) = with_value(self.dc[size(difference) as usize], difference);
        bits.put(number, length);
        for token in tokens {
            let (number, length) = match self.near.get(usize::from(near_index(*token))) {
                Some(code) => code.unpacked(),
                None => with_value(self.far[usize::from(symbol(*token))], value(*token)),
            };
            bits.put(number, length);
            if *token <= BLOCK_FULL {
                return;
            }
        }
    }
}

/// A code with additional bits: their length in the lowest six bits, the bits above.
#[derive(Clone, Copy)]
struct PackedCode(u32);

impl PackedCode {
    fn new((number, length): (u32, u32)) -> Self {
        Self(number << 6 | length)
    }

    #[inline(always)]
    fn unpacked(self) -> (u32, u32) {
        (self.0 >> 6, self.0 & 0x3F)
    }
}

/// A code with the additional bits of a value behind it (F.1.2.1.1): those of a negative value less 1.
#[inline(always)]
fn with_value((number, length): (u32, u32), value: i32) -> (u32, u32) {
    let size = size(value);
    let bits = (value + (value >> 31)).cast_unsigned() & ((1 << size) - 1);
    (number << size | bits, length + size)
}

/// The index of a token in the tables of near values. Beyond the tables if its value is not near.
#[inline(always)]
fn near_index(token: Token) -> u16 {
    token.wrapping_add(NEAR << 4)
}

fn near_token(index: u16) -> Token {
    index.wrapping_sub(NEAR << 4)
}

#[inline(always)]
fn value(token: Token) -> i32 {
    i32::from(token.cast_signed() >> 4)
}

/// RRRRSSSS.
#[inline(always)]
fn symbol(token: Token) -> u8 {
    (token << 4) as u8 | size(value(token)) as u8
}

/// SSSS: how many additional bits a value has.
#[inline(always)]
fn size(value: i32) -> u32 {
    u32::BITS - value.unsigned_abs().leading_zeros()
}
