//! Fractions in whole numbers of 16 bits, of which compilers make what a processor has for vectors.

/// `value * factor / 2^16`, rounded down.
#[inline(always)]
pub(super) fn times(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}
