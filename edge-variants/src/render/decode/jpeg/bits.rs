//! The bits of an entropy-coded segment.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are cut out of words")]

/// No unit of blocks takes more: ten blocks of 64 coefficients, each with a code of 16 bits and a magnitude of 15.
const UNIT: usize = 10 * 64 * 31 / 8 + 1;

/// What is unstuffed at once. It stays in the nearest cache.
const WINDOW: usize = 12 << 10;

/// What one refill looks at.
const WORD: usize = 8;

const ONES: u64 = 0x0101_0101_0101_0101;

/// Reads bits from the most significant on and stops at the first marker: from there on it yields zeros.
///
/// The stuffing is undone ahead of the reading, a window at a time, so that a refill is a load and a shift.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte of the file to go into the window. Never past a marker.
    at: usize,
    window: Box<[u8]>,
    /// How much of the window comes from the file. Behind it are zeros, enough for a unit.
    filled: usize,
    /// Whether the file has no more before the next marker.
    is_drained: bool,
    /// The next byte of the window.
    next: usize,
    /// The next bits, from the top; below them are perhaps those that come after.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        let window = vec![0; WINDOW + UNIT + 2 * WORD].into_boxed_slice();
        let mut bits = Self { data, at, window, filled: 0, is_drained: false, next: 0, held: 0, count: 0 };
        bits.fill();
        bits
    }

    /// Whether bits were taken that the file does not have.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.next * 8 > self.filled * 8 + self.count as usize
    }

    /// Where the file is still to be read: never past a marker.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Drops what is left before the next marker and, if that is a restart marker, goes on behind it.
    pub(super) fn restart(&mut self) -> bool {
        let at = next_marker(self.data, self.at);
        let is_restart = self.data.get(at + 1).is_some_and(|code| (0xD0..=0xD7).contains(code));
        self.at = if is_restart { at + 2 } else { at };
        (self.held, self.count, self.next) = (0, 0, self.filled);
        self.fill();
        is_restart
    }

    /// Makes sure that the window holds a unit, or all that is left.
    #[inline(always)]
    pub(super) fn ready(&mut self) {
        if self.next + UNIT + WORD > self.filled && !self.is_drained {
            self.fill();
        }
    }

    /// Moves what is left to the front of the window and unstuffs more behind it.
    #[cold]
    fn fill(&mut self) {
        let (dirty, mut to) = (self.filled, self.filled.saturating_sub(self.next));
        self.window.copy_within(dirty - to..dirty, 0);
        self.is_drained = false;
        while to < WINDOW {
            if let Some(word) = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<WORD>) {
                let bits = u64::from_be_bytes(*word);
                // The test for a zero byte, of the complement.
                if (!bits).wrapping_sub(ONES) & bits & (ONES << 7) == 0 {
                    self.window[to..to + WORD].copy_from_slice(word);
                    (to, self.at) = (to + WORD, self.at + WORD);
                    continue;
                }
            }
            match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.window[to] = 0xFF;
                    self.at += 2;
                }
                (Some(0xFF) | None, _) => {
                    self.is_drained = true;
                    break;
                }
                (Some(&byte), _) => {
                    self.window[to] = byte;
                    self.at += 1;
                }
            }
            to += 1;
        }
        if to < dirty {
            self.window[to..dirty].fill(0);
        }
        (self.filled, self.next) = (to, 0);
    }

    /// Makes sure that there are 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word =
            self.window.get(self.next..).and_then(<[u8]>::first_chunk::<WORD>).map_or(0, |it| u64::from_be_bytes(*it));
        self.held |= word >> self.count;
        self.next += ((63 - self.count) / 8) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    pub(super) fn peek(&self, bits: u32) -> usize {
        (self.held >> (64 - bits)) as usize
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// So many bits, 16 at most, as a number.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = (self.held >> 1 >> (63 - bits)) as u32;
        self.skip(bits);
        value
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
