//! Fixed-point arithmetic in 16 bits, in a form that compilers turn into vector instructions.

/// `value * factor / 2^16`, rounded down.
#[inline(always)]
pub(crate) fn mul_high(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}
