//! The Huffman tables of a JPEG, in forms that take in many bits at one look.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are packed into words")]

use super::bits::{HELD, Reader, Window};

/// How many bits one look for a code takes in.
const LOOK: u32 = 11;

/// How many bits one look takes in to pass over symbols. All tables together stay in the nearest cache.
const LEAP: u32 = 12;

/// How many bits are taken at one look at most: codes have to be in it, but of what follows the last no more than the
/// length has to be known.
const REACH: u32 = 18;

/// For how many looks the bits are enough that are held.
const LOOKS: u32 = HELD / REACH;

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
    /// For each beginning: how many bits the symbol takes with what follows it, and above eight bits the symbol; 0 if its
    /// code is longer than the look, or all of it than [`REACH`].
    short: Box<[u16; 1 << LOOK]>,
    /// For each length the first code that is beyond it, left-aligned in 16 bits, and the place of its symbols.
    beyond: [u32; 17],
    offset: [i32; 17],
    symbols: Vec<u8>,
    /// How many bits follow a symbol. `None` if there is no such symbol.
    following: fn(u32) -> Option<u32>,
}

/// A symbol that was taken.
#[derive(Clone, Copy)]
struct Taken {
    symbol: u32,
    /// The bits that it began, and how many of them it took with what follows it.
    held: u64,
    bits: u32,
}

impl Taken {
    /// The number of so many bits, 15 at most, that follows the symbol.
    #[inline(always)]
    fn number(self, size: u32) -> u32 {
        (self.following(size) >> 1 >> (63 - size)) as u32
    }

    /// That number, if the first of its bits is the inverted sign.
    #[inline(always)]
    fn signed(self, size: u32) -> i32 {
        // No branch: signs are not foreseen.
        let if_negative = !(self.following(size).cast_signed() >> 63) as i32;
        self.number(size) as i32 - (if_negative & ((1 << size) - 1))
    }

    #[inline(always)]
    fn following(self, size: u32) -> u64 {
        self.held << (self.bits - size)
    }
}

impl Symbols {
    /// `None` if there are more codes than fit.
    fn new(table: &Code, following: fn(u32) -> Option<u32>) -> Option<Self> {
        let mut short = Box::new([0_u16; 1 << LOOK]);
        let (mut beyond, mut offset) = ([0_u32; 17], [0_i32; 17]);
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(table.counts) {
            let place = length as usize;
            offset[place] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for _ in 0..count {
                let symbol = u32::from(*table.symbols.get(index)?);
                if code >= 1 << length {
                    return None;
                }
                let bits = following(symbol).map(|bits| length + bits).filter(|bits| *bits <= REACH);
                if let (Some(bits), Some(rest)) = (bits, LOOK.checked_sub(length)) {
                    let first = (code << rest) as usize;
                    short[first..first + (1 << rest)].fill((symbol << 8 | bits) as u16);
                }
                code += 1;
                index += 1;
            }
            beyond[place] = code << (16 - length);
            code <<= 1;
        }
        Some(Self { short, beyond, offset, symbols: table.symbols.clone(), following })
    }

    /// Takes the next symbol with what follows it: at most [`REACH`] bits of those held, or [`HELD`] are left.
    #[inline(always)]
    fn next(&self, reader: &mut Reader, window: &Window) -> Option<Taken> {
        if let Some((symbol, bits)) = self.short(reader.held >> (64 - LOOK)) {
            let taken = Taken { symbol, held: reader.held, bits };
            reader.skip(bits);
            return Some(taken);
        }
        reader.refill(window);
        let (symbol, bits) = self.long(reader.held)?;
        let taken = Taken { symbol, held: reader.held, bits };
        reader.skip(bits);
        reader.refill(window);
        Some(taken)
    }

    /// For each beginning, the one symbol that it holds with its magnitude. `coefficients` tells for how many a symbol is
    /// good, or that it is left out.
    fn wholes(&self, coefficients: impl Fn(u32) -> Option<u32>) -> Box<[Whole; 1 << LOOK]> {
        let mut wholes = Box::new([Whole::NONE; 1 << LOOK]);
        for (look, whole) in (0_u64..).zip(wholes.iter_mut()) {
            let Some((symbol, bits)) = self.short(look).filter(|(_, bits)| *bits <= LOOK) else { continue };
            let (Some(coefficients), Some(size)) = (coefficients(symbol), (self.following)(symbol)) else { continue };
            let taken = Taken { symbol, held: look << (64 - LOOK), bits };
            *whole = Whole::new(bits, coefficients, taken.signed(size));
        }
        wholes
    }

    /// The symbol that a look begins with, and how many bits it takes with what follows it. `None` if [`Self::long`] has to
    /// be asked.
    #[inline(always)]
    fn short(&self, look: u64) -> Option<(u32, u32)> {
        let entry = u32::from(self.short[look as usize]);
        (entry > 0).then_some((entry >> 8, entry & 0xFF))
    }

    /// The symbol that `held` begins with, and how many bits it takes with what follows it, 31 at most. `None` if no code
    /// begins so.
    #[cold]
    #[inline(never)]
    fn long(&self, held: u64) -> Option<(u32, u32)> {
        let code = (held >> 48) as u32;
        let length = (1_u32..17).find(|length| code < self.beyond[*length as usize])?;
        let index = i32::try_from(code >> (16 - length)).ok()? + self.offset[length as usize];
        let symbol = u32::from(*self.symbols.get(usize::try_from(index).ok()?)?);
        Some((symbol, length + (self.following)(symbol)?))
    }
}

/// A symbol and the magnitude that follows it. From the lowest bit on: eight that say how many bits they are, eight for
/// how many coefficients they are good for, those passed over and their own, and the value. All are zero if a look does
/// not take in both.
#[derive(Clone, Copy)]
struct Whole(u32);

impl Whole {
    const NONE: Self = Self(0);

    fn new(bits: u32, coefficients: u32, value: i32) -> Self {
        Self(((value as u32) << 16) | (coefficients << 8) | bits)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    #[inline(always)]
    fn coefficients(self) -> u32 {
        (self.0 >> 8) & 0xFF
    }

    #[inline(always)]
    fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }
}

/// A table for the differences between the mean values of blocks.
pub(super) struct Differences(Symbols);

impl Differences {
    pub(super) fn new(table: &Code) -> Option<Self> {
        Some(Self(Symbols::new(table, |size| (size <= 11).then_some(size))?))
    }

    /// The difference that begins a block. Takes at most [`REACH`] bits of those held, or [`HELD`] are left.
    #[inline(always)]
    pub(super) fn next(&self, reader: &mut Reader, window: &Window) -> Option<i32> {
        let taken = self.0.next(reader, window)?;
        Some(taken.signed(taken.symbol))
    }
}

/// A table for the other coefficients of a block.
pub(super) struct Coefficients {
    symbols: Symbols,
    whole: Box<[Whole; 1 << LOOK]>,
    /// For each beginning, how many bits the symbols take whose codes are in it, in the lowest eight, and above them how
    /// many coefficients.
    leaps: Box<[u16; 1 << LEAP]>,
}

/// One coefficient in what [`Coefficients::pass_over`] counts, above eight bits that count bits.
const ONE: u32 = 1 << 8;

/// All coefficients of a block.
const LAST: u32 = 64 * ONE;

impl Coefficients {
    pub(super) fn new(table: &Code) -> Option<Self> {
        let symbols = Symbols::new(table, |symbol| Some(symbol & 15))?;
        let mut leaps = Box::new([0; 1 << LEAP]);
        for (beginning, entry) in (0_u32..).zip(leaps.iter_mut()) {
            *entry = leap(&symbols, beginning);
        }
        let whole = symbols.wholes(|symbol| Some(if symbol_ends(symbol) { END } else { parts(symbol).0 }));
        Some(Self { symbols, whole, leaps })
    }

    /// Reads a block behind its mean value: hands the place and value of the coefficients before `wanted`, in zig-zag
    /// order, to `keep`, and passes over the others without forming them. Places may come that are not before `wanted`;
    /// they are below 128.
    #[inline(always)]
    pub(super) fn read(
        &self,
        mut reader: Reader,
        window: &Window,
        wanted: u32,
        mut keep: impl FnMut(u32, i16),
    ) -> Option<Reader> {
        // What the mean value left for certain is not waited for.
        const LOOKS_LEFT: u32 = LOOKS - 1;

        if wanted == 1 {
            return self.pass_over(reader, window, 1, LOOKS_LEFT);
        }
        let mut next = 1;
        let mut looks = (HELD - REACH) / LOOK;
        while next < wanted {
            for _ in 0..looks {
                let whole = self.whole[(reader.held >> (64 - LOOK)) as usize];
                let value = if whole.bits() > 0 {
                    reader.skip(whole.bits());
                    next += whole.coefficients();
                    if next >= END {
                        return Some(reader);
                    }
                    whole.value()
                } else {
                    reader.refill(window);
                    let taken = self.symbols.next(&mut reader, window)?;
                    if symbol_ends(taken.symbol) {
                        return Some(reader);
                    }
                    reader.refill(window);
                    let (coefficients, size) = parts(taken.symbol);
                    next += coefficients;
                    taken.signed(size) as i16
                };
                keep(next - 1, value);
                if next >= wanted {
                    break;
                }
            }
            reader.refill(window);
            looks = HELD / LOOK;
        }
        if next < 64 { self.pass_over(reader, window, next, LOOKS) } else { (next == 64).then_some(reader) }
    }

    /// Reads the rest of a block from the coefficient `next` on, before the last, and forms nothing. The bits held are
    /// enough for so many looks to begin with.
    #[inline(always)]
    fn pass_over(&self, mut reader: Reader, window: &Window, next: u32, mut looks: u32) -> Option<Reader> {
        let mut passed = next * ONE;
        loop {
            let mut is_stuck = false;
            for _ in 0..looks {
                // One sum for coefficients and bits, and a shift that looks at the lowest bits alone.
                let leap = u32::from(self.leaps[(reader.held >> (64 - LEAP)) as usize]);
                let after = passed + leap;
                if after < LAST {
                    (reader.held, passed) = (reader.held.wrapping_shl(leap), after);
                    continue;
                }
                if after / ONE == 64 || (END..END + 64).contains(&(after / ONE)) {
                    reader.held = reader.held.wrapping_shl(leap);
                    reader.count -= after % ONE;
                    return Some(reader);
                }
                // The look goes beyond the block, or not even one symbol is in it. It took none of its bits.
                is_stuck = true;
                break;
            }
            reader.count -= passed % ONE;
            passed -= passed % ONE;
            if is_stuck {
                let taken = self.symbols.next(&mut reader, window)?;
                if symbol_ends(taken.symbol) {
                    return Some(reader);
                }
                passed += parts(taken.symbol).0 * ONE;
                if passed >= LAST {
                    return (passed == LAST).then_some(reader);
                }
            }
            reader.refill(window);
            looks = LOOKS;
        }
    }
}

/// What a scan of a progressive picture has next.
pub(super) enum Symbol {
    /// So many coefficients, of which the last has that value and the others none.
    Run(u32, i32),
    /// So many blocks, from this one on, have nothing more.
    Ends(u32),
}

/// A table for a progressive scan of other coefficients than the means.
pub(super) struct Runs {
    symbols: Symbols,
    whole: Box<[Whole; 1 << LOOK]>,
}

impl Runs {
    pub(super) fn new(table: &Code) -> Option<Self> {
        let following = |symbol| Some(if symbol_ends(symbol) { symbol >> 4 } else { symbol & 15 });
        let symbols = Symbols::new(table, following)?;
        let whole = symbols.wholes(|symbol| (!symbol_ends(symbol)).then_some(parts(symbol).0));
        Some(Self { symbols, whole })
    }

    /// The next symbol. Takes at most [`REACH`] bits of those held, or [`HELD`] are left.
    #[inline(always)]
    pub(super) fn next(&self, reader: &mut Reader, window: &Window) -> Option<Symbol> {
        let whole = self.whole[(reader.held >> (64 - LOOK)) as usize];
        if whole.bits() > 0 {
            reader.skip(whole.bits());
            return Some(Symbol::Run(whole.coefficients(), whole.value().into()));
        }
        let taken = self.symbols.next(reader, window)?;
        let (coefficients, size) = parts(taken.symbol);
        if symbol_ends(taken.symbol) {
            let size = coefficients - 1;
            return Some(Symbol::Ends((1 << size) + taken.number(size)));
        }
        Some(Symbol::Run(coefficients, taken.signed(size)))
    }
}

/// How many coefficients a symbol is good for, those passed over and its own, and how many bits its magnitude has.
#[inline(always)]
fn parts(symbol: u32) -> (u32, u32) {
    ((symbol >> 4) + 1, symbol & 15)
}

/// Whether what is left of the block is zero.
#[inline(always)]
fn symbol_ends(symbol: u32) -> bool {
    symbol & 15 == 0 && symbol < 0xF0
}

fn leap(symbols: &Symbols, beginning: u32) -> u16 {
    let (mut bits, mut advance) = (0, 0);
    let packed = |bits: u32, advance: u32| (advance * ONE + bits) as u16;
    while bits < LEAP {
        // What is left of the beginning, at the top of a look.
        let left = ((beginning << bits) & ((1 << LEAP) - 1)) >> (LEAP - LOOK);
        let Some((symbol, taken)) = symbols.short(left.into()) else { break };
        let (coefficients, size) = parts(symbol);
        let ends = symbol_ends(symbol);
        let is_in_look = bits + taken - size <= LEAP && bits + taken <= REACH;
        if !is_in_look || !ends && advance + coefficients > 63 {
            break;
        }
        bits += taken;
        if ends {
            return packed(bits, advance + END);
        }
        advance += coefficients;
    }
    // What takes no bits must not be mistaken for progress.
    if bits == 0 { packed(0, END + 64) } else { packed(bits, advance) }
}
