//! Fax compression, ITU-T T.4 and T.6: rows one-dimensional, as runs of white and black, or two-dimensional, relative
//! to the previous row.

use std::convert::Infallible;

use fax::{
    BitReader,
    maps::{Mode, black, mode, white},
};

/// The coding of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// One-dimensional, and each row begins at a byte boundary.
    Rle,
    /// T.4: one-dimensional with EOL codes, which may announce that the next row is two-dimensional.
    Group3 { is_two_dimensional: bool },
    /// T.6: two-dimensional.
    Group4,
}

/// The rows of an image, one bit for each pixel, highest first, 1 for black. Where codes end or are invalid, the rest
/// is white.
pub(super) fn decode(data: &[u8], width: usize, height: usize, coding: Coding) -> Vec<u8> {
    let stride = width.div_ceil(8);
    let mut rows = vec![0; stride * height];
    let mut bits = Bits { data, at: 0 };
    let mut before: Vec<usize> = Vec::new();
    for row in rows.chunks_exact_mut(stride.max(1)) {
        let is_against_row = match coding {
            Coding::Rle => {
                bits.at = bits.at.next_multiple_of(8);
                false
            }
            Coding::Group3 { is_two_dimensional } => {
                bits.skip_end_of_row();
                is_two_dimensional && !bits.next_bit()
            }
            Coding::Group4 => true,
        };
        if bits.at >= data.len() * 8 {
            break;
        }
        let (changes, is_whole) = if is_against_row { bits.against(&before, width) } else { bits.runs(width) };
        paint(row, &changes, width);
        let goes_on = is_whole || matches!(coding, Coding::Group3 { .. }) && bits.seek_end_of_row();
        if !goes_on {
            break;
        }
        before = changes;
    }
    rows
}

/// Fills with black between pairs of changing elements, from the first on.
fn paint(row: &mut [u8], changes: &[usize], width: usize) {
    for black in changes.chunks(2) {
        let end = black.get(1).copied().unwrap_or(width);
        for x in black[0]..end.min(width) {
            row[x / 8] |= 0x80 >> (x % 8);
        }
    }
}

struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
}

impl BitReader for Bits<'_> {
    type Error = Infallible;

    /// Behind the end, it reads zeros.
    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |at: usize| u32::from(self.data.get(at).copied().unwrap_or_default());
        let first = self.at / 8;
        let word = byte(first) << 16 | byte(first + 1) << 8 | byte(first + 2);
        let left = word << (8 + self.at % 8);
        u16::try_from(u64::from(left) >> (32 - u32::from(bits.min(16)))).ok()
    }

    fn consume(&mut self, bits: u8) -> Result<(), Infallible> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        u8::try_from(self.at.next_multiple_of(8) - self.at).unwrap_or_default()
    }
}

impl Bits<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.data.len() * 8
    }

    fn next_bit(&mut self) -> bool {
        let bit = self.peek(1) == Some(1);
        self.at += 1;
        bit
    }

    /// Skips fill bits and EOL, if they come next: eleven zeros or more, and a one.
    fn skip_end_of_row(&mut self) {
        if self.peek(11) == Some(0) {
            while !self.is_at_end() && !self.next_bit() {}
        }
    }

    /// Moves to the next EOL. Returns whether there is one.
    fn seek_end_of_row(&mut self) -> bool {
        while !self.is_at_end() {
            if self.peek(12) == Some(1) {
                return true;
            }
            self.at += 1;
        }
        false
    }

    /// The length of a run: make-up codes and a terminating code.
    fn run(&mut self, is_black: bool) -> Option<usize> {
        let mut length = 0;
        loop {
            if self.is_at_end() {
                return None;
            }
            let part = usize::from(if is_black { black::decode(self) } else { white::decode(self) }?);
            length += part;
            if part < 64 {
                return Some(length);
            }
        }
    }

    /// Decodes a one-dimensional row: its changing elements, and whether the row is complete.
    fn runs(&mut self, width: usize) -> (Vec<usize>, bool) {
        let (mut changes, mut at, mut is_black) = (Vec::new(), 0, false);
        while at < width {
            let Some(run) = self.run(is_black) else { return (changes, false) };
            at = (at + run).min(width);
            changes.push(at);
            is_black = !is_black;
        }
        (changes, true)
    }

    /// Decodes a two-dimensional row, relative to the changing elements of the previous one.
    fn against(&mut self, before: &[usize], width: usize) -> (Vec<usize>, bool) {
        let (mut changes, mut at, mut is_black) = (Vec::new(), 0, false);
        let (mut is_start, mut next) = (true, 0);
        while at < width {
            if self.is_at_end() {
                return (changes, false);
            }
            // b1 and b2: the next changing elements of the previous row, of the other colour.
            while before.get(next).is_some_and(|change| *change <= at && !(is_start && *change == 0)) {
                next += 1;
            }
            let first = if next.is_multiple_of(2) == is_black { next + 1 } else { next };
            let change = |index: usize| before.get(index).copied().unwrap_or(width);
            let (b1, b2) = (change(first), change(first + 1));
            match mode::decode(self) {
                Some(Mode::Pass) => at = b2,
                Some(Mode::Horizontal) => {
                    for is_black in [is_black, !is_black] {
                        let Some(run) = self.run(is_black) else { return (changes, false) };
                        at = (at + run).min(width);
                        changes.push(at);
                    }
                }
                Some(Mode::Vertical(offset)) => {
                    let Some(place) = b1.checked_add_signed(offset.into()) else { return (changes, false) };
                    if place < at || place > width {
                        return (changes, false);
                    }
                    at = place;
                    changes.push(at);
                    is_black = !is_black;
                }
                Some(Mode::Extension | Mode::EOF) | None => return (changes, false),
            }
            is_start = false;
        }
        (changes, true)
    }
}
