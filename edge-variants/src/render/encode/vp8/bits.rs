//! The arithmetic coder of VP8, RFC 6386, section 7, and what a bit costs in it.

/// A probability that a bit is 0, in parts of 256: 1..=255.
pub(super) type Probability = u8;

/// What one bit costs, in units of 1 / 256 of a bit of the file.
pub(super) const BIT: u32 = 256;

/// What each probability costs.
const COSTS: [u16; 257] = costs();

/// What a bit costs where 0 has that probability.
#[inline(always)]
pub(super) const fn cost(bit: bool, zero: Probability) -> u32 {
    let part = zero as usize;
    COSTS[if bit { 256 - part } else { part }] as u32
}

/// A way through a tree of bits: at which node which bit.
pub(super) type Path = [(u8, bool)];

/// What a way costs where 0 has those probabilities at the nodes.
pub(super) const fn path_cost(path: &Path, nodes: &[Probability]) -> u32 {
    let (mut sum, mut step) = (0, 0);
    while step < path.len() {
        let (node, bit) = path[step];
        sum += cost(bit, nodes[node as usize]);
        step += 1;
    }
    sum
}

const fn costs() -> [u16; 257] {
    let mut costs = [0; 257];
    // What is never written would cost more than anything else.
    costs[0] = 16 << 8;
    let mut part = 1;
    while part <= 256 {
        costs[part] = negative_log(part as u64);
        part += 1;
    }
    costs
}

/// The logarithm of 256 / part to the base 2, in units of 1 / 256: whole numbers only, so that it is the same everywhere.
#[expect(clippy::cast_possible_truncation, reason = "0..=8")]
const fn negative_log(part: u64) -> u16 {
    let whole = part.ilog2();
    // From 1 to 2, with 31 bits of fraction. Each squaring yields a bit of the logarithm.
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

/// Writes bits, each in the less space the likelier it was.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// What is not written yet: the lower end of what the bits so far allow.
    low: u64,
    /// Bits of `low` beyond the 8 of `range`.
    pending: u32,
    /// The size of what they allow, less 1: 127..=254.
    range: u32,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), low: 0, pending: 0, range: 254 }
    }

    /// Writes a bit where 0 has that probability.
    #[inline(always)]
    pub(super) fn put(&mut self, bit: bool, zero: Probability) {
        // No branch on the bit, which cannot be foreseen.
        let split = (self.range * u32::from(zero)) >> 8;
        self.low += if bit { u64::from(split) + 1 } else { 0 };
        let range = if bit { self.range - split } else { split + 1 };
        let shift = range.leading_zeros() - 24;
        self.range = (range << shift) - 1;
        self.low <<= shift;
        self.pending += shift;
        if self.pending >= 48 {
            self.flush();
        }
    }

    /// Writes the bits of a way, of which 0 has those probabilities at the nodes.
    #[inline(always)]
    pub(super) fn put_path(&mut self, path: &Path, nodes: &[Probability]) {
        for &(node, bit) in path {
            self.put(bit, nodes[usize::from(node)]);
        }
    }

    /// Writes the lowest bits of a number, the highest of them first, each as likely 0 as 1.
    pub(super) fn put_number(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            self.put(value >> bit & 1 == 1, 128);
        }
    }

    /// Writes whether there is a number, and if so that, in so many bits, and its sign.
    pub(super) fn put_signed(&mut self, value: i32, bits: u32) {
        self.put(value != 0, 128);
        if value != 0 {
            self.put_number(value.unsigned_abs(), bits);
            self.put(value < 0, 128);
        }
    }

    /// Writes whole bytes of what is pending, and adds to the ones before what they overflow by.
    fn flush(&mut self) {
        let kept = self.pending % 8 + 8;
        let ready = self.low >> kept;
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
        self.low &= (1 << kept) - 1;
        self.pending = kept - 8;
    }

    /// All that was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        // As many bits as decide which of the numbers it is, whatever follows.
        self.put_number(0, 16);
        self.low <<= 8;
        self.pending += 8;
        self.flush();
        self.bytes
    }
}
