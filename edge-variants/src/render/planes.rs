//! Images as lossy formats hold them: luma and two chroma planes, often subsampled.
//!
//! Planes pass from a decoder to an encoder without a conversion to RGB, which would take more time and round more
//! often.

use std::rc::Rc;

use image::{DynamicImage, GrayImage, RgbImage};
use xfiles_av1::Picture;
use xfiles_core::sniff::{Dimensions, Orientation};

use super::{
    colour, orient,
    resample::{Levels, Plan, Shrinker, Side},
};

/// A plane of samples.
pub(super) struct Plane {
    samples: Samples,
    /// How many samples the image covers across and down, the last perhaps in part.
    covers: (f64, f64),
}

enum Samples {
    Rows { bytes: Vec<u8>, stride: usize },
    Av1(Rc<Picture>, xfiles_av1::Plane),
}

impl Plane {
    /// Rows of `stride` samples. The image covers this many across and down.
    pub(super) fn new(bytes: Vec<u8>, stride: usize, covers: (f64, f64)) -> Self {
        Self { samples: Samples::Rows { bytes, stride }, covers }
    }

    /// A plane in the decoder's memory.
    pub(super) fn of_av1(picture: Rc<Picture>, plane: xfiles_av1::Plane, covers: (f64, f64)) -> Self {
        Self { samples: Samples::Av1(picture, plane), covers }
    }

    /// Samples across and down, those included that the image covers in part.
    pub(super) fn size(&self) -> (usize, usize) {
        (whole(self.covers.0), whole(self.covers.1))
    }

    /// A row of 8-bit samples, counted from the top.
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

    /// A row of samples with more than 8 bits, and their depth.
    fn words(&self, y: usize) -> Option<(&[u16], u32)> {
        match &self.samples {
            Samples::Av1(picture, plane) => match picture.row(*plane, y) {
                Some(xfiles_av1::Row::Words(row)) => Some((row, picture.depth())),
                Some(xfiles_av1::Row::Bytes(_)) | None => None,
            },
            Samples::Rows { .. } => None,
        }
    }

    /// The factor for full-range samples: the maximum of 10 bits is 255.75 in 8-bit steps, and means 255.
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

/// The range of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// From 0 to 255, as in JPEG.
    Full,
    /// From 16 to 235 for luma and to 240 for chroma, as in WebP.
    Limited,
}

impl Range {
    /// The conversion of luma to another range.
    pub(super) fn luma(self, to: Self) -> Levels {
        match (self, to) {
            (Self::Full, Self::Limited) => Levels { gain: 219.0 / 255.0, offset: 16.0 },
            (Self::Limited, Self::Full) => Levels { gain: 255.0 / 219.0, offset: -16.0 * 255.0 / 219.0 },
            (Self::Full, Self::Full) | (Self::Limited, Self::Limited) => Levels::SAME,
        }
    }

    /// The conversion of chroma.
    pub(super) fn difference(self, to: Self) -> Levels {
        let gain = match (self, to) {
            (Self::Full, Self::Limited) => 224.0 / 255.0,
            (Self::Limited, Self::Full) => 255.0 / 224.0,
            (Self::Full, Self::Full) | (Self::Limited, Self::Limited) => 1.0,
        };
        Levels { gain, offset: 128.0 - 128.0 * gain }
    }
}

/// A decoded image: one plane of grey or three of YCbCr by BT.601, in the stored orientation.
pub(super) struct Planar {
    pub planes: Vec<Plane>,
    pub range: Range,
    /// An ICC profile, unchecked.
    pub profile: Option<Vec<u8>>,
}

/// A scaled, upright image in 4:2:0: luma, and chroma at half its width and height, rounded up, unless it is grey.
pub(super) struct Halves {
    pub luma: GrayImage,
    pub differences: Option<[GrayImage; 2]>,
    pub range: Range,
}

impl Planar {
    /// Scales every plane to `size`, and converts to grey or RGB.
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

    /// The conversion of this plane's luma.
    fn luma(&self, plane: &Plane, to: Range) -> Levels {
        let levels = self.range.luma(to);
        if self.range == Range::Full { levels.after(plane.whole_range(), 0.0) } else { levels }
    }

    /// The conversion of this plane's chroma.
    fn difference(&self, plane: &Plane, to: Range) -> Levels {
        let levels = self.range.difference(to);
        if self.range == Range::Full { levels.after(plane.whole_range(), 128.0) } else { levels }
    }

    /// Scales luma to `size` and chroma to half of it, and turns the planes upright.
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

fn luma_side(covers: f64, to: u32) -> Side {
    let step = covers / f64::from(to);
    Side { from: whole(covers), to: to as usize, first: step / 2.0, step }
}

/// Each chroma sample belongs to two luma samples, counted from the origin of the upright image. If the side is odd and
/// is mirrored, the first of the two is outside.
fn half_side(covers: f64, to: u32, is_mirrored: bool) -> Side {
    let step = covers / f64::from(to);
    let first = if is_mirrored && to % 2 == 1 { 0.0 } else { step };
    Side { from: whole(covers), to: to.div_ceil(2) as usize, first, step: 2.0 * step }
}

/// The number of samples that the image covers at least in part.
#[expect(clippy::cast_possible_truncation, reason = "a side is within 14 bits")]
fn whole(covered: f64) -> usize {
    covered.ceil().max(1.0) as usize
}
