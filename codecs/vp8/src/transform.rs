//! The transforms (RFC 6386, section 14): forward for sixteen subblocks side by side, and inverse for one, exactly as a
//! decoder computes it.

/// A number of each of sixteen subblocks, or of one subblock under sixteen predictions.
pub(crate) type Lanes = [i16; 16];

/// Sixteen subblocks: for each sample or coefficient, row by row, that of every subblock.
pub(crate) type Subblocks = [Lanes; 16];

/// `cospi8sqrt2minus1` of section 14.3: sqrt(2) cos(pi/8) - 1, in 1 / 2^16.
const COSPI8_SQRT2_MINUS1: i16 = 20_091;

/// Half of `sinpi8sqrt2` of section 14.3: sqrt(2) sin(pi/8) / 2, in 1 / 2^16.
const SINPI8_SQRT2_HALF: i16 = 17_734;

/// `value * factor / 2^16`, rounded down.
#[inline(always)]
fn mul_high(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}

/// The forward DCT of residues, with coefficients twice as large as those of an orthonormal transform. The standard defines
/// only the inverse, so this need not equal the transform of any other encoder.
#[inline(always)]
pub(crate) fn forward_dct(blocks: &mut Subblocks) {
    // Two fractional bits: 255 * 4 * 16 fits in 16 bits.
    for lanes in blocks.iter_mut() {
        for value in lanes {
            *value <<= 2;
        }
    }
    for row in 0..4 {
        forward_butterfly(blocks, row * 4, 1);
    }
    for column in 0..4 {
        forward_butterfly(blocks, column, 4);
    }
    for lanes in blocks.iter_mut() {
        for value in lanes {
            *value = (*value + 4) >> 3;
        }
    }
}

#[inline(always)]
fn forward_butterfly(blocks: &mut Subblocks, first: usize, step: usize) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| blocks[first + at * step]);
    let mut out = [[0; 16]; 4];
    for lane in 0..16 {
        let (sum_outer, sum_inner) = (a[lane] + d[lane], b[lane] + c[lane]);
        let (outer, inner) = (a[lane] - d[lane], b[lane] - c[lane]);
        out[0][lane] = sum_outer + sum_inner;
        out[1][lane] = outer + mul_high(outer, COSPI8_SQRT2_MINUS1) + mul_high(2 * inner, SINPI8_SQRT2_HALF);
        out[2][lane] = sum_outer - sum_inner;
        out[3][lane] = mul_high(2 * outer, SINPI8_SQRT2_HALF) - inner - mul_high(inner, COSPI8_SQRT2_MINUS1);
    }
    for (at, lanes) in out.into_iter().enumerate() {
        blocks[first + at * step] = lanes;
    }
}

/// The forward Walsh-Hadamard transform: from the DC coefficients of sixteen luma subblocks to the Y2 block, with
/// coefficients four times as large as those of an orthonormal transform of samples.
#[inline(always)]
pub(crate) fn forward_wht(dc: &Lanes) -> Lanes {
    let mut half: [i32; 16] = [0; 16];
    for row in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| i32::from(dc[row * 4 + at]));
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
            out[column + at * 4] = i16::try_from((sum + 1) >> 1).expect("the sum of 16 numbers of 12 bits has 16");
        }
    }
    out
}

/// The inverse Walsh-Hadamard transform (section 14.3).
#[inline(always)]
pub(crate) fn inverse_wht(coefficients: &[i16; 16]) -> [i16; 16] {
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
            #[expect(clippy::cast_possible_truncation, reason = "as wide as the integers of a decoder")]
            let dc = (sum >> 3) as i16;
            out[row * 4 + column] = dc;
        }
    }
    out
}

/// The inverse DCT (section 14.4), added to a prediction (section 14.5).
#[inline(always)]
pub(crate) fn add_inverse_dct(coefficients: &[i16; 16], predicted: &[u8; 16]) -> [u8; 16] {
    let dc = i32::from(coefficients[0]);
    if coefficients[1..].iter().all(|&coefficient| coefficient == 0) {
        return predicted.map(|sample| clamped(i32::from(sample) + ((dc + 4) >> 3)));
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
            out[row * 4 + column] = clamped(i32::from(predicted[row * 4 + column]) + (sums[column] >> 3));
        }
    }
    out
}

#[inline(always)]
fn inverse_butterfly([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let by_cosine = |value: i32| value + ((value * i32::from(COSPI8_SQRT2_MINUS1)) >> 16);
    let by_sine = |value: i32| (value * 2 * i32::from(SINPI8_SQRT2_HALF)) >> 16;
    let (sum, difference) = (a + c, a - c);
    let (inner, outer) = (by_sine(b) - by_cosine(d), by_cosine(b) + by_sine(d));
    [sum + outer, difference + inner, difference - inner, sum - outer]
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn clamped(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}
