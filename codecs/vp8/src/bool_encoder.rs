//! The boolean entropy encoder (RFC 6386, section 7), and the cost of a bit in it.

/// A probability that a bool is false, in 1/256: 1..=255.
pub(crate) type Prob = u8;

/// The cost of one bit of the file. Costs are in 1/256 bit.
pub(crate) const BIT: u32 = 256;

/// The cost of an event by its probability in 1/256.
const COSTS: [u16; 257] = costs();

/// The cost of a bool whose probability of false is `prob`.
#[inline(always)]
pub(crate) const fn cost(value: bool, prob: Prob) -> u32 {
    let part = prob as usize;
    COSTS[if value { 256 - part } else { part }] as u32
}

/// A path through a tree of bools (section 8.1): at which node which value.
pub(crate) type Path = [(u8, bool)];

/// The cost of a path, with the probability of each node.
pub(crate) const fn path_cost(path: &Path, probs: &[Prob]) -> u32 {
    let (mut sum, mut step) = (0, 0);
    while step < path.len() {
        let (node, value) = path[step];
        sum += cost(value, probs[node as usize]);
        step += 1;
    }
    sum
}

const fn costs() -> [u16; 257] {
    let mut costs = [0; 257];
    // An impossible event costs more than any other.
    costs[0] = 16 << 8;
    let mut part = 1;
    while part <= 256 {
        costs[part] = negative_log2(part as u64);
        part += 1;
    }
    costs
}

/// log2(256 / part) in 1/256, in whole numbers, so that it is the same everywhere.
#[expect(clippy::cast_possible_truncation, reason = "0..=8")]
const fn negative_log2(part: u64) -> u16 {
    let whole = part.ilog2();
    // From 1 to 2, with 31 fractional bits. Each squaring yields a bit of the logarithm.
    let mut rest = part << (31 - whole);
    let mut log = whole as u16;
    let mut bit = 0;
    while bit < 9 {
        rest = (rest * rest) >> 31;
        log <<= 1;
        if rest >> 32 == 1 {
            rest >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    ((8 << 9) - log).div_ceil(2)
}

/// Writes bools (section 7.3).
pub(crate) struct BoolEncoder {
    bytes: Vec<u8>,
    /// The bits of `bottom` that are not yet written.
    bottom: u64,
    /// How many bits of `bottom` there are above the 8 of `range`.
    pending: u32,
    /// The range less 1: 127..=254.
    range: u32,
}

impl BoolEncoder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), bottom: 0, pending: 0, range: 254 }
    }

    /// `write_bool`.
    #[inline(always)]
    pub(crate) fn put(&mut self, value: bool, prob: Prob) {
        // Without a branch on the value, which cannot be predicted.
        let split = (self.range * u32::from(prob)) >> 8;
        self.bottom += if value { u64::from(split) + 1 } else { 0 };
        let range = if value { self.range - split } else { split + 1 };
        let shift = range.leading_zeros() - 24;
        self.range = (range << shift) - 1;
        self.bottom <<= shift;
        self.pending += shift;
        if self.pending >= 48 {
            self.flush();
        }
    }

    /// `write_tree` (section 8.1): the bools of a path.
    #[inline(always)]
    pub(crate) fn put_path(&mut self, path: &Path, probs: &[Prob]) {
        for &(node, value) in path {
            self.put(value, probs[usize::from(node)]);
        }
    }

    /// `write_literal`: the lowest `bits` of a number, the highest first.
    pub(crate) fn put_literal(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            self.put(value >> bit & 1 == 1, 128);
        }
    }

    /// Whether a number is not 0 and, if so, its magnitude and its sign: how the frame header has deltas.
    pub(crate) fn put_optional_signed(&mut self, value: i32, bits: u32) {
        self.put(value != 0, 128);
        if value != 0 {
            self.put_literal(value.unsigned_abs(), bits);
            self.put(value < 0, 128);
        }
    }

    /// Writes the complete bytes of `bottom`, and carries an overflow into those before.
    fn flush(&mut self) {
        let kept = self.pending % 8 + 8;
        let ready = self.bottom >> kept;
        let bits = self.pending + 8 - kept;
        if ready >> bits != 0 {
            for byte in self.bytes.iter_mut().rev() {
                let (sum, is_carried) = byte.overflowing_add(1);
                *byte = sum;
                if !is_carried {
                    break;
                }
            }
        }
        for byte in (0..bits / 8).rev() {
            #[expect(clippy::cast_possible_truncation, reason = "byte by byte")]
            self.bytes.push((ready >> (byte * 8)) as u8);
        }
        self.bottom &= (1 << kept) - 1;
        self.pending = kept - 8;
    }

    /// `flush_bool_encoder`: all that was written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // Enough bits to determine the value, whatever follows.
        self.put_literal(0, 16);
        self.bottom <<= 8;
        self.pending += 8;
        self.flush();
        self.bytes
    }
}
