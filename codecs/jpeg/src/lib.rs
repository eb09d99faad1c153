//! A JPEG decoder that yields planes at n/8 of the stored size, and a baseline encoder that takes planes.
//!
//! The standard is ITU-T T.81 (ISO/IEC 10918-1); JFIF is T.871. The modules use its terms, and cite its sections where
//! a rule comes from there. See the crate's README for why this exists beside `zune-jpeg` and `jpeg-encoder`.
#![deny(missing_docs)]

pub mod decode;
pub mod encode;
mod fixed;
mod input;
mod marker;
mod zigzag;

pub use self::{
    input::Input,
    marker::{CodingProcess, Marker},
};

/// Samples on a side of a block (A.1.1), before scaling.
const BLOCK_SIDE: usize = 8;

/// Coefficients of a block.
const BLOCK_SIZE: usize = BLOCK_SIDE * BLOCK_SIDE;

/// The size of an image in samples of its largest component: X and Y of the frame header (B.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Samples per line.
    pub width: u32,
    /// Number of lines.
    pub height: u32,
}
