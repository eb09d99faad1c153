//! The Huffman tables of a JPEG, in forms that take in many bits at one look.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are packed into words")]

use super::bits::Bits;

/// How many bits one look for a code takes in, and for a code with its magnitude.
const LOOK: u32 = 11;

/// How many bits one look takes in to pass over symbols. Four of them are in a refill.
const LEAP: u32 = 14;

/// What ends a block is taken for that many coefficients.
const END: u32 = 128;

/// A table as the file has it: how many codes there are of each length, and what they stand for.
pub(super) struct Code {
    counts: [u8; 16],
    symbols: Vec<u8>,
}

impl Code {
    pub(super) fn new(counts: [u8; 16], symbols: &[u8]) -> Self {
        Self { counts, symbols: symbols.to_vec() }
    }
}

/// Looks up one symbol.
struct Symbols {
    /// For each beginning: the symbol, and above it the length of its code; 0 if the code is longer.
    short: Box<[u16; 1 << LOOK]>,
    /// For each length the first code that is beyond it, left-aligned in 16 bits, and the place of its symbols.
    beyond: [u32; 17],
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Symbols {
    /// `None` if there are more codes than fit.
    fn new(table: &Code) -> Option<Self> {
        let mut short = Box::new([0_u16; 1 << LOOK]);
        let (mut beyond, mut offset) = ([0_u32; 17], [0_i32; 17]);
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(table.counts) {
            let place = length as usize;
            offset[place] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for _ in 0..count {
                let symbol = *table.symbols.get(index)?;
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    short[first..first + (1 << (LOOK - length))].fill(((length as u16) << 8) | u16::from(symbol));
                }
                code += 1;
                index += 1;
            }
            beyond[place] = code << (16 - length);
            code <<= 1;
        }
        Some(Self { short, beyond, offset, symbols: table.symbols.clone() })
    }

    /// The next symbol. `None` if no code begins so.
    #[inline(always)]
    fn next(&self, bits: &mut Bits<'_>) -> Option<u32> {
        let entry = self.short[bits.peek(LOOK)];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Some(u32::from(entry & 0xFF));
        }
        self.next_long(bits)
    }

    #[cold]
    fn next_long(&self, bits: &mut Bits<'_>) -> Option<u32> {
        let code = bits.peek(16) as u32;
        let length = (LOOK as usize + 1..17).find(|length| code < self.beyond[*length])?;
        let index = i32::try_from(code >> (16 - length)).ok()? + self.offset[length];
        let symbol = *self.symbols.get(usize::try_from(index).ok()?)?;
        bits.skip(length as u32);
        Some(u32::from(symbol))
    }
}

/// The number of `size` bits, of which the first is the inverted sign.
#[inline(always)]
fn signed(value: u32, size: u32) -> i32 {
    let value = value as i32;
    if size > 0 && value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value }
}

/// A table for the differences between the mean values of blocks.
pub(super) struct Differences(Symbols);

impl Differences {
    pub(super) fn new(table: &Code) -> Option<Self> {
        Symbols::new(table).map(Self)
    }

    /// The difference that begins a block. Needs 27 bits.
    #[inline(always)]
    pub(super) fn next(&self, bits: &mut Bits<'_>) -> Option<i32> {
        let size = self.0.next(bits)?;
        (size <= 11).then(|| signed(bits.take(size), size))
    }
}

/// A symbol and the magnitude that follows it, if both are within a look.
#[derive(Clone, Copy, Default)]
struct Whole {
    value: i16,
    /// How many coefficients it is good for: those that it passes over and its own; 0 if it is not whole.
    advance: u8,
    bits: u8,
}

/// A table for the other coefficients of a block.
pub(super) struct Coefficients {
    symbols: Symbols,
    whole: Box<[Whole; 1 << LOOK]>,
    /// For each beginning, how many bits its whole symbols take, in the lowest four, and above them how many coefficients.
    leaps: Box<[u16; 1 << LEAP]>,
}

impl Coefficients {
    pub(super) fn new(table: &Code) -> Option<Self> {
        let symbols = Symbols::new(table)?;
        let mut whole = Box::new([Whole::default(); 1 << LOOK]);
        for (beginning, entry) in (0_u32..).zip(whole.iter_mut()) {
            let (symbol, length) = match symbols.short[beginning as usize] {
                0 => continue,
                entry => (u32::from(entry & 0xFF), u32::from(entry >> 8)),
            };
            let (run, size) = (symbol >> 4, symbol & 15);
            if length + size > LOOK {
                continue;
            }
            let magnitude = (beginning >> (LOOK - length - size)) & ((1 << size) - 1);
            let advance = if symbol_ends(symbol) { END } else { run + 1 };
            *entry =
                Whole { value: signed(magnitude, size) as i16, advance: advance as u8, bits: (length + size) as u8 };
        }
        let mut leaps = Box::new([0; 1 << LEAP]);
        for (beginning, entry) in (0_u32..).zip(leaps.iter_mut()) {
            *entry = leap(&symbols, beginning);
        }
        Some(Self { symbols, whole, leaps })
    }

    /// Reads the rest of a block: hands the place and value of the coefficients before `wanted`, in zig-zag order, to
    /// `keep`, and passes over the others without forming them. Places may come that are not before `wanted`; they are
    /// below 128.
    #[inline(always)]
    pub(super) fn read(&self, bits: &mut Bits<'_>, wanted: u32, mut keep: impl FnMut(u32, i32)) -> Option<()> {
        let mut next = 1;
        while next < wanted {
            bits.refill();
            for _ in 0..56 / LOOK {
                let Whole { value, advance, bits: length } = self.whole[bits.peek(LOOK)];
                if advance == 0 {
                    bits.refill();
                    let symbol = self.symbols.next(bits)?;
                    if symbol_ends(symbol) {
                        return Some(());
                    }
                    next += symbol >> 4;
                    let size = symbol & 15;
                    keep(next, signed(bits.take(size), size));
                    next += 1;
                    break;
                }
                bits.skip(u32::from(length));
                next += u32::from(advance);
                if next >= END {
                    return Some(());
                }
                keep(next - 1, i32::from(value));
                if next >= wanted {
                    break;
                }
            }
        }
        self.pass_over(bits, next)
    }

    /// Reads the rest of a block from the coefficient `next` on, and forms nothing.
    #[inline(always)]
    fn pass_over(&self, bits: &mut Bits<'_>, mut next: u32) -> Option<()> {
        while next < 64 {
            bits.refill();
            for _ in 0..56 / LEAP {
                let leap = u32::from(self.leaps[bits.peek(LEAP)]);
                let after = next + (leap >> 4);
                if after < 64 {
                    bits.skip(leap & 15);
                    next = after;
                    continue;
                }
                if after == 64 || (END..END + 64).contains(&after) {
                    bits.skip(leap & 15);
                    return Some(());
                }
                // The look goes beyond the block, or not even one symbol is whole.
                bits.refill();
                let symbol = self.symbols.next(bits)?;
                if symbol_ends(symbol) {
                    return Some(());
                }
                bits.skip(symbol & 15);
                next += (symbol >> 4) + 1;
                break;
            }
        }
        (next == 64).then_some(())
    }
}

/// Whether what is left of the block is zero.
#[inline(always)]
fn symbol_ends(symbol: u32) -> bool {
    symbol & 15 == 0 && symbol < 0xF0
}

fn leap(symbols: &Symbols, beginning: u32) -> u16 {
    let (mut bits, mut advance) = (0, 0);
    let packed = |bits: u32, advance: u32| ((advance << 4) | bits) as u16;
    loop {
        // What is left of the beginning, at the top of a look.
        let left = ((beginning << bits) & ((1 << LEAP) - 1)) >> (LEAP - LOOK);
        let (symbol, length) = match symbols.short[left as usize] {
            0 => break,
            entry => (u32::from(entry & 0xFF), u32::from(entry >> 8)),
        };
        let (run, size) = (symbol >> 4, symbol & 15);
        let ends = symbol_ends(symbol);
        if bits + length + size > LEAP || !ends && advance + run + 1 > 63 {
            break;
        }
        bits += length + size;
        if ends {
            return packed(bits, advance + END);
        }
        advance += run + 1;
    }
    // What takes no bits must not be mistaken for progress.
    if bits == 0 { packed(0, 2 * END) } else { packed(bits, advance) }
}
