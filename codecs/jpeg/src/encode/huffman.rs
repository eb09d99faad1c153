//! Optimal Huffman tables for known frequencies of symbols (K.2).

use std::iter;

/// The longest code of a JPEG, in bits.
const MAX_LENGTH: usize = 16;

/// A Huffman table as DHT specifies it (B.2.4.2). Codes are assigned by C.2: those of a length count up, and the next
/// length continues from there.
pub(super) struct HuffmanTable {
    /// BITS: the number of codes of each length.
    counts: [u8; MAX_LENGTH],
    /// HUFFVAL: the symbols, in order of increasing code length.
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// The table that takes the fewest bits for symbols of these frequencies. Symbols of frequency 0 have no code. No code
    /// consists of ones only, which C.2 reserves.
    pub(super) fn optimal(frequencies: &[u32; 256]) -> Self {
        let used = (0..=u8::MAX).zip(frequencies).filter(|(_, frequency)| **frequency > 0);
        let mut symbols: Vec<(u32, u8)> = used.map(|(symbol, frequency)| (*frequency, symbol)).collect();
        symbols.sort_unstable();
        // The code of ones is the last of the longest ones, so it goes to the least frequent symbol: to one that does not
        // exist.
        let weights: Vec<u64> = iter::once(0).chain(symbols.iter().map(|(frequency, _)| (*frequency).into())).collect();
        let mut counts = [0; MAX_LENGTH];
        for length in &code_lengths(&weights)[1..] {
            counts[length - 1] += 1;
        }
        Self { counts, symbols: symbols.into_iter().rev().map(|(_, symbol)| symbol).collect() }
    }

    /// The table as DHT has it.
    pub(super) fn specification(&self) -> impl Iterator<Item = u8> {
        self.counts.into_iter().chain(self.symbols.iter().copied())
    }

    /// EHUFCO and EHUFSI (C.2): the code of each symbol and its length.
    pub(super) fn codes(&self) -> [(u32, u32); 256] {
        let mut codes = [(0, 0); 256];
        let (mut next, mut symbols) = (0, self.symbols.iter());
        for (length, count) in (1..).zip(self.counts) {
            for symbol in symbols.by_ref().take(count.into()) {
                codes[usize::from(*symbol)] = (next, length);
                next += 1;
            }
            next <<= 1;
        }
        codes
    }
}

/// The code length of each symbol, for at least two weights in ascending order.
///
/// Package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990): for each
/// length, the items are the symbols and the pairs of the cheapest items of the next length. How often a symbol is among
/// the cheapest items of all lengths is the length of its code.
fn code_lengths(weights: &[u64]) -> Vec<usize> {
    let mut levels = Vec::with_capacity(MAX_LENGTH);
    let mut packages: Vec<u64> = Vec::new();
    for _ in 0..MAX_LENGTH {
        let (is_symbol, items) = merged(weights, &packages);
        packages = items.as_chunks::<2>().0.iter().map(|[first, second]| first + second).collect();
        levels.push(is_symbol);
    }
    let mut lengths = vec![0; weights.len()];
    let mut taken = 2 * (weights.len() - 1);
    for is_symbol in levels.iter().rev() {
        let symbols = is_symbol[..taken].iter().filter(|is_symbol| **is_symbol).count();
        lengths[..symbols].iter_mut().for_each(|length| *length += 1);
        taken = 2 * (taken - symbols);
    }
    lengths
}

/// Symbols and packages in the order of their weights, and which of them are symbols.
fn merged(symbols: &[u64], packages: &[u64]) -> (Vec<bool>, Vec<u64>) {
    let mut items: Vec<(u64, bool)> = Vec::with_capacity(symbols.len() + packages.len());
    items.extend(symbols.iter().map(|weight| (*weight, true)));
    items.extend(packages.iter().map(|weight| (*weight, false)));
    // The sort finds the two runs and merges them.
    items.sort_by_key(|(weight, _)| *weight);
    items.into_iter().map(|(weight, is_symbol)| (is_symbol, weight)).unzip()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop, proptest};

    use super::*;

    /// The bits that the codes of these symbols take together.
    fn cost(frequencies: &[u32; 256]) -> u64 {
        let codes = HuffmanTable::optimal(frequencies).codes();
        frequencies.iter().zip(codes).map(|(count, (_, length))| u64::from(*count) * u64::from(length)).sum()
    }

    #[test]
    fn codes_are_optimal_and_at_most_sixteen_bits_long() {
        let mut frequencies = [0; 256];
        frequencies[5] = 9;
        assert_eq!(HuffmanTable::optimal(&frequencies).codes()[5], (0, 1));
        frequencies[200] = 4;
        frequencies[7] = 1;
        let codes = HuffmanTable::optimal(&frequencies).codes();
        assert_eq!([codes[5], codes[200], codes[7]], [(0, 1), (2, 2), (6, 3)]);

        // Each as frequent as the two before it together: the longest of 30 unlimited codes would have 29 bits.
        let (mut one, mut two) = (1, 1);
        for frequency in &mut frequencies[40..70] {
            *frequency = one;
            (one, two) = (two, one + two);
        }
        let lengths = HuffmanTable::optimal(&frequencies).codes().map(|(_, length)| length);
        assert_eq!(lengths.iter().max(), Some(&16));
        let used: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (16 - length)).sum();
        assert_eq!(used, (1 << 16) - 1);
        assert!(HuffmanTable::optimal(&[1; 256]).codes().iter().all(|(_, length)| (8..=9).contains(length)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn codes_cost_what_huffmans_algorithm_needs_where_the_limit_does_not_bind(
            counts in prop::collection::vec(500_u32..5000, 2..200),
        ) {
            let mut frequencies = [0; 256];
            frequencies[..counts.len()].copy_from_slice(&counts);
            // Join the two lightest until one is left, with a symbol of weight 0 for the code of ones.
            let mut weights: Vec<u64> =
                frequencies.iter().filter(|count| **count > 0).map(|count| u64::from(*count)).collect();
            weights.push(0);
            let mut bits = 0;
            while weights.len() > 1 {
                weights.sort_unstable_by(|left, right| right.cmp(left));
                let joined = weights.pop().unwrap() + weights.pop().unwrap();
                bits += joined;
                weights.push(joined);
            }
            proptest::prop_assert_eq!(cost(&frequencies), bits);
        }
    }
}
