//! The bytes of an original, complete or still arriving.
//!
//! Decoders ask for as many bytes as they need, and wait for no more. Bytes that are not asked for are not read: the
//! sender sees that the channel is closed.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many parts the channel holds. Those of the store have up to 256 KiB.
const WAITING: usize = 4;

/// The greatest size of a part, in bytes.
const LARGEST_PART: u64 = 256 << 10;

/// Greater than any original. A longer claimed length reserves no more.
const MAX_RESERVED: usize = 100 << 20;

/// An original, complete or still arriving.
pub struct Original<'a> {
    held: Cow<'a, [u8]>,
    /// Its claimed length, if it is held here.
    length: u64,
    /// `None` after the last.
    parts: Option<mpsc::Receiver<Part>>,
    is_cut_off: bool,
}

enum Part {
    Bytes(Bytes),
    End,
}

/// The sending end of an original. Dropped before [`Arrival::end`], it cuts the original off.
pub struct Arrival(mpsc::Sender<Part>);

/// The original did not arrive as far as it was needed, which says nothing about the original itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the original did not arrive")]
pub struct CutOff;

/// Why decoding stopped without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// [`CutOff`].
    #[error("the original did not arrive")]
    CutOff,
    /// It needs more memory than it was granted.
    #[error("it takes {bytes} bytes")]
    Short {
        /// The memory that it needs in all.
        bytes: u64,
    },
}

/// The renderer has enough of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough;

impl Arrival {
    /// Waits until the renderer has enough.
    pub async fn enough(&self) {
        self.0.closed().await;
    }

    /// Sends the next bytes, once there is room for them.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Enough> {
        self.0.send(Part::Bytes(bytes)).await.map_err(|_| Enough)
    }

    /// Ends the original: these were all bytes.
    pub async fn end(self) -> Result<(), Enough> {
        self.0.send(Part::End).await.map_err(|_| Enough)
    }
}

impl<'a> From<&'a [u8]> for Original<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { held: Cow::Borrowed(bytes), length: 0, parts: None, is_cut_off: false }
    }
}

impl Original<'static> {
    /// An original that arrives through a channel, with its claimed length. Rendering blocks the thread while it waits,
    /// so the thread must not be an executor's.
    pub fn arriving(length: u64) -> (Arrival, Self) {
        let (sender, parts) = mpsc::channel(WAITING);
        let reserved = usize::try_from(length).unwrap_or(MAX_RESERVED).min(MAX_RESERVED);
        let held = Cow::Owned(Vec::with_capacity(reserved));
        (Arrival(sender), Self { held, length, parts: Some(parts), is_cut_off: false })
    }
}

impl Original<'_> {
    /// Waits until `length` bytes or all are there. More may be there as well.
    pub(super) fn up_to(&mut self, length: usize) -> &[u8] {
        while self.held.len() < length
            && let Some(parts) = &mut self.parts
        {
            match parts.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.held.to_mut().extend_from_slice(&bytes),
                Some(Part::End) => self.parts = None,
                None => (self.parts, self.is_cut_off) = (None, true),
            }
        }
        &self.held
    }

    /// The first `length` bytes, or all if there are fewer.
    pub(super) fn head(&mut self, length: usize) -> &[u8] {
        let there = self.up_to(length);
        &there[..length.min(there.len())]
    }

    /// Waits for all bytes.
    pub(super) fn all(&mut self) -> &[u8] {
        self.up_to(usize::MAX)
    }

    /// The memory for the original and for the parts in the channel.
    pub(super) fn held_bytes(&self) -> u64 {
        if self.length == 0 { 0 } else { self.length + WAITING as u64 * LARGEST_PART }
    }

    /// Whether it was cut off, so that its result must not be used.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }
}
