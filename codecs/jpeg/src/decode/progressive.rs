//! The coefficients of a progressive image, accumulated from scan to scan (G).
//!
//! With spectral selection and successive approximation a scan has the high bits of a band of coefficients, or one more
//! bit of them. A refinement scan has a correction bit for each coefficient that earlier scans made nonzero, so which of
//! all coefficients are nonzero is kept, in one word for each block. Values are kept only for the coefficients that the
//! scale needs.
#![expect(clippy::cast_possible_truncation, reason = "values out of range come of damage")]

use super::{
    bit_reader::{BitReader, HELD, Window},
    huffman::{ProgressiveAcTable, ProgressiveSymbol},
    scale::{Positions, Scale},
};

/// Which coefficients, and which of their bits, a scan has: the last three parameters of a scan header (G.1.1.1).
#[derive(Clone, Copy)]
pub(super) struct Selection {
    /// Ss and Se: the first and the last coefficient of the band, in zig-zag order.
    start: u32,
    end: u32,
    /// Al: how many low bits are left to later scans.
    pub low_bit: u32,
    /// Ah is not 0: the scan has one more bit of each coefficient.
    pub is_refinement: bool,
}

impl Selection {
    /// `None` if no progressive scan has these parameters.
    pub(super) fn parse([start, end, approximation]: [u8; 3]) -> Option<Self> {
        let (high, low_bit) = (approximation >> 4, approximation & 15);
        let is_band = if start == 0 { end == 0 } else { start <= end && end < 64 };
        let selection = Self { start: start.into(), end: end.into(), low_bit: low_bit.into(), is_refinement: high > 0 };
        (is_band && low_bit <= 13).then_some(selection)
    }

    pub(super) fn is_dc(self) -> bool {
        self.start == 0
    }

    /// The coefficients that this scan completes: one bit for each, in zig-zag order.
    pub(super) fn completes(self) -> u64 {
        if self.low_bit == 0 { Self::between(self.start, self.end + 1) } else { 0 }
    }

    /// The coefficients from `start` up to but not including `end`, one bit for each.
    fn between(start: u32, end: u32) -> u64 {
        let before = |end: u32| if end < 64 { (1 << end) - 1 } else { u64::MAX };
        before(end) & !before(start)
    }
}

/// An AC scan.
pub(super) struct AcScan {
    pub table: ProgressiveAcTable,
    pub selection: Selection,
}

/// The coefficients of a component.
pub(super) struct Coefficients {
    /// How many coefficients of each block are kept.
    area: usize,
    /// All of them are before this one in zig-zag order.
    wanted: u32,
    /// Where each is kept, by zig-zag order; from `area` on, it is not.
    positions: Positions,
    /// By block, then by position.
    kept: Vec<i16>,
    /// For each block, one bit for each coefficient that is nonzero, in zig-zag order. Empty if only DC is kept.
    nonzero: Vec<u64>,
}

impl Coefficients {
    pub(super) fn new(scale: Scale, positions: Positions, blocks: usize) -> Self {
        let area = scale.side() * scale.side();
        let nonzero = if area > 1 { vec![0; blocks] } else { Vec::new() };
        Self { area, wanted: scale.wanted(), positions, kept: vec![0; area * blocks], nonzero }
    }

    /// The kept coefficients of `count` blocks.
    pub(super) fn blocks(&self, first: usize, count: usize) -> &[i16] {
        &self.kept[first * self.area..(first + count) * self.area]
    }

    #[inline(always)]
    pub(super) fn dc(&mut self, block: usize) -> &mut i16 {
        &mut self.kept[block * self.area]
    }

    /// Reads what an AC scan has of a block. `eob_run` counts the blocks, from this one on, that have no more
    /// coefficients in this band (EOBRUN).
    pub(super) fn read_ac(
        &mut self,
        block: usize,
        bits: BitReader,
        window: &Window,
        scan: &AcScan,
        eob_run: &mut u32,
    ) -> Option<BitReader> {
        if scan.selection.is_refinement {
            self.refine(block, bits, window, scan, eob_run)
        } else {
            self.read_first(block, bits, window, scan, eob_run)
        }
    }

    /// G.1.2.2: the first scan of a band.
    fn read_first(
        &mut self,
        block: usize,
        mut bits: BitReader,
        window: &Window,
        AcScan { table, selection }: &AcScan,
        eob_run: &mut u32,
    ) -> Option<BitReader> {
        let mut next = selection.start;
        while *eob_run == 0 && next <= selection.end {
            bits.refill(window);
            match table.next(&mut bits, window)? {
                ProgressiveSymbol::EndOfBands(blocks) => *eob_run = blocks,
                ProgressiveSymbol::Run(coefficients, value) => {
                    next += coefficients;
                    if value != 0 {
                        let last = (next <= selection.end + 1).then_some(next - 1)?;
                        self.put(block, last, value << selection.low_bit);
                    }
                }
            }
        }
        *eob_run = eob_run.saturating_sub(1);
        Some(bits)
    }

    /// G.1.2.3: a refinement scan. It has correction bits for nonzero coefficients, and coefficients that become nonzero.
    fn refine(
        &mut self,
        block: usize,
        mut bits: BitReader,
        window: &Window,
        AcScan { table, selection }: &AcScan,
        eob_run: &mut u32,
    ) -> Option<BitReader> {
        let before = self.nonzero[block];
        let mut next = selection.start;
        while *eob_run == 0 && next <= selection.end {
            bits.refill(window);
            let (run, value) = match table.next(&mut bits, window)? {
                ProgressiveSymbol::EndOfBands(blocks) => {
                    *eob_run = blocks;
                    break;
                }
                ProgressiveSymbol::Run(coefficients, value @ -1..=1) => (coefficients - 1, value),
                ProgressiveSymbol::Run(..) => return None,
            };
            // Runs count coefficients that are still zero.
            let mut zeros = Selection::between(next, selection.end + 1) & !before;
            for _ in 0..run {
                zeros &= zeros.wrapping_sub(1);
            }
            let found = zeros.trailing_zeros().min(selection.end + 1);
            let corrected = before & Selection::between(next, found);
            bits = self.correct(block, bits, window, corrected, selection.low_bit);
            if value != 0 {
                self.put(block, (found <= selection.end).then_some(found)?, value << selection.low_bit);
            }
            next = found + 1;
        }
        if *eob_run > 0 {
            let corrected = before & Selection::between(next, selection.end + 1);
            bits = self.correct(block, bits, window, corrected, selection.low_bit);
            *eob_run -= 1;
        }
        Some(bits)
    }

    fn put(&mut self, block: usize, coefficient: u32, value: i32) {
        self.nonzero[block] |= 1 << coefficient;
        if let Some(kept) = self.kept_mut(block, coefficient) {
            *kept = value as i16;
        }
    }

    /// Where a coefficient is kept, if it is.
    fn kept_mut(&mut self, block: usize, coefficient: u32) -> Option<&mut i16> {
        let position = usize::from(self.positions[coefficient as usize & 63]);
        if position < self.area { self.kept.get_mut(block * self.area + position) } else { None }
    }

    /// Reads a correction bit for each of these coefficients, which are nonzero.
    #[inline(always)]
    fn correct(
        &mut self,
        block: usize,
        mut bits: BitReader,
        window: &Window,
        mut corrected: u64,
        low_bit: u32,
    ) -> BitReader {
        while corrected != 0 {
            bits.refill(window);
            let coefficient = corrected.trailing_zeros();
            // Those that are not wanted come last.
            if coefficient >= self.wanted {
                let skipped = corrected.count_ones().min(HELD);
                bits.skip(skipped);
                (0..skipped).for_each(|_| corrected &= corrected - 1);
                continue;
            }
            let bit = (bits.held >> 63) as i16;
            bits.skip(1);
            corrected &= corrected - 1;
            if let Some(kept) = self.kept_mut(block, coefficient) {
                *kept = kept.wrapping_add((kept.signum() * bit) << low_bit);
            }
        }
        bits
    }
}
