//! Why no variant is made.

use super::limits;

/// Why an original has no variant. Rendering it again would end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a picture, or of a kind that is not decoded.
    #[error("variants are made from JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP and ICO")]
    Unsupported,
    /// A side is longer than [`Refusal::MAX_SIDE`].
    #[error("the picture is {width} x {height} pixels; a side may have {}", Refusal::MAX_SIDE)]
    SideTooLong {
        /// From left to right, as stored.
        width: u32,
        /// From top to bottom, as stored.
        height: u32,
    },
    /// The picture is within the sides but not within the area, or its pixels are too deep for their number.
    #[error(
        "the picture is {width} x {height} pixels; at most {} are decoded, {} of a plain JPEG, fewer at 16 bits",
        Refusal::MAX_PIXELS,
        limits::MAX_WALKED_PIXELS
    )]
    TooManyPixels {
        /// From left to right, as stored.
        width: u32,
        /// From top to bottom, as stored.
        height: u32,
    },
    /// The bytes contradict themselves or end too early.
    #[error("the picture is damaged or cut short")]
    Corrupt,
    /// The picture is brighter than white, and nothing here knows how to show that.
    #[error("the picture has a high dynamic range, PQ or HLG; upload it as SDR")]
    HighDynamicRange,
    /// It takes more memory to decode than there is for all renders together.
    #[error("the picture takes {} MiB to decode, and there are {} for all pictures together", .bytes >> 20, .budget >> 20)]
    TooMuchMemory {
        /// What it takes.
        bytes: u64,
        /// What there is.
        budget: u64,
    },
    /// The decoder failed in a way that nobody foresaw, and would again.
    #[error("the decoder of {kind} fails on this picture")]
    Undecodable {
        /// The kind of picture.
        kind: &'static str,
    },
    /// It is not decoded when its time is over.
    #[error("the picture takes too long to decode")]
    OutOfTime,
    /// The encoder gave up, which it does only when it gets no memory.
    #[error("the variant could not be encoded")]
    Unencodable,
}

impl Refusal {
    /// Its name, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::SideTooLong { .. } => "side_too_long",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::Corrupt => "corrupt",
            Self::HighDynamicRange => "high_dynamic_range",
            Self::TooMuchMemory { .. } => "too_much_memory",
            Self::Undecodable { .. } => "undecodable",
            Self::OutOfTime => "out_of_time",
            Self::Unencodable => "unencodable",
        }
    }

    /// The longest side that is decoded, in pixels.
    pub const MAX_SIDE: u32 = limits::MAX_SIDE;
    /// The largest area that is decoded, in pixels.
    pub const MAX_PIXELS: u64 = limits::MAX_PIXELS;
}
