//! An encoder of VP8 key frames, the lossy half of WebP.
//!
//! The standard is RFC 6386, whose terms and sections the modules use. The encoder does what libwebp does at its method 4
//! in half of the time, at slightly better quality for equal bytes. Sixteen subblocks, or sixteen predictions of one, are
//! transformed and estimated side by side, in arrays that compilers turn into vector instructions; only the best are
//! counted bit by bit. Distortion is measured on coefficients, so only what was chosen is transformed back. All arithmetic
//! is in whole numbers: the same planes become the same bytes everywhere.
#![deny(missing_docs)]

mod bool_encoder;
mod frame_header;
mod macroblock;
mod plane;
mod predict;
mod quantization;
mod segments;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;
mod transform;
mod tuning;

pub use self::tuning::{Quantization, Tuning};
use self::{
    macroblock::{Context, Contexts, FrameEncoder, Macroblock, Planes, Prices},
    plane::Plane,
    quantization::Quantizer,
    segments::Segments,
    tokens::Tokens,
};

/// The longest side of an image, in pixels (section 9.1).
const MAX_SIDE: usize = (1 << 14) - 1;

/// The most bytes of the first partition (section 9.1).
const MAX_FIRST_PARTITION: usize = (1 << 19) - 1;

/// An image to be encoded: samples of BT.601 in its limited range, row by row without gaps.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    width: usize,
    height: usize,
    planes: [&'a [u8]; 3],
}

impl<'a> Image<'a> {
    /// An image of this size. The planes are Y, and U and V at half the width and height, rounded up. `None` if a plane
    /// has another size, or a side is 0 or above 16,383.
    pub fn new(width: usize, height: usize, planes: [&'a [u8]; 3]) -> Option<Self> {
        let sides = 1..=MAX_SIDE;
        let half = width.div_ceil(2) * height.div_ceil(2);
        let fits = sides.contains(&width)
            && sides.contains(&height)
            && planes.map(<[u8]>::len) == [width * height, half, half];
        fits.then_some(Self { width, height, planes })
    }

    /// Macroblocks across and down.
    fn macroblocks(&self) -> (usize, usize) {
        (self.width.div_ceil(16), self.height.div_ceil(16))
    }
}

/// Encodes a key frame. `None` if its modes do not fit the first partition, not even without B_PRED.
pub fn encode(image: &Image<'_>, quantization: Quantization) -> Option<Vec<u8>> {
    encode_with(image, quantization, &Tuning::DEFAULT)
}

/// Encodes a key frame with other constants than the default.
pub fn encode_with(image: &Image<'_>, quantization: Quantization, tuning: &Tuning) -> Option<Vec<u8>> {
    // The modes of subblocks take most of the first partition, and too much of it in very large images.
    [true, false]
        .into_iter()
        .find_map(|bpred| Frame::new(image, quantization, tuning, bpred).to_bytes(tuning, MAX_FIRST_PARTITION))
}

/// A frame before it is written.
struct Frame {
    size: [usize; 2],
    segments: Segments,
    macroblocks: Vec<Macroblock>,
    tokens: Tokens,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it with what a decoder makes"))]
    reconstructed: Planes,
}

impl Frame {
    fn new(image: &Image<'_>, quantization: Quantization, tuning: &Tuning, allows_bpred: bool) -> Self {
        let (columns, rows) = image.macroblocks();
        let [y, u, v] = image.planes;
        let luma = Plane::extended(y, image.width, (columns * 16, rows * 16));
        let chroma = [u, v].map(|plane| Plane::extended(plane, image.width.div_ceil(2), (columns * 8, rows * 8)));
        let segments = Segments::of(&luma, columns, rows, quantization, tuning);
        let quantizers = segments.indices.map(|index| Quantizer::new(index, tuning));

        let blank = |side| Plane::blank(columns * side, rows * side);
        let mut encoder = FrameEncoder {
            source: Planes { luma, chroma },
            reconstructed: Planes { luma: blank(16), chroma: [blank(8), blank(8)] },
            tokens: Tokens::new(),
            columns,
            allows_bpred,
            y2_token_rate: tuning.y2_token_rate.into(),
        };
        let mut macroblocks = Vec::with_capacity(columns * rows);
        let mut prices = Prices::of(&encoder.tokens);
        let mut above = vec![Context::default(); columns];
        for row in 0..rows {
            let mut left = Context::default();
            for (column, above) in above.iter_mut().enumerate() {
                if is_repricing(macroblocks.len(), columns * rows) {
                    prices = Prices::of(&encoder.tokens);
                }
                let quantizer = &quantizers[usize::from(segments.of[macroblocks.len()])];
                let mut contexts = Contexts { above, left: &mut left };
                macroblocks.push(encoder.encode((column, row), quantizer, &prices, &mut contexts));
            }
        }
        let FrameEncoder { reconstructed, tokens, .. } = encoder;
        Self { size: [image.width, image.height], segments, macroblocks, tokens, reconstructed }
    }

    /// Writes the frame (section 9.1). `None` if the first partition has more than `max_first_partition` bytes.
    fn to_bytes(&self, tuning: &Tuning, max_first_partition: usize) -> Option<Vec<u8>> {
        const SHOW_FRAME: usize = 1 << 4;
        const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

        let columns = self.size[0].div_ceil(16);
        let updates = self.tokens.prob_updates();
        let first = frame_header::write(&self.segments, &updates, &self.macroblocks, columns, tuning);
        if first.len() > max_first_partition {
            return None;
        }
        let second = self.tokens.write(&updates);
        let tag = (first.len() << 5 | SHOW_FRAME).to_le_bytes();
        let sides = self.size.map(|side| u16::try_from(side).expect("sides have 14 bits").to_le_bytes());
        Some([&tag[..3], &START_CODE, sides.as_flattened(), &first, &second].concat())
    }
}

/// Whether to estimate the prices of tokens anew after `done` of `all` macroblocks: often at first, then at every eighth
/// of the image.
fn is_repricing(done: usize, all: usize) -> bool {
    const FEW: usize = 16;

    done >= FEW && (done.is_power_of_two() || done.is_multiple_of((all / 8).max(FEW)))
}
