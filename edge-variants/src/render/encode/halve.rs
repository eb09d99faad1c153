//! Converts pixels to planes of 4:2:0.

use image::{GrayImage, RgbImage};

use crate::render::planes::{Halves, Range};

/// Converts an image. If a side is odd, the last pixels are repeated.
pub(super) fn halves(pixels: &RgbImage, range: Range) -> Halves {
    let (width, height) = pixels.dimensions();
    let matrix = Matrix::to(range);
    let mut luma = GrayImage::new(width, height);
    for (sample, pixel) in luma.iter_mut().zip(pixels.as_chunks::<3>().0) {
        *sample = matrix.luma(pixel.map(i32::from));
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
            (blue.0, red.0) = ([difference(matrix.blue, sum)], [difference(matrix.red, sum)]);
        }
    }
    Halves { luma, differences: Some(differences), range }
}

/// Pairs of pixels. A last single pixel is repeated.
fn pairs(row: &[[u8; 3]]) -> impl Iterator<Item = [[u8; 3]; 2]> {
    let (pairs, rest) = row.as_chunks::<2>();
    pairs.iter().copied().chain(rest.iter().map(|pixel| [*pixel; 2]))
}

/// The matrix of BT.601 in 1 / 2^[`BITS`]: Y, Cb and Cr from red, green and blue.
struct Matrix {
    luma: [i32; 3],
    black: i32,
    blue: [i32; 3],
    red: [i32; 3],
}

const BITS: u32 = 16;

impl Matrix {
    fn to(range: Range) -> Self {
        match range {
            Range::Full => Self {
                luma: [19_595, 38_470, 7471],
                black: 0,
                blue: [-11_058, -21_710, 32_768],
                red: [32_768, -27_439, -5329],
            },
            // Scaled by 219 / 255 and 224 / 255.
            Range::Limited => Self {
                luma: [16_829, 33_039, 6416],
                black: 16,
                blue: [-9714, -19_070, 28_784],
                red: [28_784, -24_103, -4681],
            },
        }
    }

    fn luma(&self, pixel: [i32; 3]) -> u8 {
        rounded(weighted(self.luma, pixel) + (self.black << BITS), BITS)
    }
}

/// A chroma sample of four pixels.
fn difference(weights: [i32; 3], sum: [i32; 3]) -> u8 {
    const FOURTHS: u32 = BITS + 2;

    rounded(weighted(weights, sum) + (128 << FOURTHS), FOURTHS)
}

fn weighted(weights: [i32; 3], [red, green, blue]: [i32; 3]) -> i32 {
    weights[0] * red + weights[1] * green + weights[2] * blue
}

/// Rounds a sample with this many fractional bits.
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn rounded(sample: i32, fraction: u32) -> u8 {
    ((sample + (1 << (fraction - 1))) >> fraction).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);
    const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

    #[test]
    fn colours_are_means_of_what_is_there() {
        let picture = RgbImage::from_fn(3, 3, |x, _| if x < 2 { RED } else { BLUE });
        let Halves { luma, differences, .. } = halves(&picture, Range::Full);
        assert_eq!(luma.as_raw()[..3], [76, 76, 29]);
        let [blue, red] = differences.unwrap();
        assert_eq!((blue.into_raw(), red.into_raw()), (vec![85, 255, 85, 255], vec![255, 107, 255, 107]));
        let picture = RgbImage::from_fn(2, 1, |x, _| if x < 1 { RED } else { BLUE });
        let [blue, red] = halves(&picture, Range::Full).differences.unwrap();
        assert_eq!((blue.into_raw(), red.into_raw()), (vec![170], vec![181]));
    }

    #[test]
    fn a_limited_range_has_room_above_and_below() {
        // BT.601, 3.5: red is 81, 90, 240 and blue 41, 240, 110.
        for (pixel, expected) in [(RED, [81, 90, 240]), (BLUE, [41, 240, 110])] {
            let Halves { luma, differences, .. } = halves(&RgbImage::from_pixel(1, 1, pixel), Range::Limited);
            let [blue, red] = differences.unwrap();
            assert_eq!([luma, blue, red].map(|plane| plane.as_raw()[0]), expected);
        }
    }

    #[test]
    fn grey_has_no_colour() {
        for (level, limited) in [(0, 16), (99, 101), (255, 235)] {
            for (range, expected) in [(Range::Full, level), (Range::Limited, limited)] {
                let Halves { luma, differences, .. } = halves(&RgbImage::from_pixel(5, 4, Rgb([level; 3])), range);
                assert!(luma.iter().all(|sample| *sample == expected));
                assert!(differences.unwrap().iter().flat_map(|plane| plane.iter()).all(|sample| *sample == 128));
            }
        }
    }
}
