//! Intra prediction (RFC 6386, section 12).

use crate::transform::Subblocks;

/// How luma of a macroblock or its chroma is predicted as a whole (sections 12.2 and 12.3), in the order of
/// `kf_ymode_tree` and `uv_mode_tree` (section 11.2). The fifth luma mode, B_PRED, is
/// [`LumaMode::BPred`](crate::macroblock::LumaMode::BPred).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntraMode {
    /// DC_PRED: the mean of the row above and the column to the left.
    Dc,
    /// V_PRED: the row above.
    Vertical,
    /// H_PRED: the column to the left.
    Horizontal,
    /// TM_PRED, TrueMotion: the gradients of both continued.
    TrueMotion,
}

impl IntraMode {
    pub(crate) const ALL: [Self; 4] = [Self::Dc, Self::Vertical, Self::Horizontal, Self::TrueMotion];

    /// The subblock mode that a macroblock of this mode implies as the context of its neighbours (section 11.3).
    pub(crate) fn implied(self) -> SubblockMode {
        match self {
            Self::Dc => SubblockMode::Dc,
            Self::TrueMotion => SubblockMode::TrueMotion,
            Self::Vertical => SubblockMode::Vertical,
            Self::Horizontal => SubblockMode::Horizontal,
        }
    }
}

/// How a subblock of 4 x 4 luma samples is predicted (section 12.3), in the order in which `bmode_tree` (section 11.2)
/// reaches them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SubblockMode {
    /// B_DC_PRED.
    #[default]
    Dc,
    /// B_TM_PRED.
    TrueMotion,
    /// B_VE_PRED.
    Vertical,
    /// B_HE_PRED.
    Horizontal,
    /// B_RD_PRED.
    RightDown,
    /// B_VR_PRED.
    VerticalRight,
    /// B_LD_PRED.
    LeftDown,
    /// B_VL_PRED.
    VerticalLeft,
    /// B_HD_PRED.
    HorizontalDown,
    /// B_HU_PRED.
    HorizontalUp,
}

impl SubblockMode {
    pub(crate) const COUNT: usize = 10;

    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Dc,
        Self::TrueMotion,
        Self::Vertical,
        Self::Horizontal,
        Self::RightDown,
        Self::VerticalRight,
        Self::LeftDown,
        Self::VerticalLeft,
        Self::HorizontalDown,
        Self::HorizontalUp,
    ];
}

/// `N` x `N` samples, row by row.
pub(crate) type Square<const N: usize> = [[u8; N]; N];

/// Predicts a square from the samples above and to the left.
#[inline(always)]
pub(crate) fn predict<const N: usize>(mode: IntraMode, edges: &Edges<N>) -> Square<N> {
    match mode {
        IntraMode::Dc => [[edges.mean(); N]; N],
        IntraMode::Vertical => [edges.above; N],
        IntraMode::Horizontal => edges.left.map(|sample| [sample; N]),
        IntraMode::TrueMotion => edges.left.map(|left| {
            let base = i16::from(left) - i16::from(edges.corner);
            edges.above.map(|above| clamped(base + i16::from(above)))
        }),
    }
}

/// The samples around a square. Outside of the image they are 127 above and 129 to the left (section 12.2).
#[derive(Clone, Copy)]
pub(crate) struct Edges<const N: usize> {
    pub(crate) above: [u8; N],
    pub(crate) left: [u8; N],
    pub(crate) corner: u8,
    pub(crate) has_above: bool,
    pub(crate) has_left: bool,
}

impl<const N: usize> Edges<N> {
    /// The mean of the edges that are inside the image; 128 if none is (section 12.2).
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

/// The edge array E of section 12.3: from the lower left over the corner, at 4, to the upper right.
#[derive(Clone, Copy)]
pub(crate) struct SubblockEdges(pub(crate) [u8; 13]);

/// The predictions of a subblock in all modes: for each sample, row by row, that of each mode.
#[derive(Clone, Copy)]
pub(crate) struct SubblockPredictions([[u8; 16]; 16]);

// All samples of all modes are among a few values: the mean, the smoothed pairs and triples of adjacent edges, and TM's.
// These are their positions in `SubblockEdges::values`.
const MEAN: u8 = 0;
const PAIRS: u8 = 1;
const TRIPLES: u8 = PAIRS + 12;
const LAST_LEFT: u8 = TRIPLES + 13;
const TRUE_MOTION: u8 = LAST_LEFT + 1;
const VALUES: usize = TRUE_MOTION as usize + 16;

/// For each sample of a subblock and each mode, the position of its value.
const SOURCES: [[u8; 16]; 16] = sources();

#[expect(clippy::cast_possible_truncation, reason = "there are 16 samples")]
const fn sources() -> [[u8; 16]; 16] {
    // In the edge array, the left samples are 3 - y, the corner is 4 and the samples above are 5 + x. A pair is named by
    // its first edge, a triple by its middle one.
    let mut sources = [[MEAN; 16]; 16];
    let mut at = 0;
    while at < 16 {
        let (x, y) = (at as u8 % 4, at as u8 / 4);
        sources[at][SubblockMode::TrueMotion as usize] = TRUE_MOTION + at as u8;
        sources[at][SubblockMode::Vertical as usize] = TRIPLES + 5 + x;
        sources[at][SubblockMode::Horizontal as usize] = TRIPLES + 3 - y;
        sources[at][SubblockMode::RightDown as usize] = TRIPLES + 4 + x - y;
        sources[at][SubblockMode::VerticalRight as usize] = vertical_right(x, y);
        sources[at][SubblockMode::LeftDown as usize] = TRIPLES + 6 + x + y;
        sources[at][SubblockMode::VerticalLeft as usize] = vertical_left(x, y);
        sources[at][SubblockMode::HorizontalDown as usize] = horizontal_down(x, y);
        sources[at][SubblockMode::HorizontalUp as usize] = horizontal_up(x, y);
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

impl SubblockEdges {
    /// All values that a sample has in any mode.
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
        // The edges at both ends are repeated.
        values[usize::from(TRIPLES)] = triple(edges[0], edges[0], edges[1]);
        values[usize::from(TRIPLES) + 12] = triple(edges[11], edges[12], edges[12]);
        values[usize::from(LAST_LEFT)] = self.0[0];
        for y in 0..4 {
            let base = i16::from(self.0[3 - y]) - i16::from(self.0[4]);
            for x in 0..4 {
                values[usize::from(TRUE_MOTION) + y * 4 + x] = clamped(base + i16::from(self.0[5 + x]));
            }
        }
        values
    }

    #[inline(always)]
    pub(crate) fn predictions(&self) -> SubblockPredictions {
        let values = self.values();
        let mut predictions = [[0; 16]; 16];
        for (samples, sources) in predictions.iter_mut().zip(&SOURCES) {
            for (sample, &source) in samples.iter_mut().zip(sources).take(SubblockMode::COUNT) {
                *sample = values[usize::from(source)];
            }
        }
        SubblockPredictions(predictions)
    }
}

impl SubblockPredictions {
    /// The residue of the subblock in each mode.
    #[inline(always)]
    pub(crate) fn residues(&self, block: &[u8; 16]) -> Subblocks {
        let mut residues = [[0; 16]; 16];
        for ((residues, sample), predictions) in residues.iter_mut().zip(block).zip(&self.0) {
            for (residue, prediction) in residues.iter_mut().zip(predictions) {
                *residue = i16::from(*sample) - i16::from(*prediction);
            }
        }
        residues
    }

    #[inline(always)]
    pub(crate) fn of(&self, mode: SubblockMode) -> [u8; 16] {
        self.0.map(|samples| samples[mode as usize])
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a mean of samples is a sample")]
fn byte(mean: u16) -> u8 {
    mean as u8
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn clamped(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}
