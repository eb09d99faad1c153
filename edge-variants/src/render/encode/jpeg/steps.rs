//! Which steps the coefficients of a block are told in, and from where on they are worth telling.
#![expect(clippy::cast_possible_truncation, reason = "places and steps fit a byte")]

use crate::render::zig_zag::ZIG_ZAG;

/// Samples on a side of a block.
pub(super) const SIDE: usize = 8;

pub(super) const COEFFICIENTS: usize = SIDE * SIDE;

/// In the order of the file.
pub(super) const LUMA_STEPS: [u8; COEFFICIENTS] = steps(1);

/// For both colour differences.
pub(super) const DIFFERENCE_STEPS: [u8; COEFFICIENTS] = steps(2);

/// A coefficient but for the mean that is beyond a whole step by less than so many hundredths of the next is rounded down. From
/// fifty on it would come nearer the other way, but what is told of coefficients about zero costs more than it shows.
pub(super) const ROUNDED_DOWN: i32 = 56;

/// Steps that grow with the square of the frequency. At equal scores by SSIMULACRA2 they take a tenth fewer bytes of
/// photographs than the tables in annex K of ITU-T T.81. With these numbers a variant takes fewer bytes than by those at
/// quality 80, and scores higher.
const fn steps(growth: usize) -> [u8; COEFFICIENTS] {
    /// That of the mean. All are above 1, so that coefficients, which reach 1024, have no more bits than can be told.
    const FINEST: usize = 5;

    let mut steps = [0; COEFFICIENTS];
    let mut at = 0;
    while at < COEFFICIENTS {
        let (x, y) = (ZIG_ZAG[at] as usize % SIDE, ZIG_ZAG[at] as usize / SIDE);
        let square = 2 * (x * x + y * y) + x * y;
        // By fifths, rounded.
        steps[at] = (FINEST + (growth * square + 2) / 5) as u8;
        at += 1;
    }
    steps
}
