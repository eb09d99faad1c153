//! A picture as lossy formats hold it: luma, and two colour differences that are often fewer.
//!
//! From a decoder that has such planes to an encoder that wants them there is no way over RGB, which would cost more time
//! and round more often.

use std::rc::Rc;

use image::{DynamicImage, GrayImage, RgbImage};
use xfiles_av1::Picture;
use xfiles_core::sniff::{Dimensions, Orientation};

use super::{
    colour, orient,
    resample::{Levels, Plan, Shrinker, Side},
};

/// One plane of samples.
pub(super) struct Plane {
    samples: Samples,
    /// How many samples the picture covers from left to right and from top to bottom, the last perhaps in part.
    covers: (f64, f64),
}

enum Samples {
    Rows { bytes: Vec<u8>, stride: usize },
    Av1(Rc<Picture>, xfiles_av1::Plane),
}

impl Plane {
    /// Rows of `stride` samples, of which the picture covers so many.
    pub(super) fn new(bytes: Vec<u8>, stride: usize, covers: (f64, f64)) -> Self {
        Self { samples: Samples::Rows { bytes, stride }, covers }
    }

    /// A plane that stays with its decoder.
    pub(super) fn of_av1(picture: Rc<Picture>, plane: xfiles_av1::Plane, covers: (f64, f64)) -> Self {
        Self { samples: Samples::Av1(picture, plane), covers }
    }

    /// Samples from left to right and from top to bottom.
    pub(super) fn size(&self) -> (usize, usize) {
        (whole(self.covers.0), whole(self.covers.1))
    }

    /// A row of bytes, from the top.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let width = self.size().0;
        let row = match &self.samples {
            Samples::Rows { bytes, stride } => bytes.get(y * stride..),
            Samples::Av1(picture, plane) => match picture.row(*plane, y) {
                Some(xfiles_av1::Row::Bytes(row)) => Some(row),
                Some(xfiles_av1::Row::Words(_)) | None => None,
            },
        };
        row.and_then(|row| row.get(..width)).unwrap_or_default()
    }

    /// A row of samples that have more than 8 bits, and how many they have.
    fn words(&self, y: usize) -> Option<(&[u16], u32)> {
        match &self.samples {
            Samples::Av1(picture, plane) => match picture.row(*plane, y) {
                Some(xfiles_av1::Row::Words(row)) => Some((row, picture.depth())),
                Some(xfiles_av1::Row::Bytes(_)) | None => None,
            },
            Samples::Rows { .. } => None,
        }
    }

    /// What a sample that uses its whole range is multiplied with: the most that 10 bits can say is 255.75 in steps of 8 bits,
    /// and means 255.
    fn whole_range(&self) -> f64 {
        match &self.samples {
            Samples::Av1(picture, _) => {
                let steps = f64::from(1_u32 << picture.depth());
                steps / 256.0 * 255.0 / (steps - 1.0)
            }
            Samples::Rows { .. } => 1.0,
        }
    }

    fn shrink(&self, x: Side, y: Side, levels: Levels) -> GrayImage {
        let plan = Plan::new(x, y, 1, levels);
        let mut shrinker = Shrinker::new(&plan);
        let (width, height) = self.size();
        for y in 0..height {
            match self.words(y) {
                Some((row, bits)) => shrinker.push_words(row.get(..width).unwrap_or_default(), bits),
                None => shrinker.push(self.row(y)),
            }
        }
        let side = |samples: usize| u32::try_from(samples).expect("a variant's sides are within 14 bits");
        GrayImage::from_raw(side(x.to), side(y.to), shrinker.finish()).expect("the plan yields a sample for each pixel")
    }
}

/// Which part of a byte samples use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// All of it, as in JPEG.
    Full,
    /// From 16 to 235 for luma, to 240 for the differences, as in WebP.
    Limited,
}

impl Range {
    /// What becomes of luma from this range to another.
    pub(super) fn luma(self, to: Self) -> Levels {
        match (self, to) {
            (Self::Full, Self::Limited) => Levels { gain: 219.0 / 255.0, offset: 16.0 },
            (Self::Limited, Self::Full) => Levels { gain: 255.0 / 219.0, offset: -16.0 * 255.0 / 219.0 },
            (Self::Full, Self::Full) | (Self::Limited, Self::Limited) => Levels::SAME,
        }
    }

    /// What becomes of a colour difference.
    pub(super) fn difference(self, to: Self) -> Levels {
        let gain = match (self, to) {
            (Self::Full, Self::Limited) => 224.0 / 255.0,
            (Self::Limited, Self::Full) => 255.0 / 224.0,
            (Self::Full, Self::Full) | (Self::Limited, Self::Limited) => 1.0,
        };
        Levels { gain, offset: 128.0 - 128.0 * gain }
    }
}

/// A decoded picture: one plane of grey or three of YCbCr by BT.601, not yet turned.
pub(super) struct Planar {
    pub planes: Vec<Plane>,
    pub range: Range,
    /// An ICC profile, unchecked.
    pub profile: Option<Vec<u8>>,
}

/// A small picture, upright: luma, and colour differences of half its width and height, rounded up, unless it is grey.
pub(super) struct Halves {
    pub luma: GrayImage,
    pub differences: Option<[GrayImage; 2]>,
    pub range: Range,
}

impl Planar {
    /// Resizes every plane to `size`, for grey or RGB.
    pub(super) fn to_pixels(&self, size: Dimensions) -> DynamicImage {
        let samples = "a plane has a sample for each pixel";
        let planes: Vec<GrayImage> = self
            .planes
            .iter()
            .enumerate()
            .map(|(index, plane)| {
                let levels = match index {
                    0 => self.luma(plane, Range::Full),
                    _ => self.difference(plane, Range::Full),
                };
                let (x, y) = (luma_side(plane.covers.0, size.width), luma_side(plane.covers.1, size.height));
                plane.shrink(x, y, levels)
            })
            .collect();
        match planes.as_slice() {
            [luma, blue, red] => {
                let rgb = colour::rgb_from_ycbcr(luma, blue, red);
                RgbImage::from_raw(size.width, size.height, rgb).expect(samples).into()
            }
            [luma, ..] => luma.clone().into(),
            [] => GrayImage::new(size.width, size.height).into(),
        }
    }

    /// What becomes of luma in that plane.
    fn luma(&self, plane: &Plane, to: Range) -> Levels {
        let levels = self.range.luma(to);
        if self.range == Range::Full { levels.after(plane.whole_range(), 0.0) } else { levels }
    }

    /// What becomes of a colour difference in that plane.
    fn difference(&self, plane: &Plane, to: Range) -> Levels {
        let levels = self.range.difference(to);
        if self.range == Range::Full { levels.after(plane.whole_range(), 128.0) } else { levels }
    }

    /// Resizes to `size`, the differences to half of it, and turns the planes upright.
    pub(super) fn to_halves(&self, size: Dimensions, orientation: Orientation, range: Range) -> Halves {
        let turned = |plane: GrayImage| orient::turn(plane.into(), orientation).into_luma8();
        let (across, down) = orient::mirrors(orientation);
        let mut planes = self.planes.iter();
        let luma = planes.next().map_or_else(
            || GrayImage::new(size.width, size.height),
            |plane| {
                let (x, y) = (luma_side(plane.covers.0, size.width), luma_side(plane.covers.1, size.height));
                turned(plane.shrink(x, y, self.luma(plane, range)))
            },
        );
        let mut difference = || {
            let plane = planes.next()?;
            let x = half_side(plane.covers.0, size.width, across);
            let y = half_side(plane.covers.1, size.height, down);
            Some(turned(plane.shrink(x, y, self.difference(plane, range))))
        };
        let differences = difference().zip(difference()).map(|(blue, red)| [blue, red]);
        Halves { luma, differences, range }
    }
}

impl Halves {
    /// The planes of a picture that has none, by BT.601. A difference is that of the mean of four pixels, or of as many as
    /// there are.
    pub(super) fn of_rgb(picture: &RgbImage, range: Range) -> Self {
        let (width, height) = picture.dimensions();
        let of = Matrix::to(range);
        let luma: Vec<u8> = picture.as_raw().as_chunks().0.iter().map(|pixel| of.luma(pixel.map(i32::from))).collect();
        let (across, down) = (width.div_ceil(2), height.div_ceil(2));
        let [mut blue, mut red] = [0, 1].map(|_| Vec::with_capacity((across * down) as usize));
        let rows: Vec<&[[u8; 3]]> =
            picture.as_raw().chunks_exact(width as usize * 3).map(|row| row.as_chunks().0).collect();
        for pair in rows.chunks(2) {
            let [above, below] = [pair[0], pair[pair.len() - 1]];
            for (above, below) in above.chunks(2).zip(below.chunks(2)) {
                // Where there is no fourth, or second, one that is there counts twice.
                let four = [above[0], above[above.len() - 1], below[0], below[below.len() - 1]];
                let sums = [0, 1, 2].map(|at| four.iter().map(|pixel| i32::from(pixel[at])).sum());
                blue.push(of.blue(sums));
                red.push(of.red(sums));
            }
        }
        let plane =
            |samples, width, height| GrayImage::from_raw(width, height, samples).expect("a sample for each pixel");
        let differences = Some([plane(blue, across, down), plane(red, across, down)]);
        Self { luma: plane(luma, width, height), differences, range }
    }
}

/// What luma and the differences have of red, green and blue, in parts of `1 << 16`.
struct Matrix {
    luma: [i32; 3],
    black: i32,
    /// Of the difference of blue; that of red has the last of them as its first.
    blue: [i32; 3],
    red: [i32; 3],
}

impl Matrix {
    fn to(range: Range) -> Self {
        match range {
            Range::Full => Self {
                luma: [19_595, 38_470, 7471],
                black: 0,
                blue: [-11_058, -21_710, 32_768],
                red: [32_768, -27_439, -5329],
            },
            // The same by 219 / 255, and by 224 / 255.
            Range::Limited => Self {
                luma: [16_829, 33_039, 6416],
                black: 16,
                blue: [-9714, -19_070, 28_784],
                red: [28_784, -24_103, -4681],
            },
        }
    }

    fn luma(&self, pixel: [i32; 3]) -> u8 {
        sample((self.black << 16) + dot(self.luma, pixel), 16)
    }

    /// Of the sums of four pixels.
    fn blue(&self, sums: [i32; 3]) -> u8 {
        sample((128 << 18) + dot(self.blue, sums), 18)
    }

    fn red(&self, sums: [i32; 3]) -> u8 {
        sample((128 << 18) + dot(self.red, sums), 18)
    }
}

fn dot(factors: [i32; 3], values: [i32; 3]) -> i32 {
    factors.iter().zip(values).map(|(factor, value)| factor * value).sum()
}

/// What has so many bits of fraction, rounded.
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn sample(value: i32, fraction: u32) -> u8 {
    ((value + (1 << fraction >> 1)) >> fraction).clamp(0, 255) as u8
}

fn luma_side(covers: f64, to: u32) -> Side {
    let step = covers / f64::from(to);
    Side { from: whole(covers), to: to as usize, first: step / 2.0, step }
}

/// Each sample belongs to two of luma, counted from where the turned picture begins: if the side is odd and will be
/// mirrored, the first of them is outside.
fn half_side(covers: f64, to: u32, is_mirrored: bool) -> Side {
    let step = covers / f64::from(to);
    let first = if is_mirrored && to % 2 == 1 { 0.0 } else { step };
    Side { from: whole(covers), to: to.div_ceil(2) as usize, first, step: 2.0 * step }
}

/// How many samples there are where the picture covers so many.
#[expect(clippy::cast_possible_truncation, reason = "a side is within 14 bits")]
fn whole(covered: f64) -> usize {
    covered.ceil().max(1.0) as usize
}
