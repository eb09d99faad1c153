//! Huffman decoding tables that take many bits with one look-up.
//!
//! The slow path is [`Lookup::long`], the procedure DECODE of T.81 (F.2.2.3, figure F.16). The tables here answer the
//! same for short codes at once; the tests compare both with a reference that reads bit by bit.
//!
//! # The tables
//!
//! The next bits, `LOOK` or `SKIP_LOOK` of them, index each table.
//!
//! ```text
//! Lookup::short, one symbol                        u16
//!   15            8 7             0
//!  +---------------+---------------+
//!  |    symbol     |     bits      |   bits: length of the code and of the additional bits behind it
//!  +---------------+---------------+   0: the code is longer than LOOK, or all of it longer than REACH
//!
//! Fused, one symbol with its value                 u32
//!   31                           16 15            8 7             0
//!  +-------------------------------+---------------+---------------+
//!  |       value (EXTEND)          | coefficients  |     bits      |
//!  +-------------------------------+---------------+---------------+
//!   coefficients: the zeros of the run and the coefficient itself; EOB_ADVANCE for EOB
//!   0: code and additional bits are longer than LOOK
//!
//! AcTable::skip, all symbols whose codes end within SKIP_LOOK bits   u16
//!   15            8 7             0
//!  +---------------+---------------+
//!  | coefficients  |     bits      |   both summed over the symbols; EOB_ADVANCE more if the last is EOB
//!  +---------------+---------------+   bits 0: no code ends here, take the slow path
//! ```
//!
//! The fields of a skip entry lie so that one addition advances both the coefficient index and the bit position, and a
//! shift by the whole entry shifts by its lowest bits only.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are packed into words")]

use super::bit_reader::{BitReader, HELD, Window};

/// How many bits the look-up of one symbol takes.
const LOOK: u32 = 11;

/// How many bits the look-up that skips symbols takes. All tables together stay in the L1 cache.
const SKIP_LOOK: u32 = 12;

/// How many bits one look-up consumes at most. Codes have to be within the look-up, but only the length of the additional
/// bits behind the last has to be known.
const REACH: u32 = 18;

/// How many look-ups the bits after a refill are enough for.
const LOOKS: u32 = HELD / REACH;

/// EOB counts as this many coefficients, more than a block has.
const EOB_ADVANCE: u32 = 128;

/// A Huffman table as DHT specifies it (B.2.4.2).
#[derive(Debug)]
pub(super) struct TableSpec {
    /// BITS: the number of codes of each length.
    counts: [u8; 16],
    /// HUFFVAL: the symbols, in order of increasing code length.
    symbols: Vec<u8>,
}

impl TableSpec {
    pub(super) fn new(counts: [u8; 16], symbols: &[u8]) -> Self {
        Self { counts, symbols: symbols.to_vec() }
    }
}

/// Finds one symbol.
struct Lookup {
    /// See the drawing above.
    short: Box<[u16; 1 << LOOK]>,
    /// For each code length, MAXCODE + 1 (F.2.2.3), left-aligned in 16 bits.
    end: [u32; 17],
    /// For each code length, VALPTR - MINCODE.
    offset: [i32; 17],
    symbols: Vec<u8>,
    /// The number of additional bits behind a symbol. `None` if the symbol must not occur.
    additional_bits: fn(u32) -> Option<u32>,
}

/// A symbol that was read.
#[derive(Clone, Copy)]
struct Decoded {
    symbol: u32,
    /// The bits from the start of the code on, from the top.
    held: u64,
    /// The length of the code and of the additional bits.
    bits: u32,
}

impl Decoded {
    /// RECEIVE (F.2.2.4): the last `size` bits of the symbol, 15 at most, as a number.
    #[inline(always)]
    fn receive(self, size: u32) -> u32 {
        (self.additional(size) >> 1 >> (63 - size)) as u32
    }

    /// EXTEND (F.2.2.1) of these bits: a number whose first bit is 0 is negative.
    #[inline(always)]
    fn extend(self, size: u32) -> i32 {
        // Without a branch, because signs cannot be predicted.
        let if_negative = !(self.additional(size).cast_signed() >> 63) as i32;
        self.receive(size) as i32 - (if_negative & ((1 << size) - 1))
    }

    #[inline(always)]
    fn additional(self, size: u32) -> u64 {
        self.held << (self.bits - size)
    }
}

impl Lookup {
    /// `None` if the specification has more codes of a length than there can be, or fewer symbols than codes.
    fn new(spec: &TableSpec, additional_bits: fn(u32) -> Option<u32>) -> Option<Self> {
        let mut short = Box::new([0_u16; 1 << LOOK]);
        let (mut end, mut offset) = ([0_u32; 17], [0_i32; 17]);
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(spec.counts) {
            let place = length as usize;
            offset[place] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for _ in 0..count {
                let symbol = u32::from(*spec.symbols.get(index)?);
                if code >= 1 << length {
                    return None;
                }
                let bits = additional_bits(symbol).map(|bits| length + bits).filter(|bits| *bits <= REACH);
                if let (Some(bits), Some(rest)) = (bits, LOOK.checked_sub(length)) {
                    let first = (code << rest) as usize;
                    short[first..first + (1 << rest)].fill((symbol << 8 | bits) as u16);
                }
                code += 1;
                index += 1;
            }
            end[place] = code << (16 - length);
            code <<= 1;
        }
        Some(Self { short, end, offset, symbols: spec.symbols.clone(), additional_bits })
    }

    /// Reads the next symbol with its additional bits. Afterwards at most [`REACH`] of the held bits are consumed, or
    /// [`HELD`] are left.
    #[inline(always)]
    fn next(&self, bits: &mut BitReader, window: &Window) -> Option<Decoded> {
        if let Some((symbol, length)) = self.short(bits.held >> (64 - LOOK)) {
            let decoded = Decoded { symbol, held: bits.held, bits: length };
            bits.skip(length);
            return Some(decoded);
        }
        bits.refill(window);
        let (symbol, length) = self.long(bits.held)?;
        let decoded = Decoded { symbol, held: bits.held, bits: length };
        bits.skip(length);
        bits.refill(window);
        Some(decoded)
    }

    /// The table of symbols with their values. `coefficients` says how many coefficients a symbol stands for, or `None`
    /// to leave it out.
    fn fused(&self, coefficients: impl Fn(u32) -> Option<u32>) -> Box<[Fused; 1 << LOOK]> {
        let mut table = Box::new([Fused::NONE; 1 << LOOK]);
        for (look, entry) in (0_u64..).zip(table.iter_mut()) {
            let Some((symbol, bits)) = self.short(look).filter(|(_, bits)| *bits <= LOOK) else { continue };
            let (Some(coefficients), Some(size)) = (coefficients(symbol), (self.additional_bits)(symbol)) else {
                continue;
            };
            let decoded = Decoded { symbol, held: look << (64 - LOOK), bits };
            *entry = Fused::new(bits, coefficients, decoded.extend(size));
        }
        table
    }

    /// The symbol that these bits begin with, and its length with additional bits. `None` if [`Self::long`] has to decide.
    #[inline(always)]
    fn short(&self, look: u64) -> Option<(u32, u32)> {
        let entry = u32::from(self.short[look as usize]);
        (entry > 0).then_some((entry >> 8, entry & 0xFF))
    }

    /// DECODE: the symbol that `held` begins with, and its length with additional bits, 31 at most. `None` if no code
    /// begins so.
    #[cold]
    #[inline(never)]
    fn long(&self, held: u64) -> Option<(u32, u32)> {
        let code = (held >> 48) as u32;
        let length = (1_u32..17).find(|length| code < self.end[*length as usize])?;
        let index = i32::try_from(code >> (16 - length)).ok()? + self.offset[length as usize];
        let symbol = u32::from(*self.symbols.get(usize::try_from(index).ok()?)?);
        Some((symbol, length + (self.additional_bits)(symbol)?))
    }
}

/// A symbol and its value: see the drawing above.
#[derive(Clone, Copy)]
struct Fused(u32);

impl Fused {
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

/// A table for DC differences (F.1.2.1).
pub(super) struct DcTable(Lookup);

impl DcTable {
    pub(super) fn new(spec: &TableSpec) -> Option<Self> {
        Some(Self(Lookup::new(spec, |size| (size <= 11).then_some(size))?))
    }

    /// Reads DIFF. Afterwards at most [`REACH`] of the held bits are consumed, or [`HELD`] are left.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut BitReader, window: &Window) -> Option<i32> {
        let decoded = self.0.next(bits, window)?;
        Some(decoded.extend(decoded.symbol))
    }
}

/// A table for the AC coefficients of a sequential scan (F.1.2.2).
pub(super) struct AcTable {
    lookup: Lookup,
    fused: Box<[Fused; 1 << LOOK]>,
    /// See the drawing above.
    skip: Box<[u16; 1 << SKIP_LOOK]>,
}

/// One coefficient in the upper field of a skip entry.
const ONE: u32 = 1 << 8;

/// All coefficients of a block in that field.
const BLOCK_END: u32 = 64 * ONE;

impl AcTable {
    pub(super) fn new(spec: &TableSpec) -> Option<Self> {
        let lookup = Lookup::new(spec, |symbol| Some(symbol & 15))?;
        let mut skip = Box::new([0; 1 << SKIP_LOOK]);
        for (look, entry) in (0_u32..).zip(skip.iter_mut()) {
            *entry = skip_entry(&lookup, look);
        }
        let fused =
            lookup.fused(|symbol| Some(if is_eob(symbol) { EOB_ADVANCE } else { coefficients_and_size(symbol).0 }));
        Some(Self { lookup, fused, skip })
    }

    /// Reads the AC coefficients of a block. Passes position in zig-zag order and value of the nonzero ones before
    /// `wanted` to `keep`, and skips the others without forming them. Positions from `wanted` on, up to 127, may be passed
    /// as well.
    #[inline(always)]
    pub(super) fn read(
        &self,
        mut bits: BitReader,
        window: &Window,
        wanted: u32,
        mut keep: impl FnMut(u32, i16),
    ) -> Option<BitReader> {
        // The bits that the DC difference left are enough for these.
        const LOOKS_LEFT: u32 = LOOKS - 1;

        if wanted == 1 {
            return self.skip_rest(bits, window, 1, LOOKS_LEFT);
        }
        let mut next = 1;
        let mut looks = (HELD - REACH) / LOOK;
        while next < wanted {
            for _ in 0..looks {
                let fused = self.fused[(bits.held >> (64 - LOOK)) as usize];
                let value = if fused.bits() > 0 {
                    bits.skip(fused.bits());
                    next += fused.coefficients();
                    if next >= EOB_ADVANCE {
                        return Some(bits);
                    }
                    fused.value()
                } else {
                    bits.refill(window);
                    let decoded = self.lookup.next(&mut bits, window)?;
                    if is_eob(decoded.symbol) {
                        return Some(bits);
                    }
                    bits.refill(window);
                    let (coefficients, size) = coefficients_and_size(decoded.symbol);
                    next += coefficients;
                    decoded.extend(size) as i16
                };
                keep(next - 1, value);
                if next >= wanted {
                    break;
                }
            }
            bits.refill(window);
            looks = HELD / LOOK;
        }
        if next < 64 { self.skip_rest(bits, window, next, LOOKS) } else { (next == 64).then_some(bits) }
    }

    /// Skips the rest of a block from the coefficient `next` on, which is not behind the last. The held bits are enough
    /// for the first `looks` look-ups.
    #[inline(always)]
    fn skip_rest(&self, mut bits: BitReader, window: &Window, next: u32, mut looks: u32) -> Option<BitReader> {
        let mut skipped = next * ONE;
        loop {
            let mut is_stuck = false;
            for _ in 0..looks {
                // One sum counts coefficients and bits, and the shift uses the lowest bits of the entry only.
                let entry = u32::from(self.skip[(bits.held >> (64 - SKIP_LOOK)) as usize]);
                let after = skipped + entry;
                if after < BLOCK_END {
                    (bits.held, skipped) = (bits.held.wrapping_shl(entry), after);
                    continue;
                }
                if after / ONE == 64 || (EOB_ADVANCE..EOB_ADVANCE + 64).contains(&(after / ONE)) {
                    bits.held = bits.held.wrapping_shl(entry);
                    bits.count -= after % ONE;
                    return Some(bits);
                }
                // The entry goes beyond the block, or not even one symbol is in it. Its bits are not consumed.
                is_stuck = true;
                break;
            }
            bits.count -= skipped % ONE;
            skipped -= skipped % ONE;
            if is_stuck {
                let decoded = self.lookup.next(&mut bits, window)?;
                if is_eob(decoded.symbol) {
                    return Some(bits);
                }
                skipped += coefficients_and_size(decoded.symbol).0 * ONE;
                if skipped >= BLOCK_END {
                    return (skipped == BLOCK_END).then_some(bits);
                }
            }
            bits.refill(window);
            looks = LOOKS;
        }
    }
}

/// A symbol of an AC scan of a progressive image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgressiveSymbol {
    /// This many coefficients: zeros and, last, one with this value, which is 0 for ZRL.
    Run(u32, i32),
    /// EOBn: an end-of-band run of this many blocks, the present one included (G.1.2.2).
    EndOfBands(u32),
}

/// A table for the AC coefficients of a progressive scan.
pub(super) struct ProgressiveAcTable {
    lookup: Lookup,
    fused: Box<[Fused; 1 << LOOK]>,
}

impl ProgressiveAcTable {
    pub(super) fn new(spec: &TableSpec) -> Option<Self> {
        let additional_bits = |symbol| Some(if is_eob(symbol) { symbol >> 4 } else { symbol & 15 });
        let lookup = Lookup::new(spec, additional_bits)?;
        let fused = lookup.fused(|symbol| (!is_eob(symbol)).then_some(coefficients_and_size(symbol).0));
        Some(Self { lookup, fused })
    }

    /// Reads the next symbol. Afterwards at most [`REACH`] of the held bits are consumed, or [`HELD`] are left.
    #[inline(always)]
    pub(super) fn next(&self, bits: &mut BitReader, window: &Window) -> Option<ProgressiveSymbol> {
        let fused = self.fused[(bits.held >> (64 - LOOK)) as usize];
        if fused.bits() > 0 {
            bits.skip(fused.bits());
            return Some(ProgressiveSymbol::Run(fused.coefficients(), fused.value().into()));
        }
        let decoded = self.lookup.next(bits, window)?;
        let (coefficients, size) = coefficients_and_size(decoded.symbol);
        if is_eob(decoded.symbol) {
            let size = coefficients - 1;
            return Some(ProgressiveSymbol::EndOfBands((1 << size) + decoded.receive(size)));
        }
        Some(ProgressiveSymbol::Run(coefficients, decoded.extend(size)))
    }
}

/// RRRR + 1, the coefficients that a symbol stands for, and SSSS, the size of its value. ZRL stands for 16 zeros.
#[inline(always)]
fn coefficients_and_size(symbol: u32) -> (u32, u32) {
    ((symbol >> 4) + 1, symbol & 15)
}

/// Whether a symbol is EOB, or EOBn in a progressive scan. ZRL, 0xF0, is not.
#[inline(always)]
fn is_eob(symbol: u32) -> bool {
    symbol & 15 == 0 && symbol < 0xF0
}

/// The skip entry of these bits.
fn skip_entry(lookup: &Lookup, look: u32) -> u16 {
    let (mut bits, mut advance) = (0, 0);
    let packed = |bits: u32, advance: u32| (advance * ONE + bits) as u16;
    while bits < SKIP_LOOK {
        // The bits that are left, aligned for a look-up of one symbol.
        let left = ((look << bits) & ((1 << SKIP_LOOK) - 1)) >> (SKIP_LOOK - LOOK);
        let Some((symbol, length)) = lookup.short(left.into()) else { break };
        let (coefficients, size) = coefficients_and_size(symbol);
        let is_eob = is_eob(symbol);
        let is_in_look = bits + length - size <= SKIP_LOOK && bits + length <= REACH;
        if !is_in_look || !is_eob && advance + coefficients > 63 {
            break;
        }
        bits += length;
        if is_eob {
            return packed(bits, advance + EOB_ADVANCE);
        }
        advance += coefficients;
    }
    // An entry without bits must not pass for progress.
    if bits == 0 { packed(0, EOB_ADVANCE + 64) } else { packed(bits, advance) }
}

#[cfg(test)]
mod tests {
    //! The tables beside a reference that follows the flow charts of T.81 bit by bit.

    use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};

    use super::*;
    use crate::decode::bit_reader::EntropyCoded;

    /// NEXTBIT, DECODE, RECEIVE and EXTEND as in F.2.2.
    struct Reference<'a> {
        bytes: &'a [u8],
        position: usize,
    }

    impl Reference<'_> {
        fn next_bit(&mut self) -> u32 {
            let byte = self.bytes.get(self.position / 8).copied().unwrap_or_default();
            let bit = byte >> (7 - self.position % 8) & 1;
            self.position += 1;
            bit.into()
        }

        /// Figure F.16, over the codes that figures C.1 and C.2 generate.
        fn decode(&mut self, spec: &TableSpec) -> Option<u32> {
            let (mut code, mut first, mut index) = (0, 0, 0);
            for count in spec.counts {
                code = code << 1 | self.next_bit();
                first <<= 1;
                if code < first + u32::from(count) {
                    return Some(spec.symbols[index + (code - first) as usize].into());
                }
                first += u32::from(count);
                index += usize::from(count);
            }
            None
        }

        /// Figure F.17.
        fn receive(&mut self, size: u32) -> i32 {
            (0..size).fold(0, |value, _| value << 1 | self.next_bit().cast_signed())
        }

        /// Figure F.12.
        fn extend(&mut self, size: u32) -> i32 {
            let value = self.receive(size);
            if size > 0 && value < 1 << (size - 1) { value + (-1 << size) + 1 } else { value }
        }

        /// F.2.2.1.
        fn difference(&mut self, spec: &TableSpec) -> Option<i32> {
            let size = self.decode(spec).filter(|size| *size <= 11)?;
            Some(self.extend(size))
        }

        /// Figure F.13: the nonzero coefficients of a block, by position in zig-zag order.
        fn ac(&mut self, spec: &TableSpec) -> Option<Vec<(u32, i16)>> {
            let (mut coefficients, mut k) = (Vec::new(), 1);
            while k < 64 {
                let symbol = self.decode(spec)?;
                let (run, size) = (symbol >> 4, symbol & 15);
                if size == 0 && run < 15 {
                    break;
                }
                let value = self.extend(size);
                if k + run > 63 {
                    return None;
                }
                if value != 0 {
                    coefficients.push((k + run, value as i16));
                }
                k += run + 1;
            }
            Some(coefficients)
        }

        /// G.1.2.2.
        fn progressive(&mut self, spec: &TableSpec) -> Option<ProgressiveSymbol> {
            let symbol = self.decode(spec)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            Some(match size {
                0 if run < 15 => ProgressiveSymbol::EndOfBands((1 << run) + self.receive(run).cast_unsigned()),
                _ => ProgressiveSymbol::Run(run + 1, self.extend(size)),
            })
        }
    }

    /// A table of any shape: complete or not, with short and long codes.
    fn specs(symbols: impl Strategy<Value = u8>) -> impl Strategy<Value = TableSpec> {
        let counts = prop::collection::vec(any::<u8>(), 16);
        (counts, prop::collection::vec(symbols, 256)).prop_map(|(wanted, symbols)| {
            let (mut counts, mut free, mut total) = ([0; 16], 1_usize, 0);
            for (length, (count, wanted)) in counts.iter_mut().zip(&wanted).enumerate() {
                free *= 2;
                // Not all codes of a length, so that longer ones are left.
                let most = if length < 15 { free - 1 } else { free };
                *count = (usize::from(*wanted) % (length + 3)).min(most).min(256 - total) as u8;
                free -= usize::from(*count);
                total += usize::from(*count);
            }
            TableSpec::new(counts, &symbols[..total])
        })
    }

    /// Bytes as a file has them: with byte stuffing.
    fn stuffed(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| if *byte == 0xFF { vec![0xFF, 0] } else { vec![*byte] }).collect()
    }

    /// Reads with both until the data are used up or one fails, which both must do at the same place.
    fn compare<T: PartialEq + std::fmt::Debug>(
        bytes: &[u8],
        mut fast: impl FnMut(&mut BitReader, &Window) -> Option<T>,
        mut slow: impl FnMut(&mut Reference<'_>) -> Option<T>,
    ) {
        let file = stuffed(bytes);
        let mut input = &file[..];
        let mut data = EntropyCoded::new(&mut input, 0);
        let mut reference = Reference { bytes, position: 0 };
        while !data.is_overdrawn() {
            let (mut bits, window) = data.start_mcu();
            bits.refill(window);
            let found = fast(&mut bits, window);
            assert_eq!(found, slow(&mut reference), "before bit {}", reference.position);
            if found.is_none() {
                return;
            }
            data.end_mcu(bits);
            let next_bit = bits.held >> 63;
            let byte = bytes.get(reference.position / 8).copied().unwrap_or_default();
            assert_eq!(next_bit, u64::from(byte >> (7 - reference.position % 8) & 1));
        }
    }

    fn data() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..600)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn dc_differences_are_those_of_the_reference(spec in specs(0..14_u8), bytes in data()) {
            let table = DcTable::new(&spec).unwrap();
            compare(&bytes, |bits, window| table.difference(bits, window), |reference| reference.difference(&spec));
        }

        #[test]
        fn ac_coefficients_are_those_of_the_reference(
            spec in specs(any::<u8>()),
            bytes in data(),
            wanted in prop::sample::select(&[1, 5, 13, 25, 64][..]),
        ) {
            let table = AcTable::new(&spec).unwrap();
            let fast = |bits: &mut BitReader, window: &Window| {
                let mut coefficients = Vec::new();
                *bits = table.read(*bits, window, wanted, |position, value| {
                    if position < wanted && value != 0 {
                        coefficients.push((position, value));
                    }
                })?;
                Some(coefficients)
            };
            compare(&bytes, fast, |reference| {
                let mut coefficients = reference.ac(&spec)?;
                coefficients.retain(|(position, _)| *position < wanted);
                Some(coefficients)
            });
        }

        #[test]
        fn progressive_symbols_are_those_of_the_reference(spec in specs(any::<u8>()), bytes in data()) {
            let table = ProgressiveAcTable::new(&spec).unwrap();
            compare(&bytes, |bits, window| table.next(bits, window), |reference| reference.progressive(&spec));
        }
    }
}
