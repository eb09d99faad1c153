//! The bits of an entropy-coded segment, and the Huffman tables that read them.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are cut out of words")]

/// Reads bits from the most significant on, undoes the stuffing, and stops at the first marker: from there on it yields
/// zeros.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the top; below them nothing is set.
    held: u64,
    count: u32,
    /// How many of the held bits are zeros that the file does not have.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, held: 0, count: 0, invented: 0 }
    }

    /// Whether bits were taken that the file does not have.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.count < self.invented
    }

    /// How far the file was read: never past a marker.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Drops what is left before the next marker and, if that is a restart marker, goes on behind it.
    pub(super) fn restart(&mut self) -> bool {
        (self.held, self.count, self.invented) = (0, 0, 0);
        let at = next_marker(self.data, self.at);
        let is_restart = self.data.get(at + 1).is_some_and(|code| (0xD0..=0xD7).contains(code));
        self.at = if is_restart { at + 2 } else { at };
        is_restart
    }

    /// Makes sure that there are 32 bits: enough for a code and its magnitude.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count < 32 {
            self.refill_from_file();
        }
    }

    #[inline]
    fn refill_from_file(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;

        if let Some(&bytes) = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(bytes);
            // The test for a zero byte, of the complement.
            if (!word).wrapping_sub(ONES) & word & (ONES << 7) == 0 {
                let taken = (63 - self.count) / 8;
                self.held |= (word & !(u64::MAX >> (taken * 8))) >> self.count;
                self.at += taken as usize;
                self.count += taken * 8;
                return;
            }
        }
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.invented += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn peek(&self, bits: u32) -> usize {
        (self.held >> (64 - bits)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// A single bit.
    pub(super) fn bit(&mut self) -> i32 {
        self.refill();
        let bit = i32::from(self.held >> 63 == 1);
        self.skip(1);
        bit
    }

    /// The magnitude that follows a code: `size` bits, of which the first is the inverted sign.
    #[inline(always)]
    fn magnitude(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = (self.held >> (64 - size)) as i32;
        self.skip(size);
        if value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value }
    }
}

/// Where the next marker begins that is not an escaped byte, or the end.
pub(super) fn next_marker(data: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = data.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) {
        at += found;
        match data.get(at + 1) {
            Some(0) => at += 2,
            Some(0xFF) => at += 1,
            Some(_) => return at,
            None => break,
        }
    }
    data.len()
}

/// How many bits one look at a table of symbols takes in.
const LOOK: u32 = 12;

/// How many bits one look takes in to pass over symbols.
const LEAP: u32 = 13;

/// The code of one table, in three forms of look-up.
pub(super) struct Huffman {
    /// For each beginning: the symbol, and above it the length of its code; 0 if the code is longer.
    short: Vec<u16>,
    /// For each length the first code that is beyond it, left-aligned in 16 bits, and the place of its symbols.
    beyond: [u32; 17],
    offset: [i32; 17],
    symbols: Vec<u8>,
    /// For each beginning, how many bits and coefficients its whole symbols take, and whether they end the block.
    leaps: Vec<Leap>,
}

#[derive(Clone, Copy, Default)]
struct Leap {
    /// 0 if not even one symbol is whole.
    bits: u8,
    advance: u8,
    ends: bool,
}

impl Huffman {
    /// `None` if there are more codes than fit.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8], is_ac: bool) -> Option<Self> {
        let mut short = vec![0_u16; 1 << LOOK];
        let (mut beyond, mut offset) = ([0_u32; 17], [0_i32; 17]);
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            let place = length as usize;
            offset[place] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for _ in 0..*count {
                let symbol = *symbols.get(index)?;
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
        let mut table = Self { short, beyond, offset, symbols: symbols.to_vec(), leaps: Vec::new() };
        if is_ac {
            table.leaps = (0..1 << LEAP).map(|beginning| table.leap(beginning)).collect();
        }
        Some(table)
    }

    fn leap(&self, beginning: u32) -> Leap {
        let mut leap = Leap::default();
        loop {
            // What is left of the beginning, at the top of 16 bits.
            let left = (beginning << (16 - LEAP + u32::from(leap.bits))) & 0xFFFF;
            let (symbol, length) = match self.short[(left >> (16 - LOOK)) as usize] {
                0 => return leap,
                entry => (entry & 0xFF, u32::from(entry >> 8)),
            };
            let (run, size) = (symbol >> 4, symbol & 15);
            let bits = u32::from(leap.bits) + length + u32::from(size);
            let advance = u16::from(leap.advance) + run + 1;
            let ends = size == 0 && run < 15;
            if bits > LEAP || !ends && advance > 63 {
                return leap;
            }
            leap.bits = bits as u8;
            if ends {
                leap.ends = true;
                return leap;
            }
            leap.advance = advance as u8;
        }
    }

    /// The next symbol. `None` if no code begins so.
    #[inline(always)]
    fn symbol(&self, bits: &mut Bits<'_>) -> Option<u32> {
        let entry = self.short[bits.peek(LOOK)];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Some(u32::from(entry & 0xFF));
        }
        let code = bits.peek(16) as u32;
        let length = (LOOK as usize + 1..17).find(|length| code < self.beyond[*length])?;
        let index = i32::try_from(code >> (16 - length)).ok()? + self.offset[length];
        let symbol = *self.symbols.get(usize::try_from(index).ok()?)?;
        bits.skip(length as u32);
        Some(u32::from(symbol))
    }

    /// The difference that begins a block.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> Option<i32> {
        bits.refill();
        let size = self.symbol(bits)?;
        (size <= 11).then(|| bits.magnitude(size))
    }

    /// Reads the rest of a block: hands the place and value of the coefficients before `wanted`, in zig-zag order, to
    /// `keep`, and passes over the others without forming them.
    #[inline(always)]
    pub(super) fn coefficients(&self, bits: &mut Bits<'_>, wanted: u32, mut keep: impl FnMut(u32, i32)) -> Option<()> {
        let mut next = 1;
        while next < wanted {
            bits.refill();
            let symbol = self.symbol(bits)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                return Some(());
            }
            next += run;
            let value = bits.magnitude(size);
            if next < wanted {
                keep(next, value);
            }
            next += 1;
        }
        while next < 64 {
            bits.refill();
            let leap = self.leaps[bits.peek(LEAP)];
            let after = next + u32::from(leap.advance);
            if leap.bits != 0 && after + u32::from(leap.ends) <= 64 {
                bits.skip(u32::from(leap.bits));
                if leap.ends {
                    return Some(());
                }
                next = after;
                continue;
            }
            let symbol = self.symbol(bits)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                return Some(());
            }
            bits.skip(size);
            next += run + 1;
        }
        (next == 64).then_some(())
    }
}
