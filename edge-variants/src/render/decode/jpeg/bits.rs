//! The bits of an entropy-coded segment.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are cut out of words")]

use crate::render::original::Original;

/// No unit of blocks takes more: ten blocks of 64 coefficients, each with a code of 16 bits and a magnitude of 15.
const UNIT: usize = 10 * 64 * 31 / 8 + 1;

/// What is unstuffed at once. It stays in the nearest cache.
const WINDOW: usize = 12 << 10;

/// What one refill looks at.
const WORD: usize = 8;

/// So many bits are there after a refill.
pub(super) const HELD: u32 = 56;

const ONES: u64 = 0x0101_0101_0101_0101;

/// Bytes without stuffing: what comes from the file, and behind it zeros, enough for a unit.
pub(super) type Window = [u8; WINDOW + UNIT + 2 * WORD];

/// What is looked at to fill a window: each of its bytes may be stuffed, and the last word overshoots it.
const LOOK_AHEAD: usize = 2 * (WINDOW + WORD);

/// The bits up to the first marker, from the most significant on: from there on there are zeros.
///
/// The stuffing is undone ahead of the reading, a window at a time, so that a refill is a load and a shift.
pub(super) struct Bits<'a, 'o> {
    original: &'a mut Original<'o>,
    /// The next byte of the file to go into the window. Never past a marker.
    at: usize,
    window: Box<Window>,
    /// How much of the window comes from the file.
    filled: usize,
    /// Whether the file has no more before the next marker.
    is_drained: bool,
    reader: Reader,
}

impl<'a, 'o> Bits<'a, 'o> {
    pub(super) fn new(original: &'a mut Original<'o>, at: usize) -> Self {
        let window = Box::new([0; _]);
        let mut bits = Self { original, at, window, filled: 0, is_drained: false, reader: Reader::default() };
        bits.fill();
        bits
    }

    /// Whether bits were taken that the file does not have.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.reader.position() > self.filled * 8
    }

    /// Where the file is still to be read: never past a marker.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Drops what is left before the next marker and, if that is a restart marker, goes on behind it and tells its number,
    /// which goes from 0 to 7.
    pub(super) fn restart(&mut self) -> Option<u8> {
        let mut at = next_marker(self.original, self.at);
        // What no marker has as its code is damage.
        while self.original.byte(at + 1).is_some_and(|code| code < 0xC0) {
            at = next_marker(self.original, at + 2);
        }
        let number = self.original.byte(at + 1).filter(|code| (0xD0..=0xD7).contains(code)).map(|code| code & 7);
        self.at = if number.is_some() { at + 2 } else { at };
        self.reader = Reader { next: self.filled, ..Reader::default() };
        self.fill();
        number
    }

    /// The window, with a unit in it or all that is left, and the place to read from. How far that went is to be told to
    /// [`Bits::read`].
    #[inline(always)]
    pub(super) fn unit(&mut self) -> (Reader, &Window) {
        if self.reader.next + UNIT + WORD > self.filled && !self.is_drained {
            self.fill();
        }
        (self.reader, &self.window)
    }

    #[inline(always)]
    pub(super) fn read(&mut self, reader: Reader) {
        self.reader = reader;
    }

    /// Moves what is left to the front of the window and unstuffs more behind it.
    #[cold]
    fn fill(&mut self) {
        let position = self.reader.position();
        let (dirty, mut to) = (self.filled, self.filled.saturating_sub(position / 8));
        self.window.copy_within(dirty - to..dirty, 0);
        self.is_drained = false;
        let data = self.original.up_to(self.at + LOOK_AHEAD);
        while to < WINDOW {
            if let Some(word) = data.get(self.at..).and_then(<[u8]>::first_chunk::<WORD>) {
                self.window[to..to + WORD].copy_from_slice(word);
                // The test for a zero byte, of the complement. What it says of the first is right.
                let bits = u64::from_le_bytes(*word);
                let found = (!bits).wrapping_sub(ONES) & bits & (ONES << 7);
                if found == 0 {
                    (to, self.at) = (to + WORD, self.at + WORD);
                    continue;
                }
                let clean = found.trailing_zeros() as usize / 8;
                (to, self.at) = (to + clean, self.at + clean);
            }
            match (data.get(self.at), data.get(self.at + 1)) {
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
        self.window[to..dirty.max(to + WORD)].fill(0);
        self.filled = to;
        self.reader = Reader::default();
        self.reader.refill(&self.window);
        self.reader.skip(position as u32 % 8);
    }
}

/// A place in a window, with the bits that come next. It is handed on by value, so that it stays in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader {
    /// The next bits, from the top; below them are perhaps those that come after.
    pub held: u64,
    /// How many of them count.
    pub count: u32,
    /// The byte behind them.
    next: usize,
}

impl Reader {
    /// In bits.
    fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }

    /// Makes sure that [`HELD`] bits are held. The word is loaded from where the last refill left off, and so without
    /// waiting for what was read since.
    #[inline(always)]
    pub(super) fn refill(&mut self, window: &Window) {
        let at = self.next.min(window.len() - WORD);
        let word = window[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
        self.held |= word >> self.count;
        self.next += ((63 - self.count) / 8) as usize;
        self.count |= HELD;
    }

    /// So many bits less, of those held.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count -= bits;
    }
}

/// Where the next marker begins that is not an escaped byte, or the end.
pub(super) fn next_marker(original: &mut Original<'_>, from: usize) -> usize {
    let mut at = from;
    loop {
        let data = original.up_to(at + 2);
        if data.len() < at + 2 {
            return data.len();
        }
        match data[at..].iter().position(|byte| *byte == 0xFF) {
            Some(found) => at += found,
            None => {
                at = data.len();
                continue;
            }
        }
        match data.get(at + 1) {
            Some(0) => at += 2,
            Some(0xFF) => at += 1,
            Some(_) => return at,
            None => {}
        }
    }
}
