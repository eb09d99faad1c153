//! The coefficients of a progressive picture, gathered from scan to scan.
//!
//! A scan tells the upper bits of some coefficients of every block, or one bit more of those that it refines, and a
//! refinement has bits for what earlier scans made other than zero. So which of all coefficients are not zero is kept, of
//! every block in one word, and the values of those alone that the reduced picture needs.
#![expect(clippy::cast_possible_truncation, reason = "what is out of range is wrong in any case")]

use super::{
    bits::{HELD, Reader, Window},
    huffman::{Runs, Symbol},
    reduced::{Places, Scale},
};

/// What a scan tells of a block.
#[derive(Clone, Copy)]
pub(super) struct Spectrum {
    /// The first coefficient and the last, in zig-zag order.
    from: u32,
    to: u32,
    /// How many bits are left to later scans.
    pub shift: u32,
    pub refines: bool,
}

impl Spectrum {
    /// From the last three bytes of the header of a scan. `None` if no progressive scan has them.
    pub(super) fn parse([from, to, approximation]: [u8; 3]) -> Option<Self> {
        let (earlier, shift) = (approximation >> 4, approximation & 15);
        let is_range = if from == 0 { to == 0 } else { from <= to && to < 64 };
        let spectrum = Self { from: from.into(), to: to.into(), shift: shift.into(), refines: earlier > 0 };
        (is_range && shift <= 13).then_some(spectrum)
    }

    pub(super) fn is_of_means(self) -> bool {
        self.from == 0
    }

    /// The coefficients of which no later scan can tell more: one bit for each, in zig-zag order.
    pub(super) fn told(self) -> u64 {
        if self.shift == 0 { Self::between(self.from, self.to + 1) } else { 0 }
    }

    /// The coefficients from `from` on and before `end`, one bit for each.
    fn between(from: u32, end: u32) -> u64 {
        let before = |end: u32| if end < 64 { (1 << end) - 1 } else { u64::MAX };
        before(end) & !before(from)
    }
}

/// A scan of other coefficients than the means.
pub(super) struct Others {
    pub runs: Runs,
    pub spectrum: Spectrum,
}

/// What is known of every block of a component.
pub(super) struct Gathered {
    /// How many coefficients of a block are kept.
    area: usize,
    /// Before which coefficient all of them stand, in zig-zag order.
    wanted: u32,
    /// Where those stand, by zig-zag order; at `area` or beyond, they are not kept.
    places: Places,
    /// By block, then by place.
    kept: Vec<i16>,
    /// By block: one bit for each coefficient, in zig-zag order, that is not zero. Nobody asks if only means are kept.
    nonzero: Vec<u64>,
}

impl Gathered {
    pub(super) fn new(scale: Scale, places: Places, blocks: usize) -> Self {
        let area = scale.side() * scale.side();
        let nonzero = if area > 1 { vec![0; blocks] } else { Vec::new() };
        Self { area, wanted: scale.wanted(), places, kept: vec![0; area * blocks], nonzero }
    }

    /// The coefficients that are kept of so many blocks from the first on.
    pub(super) fn blocks(&self, first: usize, count: usize) -> &[i16] {
        &self.kept[first * self.area..(first + count) * self.area]
    }

    #[inline(always)]
    pub(super) fn mean(&mut self, block: usize) -> &mut i16 {
        &mut self.kept[block * self.area]
    }

    /// Reads what a scan has of a block. `ended` says of how many blocks, from this one on, there is nothing more.
    pub(super) fn read(
        &mut self,
        block: usize,
        reader: Reader,
        window: &Window,
        scan: &Others,
        ended: &mut u32,
    ) -> Option<Reader> {
        if scan.spectrum.refines {
            self.refine(block, reader, window, scan, ended)
        } else {
            self.first(block, reader, window, scan, ended)
        }
    }

    /// Of the first scan of these coefficients.
    fn first(
        &mut self,
        block: usize,
        mut reader: Reader,
        window: &Window,
        Others { runs, spectrum }: &Others,
        ended: &mut u32,
    ) -> Option<Reader> {
        let mut next = spectrum.from;
        while *ended == 0 && next <= spectrum.to {
            reader.refill(window);
            match runs.next(&mut reader, window)? {
                Symbol::Ends(blocks) => *ended = blocks,
                Symbol::Run(coefficients, value) => {
                    next += coefficients;
                    if value != 0 {
                        self.put(block, (next <= spectrum.to + 1).then_some(next - 1)?, value << spectrum.shift);
                    }
                }
            }
        }
        *ended = ended.saturating_sub(1);
        Some(reader)
    }

    /// Of a later scan: one bit of each coefficient that is not zero yet, and those that are so no more.
    fn refine(
        &mut self,
        block: usize,
        mut reader: Reader,
        window: &Window,
        Others { runs, spectrum }: &Others,
        ended: &mut u32,
    ) -> Option<Reader> {
        let before = self.nonzero[block];
        let mut next = spectrum.from;
        while *ended == 0 && next <= spectrum.to {
            reader.refill(window);
            let (run, value) = match runs.next(&mut reader, window)? {
                Symbol::Ends(blocks) => {
                    *ended = blocks;
                    break;
                }
                Symbol::Run(coefficients, value @ -1..=1) => (coefficients - 1, value),
                Symbol::Run(..) => return None,
            };
            // Runs count what is still zero.
            let mut zeros = Spectrum::between(next, spectrum.to + 1) & !before;
            for _ in 0..run {
                zeros &= zeros.wrapping_sub(1);
            }
            let found = zeros.trailing_zeros().min(spectrum.to + 1);
            let old = before & Spectrum::between(next, found);
            reader = self.read_bits(block, reader, window, old, spectrum.shift);
            if value != 0 {
                self.put(block, (found <= spectrum.to).then_some(found)?, value << spectrum.shift);
            }
            next = found + 1;
        }
        if *ended > 0 {
            let old = before & Spectrum::between(next, spectrum.to + 1);
            reader = self.read_bits(block, reader, window, old, spectrum.shift);
            *ended -= 1;
        }
        Some(reader)
    }

    fn put(&mut self, block: usize, coefficient: u32, value: i32) {
        self.nonzero[block] |= 1 << coefficient;
        if let Some(kept) = self.kept_mut(block, coefficient) {
            *kept = value as i16;
        }
    }

    /// Where a coefficient is kept, if it is.
    fn kept_mut(&mut self, block: usize, coefficient: u32) -> Option<&mut i16> {
        let place = usize::from(self.places[coefficient as usize & 63]);
        if place < self.area { self.kept.get_mut(block * self.area + place) } else { None }
    }

    /// Reads one bit more of each of the coefficients `old`, which are not zero.
    #[inline(always)]
    fn read_bits(&mut self, block: usize, mut reader: Reader, window: &Window, mut old: u64, shift: u32) -> Reader {
        while old != 0 {
            reader.refill(window);
            let coefficient = old.trailing_zeros();
            // Those that nobody wants come last.
            if coefficient >= self.wanted {
                let passed = old.count_ones().min(HELD);
                reader.skip(passed);
                (0..passed).for_each(|_| old &= old - 1);
                continue;
            }
            let bit = (reader.held >> 63) as i16;
            reader.skip(1);
            old &= old - 1;
            if let Some(kept) = self.kept_mut(block, coefficient) {
                *kept = kept.wrapping_add((kept.signum() * bit) << shift);
            }
        }
        reader
    }
}
