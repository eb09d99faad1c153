//! Planes of samples in whole macroblocks.

use crate::predict::{Edges, Square, SubblockEdges};

/// The samples of a plane, with a border that predictions at the edges of the image use.
pub(crate) struct Plane {
    samples: Vec<u8>,
    stride: usize,
}

/// The border of each row: of the samples to the left only the last is used, of those to the right the first four.
const LEFT: usize = 16;
const RIGHT: usize = 16;

/// The border above and to the left (section 12.2).
const ABOVE_IMAGE: u8 = 127;
const LEFT_OF_IMAGE: u8 = 129;

impl Plane {
    /// A plane for reconstructed macroblocks.
    pub(crate) fn blank(width: usize, height: usize) -> Self {
        let stride = LEFT + width + RIGHT;
        let mut samples = vec![LEFT_OF_IMAGE; (height + 1) * stride];
        samples[..stride].fill(ABOVE_IMAGE);
        Self { samples, stride }
    }

    /// Rows of `width` samples, extended to `to_width` and `to_height` by repeating the last sample and the last row.
    pub(crate) fn extended(picture: &[u8], width: usize, (to_width, to_height): (usize, usize)) -> Self {
        let stride = LEFT + to_width + RIGHT;
        let mut samples = vec![0; (to_height + 1) * stride];
        let last = picture.chunks_exact(width).last().unwrap_or_default();
        let rows = picture.chunks_exact(width).chain(std::iter::repeat(last));
        for (to, from) in samples.chunks_exact_mut(stride).skip(1).zip(rows) {
            let to = &mut to[LEFT..LEFT + to_width];
            to[..width].copy_from_slice(from);
            to[width..].fill(from[width - 1]);
        }
        Self { samples, stride }
    }

    #[inline(always)]
    fn at(&self, x: usize, y: usize) -> usize {
        (y + 1) * self.stride + LEFT + x
    }

    #[inline(always)]
    pub(crate) fn square<const N: usize>(&self, x: usize, y: usize) -> Square<N> {
        let mut square = [[0; N]; N];
        for (down, row) in square.iter_mut().enumerate() {
            let at = self.at(x, y + down);
            row.copy_from_slice(&self.samples[at..at + N]);
        }
        square
    }

    /// A subblock, row by row.
    #[inline(always)]
    pub(crate) fn subblock(&self, x: usize, y: usize) -> [u8; 16] {
        let square: [[u8; 4]; 4] = self.square(x, y);
        let mut block = [0; 16];
        block.copy_from_slice(square.as_flattened());
        block
    }

    #[inline(always)]
    pub(crate) fn put_subblock(&mut self, x: usize, y: usize, block: &[u8; 16]) {
        for (down, row) in block.chunks_exact(4).enumerate() {
            let at = self.at(x, y + down);
            self.samples[at..at + 4].copy_from_slice(row);
        }
    }

    #[inline(always)]
    pub(crate) fn edges<const N: usize>(&self, x: usize, y: usize) -> Edges<N> {
        let above_at = self.at(x, y) - self.stride;
        let mut above = [0; N];
        above.copy_from_slice(&self.samples[above_at..above_at + N]);
        let mut left = [0; N];
        for (down, sample) in left.iter_mut().enumerate() {
            *sample = self.samples[self.at(x, y + down) - 1];
        }
        Edges { above, left, corner: self.samples[above_at - 1], has_above: y > 0, has_left: x > 0 }
    }

    /// The edges of a subblock, with these four samples above and to the right.
    #[inline(always)]
    pub(crate) fn subblock_edges(&self, x: usize, y: usize, above_right: [u8; 4]) -> SubblockEdges {
        let edges: Edges<4> = self.edges(x, y);
        let mut all = [0; 13];
        for (at, sample) in edges.left.iter().rev().enumerate() {
            all[at] = *sample;
        }
        all[4] = edges.corner;
        all[5..9].copy_from_slice(&edges.above);
        all[9..].copy_from_slice(&above_right);
        SubblockEdges(all)
    }

    /// The four samples above and to the right of a subblock.
    #[inline(always)]
    pub(crate) fn above_right(&self, x: usize, y: usize) -> [u8; 4] {
        let at = self.at(x, y) - self.stride + 4;
        let mut samples = [0; 4];
        samples.copy_from_slice(&self.samples[at..at + 4]);
        samples
    }

    /// The samples of the image without border and padding.
    #[cfg(test)]
    pub(crate) fn cropped(&self, width: usize, height: usize) -> Vec<u8> {
        (0..height).flat_map(|y| self.samples[self.at(0, y)..][..width].to_vec()).collect()
    }
}
