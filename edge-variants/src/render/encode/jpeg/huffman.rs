//! The shortest codes for symbols of which it is known how often they come.

use std::iter;

/// How long a code of JPEG may be, in bits.
const LONGEST: usize = 16;

/// A code for bytes. Codes that are as long as each other count up, and those that are longer go on from there.
pub(super) struct Code {
    /// How many symbols have a code of one bit, of two and so on.
    counts: [u8; LONGEST],
    /// Those symbols, from the shortest code on.
    symbols: Vec<u8>,
}

impl Code {
    /// The one that takes the fewest bits for symbols that come so often; others have no code. None consists of ones alone,
    /// which JPEG keeps for filling up the last byte.
    pub(super) fn shortest(frequencies: &[u32; 256]) -> Self {
        let there = (0..=u8::MAX).zip(frequencies).filter(|(_, frequency)| **frequency > 0);
        let mut symbols: Vec<(u32, u8)> = there.map(|(symbol, frequency)| (*frequency, symbol)).collect();
        symbols.sort_unstable();
        // The code of ones alone is the last of the longest, so it falls to what comes most seldom: to nothing.
        let weights: Vec<u64> = iter::once(0).chain(symbols.iter().map(|(frequency, _)| (*frequency).into())).collect();
        let mut counts = [0; LONGEST];
        for length in &lengths(&weights)[1..] {
            counts[length - 1] += 1;
        }
        Self { counts, symbols: symbols.into_iter().rev().map(|(_, symbol)| symbol).collect() }
    }

    /// As a table in a file.
    pub(super) fn table(&self) -> impl Iterator<Item = u8> {
        self.counts.into_iter().chain(self.symbols.iter().copied())
    }

    /// The code of each symbol and how many bits it has.
    pub(super) fn words(&self) -> [(u32, u32); 256] {
        let mut words = [(0, 0); 256];
        let (mut next, mut symbols) = (0, self.symbols.iter());
        for (length, count) in (1..).zip(self.counts) {
            for symbol in symbols.by_ref().take(count.into()) {
                words[usize::from(*symbol)] = (next, length);
                next += 1;
            }
            next <<= 1;
        }
        words
    }
}

/// How many bits the code of each symbol gets, from the lightest on. There are at least two.
///
/// The way of Larmore and Hirschberg ("A fast algorithm for optimal length-limited Huffman codes", 1990): for each length a
/// symbol is an offer, and so are two of the cheapest offers of one bit more together. How often a symbol is among the
/// cheapest of them all is how long its code is.
fn lengths(weights: &[u64]) -> Vec<usize> {
    let mut levels = Vec::with_capacity(LONGEST);
    let mut pairs: Vec<u64> = Vec::new();
    for _ in 0..LONGEST {
        let (is_symbol, offers) = merged(weights, &pairs);
        pairs = offers.as_chunks::<2>().0.iter().map(|[first, second]| first + second).collect();
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

/// Symbols and pairs in the order of their weights, and which of them are symbols.
fn merged(symbols: &[u64], pairs: &[u64]) -> (Vec<bool>, Vec<u64>) {
    let mut offers: Vec<(u64, bool)> = Vec::with_capacity(symbols.len() + pairs.len());
    offers.extend(symbols.iter().map(|weight| (*weight, true)));
    offers.extend(pairs.iter().map(|weight| (*weight, false)));
    // It finds the two runs and merges them.
    offers.sort_by_key(|(weight, _)| *weight);
    offers.into_iter().map(|(weight, is_symbol)| (is_symbol, weight)).unzip()
}
