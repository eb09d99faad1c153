//! Where the bytes of a file come from.

/// The bytes of a JPEG, complete or still arriving.
///
/// The decoder asks for as many bytes as it needs and no more, so it can work on a file while the file is received, and
/// stop before its end.
pub trait Input {
    /// Blocks until `length` bytes or the whole file are available, and returns all that is available, which may be
    /// more. A later call returns the same bytes at the same positions.
    fn up_to(&mut self, length: usize) -> &[u8];

    /// The byte at `position`, if the file is that long.
    fn byte(&mut self, position: usize) -> Option<u8> {
        self.up_to(position + 1).get(position).copied()
    }
}

impl Input for &[u8] {
    fn up_to(&mut self, _: usize) -> &[u8] {
        self
    }
}
