//! Planes of samples in whole macroblocks.

use super::predict::{Edges, SmallEdges, Square};

/// The samples of a plane, and a border of which blocks at the edges are predicted.
pub(super) struct Plane {
    samples: Vec<u8>,
    stride: usize,
}

/// Samples beside each row: of those to its left only the last is used, of those to its right the first four.
const LEFT: usize = 16;
const RIGHT: usize = 16;

impl Plane {
    /// What macroblocks are to be drawn on: outside of the picture it is 127 above, and 129 to the left. RFC 6386, section
    /// 12.2.
    pub(super) fn blank(width: usize, height: usize) -> Self {
        let stride = LEFT + width + RIGHT;
        let mut samples = vec![129; (height + 1) * stride];
        samples[..stride].fill(127);
        Self { samples, stride }
    }

    /// Rows of `width` samples, of which the last ones are repeated up to that size.
    pub(super) fn of(picture: &[u8], width: usize, (to_width, to_height): (usize, usize)) -> Self {
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
    pub(super) fn square<const N: usize>(&self, x: usize, y: usize) -> Square<N> {
        let mut square = [[0; N]; N];
        for (down, row) in square.iter_mut().enumerate() {
            let at = self.at(x, y + down);
            row.copy_from_slice(&self.samples[at..at + N]);
        }
        square
    }

    /// A block of 4 x 4, rows first.
    #[inline(always)]
    pub(super) fn block(&self, x: usize, y: usize) -> [u8; 16] {
        let square: [[u8; 4]; 4] = self.square(x, y);
        let mut block = [0; 16];
        block.copy_from_slice(square.as_flattened());
        block
    }

    #[inline(always)]
    pub(super) fn put_block(&mut self, x: usize, y: usize, block: &[u8; 16]) {
        for (down, row) in block.chunks_exact(4).enumerate() {
            let at = self.at(x, y + down);
            self.samples[at..at + 4].copy_from_slice(row);
        }
    }

    #[inline(always)]
    pub(super) fn edges<const N: usize>(&self, x: usize, y: usize) -> Edges<N> {
        let above_at = self.at(x, y) - self.stride;
        let mut above = [0; N];
        above.copy_from_slice(&self.samples[above_at..above_at + N]);
        let mut left = [0; N];
        for (down, sample) in left.iter_mut().enumerate() {
            *sample = self.samples[self.at(x, y + down) - 1];
        }
        Edges { above, left, corner: self.samples[above_at - 1], has_above: y > 0, has_left: x > 0 }
    }

    /// What is beside a block of 4 x 4, where the four samples to its upper right are these.
    #[inline(always)]
    pub(super) fn small_edges(&self, x: usize, y: usize, upper_right: [u8; 4]) -> SmallEdges {
        let edges: Edges<4> = self.edges(x, y);
        let mut all = [0; 13];
        for (at, sample) in edges.left.iter().rev().enumerate() {
            all[at] = *sample;
        }
        all[4] = edges.corner;
        all[5..9].copy_from_slice(&edges.above);
        all[9..].copy_from_slice(&upper_right);
        SmallEdges(all)
    }

    /// The four samples above and to the right of a block of 4 x 4.
    #[inline(always)]
    pub(super) fn upper_right(&self, x: usize, y: usize) -> [u8; 4] {
        let at = self.at(x, y) - self.stride + 4;
        let mut samples = [0; 4];
        samples.copy_from_slice(&self.samples[at..at + 4]);
        samples
    }

    /// The rows of the picture alone.
    #[cfg(test)]
    pub(super) fn cropped(&self, width: usize, height: usize) -> Vec<u8> {
        (0..height).flat_map(|y| self.samples[self.at(0, y)..][..width].to_vec()).collect()
    }
}
