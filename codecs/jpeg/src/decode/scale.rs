//! The sizes at which an image is decoded.
#![expect(clippy::cast_possible_truncation, reason = "positions are within a block")]

use crate::{BLOCK_SIDE, zigzag::ZIGZAG};

/// The size of a decoded plane, in eighths of the stored size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One sample for each block: its DC coefficient.
    Eighth = 1,
    /// 2 x 2 samples for each block.
    Quarter = 2,
    /// 3 x 3 samples for each block.
    ThreeEighths = 3,
    /// 4 x 4 samples for each block.
    Half = 4,
    /// All samples.
    Full = 8,
}

impl Scale {
    /// Smallest first.
    pub const ALL: [Self; 5] = [Self::Eighth, Self::Quarter, Self::ThreeEighths, Self::Half, Self::Full];

    /// Samples on a side of a block.
    pub const fn side(self) -> usize {
        self as usize
    }

    /// This scale, or a half if that is smaller.
    #[must_use]
    pub fn at_most_half(self) -> Self {
        if self == Self::Full { Self::Half } else { self }
    }

    /// The number of coefficients, in zig-zag order, that include all that the transform takes.
    pub(super) const fn wanted(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 5,
            Self::ThreeEighths => 13,
            Self::Half => 25,
            Self::Full => 64,
        }
    }

    /// These coefficients, one bit for each.
    pub(super) fn coefficients(self) -> u64 {
        u64::MAX >> (64 - self.wanted())
    }

    /// Twice the scale or, of three eighths, a half; at most a half.
    fn doubled(self) -> Self {
        match self {
            Self::Eighth => Self::Quarter,
            Self::Quarter | Self::ThreeEighths => Self::Half,
            Self::Half | Self::Full => self,
        }
    }

    pub(super) fn positions(self) -> Positions {
        let side = self.side();
        let mut positions = [(side * side) as u8; 128];
        for (position, source) in positions.iter_mut().zip(ZIGZAG) {
            let (x, y) = (usize::from(source) % BLOCK_SIDE, usize::from(source) / BLOCK_SIDE);
            if x < side && y < side {
                *position = (y * side + x) as u8;
            }
        }
        positions
    }
}

/// The position of each coefficient in a block of the scale, by zig-zag order. It covers indices beyond a block, which
/// damaged data have. Coefficients that the scale does not use stand behind the block.
pub(super) type Positions = [u8; 128];

/// The scales of an image's components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// Of luma, and of chroma that is not subsampled both ways.
    pub(super) full: Scale,
    /// Of chroma that has at most half of the samples both ways.
    pub(super) subsampled: Scale,
}

impl Scales {
    /// The same for all components: for a result whose chroma is subsampled as well.
    pub fn uniform(scale: Scale) -> Self {
        Self { full: scale, subsampled: scale }
    }

    /// Subsampled chroma at twice the scale, up to a half: for a result with a colour for each pixel.
    pub fn with_full_chroma(scale: Scale) -> Self {
        Self { full: scale, subsampled: scale.doubled() }
    }
}
