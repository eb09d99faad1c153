//! The transforms of a VP8 picture: forward for sixteen blocks of 4 x 4 side by side, and back for one, to the bit as
//! RFC 6386, section 14, has it.

use crate::render::fixed::times;

/// One number of each of sixteen blocks, or of one block under sixteen predictions.
pub(super) type Lanes = [i16; 16];

/// Sixteen blocks: for each sample, or each coefficient, that of every block.
pub(super) type Blocks = [Lanes; 16];

/// The root of 2 times the cosine of an eighth of pi, less one, and times its sine, half of it: in parts of `1 << 16`.
const COSINE: i16 = 20_091;
const HALF_SINE: i16 = 17_734;

/// From differences of samples, rows first, to coefficients, each twice as large as those of an orthonormal transform.
/// A decoder goes back from whatever coefficients it gets, so these need not be those of any other encoder.
#[inline(always)]
pub(super) fn forward(blocks: &mut Blocks) {
    // Two bits of fraction on the way: 255 * 4 * 16 is within 16 bits.
    for lanes in blocks.iter_mut() {
        for value in lanes {
            *value <<= 2;
        }
    }
    for row in 0..4 {
        butterfly(blocks, row * 4, 1);
    }
    for column in 0..4 {
        butterfly(blocks, column, 4);
    }
    for lanes in blocks.iter_mut() {
        for value in lanes {
            *value = (*value + 4) >> 3;
        }
    }
}

#[inline(always)]
fn butterfly(blocks: &mut Blocks, first: usize, step: usize) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| blocks[first + at * step]);
    let mut out = [[0; 16]; 4];
    for lane in 0..16 {
        let (sum_outer, sum_inner) = (a[lane] + d[lane], b[lane] + c[lane]);
        let (outer, inner) = (a[lane] - d[lane], b[lane] - c[lane]);
        out[0][lane] = sum_outer + sum_inner;
        out[1][lane] = outer + times(outer, COSINE) + times(2 * inner, HALF_SINE);
        out[2][lane] = sum_outer - sum_inner;
        out[3][lane] = times(2 * outer, HALF_SINE) - inner - times(inner, COSINE);
    }
    for (at, lanes) in out.into_iter().enumerate() {
        blocks[first + at * step] = lanes;
    }
}

/// The means of sixteen blocks of luma once more: from their first coefficients to those of a block of their own, each
/// four times as large as those of an orthonormal transform of samples.
#[inline(always)]
pub(super) fn forward_means(means: &Lanes) -> Lanes {
    let mut half: [i32; 16] = [0; 16];
    for row in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| i32::from(means[row * 4 + at]));
        half[row * 4] = a + b + c + d;
        half[row * 4 + 1] = a + b - c - d;
        half[row * 4 + 2] = a - b - c + d;
        half[row * 4 + 3] = a - b + c - d;
    }
    let mut out = [0; 16];
    for column in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| half[column + at * 4]);
        let sums = [a + b + c + d, a + b - c - d, a - b - c + d, a - b + c - d];
        for (at, sum) in sums.into_iter().enumerate() {
            out[column + at * 4] = i16::try_from((sum + 1) >> 1).expect("16 means of 12 bits make 16");
        }
    }
    out
}

/// The way back of [`forward_means`].
#[inline(always)]
pub(super) fn inverse_means(coefficients: &[i16; 16]) -> [i16; 16] {
    let at = |index: usize| i32::from(coefficients[index]);
    let mut half = [0; 16];
    for column in 0..4 {
        let (outer, inner) = (at(column) + at(12 + column), at(4 + column) + at(8 + column));
        let (outside, inside) = (at(column) - at(12 + column), at(4 + column) - at(8 + column));
        half[column] = outer + inner;
        half[4 + column] = outside + inside;
        half[8 + column] = outer - inner;
        half[12 + column] = outside - inside;
    }
    let mut out = [0; 16];
    for row in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| half[row * 4 + column]);
        let (outer, inner, outside, inside) = (a + 3 + d, b + c, a + 3 - d, b - c);
        for (column, sum) in [outer + inner, outside + inside, outer - inner, outside - inside].into_iter().enumerate()
        {
            #[expect(clippy::cast_possible_truncation, reason = "as wide as the registers of a decoder")]
            let mean = (sum >> 3) as i16;
            out[row * 4 + column] = mean;
        }
    }
    out
}

/// Adds what the coefficients say to a prediction.
#[inline(always)]
pub(super) fn add_inverse(coefficients: &[i16; 16], predicted: &[u8; 16]) -> [u8; 16] {
    let first = i32::from(coefficients[0]);
    if coefficients[1..].iter().all(|&coefficient| coefficient == 0) {
        return predicted.map(|sample| clipped(i32::from(sample) + ((first + 4) >> 3)));
    }
    let mut half = [[0; 4]; 4];
    for column in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| i32::from(coefficients[row * 4 + column]));
        let sums = inverse_butterfly([a, b, c, d]);
        for row in 0..4 {
            half[row][column] = sums[row];
        }
    }
    let mut out = [0; 16];
    for row in 0..4 {
        let [a, b, c, d] = half[row];
        let sums = inverse_butterfly([a + 4, b, c, d]);
        for column in 0..4 {
            out[row * 4 + column] = clipped(i32::from(predicted[row * 4 + column]) + (sums[column] >> 3));
        }
    }
    out
}

#[inline(always)]
fn inverse_butterfly([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let longer = |value: i32| value + ((value * i32::from(COSINE)) >> 16);
    let shorter = |value: i32| (value * 2 * i32::from(HALF_SINE)) >> 16;
    let (sum, difference) = (a + c, a - c);
    let (inner, outer) = (shorter(b) - longer(d), longer(b) + shorter(d));
    [sum + outer, difference + inner, difference - inner, sum - outer]
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn clipped(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}
