//! Quantization tables, and the rounding of coefficients.
#![expect(clippy::cast_possible_truncation, reason = "positions and steps fit a byte")]

use crate::{BLOCK_SIDE, BLOCK_SIZE, zigzag::ZIGZAG};

/// A quantization table in zig-zag order, as DQT has it.
pub(super) type Table = [u8; BLOCK_SIZE];

/// How coefficients are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// The step of the DC coefficient, from 2 on, so that no quantized coefficient has more than the 10 bits that baseline
    /// allows.
    pub dc_step: u8,
    /// By how much the steps of luma grow with the square of the frequency, in fifths.
    pub luma_growth: u8,
    /// The same of chroma.
    pub chroma_growth: u8,
    /// A fraction of a step below this many hundredths is rounded down. Above 50, small coefficients become smaller: they
    /// cost more bits than they show.
    pub dead_zone: u8,
}

impl Quality {
    /// Found by measuring SSIMULACRA2 on photographs: at equal scores, steps of this form take a tenth fewer bytes than the
    /// tables of K.1, and with these numbers a file is smaller than with those at quality 80 and scores higher.
    pub const DEFAULT: Self = Self { dc_step: 5, luma_growth: 1, chroma_growth: 2, dead_zone: 56 };

    pub(super) const fn luma(self) -> Table {
        self.table(self.luma_growth)
    }

    /// For both Cb and Cr.
    pub(super) const fn chroma(self) -> Table {
        self.table(self.chroma_growth)
    }

    const fn table(self, growth: u8) -> Table {
        let mut table = [0; BLOCK_SIZE];
        let mut at = 0;
        while at < BLOCK_SIZE {
            let (x, y) = (ZIGZAG[at] as usize % BLOCK_SIDE, ZIGZAG[at] as usize / BLOCK_SIDE);
            let square = 2 * (x * x + y * y) + x * y;
            let dc_step = if self.dc_step < 2 { 2 } else { self.dc_step as usize };
            let step = dc_step + (growth as usize * square + 2) / 5;
            table[at] = if step < 255 { step as u8 } else { 255 };
            at += 1;
        }
        table
    }
}
