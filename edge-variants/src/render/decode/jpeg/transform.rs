//! The inverse transforms of the lowest coefficients of a block, at the size that these are good for.
//!
//! A row of blocks is transformed at a time, many beside each other, in whole numbers of 16 bits: compilers make of that
//! what a processor has for vectors, and the samples are the same on every one.
#![expect(
    clippy::cast_possible_truncation,
    reason = "products are cut to their upper half, and samples clamped before"
)]

/// Blocks that are transformed beside each other.
const LANES: usize = 16;

type Lane<T> = [T; LANES];

/// How many bits coefficients have below the point.
const FRACTION: u32 = 2;

/// Beyond what 8-bit samples can yield.
const MOST: i32 = 2047;

/// The coefficients of a row of blocks, and the samples that become of them.
pub(super) struct Band {
    /// Samples on a side of a block.
    side: usize,
    /// By group of blocks, place in the block, block. The last place is for what is not wanted.
    coefficients: Vec<Lane<i16>>,
}

impl Band {
    pub(super) fn new(side: usize, blocks: usize) -> Self {
        Self { side, coefficients: vec![[0; LANES]; blocks.div_ceil(LANES) * (side * side + 1)] }
    }

    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// How many samples a row of so many blocks takes.
    pub(super) fn stride(side: usize, blocks: usize) -> usize {
        blocks.next_multiple_of(LANES) * side
    }

    /// The block of that number, to put coefficients into.
    #[inline(always)]
    pub(super) fn block(&mut self, number: usize) -> Block<'_> {
        let rows = self.side * self.side + 1;
        let first = number / LANES * rows;
        Block { rows: &mut self.coefficients[first..first + rows], lane: number % LANES }
    }

    /// Transforms what was put in, to rows of that many samples, and forgets it.
    pub(super) fn finish(&mut self, samples: &mut [u8], stride: usize) {
        match self.side {
            2 => self.transform::<2, 4>(samples, stride, pair),
            3 => self.transform::<3, 9>(samples, stride, three),
            _ => self.transform::<4, 16>(samples, stride, four),
        }
    }

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "a lane is a place in each row of the block")]
    fn transform<const SIDE: usize, const AREA: usize>(
        &mut self,
        samples: &mut [u8],
        stride: usize,
        line: impl Fn([i16; SIDE]) -> [i16; SIDE],
    ) {
        for (number, group) in self.coefficients.chunks_exact_mut(AREA + 1).enumerate() {
            let Some(block) = group.first_chunk_mut::<AREA>() else { return };
            for x in 0..SIDE {
                for lane in 0..LANES {
                    let column = line(std::array::from_fn(|y| block[y * SIDE + x][lane]));
                    for y in 0..SIDE {
                        block[y * SIDE + x][lane] = column[y];
                    }
                }
            }
            for y in 0..SIDE {
                let mut row = [[0_u8; LANES]; SIDE];
                for lane in 0..LANES {
                    let sums = line(std::array::from_fn(|x| block[y * SIDE + x][lane]));
                    for x in 0..SIDE {
                        row[x][lane] = sample_of(sums[x]);
                    }
                }
                let start = y * stride + number * LANES * SIDE;
                let Some(target) = samples.get_mut(start..start + LANES * SIDE) else { continue };
                for (lane, target) in target.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
                    *target = std::array::from_fn(|x| row[x][lane]);
                }
            }
            *block = [[0; LANES]; AREA];
        }
    }
}

/// One block of a band.
pub(super) struct Block<'a> {
    rows: &'a mut [Lane<i16>],
    lane: usize,
}

impl Block<'_> {
    #[inline(always)]
    pub(super) fn put(&mut self, place: usize, value: i32, step: i32) {
        let value = value.wrapping_mul(step).clamp(-MOST, MOST) << FRACTION;
        self.rows[place][self.lane] = value as i16;
    }
}

/// The sample of a block of which only the mean is known.
#[inline(always)]
pub(super) fn mean(value: i32, step: i32) -> u8 {
    sample_of((value.wrapping_mul(step).clamp(-MOST, MOST) << FRACTION) as i16)
}

/// From eighths about zero to a sample.
#[inline(always)]
fn sample_of(eighths: i16) -> u8 {
    ((eighths.saturating_add(4 << FRACTION) >> (3 + FRACTION)) + 128).clamp(0, 255) as u8
}

/// `value * factor / 2^16`, downwards.
#[inline(always)]
fn times(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}

fn pair([a, b]: [i16; 2]) -> [i16; 2] {
    [a.saturating_add(b), a.saturating_sub(b)]
}

#[inline(always)]
fn three([a, b, c]: [i16; 3]) -> [i16; 3] {
    /// The root of a half, less one.
    const HALF_ROOT: i16 = -19_195;
    /// The root of one and a half, less one.
    const ODD: i16 = 14_730;

    let half = c.saturating_add(times(c, HALF_ROOT));
    let odd = b.saturating_add(times(b, ODD));
    let even = a.saturating_add(half);
    [even.saturating_add(odd), a.saturating_sub(half).saturating_sub(half), even.saturating_sub(odd)]
}

#[inline(always)]
fn four([a, b, c, d]: [i16; 4]) -> [i16; 4] {
    /// The root of 2 times the cosine of an eighth of pi, less one.
    const LARGE: i16 = 20_091;
    /// The root of 2 times the cosine of three eighths of pi, less one.
    const SMALL: i16 = -30_068;

    let large = |value: i16| value.saturating_add(times(value, LARGE));
    let small = |value: i16| value.saturating_add(times(value, SMALL));
    let (even, odd) = (a.saturating_add(c), a.saturating_sub(c));
    let (outer, inner) = (large(b).saturating_add(small(d)), small(b).saturating_sub(large(d)));
    [even.saturating_add(outer), odd.saturating_add(inner), odd.saturating_sub(inner), even.saturating_sub(outer)]
}
