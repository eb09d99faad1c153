//! From pixels to planes, with the colours of 2 x 2 pixels in one sample.
#![expect(
    clippy::cast_possible_truncation,
    reason = "weighted means of samples are samples, and clamped where they round beyond"
)]

use image::{GrayImage, RgbImage};

use crate::render::planes::{Halves, Range};

/// Fractional bits of the weights, which are those of BT.601.
const BITS: u32 = 16;

const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
const BLUE: [i32; 3] = [-11_058, -21_710, 32_768];
const RED: [i32; 3] = [32_768, -27_439, -5_329];

/// Where a side is odd, its last pixels count twice.
pub(super) fn halves(pixels: &RgbImage) -> Halves {
    let (width, height) = pixels.dimensions();
    let mut luma = GrayImage::new(width, height);
    for (sample, pixel) in luma.iter_mut().zip(pixels.as_chunks::<3>().0) {
        *sample = ((weighted(LUMA, pixel.map(i32::from)) + (1 << (BITS - 1))) >> BITS) as u8;
    }
    let mut differences = [(); 2].map(|()| GrayImage::new(width.div_ceil(2), height.div_ceil(2)));
    let [blue, red] = &mut differences;
    let row = |y: u32| {
        let samples = width as usize * 3;
        let start = y.min(height - 1) as usize * samples;
        pixels.as_raw()[start..start + samples].as_chunks::<3>().0
    };
    for (y, (blue, red)) in (0..).step_by(2).zip(blue.rows_mut().zip(red.rows_mut())) {
        for (((above, below), blue), red) in pairs(row(y)).zip(pairs(row(y + 1))).zip(blue).zip(red) {
            let [a, b, c, d] = [above[0], above[1], below[0], below[1]].map(|pixel| pixel.map(i32::from));
            let sum = std::array::from_fn(|channel| a[channel] + b[channel] + c[channel] + d[channel]);
            blue.0 = [difference(BLUE, sum)];
            red.0 = [difference(RED, sum)];
        }
    }
    Halves { luma, differences: Some(differences), range: Range::Full }
}

/// Pixels two by two. The last counts twice if it has no other.
fn pairs(row: &[[u8; 3]]) -> impl Iterator<Item = [[u8; 3]; 2]> {
    let (pairs, rest) = row.as_chunks::<2>();
    pairs.iter().copied().chain(rest.iter().map(|pixel| [*pixel; 2]))
}

/// A colour difference, of four pixels together.
fn difference(weights: [i32; 3], sum: [i32; 3]) -> u8 {
    const FOURTHS: u32 = BITS + 2;

    ((weighted(weights, sum) + (128 << FOURTHS) + (1 << (FOURTHS - 1))) >> FOURTHS).min(255) as u8
}

fn weighted(weights: [i32; 3], [red, green, blue]: [i32; 3]) -> i32 {
    weights[0] * red + weights[1] * green + weights[2] * blue
}
