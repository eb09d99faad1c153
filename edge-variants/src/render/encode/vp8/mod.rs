//! Pictures of VP8, the lossy half of WebP, RFC 6386: one key frame of three planes.
//!
//! It makes what libwebp makes at its method 4 in half of the time, and looks a little better at equal bytes, because it
//! does more things at once and fewer of them. Sixteen blocks, or sixteen ways to predict one, are transformed and
//! estimated side by side, in arrays that compilers make vector instructions of; only the best are counted bit by bit.
//! Losses are taken from coefficients, so only what was chosen is ever transformed back. Whole numbers only: the same
//! planes make the same bytes everywhere.

mod bits;
mod header;
mod macroblock;
mod plane;
mod predict;
mod quantize;
mod segments;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;
mod transform;

use self::{
    macroblock::{Beside, Choice, Macroblocks, Neighbours, Planes, Prices},
    plane::Plane,
    quantize::Quantizer,
    segments::Segments,
    tokens::Tokens,
};

pub(super) use self::quantize::Fineness;

/// The longest side of a picture, in pixels: RFC 6386, section 9.1.
const MAX_SIDE: usize = (1 << 14) - 1;

/// The most bytes of the first partition: RFC 6386, section 9.1.
const MAX_FIRST: usize = (1 << 19) - 1;

/// Luma, and two differences of half as many samples each way, rounded up: by BT.601 in its limited range, row by row
/// without gaps.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    width: usize,
    height: usize,
    planes: [&'a [u8]; 3],
}

impl<'a> Picture<'a> {
    /// A picture of that size, unless the planes have another, or a side is longer than the format knows.
    pub(super) fn new(width: usize, height: usize, planes: [&'a [u8]; 3]) -> Option<Self> {
        let sides = 1..=MAX_SIDE;
        let half = width.div_ceil(2) * height.div_ceil(2);
        let fits = sides.contains(&width)
            && sides.contains(&height)
            && planes.map(<[u8]>::len) == [width * height, half, half];
        fits.then_some(Self { width, height, planes })
    }

    /// Macroblocks from left to right and from top to bottom.
    fn macroblocks(&self) -> (usize, usize) {
        (self.width.div_ceil(16), self.height.div_ceil(16))
    }
}

/// Encodes a key frame, unless it is larger than the format knows.
pub(super) fn encode(picture: &Picture<'_>, fineness: Fineness) -> Option<Vec<u8>> {
    // What predicts small blocks takes most of the first partition, and is too much for it in very large pictures.
    [true, false].into_iter().find_map(|may_be_small| Frame::new(picture, fineness, may_be_small).to_bytes(MAX_FIRST))
}

/// A frame before it is written.
struct Frame {
    size: [usize; 2],
    segments: Segments,
    choices: Vec<Choice>,
    tokens: Tokens,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it with what a decoder makes"))]
    made: Planes,
}

impl Frame {
    fn new(picture: &Picture<'_>, fineness: Fineness, may_be_small: bool) -> Self {
        let (columns, rows) = picture.macroblocks();
        let [luma, blue, red] = picture.planes;
        let luma = Plane::of(luma, picture.width, (columns * 16, rows * 16));
        let chroma = [blue, red].map(|plane| Plane::of(plane, picture.width.div_ceil(2), (columns * 8, rows * 8)));
        let segments = Segments::of(&luma, columns, rows, fineness);
        let quantizers = segments.indices.map(Quantizer::new);

        let blank = |side| Plane::blank(columns * side, rows * side);
        let mut macroblocks = Macroblocks {
            source: Planes { luma, chroma },
            made: Planes { luma: blank(16), chroma: [blank(8), blank(8)] },
            tokens: Tokens::new(),
            columns,
            may_be_small,
        };
        let mut choices = Vec::with_capacity(columns * rows);
        let mut prices = Prices::of(&macroblocks.tokens);
        let mut above = vec![Beside::default(); columns];
        for row in 0..rows {
            let mut left = Beside::default();
            for (column, above) in above.iter_mut().enumerate() {
                if is_news(choices.len(), columns * rows) {
                    prices = Prices::of(&macroblocks.tokens);
                }
                let quantizer = &quantizers[usize::from(segments.of[choices.len()])];
                let mut beside = Neighbours { above, left: &mut left };
                choices.push(macroblocks.encode((column, row), quantizer, &prices, &mut beside));
            }
        }
        let Macroblocks { made, tokens, .. } = macroblocks;
        Self { size: [picture.width, picture.height], segments, choices, tokens, made }
    }

    /// RFC 6386, section 9.1, unless the first partition is larger than that.
    fn to_bytes(&self, max_first: usize) -> Option<Vec<u8>> {
        const SHOWN: usize = 1 << 4;
        const START: [u8; 3] = [0x9d, 0x01, 0x2a];

        let columns = self.size[0].div_ceil(16);
        let probabilities = self.tokens.probabilities();
        let first = header::write(&self.segments, &probabilities, &self.choices, columns);
        if first.len() > max_first {
            return None;
        }
        let second = self.tokens.write(&probabilities);
        let tag = (first.len() << 5 | SHOWN).to_le_bytes();
        let sides = self.size.map(|side| u16::try_from(side).expect("sides have 14 bits").to_le_bytes());
        Some([&tag[..3], &START, sides.as_flattened(), &first, &second].concat())
    }
}

/// Whether to look again what levels take, after so many macroblocks of so many: often while little is known, and at
/// every eighth of the picture.
fn is_news(done: usize, of: usize) -> bool {
    const FEW: usize = 16;

    done >= FEW && (done.is_power_of_two() || done.is_multiple_of((of / 8).max(FEW)))
}
