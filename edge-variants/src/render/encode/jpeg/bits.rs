//! The bits of an entropy-coded segment, from the most significant on.
#![expect(clippy::cast_possible_truncation, reason = "bytes are cut out of words")]

/// What appends them to a file.
pub(super) struct Bits<'a> {
    file: &'a mut Vec<u8>,
    /// The lowest bits are still to be appended; those above are void.
    held: u64,
    /// How many are void.
    free: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(file: &'a mut Vec<u8>) -> Self {
        Self { file, held: 0, free: u64::BITS }
    }

    /// Appends a number of so many bits, fewer than 32.
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

        // Where there is no byte of ones, none carries into the next and only those below 128 can have a highest bit not set.
        if word & HIGHEST & !word.wrapping_add(ONES) == 0 {
            self.file.extend_from_slice(&word.to_be_bytes());
        } else {
            word.to_be_bytes().into_iter().for_each(|byte| self.append_byte(byte));
        }
    }

    /// A byte of ones begins a marker unless nothing follows it.
    #[inline]
    fn append_byte(&mut self, byte: u8) {
        self.file.push(byte);
        if byte == u8::MAX {
            self.file.push(0);
        }
    }

    /// Fills the last byte with ones.
    pub(super) fn finish(mut self) {
        let missing = self.free % u8::BITS;
        self.put((1 << missing) - 1, missing);
        let bytes = (u64::BITS - self.free) / u8::BITS;
        (0..bytes).rev().for_each(|byte| self.append_byte((self.held >> (byte * u8::BITS)) as u8));
    }
}
