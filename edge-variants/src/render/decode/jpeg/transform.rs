//! The inverse transforms of the lowest coefficients of a block, at the size that these are good for.
//!
//! A row of blocks is transformed at a time, many beside each other, in whole numbers of 16 bits: compilers make of that
//! what a processor has for vectors, and the samples are the same on every one.
#![expect(
    clippy::cast_possible_truncation,
    reason = "products are cut to their upper half, and samples clamped before"
)]

use crate::render::fixed::times;

/// Blocks that are transformed beside each other.
const LANES: usize = 16;

type Lane<T> = [T; LANES];

/// How many bits coefficients have below the point when they are transformed.
const FRACTION: u32 = 2;

/// Beyond what 8-bit samples can yield.
const MOST: i16 = 2047;

/// What one of each coefficient of a block counts, of the largest block there is.
pub(super) type Steps = [u8; 64];

/// The coefficients of a row of blocks, and the samples that become of them.
pub(super) struct Band {
    /// Samples on a side of a block.
    side: usize,
    /// As the file has them, in steps, by group of blocks, place in the block, block. The last place is for what is not
    /// wanted.
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
        let first = number / LANES * (self.side * self.side + 1) * LANES + number % LANES;
        Block(&mut self.coefficients.as_flattened_mut()[first..])
    }

    /// Puts in whole blocks, one after the other.
    pub(super) fn fill(&mut self, blocks: &[i16]) {
        let area = self.side * self.side;
        let groups = self.coefficients.chunks_exact_mut(area + 1);
        for (group, blocks) in groups.zip(blocks.chunks(area * LANES)) {
            for (lane, block) in blocks.chunks_exact(area).enumerate() {
                for (place, value) in group.iter_mut().zip(block) {
                    place[lane] = *value;
                }
            }
        }
    }

    /// Transforms what was put in, to rows of that many samples, and forgets it. Each place has a step of its own.
    pub(super) fn finish(&mut self, samples: &mut [u8], stride: usize, steps: &Steps) {
        match self.side {
            1 => self.transform::<1, 1>(samples, stride, steps, |means| means),
            2 => self.transform::<2, 4>(samples, stride, steps, in_lanes(pair)),
            3 => self.transform::<3, 9>(samples, stride, steps, in_lanes(three)),
            4 => self.transform::<4, 16>(samples, stride, steps, in_lanes(four)),
            _ => self.transform::<8, 64>(samples, stride, steps, in_lanes(eight)),
        }
    }

    #[inline(always)]
    fn transform<const SIDE: usize, const AREA: usize>(
        &mut self,
        samples: &mut [u8],
        stride: usize,
        steps: &Steps,
        line: impl Fn([Lane<i16>; SIDE]) -> [Lane<i16>; SIDE],
    ) {
        let steps: [Step; AREA] = std::array::from_fn(|place| Step::new(steps[place]));
        for (number, group) in self.coefficients.chunks_exact_mut(AREA + 1).enumerate() {
            let Some(block) = group.first_chunk_mut::<AREA>() else { return };
            for (lane, step) in block.iter_mut().zip(&steps) {
                *lane = lane.map(|value| step.scale(value));
            }
            for x in 0..SIDE {
                let column = line(std::array::from_fn(|y| block[y * SIDE + x]));
                for (y, sums) in column.into_iter().enumerate() {
                    block[y * SIDE + x] = sums;
                }
            }
            for y in 0..SIDE {
                let row = line(std::array::from_fn(|x| block[y * SIDE + x])).map(|sums| sums.map(sample_of));
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

/// What a coefficient counts.
struct Step {
    step: i16,
    /// More of them are beyond [`MOST`], and would be beyond 16 bits.
    most: i16,
}

impl Step {
    fn new(step: u8) -> Self {
        let step = i16::from(step);
        Self { step, most: MOST / step.max(1) + 1 }
    }

    /// So many steps, as they are transformed.
    #[inline(always)]
    fn scale(&self, value: i16) -> i16 {
        (value.clamp(-self.most, self.most) * self.step).clamp(-MOST, MOST) << FRACTION
    }
}

/// One block of a band: every so manyth of the coefficients from its first on.
pub(super) struct Block<'a>(&'a mut [i16]);

impl Block<'_> {
    #[inline(always)]
    pub(super) fn put(&mut self, place: usize, value: i16) {
        if let Some(coefficient) = self.0.get_mut(place * LANES) {
            *coefficient = value;
        }
    }
}

#[inline(always)]
pub(super) fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// From eighths about zero to a sample.
#[inline(always)]
fn sample_of(eighths: i16) -> u8 {
    ((eighths.saturating_add(4 << FRACTION) >> (3 + FRACTION)) + 128).clamp(0, 255) as u8
}

/// [`times`] a factor that is larger by one.
#[inline(always)]
fn times_more(value: i16, factor: i16) -> i16 {
    value.saturating_add(times(value, factor))
}

#[inline(always)]
fn pair([a, b]: [i16; 2]) -> [i16; 2] {
    [a.saturating_add(b), a.saturating_sub(b)]
}

#[inline(always)]
fn three([a, b, c]: [i16; 3]) -> [i16; 3] {
    /// The root of a half, less one.
    const HALF_ROOT: i16 = -19_195;
    /// The root of one and a half, less one.
    const ODD: i16 = 14_730;

    let (odd, half) = (times_more(b, ODD), times_more(c, HALF_ROOT));
    let even = a.saturating_add(half);
    [even.saturating_add(odd), a.saturating_sub(half).saturating_sub(half), even.saturating_sub(odd)]
}

#[inline(always)]
fn four([a, b, c, d]: [i16; 4]) -> [i16; 4] {
    /// The root of 2 times the cosine of an eighth of pi, less one.
    const LARGE: i16 = 20_091;
    /// The root of 2 times the cosine of three eighths of pi, less one.
    const SMALL: i16 = -30_068;

    let (even, odd) = (a.saturating_add(c), a.saturating_sub(c));
    let outer = times_more(b, LARGE).saturating_add(times_more(d, SMALL));
    let inner = times_more(b, SMALL).saturating_sub(times_more(d, LARGE));
    [even.saturating_add(outer), odd.saturating_add(inner), odd.saturating_sub(inner), even.saturating_sub(outer)]
}

#[inline(always)]
fn eight([a, b, c, d, e, f, g, h]: [i16; 8]) -> [i16; 8] {
    let (plus, minus) = (i16::saturating_add, i16::saturating_sub);
    // The root of 2 times the cosines of one, three, five and seven sixteenths of pi, less one but for the last.
    let first = |value| times_more(value, 25_365);
    let third = |value| times_more(value, 11_527);
    let fifth = |value| times_more(value, -14_045);
    let seventh = |value| times(value, 18_081);

    let odd = [
        plus(plus(first(b), third(d)), plus(fifth(f), seventh(h))),
        minus(minus(third(b), seventh(d)), plus(first(f), fifth(h))),
        plus(minus(fifth(b), first(d)), plus(seventh(f), third(h))),
        plus(minus(seventh(b), fifth(d)), minus(third(f), first(h))),
    ];
    let even = four([a, c, e, g]);
    let [p, q, r, s] = std::array::from_fn(|x| (plus(even[x], odd[x]), minus(even[x], odd[x])));
    [p.0, q.0, r.0, s.0, s.1, r.1, q.1, p.1]
}

/// Does to each lane what `line` does to one number of it.
#[inline(always)]
fn in_lanes<const SIDE: usize>(
    line: impl Fn([i16; SIDE]) -> [i16; SIDE],
) -> impl Fn([Lane<i16>; SIDE]) -> [Lane<i16>; SIDE] {
    move |lanes| {
        let mut sums = [[0; LANES]; SIDE];
        for lane in 0..LANES {
            for (sums, sum) in sums.iter_mut().zip(line(std::array::from_fn(|x| lanes[x][lane]))) {
                sums[lane] = sum;
            }
        }
        sums
    }
}
