//! Predictions of blocks from their neighbours, RFC 6386, section 12.

use super::transform::Blocks;

/// How a block of 16 x 16 luma, or of 8 x 8 of the differences, is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Mean,
    Vertical,
    Horizontal,
    Gradient,
}

impl Mode {
    pub(super) const ALL: [Self; 4] = [Self::Mean, Self::Vertical, Self::Horizontal, Self::Gradient];

    /// As what a block of this kind counts where the modes of the small blocks beside it are predicted.
    pub(super) fn as_small(self) -> SmallMode {
        match self {
            Self::Mean => 0,
            Self::Gradient => 1,
            Self::Vertical => 2,
            Self::Horizontal => 3,
        }
    }
}

/// How a block of 4 x 4 is predicted, as [`super::tables`] numbers it.
pub(super) type SmallMode = u8;

/// How many ways there are to predict a block of 4 x 4.
pub(super) const SMALL_MODE_COUNT: usize = 10;

/// `N` x `N` samples, row by row.
pub(super) type Square<const N: usize> = [[u8; N]; N];

/// Predicts a square from the samples above and to the left.
#[inline(always)]
pub(super) fn square<const N: usize>(mode: Mode, edges: &Edges<N>) -> Square<N> {
    match mode {
        Mode::Mean => [[edges.mean(); N]; N],
        Mode::Vertical => [edges.above; N],
        Mode::Horizontal => edges.left.map(|sample| [sample; N]),
        Mode::Gradient => edges.left.map(|left| {
            let base = i16::from(left) - i16::from(edges.corner);
            edges.above.map(|above| clipped(base + i16::from(above)))
        }),
    }
}

/// What is beside a square. Outside of the picture it is 127 above, and 129 to the left.
#[derive(Clone, Copy)]
pub(super) struct Edges<const N: usize> {
    pub(super) above: [u8; N],
    pub(super) left: [u8; N],
    pub(super) corner: u8,
    pub(super) has_above: bool,
    pub(super) has_left: bool,
}

impl<const N: usize> Edges<N> {
    fn mean(&self) -> u8 {
        let sum = |side: &[u8; N]| side.iter().map(|&sample| usize::from(sample)).sum::<usize>();
        let mean = match (self.has_above, self.has_left) {
            (true, true) => (sum(&self.above) + sum(&self.left) + N) / (2 * N),
            (true, false) => (sum(&self.above) + N / 2) / N,
            (false, true) => (sum(&self.left) + N / 2) / N,
            (false, false) => 128,
        };
        u8::try_from(mean).expect("a mean of samples is a sample")
    }
}

/// What is beside a block of 4 x 4: from the lower left over the corner to the upper right.
#[derive(Clone, Copy)]
pub(super) struct SmallEdges(pub(super) [u8; 13]);

/// The predictions of a block of 4 x 4, side by side: for each sample, rows first, that of each mode.
#[derive(Clone, Copy)]
pub(super) struct SmallPredictions([[u8; 16]; 16]);

/// Where in [`SmallEdges::values`] things are.
const MEAN: u8 = 0;
const PAIRS: u8 = 1;
const TRIPLES: u8 = PAIRS + 12;
const LAST_LEFT: u8 = TRIPLES + 13;
const GRADIENT: u8 = LAST_LEFT + 1;
const VALUES: usize = GRADIENT as usize + 16;

/// For each sample of a block and each mode, which of the values it is.
const SOURCES: [[u8; 16]; 16] = sources();

#[expect(clippy::cast_possible_truncation, reason = "there are 16 samples")]
const fn sources() -> [[u8; 16]; 16] {
    // Edges count from the lower left: the left samples are 3 - y, the corner is 4, those above are 5 + x. A pair is
    // named by its first edge, a triple by the one in its middle.
    let mut sources = [[MEAN; 16]; 16];
    let mut at = 0;
    while at < 16 {
        let (x, y) = (at as u8 % 4, at as u8 / 4);
        sources[at][1] = GRADIENT + at as u8;
        sources[at][2] = TRIPLES + 5 + x;
        sources[at][3] = TRIPLES + 3 - y;
        sources[at][4] = TRIPLES + 4 + x - y;
        sources[at][5] = vertical_right(x, y);
        sources[at][6] = TRIPLES + 6 + x + y;
        sources[at][7] = vertical_left(x, y);
        sources[at][8] = horizontal_down(x, y);
        sources[at][9] = horizontal_up(x, y);
        at += 1;
    }
    sources
}

const fn vertical_right(x: u8, y: u8) -> u8 {
    if 2 * x < y && y - 2 * x > 1 {
        TRIPLES + 5 + 2 * x - y
    } else if y.is_multiple_of(2) {
        PAIRS + 4 + x - y / 2
    } else {
        TRIPLES + 4 + x - y / 2
    }
}

const fn vertical_left(x: u8, y: u8) -> u8 {
    match (x, y) {
        (3, 2) => TRIPLES + 10,
        (3, 3) => TRIPLES + 11,
        _ if y.is_multiple_of(2) => PAIRS + 5 + x + y / 2,
        _ => TRIPLES + 6 + x + y / 2,
    }
}

const fn horizontal_down(x: u8, y: u8) -> u8 {
    if x > 2 * y + 1 {
        TRIPLES + 3 + x - 2 * y
    } else if x.is_multiple_of(2) {
        PAIRS + 3 + x / 2 - y
    } else {
        TRIPLES + 4 + x / 2 - y
    }
}

const fn horizontal_up(x: u8, y: u8) -> u8 {
    let along = x + 2 * y;
    if along > 5 {
        LAST_LEFT
    } else if along == 5 {
        TRIPLES
    } else if along.is_multiple_of(2) {
        PAIRS + 2 - along / 2
    } else {
        TRIPLES + 2 - along / 2
    }
}

impl SmallEdges {
    /// All values that a sample is predicted as in any mode.
    #[inline(always)]
    fn values(&self) -> [u8; VALUES] {
        let edges = self.0.map(u16::from);
        let mut values = [0; VALUES];
        let sum: u16 = edges[..4].iter().sum::<u16>() + edges[5..9].iter().sum::<u16>();
        values[usize::from(MEAN)] = byte((sum + 4) >> 3);
        for at in 0..12 {
            values[usize::from(PAIRS) + at] = byte((edges[at] + edges[at + 1] + 1) >> 1);
        }
        let triple = |a: u16, b: u16, c: u16| byte((a + 2 * b + c + 2) >> 2);
        for at in 1..12 {
            values[usize::from(TRIPLES) + at] = triple(edges[at - 1], edges[at], edges[at + 1]);
        }
        // Beyond the ends they go on as they are.
        values[usize::from(TRIPLES)] = triple(edges[0], edges[0], edges[1]);
        values[usize::from(TRIPLES) + 12] = triple(edges[11], edges[12], edges[12]);
        values[usize::from(LAST_LEFT)] = self.0[0];
        for y in 0..4 {
            let base = i16::from(self.0[3 - y]) - i16::from(self.0[4]);
            for x in 0..4 {
                values[usize::from(GRADIENT) + y * 4 + x] = clipped(base + i16::from(self.0[5 + x]));
            }
        }
        values
    }

    #[inline(always)]
    pub(super) fn predictions(&self) -> SmallPredictions {
        let values = self.values();
        let mut predictions = [[0; 16]; 16];
        for (samples, sources) in predictions.iter_mut().zip(&SOURCES) {
            for (sample, &source) in samples.iter_mut().zip(sources).take(SMALL_MODE_COUNT) {
                *sample = values[usize::from(source)];
            }
        }
        SmallPredictions(predictions)
    }
}

impl SmallPredictions {
    /// What each mode leaves of the block.
    #[inline(always)]
    pub(super) fn differences(&self, block: &[u8; 16]) -> Blocks {
        let mut differences = [[0; 16]; 16];
        for ((differences, sample), predictions) in differences.iter_mut().zip(block).zip(&self.0) {
            for (difference, prediction) in differences.iter_mut().zip(predictions) {
                *difference = i16::from(*sample) - i16::from(*prediction);
            }
        }
        differences
    }

    #[inline(always)]
    pub(super) fn of(&self, mode: SmallMode) -> [u8; 16] {
        self.0.map(|samples| samples[usize::from(mode)])
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a mean of samples is a sample")]
fn byte(mean: u16) -> u8 {
    mean as u8
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn clipped(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}
