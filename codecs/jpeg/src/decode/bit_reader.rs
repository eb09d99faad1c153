//! Reads the bits of an entropy-coded segment (F.2.2.5).
//!
//! Byte stuffing is removed ahead of reading, a window at a time, so that a refill is one load and one shift.
#![expect(clippy::cast_possible_truncation, reason = "fields of a few bits are cut out of words")]

use crate::{Input, Marker, marker::PREFIX};

/// No MCU takes more bytes: ten blocks (B.2.3) of 64 coefficients, each with a code of 16 bits and 15 additional bits.
const MAX_MCU: usize = 10 * 64 * 31 / 8 + 1;

/// How many bytes are unstuffed at once. A window stays in the L1 cache.
const WINDOW: usize = 12 << 10;

/// How many bytes a refill loads.
const WORD: usize = 8;

/// At least this many bits are held after a refill.
pub(super) const HELD: u32 = 56;

const ONES: u64 = 0x0101_0101_0101_0101;

/// Bytes without stuffing: those of the file and, behind its end or a marker, zeros for one MCU.
pub(super) type Window = [u8; WINDOW + MAX_MCU + 2 * WORD];

/// How many bytes of the file fill a window: each may be stuffed, and the last word overshoots.
const LOOK_AHEAD: usize = 2 * (WINDOW + WORD);

/// The entropy-coded data up to the next marker, most significant bit first. Behind their end it yields zeros.
pub(super) struct EntropyCoded<'a> {
    input: &'a mut dyn Input,
    /// The next byte of the file to be unstuffed. Never past a marker.
    position: usize,
    window: Box<Window>,
    /// How many bytes of the window come from the file.
    filled: usize,
    /// Whether the file has no more data before the next marker.
    is_drained: bool,
    bits: BitReader,
}

impl<'a> EntropyCoded<'a> {
    pub(super) fn new(input: &'a mut dyn Input, position: usize) -> Self {
        let window = Box::new([0; _]);
        let mut data = Self { input, position, window, filled: 0, is_drained: false, bits: BitReader::default() };
        data.fill();
        data
    }

    /// Whether more bits were taken than the file has.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.bits.position() > self.filled * 8
    }

    /// Where to continue in the file. Never past a marker.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Discards the rest before the next marker. If that is RSTm, continues behind it and returns m.
    pub(super) fn restart(&mut self) -> Option<u8> {
        let mut at = next_marker(self.input, self.position);
        // No marker has a code below 0xC0 within a scan: such bytes are damage.
        while self.input.byte(at + 1).is_some_and(|code| code < 0xC0) {
            at = next_marker(self.input, at + 2);
        }
        let number = match self.input.byte(at + 1).map(Marker::from_code) {
            Some(Marker::Restart(number)) => Some(number),
            _ => None,
        };
        self.position = if number.is_some() { at + 2 } else { at };
        self.bits = BitReader { next: self.filled, ..BitReader::default() };
        self.fill();
        number
    }

    /// Starts an MCU: returns the window, which holds a whole MCU or all that is left, and the reader at its first bit.
    /// The reader behind the MCU has to be passed to [`EntropyCoded::end_mcu`].
    #[inline(always)]
    pub(super) fn start_mcu(&mut self) -> (BitReader, &Window) {
        if self.bits.next + MAX_MCU + WORD > self.filled && !self.is_drained {
            self.fill();
        }
        (self.bits, &self.window)
    }

    #[inline(always)]
    pub(super) fn end_mcu(&mut self, bits: BitReader) {
        self.bits = bits;
    }

    /// Moves the unread bytes to the front of the window and unstuffs more behind them.
    #[cold]
    fn fill(&mut self) {
        let position = self.bits.position();
        let (dirty, mut to) = (self.filled, self.filled.saturating_sub(position / 8));
        self.window.copy_within(dirty - to..dirty, 0);
        self.is_drained = false;
        let data = self.input.up_to(self.position + LOOK_AHEAD);
        while to < WINDOW {
            if let Some(word) = data.get(self.position..).and_then(<[u8]>::first_chunk::<WORD>) {
                self.window[to..to + WORD].copy_from_slice(word);
                // The usual test for a zero byte, applied to the complement. The lowest byte that it flags is exact.
                let bits = u64::from_le_bytes(*word);
                let found = (!bits).wrapping_sub(ONES) & bits & (ONES << 7);
                if found == 0 {
                    (to, self.position) = (to + WORD, self.position + WORD);
                    continue;
                }
                let clean = found.trailing_zeros() as usize / 8;
                (to, self.position) = (to + clean, self.position + clean);
            }
            match (data.get(self.position), data.get(self.position + 1)) {
                (Some(&PREFIX), Some(0)) => {
                    self.window[to] = PREFIX;
                    self.position += 2;
                }
                (Some(&PREFIX) | None, _) => {
                    self.is_drained = true;
                    break;
                }
                (Some(&byte), _) => {
                    self.window[to] = byte;
                    self.position += 1;
                }
            }
            to += 1;
        }
        self.window[to..dirty.max(to + WORD)].fill(0);
        self.filled = to;
        self.bits = BitReader::default();
        self.bits.refill(&self.window);
        self.bits.skip(position as u32 % 8);
    }
}

/// A position in a window and the bits from there on. It is passed by value so that it stays in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct BitReader {
    /// The next bits, from the top. Below the first `count` bits there may be further valid ones.
    pub held: u64,
    /// How many bits are valid.
    pub count: u32,
    /// The byte behind them.
    next: usize,
}

impl BitReader {
    /// The position in bits.
    fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }

    /// Tops up to at least [`HELD`] bits. The address of the load depends on the last refill only, not on what was read
    /// since, so the load does not wait for decoding.
    #[inline(always)]
    pub(super) fn refill(&mut self, window: &Window) {
        let at = self.next.min(window.len() - WORD);
        let word = window[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
        self.held |= word >> self.count;
        self.next += ((63 - self.count) / 8) as usize;
        self.count |= HELD;
    }

    /// Drops bits that are held.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count -= bits;
    }
}

/// The position of the next marker from `from` on, or the length of the file. Stuffed bytes and fill bytes (B.1.1.2) are
/// skipped.
pub(super) fn next_marker(input: &mut dyn Input, from: usize) -> usize {
    let mut at = from;
    loop {
        let data = input.up_to(at + 2);
        if data.len() < at + 2 {
            return data.len();
        }
        match data[at..].iter().position(|byte| *byte == PREFIX) {
            Some(found) => at += found,
            None => {
                at = data.len();
                continue;
            }
        }
        match data.get(at + 1) {
            Some(0) => at += 2,
            Some(&PREFIX) => at += 1,
            Some(_) => return at,
            None => {}
        }
    }
}
