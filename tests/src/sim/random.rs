//! Choices that follow from a seed.

/// A stream of choices (SplitMix64): the same for the same seed, on every machine.
#[derive(Clone, Debug)]
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("a usize fits");
        usize::try_from(self.number() % n).expect("less than a usize")
    }

    /// Whether something of this chance happens.
    pub(super) fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance as usize
    }

    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
