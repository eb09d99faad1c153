//! The bytes of an original, all there or still arriving.
//!
//! Decoders ask for as many as they need and wait for no more. What is not asked for is not read: whoever sends it is told
//! by the end of the channel.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many parts wait to be taken. The store's are of up to 256 KiB.
const WAITING: usize = 4;

/// What one of them has at most, in bytes.
const LARGEST_PART: u64 = 256 << 10;

/// Longer than any original, so that a length that is only claimed reserves no more.
const MAX_RESERVED: usize = 100 << 20;

/// What is rendered.
pub struct Original<'a> {
    held: Cow<'a, [u8]>,
    /// How many bytes it is said to have, if they are to be held here.
    length: u64,
    /// `None` once there is no more.
    parts: Option<mpsc::Receiver<Part>>,
    is_cut_off: bool,
}

enum Part {
    Bytes(Bytes),
    End,
}

/// The end at which an original comes in. Dropped before [`Arrival::end`], it cuts the original off.
pub struct Arrival(mpsc::Sender<Part>);

/// The original did not arrive as far as it was needed. That says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the original did not arrive")]
pub struct CutOff;

/// Why a decoding stopped before it could say anything of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// [`CutOff`].
    #[error("the original did not arrive")]
    CutOff,
    /// It needs more memory than it was granted.
    #[error("it takes {bytes} bytes")]
    Short {
        /// What it needs in all.
        bytes: u64,
    },
}

/// Nobody wants more of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough;

impl Arrival {
    /// Waits until nobody wants more.
    pub async fn enough(&self) {
        self.0.closed().await;
    }

    /// Hands over the next bytes, once there is room for them.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Enough> {
        self.0.send(Part::Bytes(bytes)).await.map_err(|_| Enough)
    }

    /// Says that these were all.
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
    /// An original that comes in elsewhere and is said to have that many bytes. Whoever renders it blocks its thread
    /// while it waits, so that must not be one of an executor's.
    pub fn arriving(length: u64) -> (Arrival, Self) {
        let (sender, parts) = mpsc::channel(WAITING);
        let reserved = usize::try_from(length).unwrap_or(MAX_RESERVED).min(MAX_RESERVED);
        let held = Cow::Owned(Vec::with_capacity(reserved));
        (Arrival(sender), Self { held, length, parts: Some(parts), is_cut_off: false })
    }
}

impl Original<'_> {
    /// Waits until so many bytes are there, or all. More may be there as well.
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

    /// The first so many bytes, or all if there are fewer.
    pub(super) fn head(&mut self, length: usize) -> &[u8] {
        let there = self.up_to(length);
        &there[..length.min(there.len())]
    }

    /// Waits for all bytes.
    pub(super) fn all(&mut self) -> &[u8] {
        self.up_to(usize::MAX)
    }

    pub(super) fn byte(&mut self, at: usize) -> Option<u8> {
        self.up_to(at + 1).get(at).copied()
    }

    /// What it takes to hold it, with the parts that wait to be taken.
    pub(super) fn held_bytes(&self) -> u64 {
        if self.length == 0 { 0 } else { self.length + WAITING as u64 * LARGEST_PART }
    }

    /// Whether it ended before its end: then what was made of it is worth nothing.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }
}
