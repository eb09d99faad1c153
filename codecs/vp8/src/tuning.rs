//! The constants that trade bytes for quality, and were found by measuring.

use crate::quantization::QuantizerIndex;

/// How finely an image is quantized: the quantizer index of section 9.6, in sixteenths, because the segments of an image
/// differ in their indices. Lower is finer and larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantization(i32);

impl Quantization {
    const MAX: i32 = QuantizerIndex::MAX * Self::PARTS;
    /// Parts of an index.
    pub(crate) const PARTS: i32 = 16;

    /// The index in sixteenths, clamped to 0..=1344.
    pub const fn new(sixteenths: i32) -> Self {
        if sixteenths < 0 {
            Self(0)
        } else if sixteenths > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(sixteenths)
        }
    }

    pub(crate) fn sixteenths(self) -> i32 {
        self.0
    }
}

/// What the encoder decides by. [`Tuning::DEFAULT`] was found by measuring SSIMULACRA2 at equal bytes on photographs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Added to a luma coefficient before it is rounded down, in 1/256 of its step, by position in zig-zag order. 128
    /// would be nearest; less saves bits that show little.
    pub luma_rounding: [u16; 16],
    /// The same of Y2.
    pub y2_rounding: u16,
    /// The same of chroma: of DC and of AC.
    pub chroma_rounding: [u16; 2],
    /// The rate-distortion trade: the cost of an error of one luma step, squared, in 1/64 bit.
    pub distortion: u16,
    /// The estimated cost of a luma coefficient for each step of its magnitude, in 1/64 bit.
    pub rate: u16,
    /// The estimated cost of each token of Y2, in 1/64 bit.
    pub y2_token_rate: u16,
    /// By how much a segment's steps grow with each doubling of its activity, in 1/1024.
    pub segment_strength: u16,
    /// The least and the greatest activity, relative to the mean, that changes a segment's steps, in sixteenths of a
    /// doubling. Beyond, an area is flat, or text rather than noise.
    pub segment_range: [i16; 2],
    /// The level of the loop filter, in 1/256 of the AC step of luma.
    pub filter_strength: u16,
}

impl Tuning {
    /// The constants that are used.
    pub const DEFAULT: Self = Self {
        luma_rounding: [133, 94, 94, 82, 71, 82, 71, 71, 71, 71, 71, 71, 71, 71, 71, 71],
        y2_rounding: 105,
        chroma_rounding: [125, 117],
        distortion: 730,
        rate: 90,
        y2_token_rate: 200,
        segment_strength: 240,
        segment_range: [-20, 40],
        filter_strength: 38,
    };
}
