//! The first directory of a TIFF or BigTIFF: tags and their values. Samples are not decoded here.

/// The greatest number of values of any tag that is read: one strip for each row of the tallest image, in four planes.
const MAX_VALUES: usize = 4 << 16;

pub(super) struct File<'a> {
    bytes: &'a [u8],
    is_little: bool,
    is_big: bool,
    /// The entries of the first directory.
    entries: &'a [u8],
}

impl<'a> File<'a> {
    /// `None` if there is no directory.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (is_little, is_big) = match bytes.get(..4)? {
            b"II*\0" => (true, false),
            b"II+\0" => (true, true),
            b"MM\0*" => (false, false),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        let mut file = Self { bytes, is_little, is_big, entries: &[] };
        let (place, width) = if is_big { (8, 8) } else { (4, 4) };
        let directory = file.bytes.get(usize::try_from(file.number(bytes.get(place..)?, width)?).ok()?..)?;
        let width = if is_big { 8 } else { 2 };
        let count = usize::try_from(file.number(directory, width)?).ok()?;
        let entries = directory.get(width..)?;
        let length = count.checked_mul(file.entry_length())?.min(entries.len());
        file.entries = entries.get(..length)?;
        Some(file)
    }

    pub(super) fn is_little(&self) -> bool {
        self.is_little
    }

    /// Bytes of the file, as many as are there.
    pub(super) fn at(&self, place: u64, length: u64) -> &'a [u8] {
        let Some(rest) = usize::try_from(place).ok().and_then(|place| self.bytes.get(place..)) else { return &[] };
        usize::try_from(length).ok().and_then(|length| rest.get(..length)).unwrap_or(rest)
    }

    fn entry_length(&self) -> usize {
        if self.is_big { 20 } else { 12 }
    }

    /// A number of this many bytes.
    fn number(&self, bytes: &[u8], width: usize) -> Option<u64> {
        let digits = bytes.get(..width)?;
        let sum = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.is_little { digits.iter().rev().fold(0, sum) } else { digits.iter().fold(0, sum) })
    }

    /// The raw values of a tag, and the bytes of each.
    fn raw(&self, tag: u16) -> Option<(&'a [u8], usize)> {
        let entry =
            self.entries.chunks_exact(self.entry_length()).find(|entry| self.number(entry, 2) == Some(tag.into()))?;
        let width = match self.number(entry.get(2..)?, 2)? {
            // BYTE, ASCII, SBYTE and UNDEFINED.
            1 | 2 | 6 | 7 => 1,
            // SHORT and SSHORT.
            3 | 8 => 2,
            // LONG, SLONG, FLOAT and IFD.
            4 | 9 | 11 | 13 => 4,
            // RATIONAL, SRATIONAL, DOUBLE and 64-bit integers.
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => return None,
        };
        let (count, value) = if self.is_big { (8, 12) } else { (4, 8) };
        let count = usize::try_from(self.number(entry.get(4..)?, count)?).ok()?;
        let length = count.checked_mul(width)?;
        let place = entry.get(value..)?;
        if length <= place.len() {
            return Some((place.get(..length)?, width));
        }
        let at = self.number(place, place.len())?;
        Some((self.at(at, length as u64), width))
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.raw(tag).map(|(bytes, _)| bytes)
    }

    /// The integers of a tag, as many as are there.
    pub(super) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let (bytes, width) = self.raw(tag)?;
        bytes.chunks_exact(width).take(MAX_VALUES).map(|value| self.number(value, width)).collect()
    }

    /// The first of them.
    pub(super) fn value(&self, tag: u16) -> Option<u64> {
        let (bytes, width) = self.raw(tag)?;
        self.number(bytes, width)
    }
}
