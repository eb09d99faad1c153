//! Writes the bits of an entropy-coded segment, most significant first (F.1.2.3).
#![expect(clippy::cast_possible_truncation, reason = "bytes are cut out of words")]

/// Appends bits to a file, with byte stuffing.
pub(super) struct BitWriter<'a> {
    file: &'a mut Vec<u8>,
    /// The bits that are still to be appended are the lowest; those above are void.
    held: u64,
    /// How many are void.
    free: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(file: &'a mut Vec<u8>) -> Self {
        Self { file, held: 0, free: u64::BITS }
    }

    /// Appends a number of `size` bits, fewer than 32.
    #[inline(always)]
    pub(super) fn put(&mut self, number: u32, size: u32) {
        if size < self.free {
            self.held = self.held << size | u64::from(number);
            self.free -= size;
            return;
        }
        let beyond = size - self.free;
        self.append(self.held << self.free | u64::from(number >> beyond));
        self.held = number.into();
        self.free = u64::BITS - beyond;
    }

    #[inline(always)]
    fn append(&mut self, word: u64) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHEST: u64 = ONES << 7;

        // If no byte is 0xFF, no addition carries into the next byte, and a byte with the highest bit set keeps it.
        if word & HIGHEST & !word.wrapping_add(ONES) == 0 {
            self.file.extend_from_slice(&word.to_be_bytes());
        } else {
            word.to_be_bytes().into_iter().for_each(|byte| self.append_byte(byte));
        }
    }

    /// Appends a byte, and a zero behind 0xFF, which would begin a marker otherwise.
    #[inline]
    fn append_byte(&mut self, byte: u8) {
        self.file.push(byte);
        if byte == u8::MAX {
            self.file.push(0);
        }
    }

    /// Pads the last byte with ones.
    pub(super) fn finish(mut self) {
        let missing = self.free % u8::BITS;
        self.put((1 << missing) - 1, missing);
        let bytes = (u64::BITS - self.free) / u8::BITS;
        (0..bytes).rev().for_each(|byte| self.append_byte((self.held >> (byte * u8::BITS)) as u8));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn bits_are_put_one_after_the_other(numbers in prop::collection::vec((any::<u32>(), 0_u32..28), 0..200)) {
            let (mut file, mut expected) = (Vec::new(), Vec::new());
            let mut bits = BitWriter::new(&mut file);
            for (number, size) in numbers {
                // Ones alone as well, so that there is something to stuff.
                let number = if number % 3 == 0 { u32::MAX } else { number } & ((1 << size) - 1);
                bits.put(number, size);
                expected.extend((0..size).rev().map(|bit| number >> bit & 1));
            }
            bits.finish();
            expected.resize(expected.len().next_multiple_of(8), 1);
            let bytes = expected.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8));
            let stuffed: Vec<u8> =
                bytes.flat_map(|byte| if byte == 0xFF { vec![byte, 0] } else { vec![byte] }).collect();
            proptest::prop_assert_eq!(file, stuffed);
        }
    }
}
