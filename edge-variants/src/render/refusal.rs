//! Why an original has no variant.

use super::limits;

/// Why an original has no variant. Rendering it again would fail in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an image, or of a kind that is not supported.
    #[error("variants are made from JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP and ICO")]
    Unsupported,
    /// A side is longer than [`Refusal::MAX_SIDE`].
    #[error("the picture is {width} x {height} pixels; a side may have {}", Refusal::MAX_SIDE)]
    SideTooLong {
        /// The stored width.
        width: u32,
        /// The stored height.
        height: u32,
    },
    /// The sides are within the limit, but the area is not, or not at this depth.
    #[error(
        "the picture is {width} x {height} pixels; at most {} are decoded, {} of a plain JPEG, fewer at 16 bits",
        Refusal::MAX_PIXELS,
        limits::MAX_WALKED_PIXELS
    )]
    TooManyPixels {
        /// The stored width.
        width: u32,
        /// The stored height.
        height: u32,
    },
    /// The file contradicts itself or ends too early.
    #[error("the picture is damaged or cut short")]
    Corrupt,
    /// A high dynamic range, for which there is no tone mapping here.
    #[error("the picture has a high dynamic range, PQ or HLG; upload it as SDR")]
    HighDynamicRange,
    /// Decoding takes more memory than all renders together have.
    #[error("the picture takes {} MiB to decode, and there are {} for all pictures together", .bytes >> 20, .budget >> 20)]
    TooMuchMemory {
        /// The memory that it takes, in bytes.
        bytes: u64,
        /// The memory of all renders together, in bytes.
        budget: u64,
    },
    /// The decoder panicked, and would again.
    #[error("the decoder of {kind} fails on this picture")]
    Undecodable {
        /// The kind of image.
        kind: &'static str,
    },
    /// Decoding did not finish in time.
    #[error("the picture takes too long to decode")]
    OutOfTime,
    /// The encoder failed, which it does only without memory.
    #[error("the variant could not be encoded")]
    Unencodable,
}

impl Refusal {
    /// The code of this refusal, for programs.
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
