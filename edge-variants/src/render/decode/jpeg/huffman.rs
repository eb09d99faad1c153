//! The Huffman tables of a JPEG, in forms that take in many bits at one look.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are packed into words")]

use super::bits::{HELD, Reader, Window};

/// How many bits one look for a code takes in, and for a code of a coefficient with its magnitude.
const LOOK: u32 = 11;

/// How many bits one look for the mean value of a block takes in.
const MEAN_LOOK: u32 = 10;

/// How many bits one look takes in to pass over symbols. All tables together stay in the nearest cache.
const LEAP: u32 = 12;

/// The longest code with the longest magnitude of a difference between mean values.
const LONGEST_DIFFERENCE: u32 = 16 + 11;

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

    /// The symbol that `held` begins with, and the length of its code. `None` if no code begins so.
    #[inline(always)]
    fn first(&self, held: u64) -> Option<(u32, u32)> {
        match u32::from(self.short[(held >> (64 - LOOK)) as usize]) {
            0 => self.first_long(held),
            entry => Some((entry & 0xFF, entry >> 8)),
        }
    }

    #[cold]
    fn first_long(&self, held: u64) -> Option<(u32, u32)> {
        let code = (held >> 48) as u32;
        let length = (LOOK as usize + 1..17).find(|length| code < self.beyond[*length])?;
        let index = i32::try_from(code >> (16 - length)).ok()? + self.offset[length];
        Some(((*self.symbols.get(usize::try_from(index).ok()?)?).into(), length as u32))
    }

    /// For each beginning of so many bits, the one symbol that they hold with its magnitude. `parts` tells of a symbol how
    /// many coefficients it is good for and how many bits its magnitude has.
    fn wholes<const ENTRIES: usize>(&self, parts: impl Fn(u32) -> (u32, u32)) -> Box<[Whole; ENTRIES]> {
        let bits = ENTRIES.ilog2();
        let mut wholes = Box::new([Whole::NONE; ENTRIES]);
        for (beginning, entry) in (0_u64..).zip(wholes.iter_mut()) {
            let held = beginning << (64 - bits);
            let Some((symbol, length)) = self.first(held).filter(|(_, length)| *length <= bits) else { continue };
            let (coefficients, size) = parts(symbol);
            if length + size <= bits {
                *entry = Whole::new(length + size, coefficients, signed(held << length, size));
            }
        }
        wholes
    }
}

/// The number of `size` bits, 16 at most, that `held` begins with.
#[inline(always)]
fn number(held: u64, size: u32) -> u32 {
    (held >> 1 >> (63 - size)) as u32
}

/// That number, if the first of its bits is the inverted sign.
#[inline(always)]
fn signed(held: u64, size: u32) -> i32 {
    let value = number(held, size) as i32;
    if size > 0 && value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value }
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
    fn value(self) -> i32 {
        self.0 as i32 >> 16
    }
}

/// A table for the differences between the mean values of blocks.
pub(super) struct Differences {
    symbols: Symbols,
    whole: Box<[Whole; 1 << MEAN_LOOK]>,
}

impl Differences {
    pub(super) fn new(table: &Code) -> Option<Self> {
        let symbols = Symbols::new(table)?;
        let whole = symbols.wholes(|size| (1, size));
        Some(Self { symbols, whole })
    }

    /// The difference that begins a block, of bits held.
    #[inline(always)]
    pub(super) fn next(&self, reader: &mut Reader) -> Option<i32> {
        let whole = self.whole[(reader.held >> (64 - MEAN_LOOK)) as usize];
        let (difference, bits) =
            if whole.bits() > 0 { (whole.value(), whole.bits()) } else { self.first_long(reader.held)? };
        reader.skip(bits);
        Some(difference)
    }

    #[cold]
    fn first_long(&self, held: u64) -> Option<(i32, u32)> {
        let (size, length) = self.symbols.first(held)?;
        (size <= 11).then(|| (signed(held << length, size), length + size))
    }
}

/// A table for the other coefficients of a block.
pub(super) struct Coefficients {
    symbols: Symbols,
    whole: Box<[Whole; 1 << LOOK]>,
    /// For each beginning, how many bits its whole symbols take, in the lowest eight, and above them how many coefficients.
    leaps: Box<[u16; 1 << LEAP]>,
}

/// One coefficient in what [`Coefficients::pass_over`] counts, above eight bits that count bits.
const ONE: u32 = 1 << 8;

impl Coefficients {
    pub(super) fn new(table: &Code) -> Option<Self> {
        let symbols = Symbols::new(table)?;
        let whole = symbols.wholes(|symbol| if symbol_ends(symbol) { (END, 0) } else { parts(symbol) });
        let mut leaps = Box::new([0; 1 << LEAP]);
        for (beginning, entry) in (0_u32..).zip(leaps.iter_mut()) {
            *entry = leap(&symbols, beginning);
        }
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
        mut keep: impl FnMut(u32, i32),
    ) -> Option<Reader> {
        let mut next = 1;
        // What the mean value left for certain is not waited for.
        let mut looks = (HELD - LONGEST_DIFFERENCE) / LOOK;
        while next < wanted {
            for _ in 0..looks {
                let whole = self.whole[(reader.held >> (64 - LOOK)) as usize];
                let value = if whole.bits() > 0 {
                    reader.skip(whole.bits());
                    next += whole.coefficients();
                    whole.value()
                } else {
                    reader.refill(window);
                    let (coefficients, value) = self.long(&mut reader)?;
                    next += coefficients;
                    reader.refill(window);
                    value
                };
                if next >= END {
                    return Some(reader);
                }
                keep(next - 1, value);
                if next >= wanted {
                    break;
                }
            }
            reader.refill(window);
            looks = HELD / LOOK;
        }
        if next < 64 { self.pass_over(reader, window, next) } else { (next == 64).then_some(reader) }
    }

    /// The symbol that comes next, however long: how many coefficients it is good for, and its value.
    #[inline(always)]
    fn long(&self, reader: &mut Reader) -> Option<(u32, i32)> {
        let (bits, coefficients, value) = self.first_long(reader.held)?;
        reader.skip(bits);
        Some((coefficients, value))
    }

    #[cold]
    #[inline(never)]
    fn first_long(&self, held: u64) -> Option<(u32, u32, i32)> {
        let (symbol, length) = self.symbols.first(held)?;
        if symbol_ends(symbol) {
            return Some((length, END, 0));
        }
        let (coefficients, size) = parts(symbol);
        Some((length + size, coefficients, signed(held << length, size)))
    }

    /// Reads the rest of a block from the coefficient `next` on, before the last, and forms nothing.
    #[inline(always)]
    fn pass_over(&self, mut reader: Reader, window: &Window, next: u32) -> Option<Reader> {
        const LAST: u32 = 64 * ONE;

        let mut passed = next * ONE;
        loop {
            reader.refill(window);
            let mut held = reader.held;
            for _ in 0..HELD / LEAP {
                // One sum for coefficients and bits, and a shift that looks at the lowest bits alone.
                let leap = u32::from(self.leaps[(held >> (64 - LEAP)) as usize]);
                let after = passed + leap;
                if after < LAST {
                    (held, passed) = (held.wrapping_shl(leap), after);
                    continue;
                }
                if after / ONE == 64 || (END..END + 64).contains(&(after / ONE)) {
                    reader.skip(after % ONE);
                    return Some(reader);
                }
                // The look goes beyond the block, or not even one symbol is whole.
                reader.skip(passed % ONE);
                reader.refill(window);
                let (coefficients, _) = self.long(&mut reader)?;
                passed = (passed / ONE + coefficients) * ONE;
                if passed >= LAST {
                    return (passed == LAST || coefficients == END).then_some(reader);
                }
                break;
            }
            reader.skip(passed % ONE);
            passed -= passed % ONE;
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
        const NEVER: u32 = 64;

        let symbols = Symbols::new(table)?;
        let whole = symbols.wholes(|symbol| if symbol_ends(symbol) { (0, NEVER) } else { parts(symbol) });
        Some(Self { symbols, whole })
    }

    /// The next symbol. Needs 31 bits.
    #[inline(always)]
    pub(super) fn next(&self, reader: &mut Reader) -> Option<Symbol> {
        let whole = self.whole[(reader.held >> (64 - LOOK)) as usize];
        if whole.bits() > 0 {
            reader.skip(whole.bits());
            return Some(Symbol::Run(whole.coefficients(), whole.value()));
        }
        let (symbol, length) = self.symbols.first(reader.held)?;
        reader.skip(length);
        if symbol_ends(symbol) {
            let size = symbol >> 4;
            let blocks = (1 << size) + number(reader.held, size);
            reader.skip(size);
            return Some(Symbol::Ends(blocks));
        }
        let (coefficients, size) = parts(symbol);
        let value = signed(reader.held, size);
        reader.skip(size);
        Some(Symbol::Run(coefficients, value))
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
    loop {
        // What is left of the beginning, at the top of a look.
        let left = ((beginning << bits) & ((1 << LEAP) - 1)) >> (LEAP - LOOK);
        let (symbol, length) = match symbols.short[left as usize] {
            0 => break,
            entry => (u32::from(entry & 0xFF), u32::from(entry >> 8)),
        };
        let (coefficients, size) = parts(symbol);
        let ends = symbol_ends(symbol);
        if bits + length + size > LEAP || !ends && advance + coefficients > 63 {
            break;
        }
        bits += length + size;
        if ends {
            return packed(bits, advance + END);
        }
        advance += coefficients;
    }
    // What takes no bits must not be mistaken for progress.
    if bits == 0 { packed(0, END + 64) } else { packed(bits, advance) }
}
