//! What an observer knows of each file from the answers that came back, and what must follow from it.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use xfiles_core::{
    blobs::PresignedPut,
    clock::Timestamp,
    file::{File, LATE_COPIES, State},
    id::FileId,
};

/// A kind of upload that the simulation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Picture,
}

impl Kind {
    pub(super) const fn name_and_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("note.txt", "text/plain"),
            Self::Picture => ("dot.gif", "image/gif"),
        }
    }

    /// One of many uploads of this kind, all of one length.
    pub(super) fn payload(self, variety: u8) -> Vec<u8> {
        match self {
            Self::Text => format!("take {variety:03} of a note").into_bytes(),
            Self::Picture => {
                let mut gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00".to_vec();
                gif.extend([variety, 7, 7, 250, 250, 250]);
                gif.extend(b"\x2C\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3B");
                gif
            }
        }
    }

    /// As long, and not of this kind.
    pub(super) fn impostor(self) -> Vec<u8> {
        let mut bytes = self.payload(0);
        bytes[..4].copy_from_slice(b"\x7FELF");
        bytes
    }
}

pub(super) fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(bytes)))
}

/// What is known of a file.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: FileId,
    pub(super) kind: Kind,
    /// The record as it was last answered.
    pub(super) seen: File,
    /// The upload URLs that were given out, and when each ends.
    pub(super) uploads: Vec<PresignedPut>,
    /// Everything that was ever sent to one of them, by ETag.
    pub(super) sent: BTreeMap<String, Vec<u8>>,
    /// Whether somebody began to confirm it.
    pub(super) confirm_begun: bool,
    /// The ETag under which it was confirmed.
    pub(super) confirmed: Option<String>,
    /// Whether somebody began to remove it.
    pub(super) removal_begun: bool,
    /// Whether a removal was acknowledged.
    pub(super) removed: bool,
    /// Since when the public may not read the original, by an acknowledged change and none since.
    pub(super) original_closed: bool,
    /// The same for the variants.
    pub(super) variants_closed: bool,
    /// How many changes of it are under way or ended without an answer.
    pub(super) changes_begun: u32,
    /// When an object of it last arrived in the bucket, unless a cleanup has looked since or it was removed or closed
    /// by an operation that began later.
    pub(super) brought_at: Option<Timestamp>,
}

impl Known {
    pub(super) fn new(file: File, kind: Kind, upload: PresignedPut) -> Self {
        Self {
            id: file.id,
            kind,
            seen: file,
            uploads: vec![upload],
            sent: BTreeMap::new(),
            confirm_begun: false,
            confirmed: None,
            removal_begun: false,
            removed: false,
            original_closed: false,
            variants_closed: false,
            changes_begun: 0,
            brought_at: None,
        }
    }

    /// A removal that began then was acknowledged.
    pub(super) fn is_removed(&mut self, began: Timestamp) {
        self.removed = true;
        self.closed_by(began);
    }

    /// An operation that began then has removed what must not be read any more.
    pub(super) fn closed_by(&mut self, began: Timestamp) {
        self.brought_at = self.brought_at.filter(|at| *at >= began);
    }

    /// Whether something of it may be readable for a moment although it should not be: a request that was under way when
    /// it was removed or closed has brought it back, and the cleanup has not had its time.
    pub(super) fn may_be_back(&self) -> bool {
        self.brought_at.is_some()
    }

    /// A cleanup that began then has done everything that was due.
    pub(super) fn swept(&mut self, began: Timestamp) {
        if self.brought_at.is_some_and(|at| began.since(at) > LATE_COPIES) {
            self.brought_at = None;
        }
    }

    /// Learns from an answered record; `began` is what was known when the question was asked.
    pub(super) fn learn(&mut self, file: &File, began: &Before) -> Result<(), String> {
        if began.removed {
            return Err(format!("{} was answered after its removal was acknowledged", self.id));
        }
        if file.version < began.version {
            return Err(format!("{} is at version {} after version {} was seen", self.id, file.version, began.version));
        }
        let (State::Confirmed { etag, .. } | State::Moving { etag, .. }) = &file.state else {
            return Err(format!("{} was answered in state {}", self.id, file.state.as_str()));
        };
        if !self.sent.contains_key(etag) {
            return Err(format!("{} was confirmed with bytes that nobody sent", self.id));
        }
        if self.confirmed.as_ref().is_some_and(|known| known != etag) {
            return Err(format!("{} was confirmed twice, with different bytes", self.id));
        }
        self.confirmed = Some(etag.clone());
        if file.version > self.seen.version {
            self.seen = file.clone();
        }
        Ok(())
    }

    pub(super) fn before(&self) -> Before {
        Before {
            version: self.seen.version,
            confirmed: self.confirmed.is_some(),
            removal_begun: self.removal_begun,
            removed: self.removed,
            original_closed: self.original_closed,
            variants_closed: self.variants_closed,
        }
    }
}

/// What was known when an operation began.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) version: u64,
    pub(super) confirmed: bool,
    pub(super) removal_begun: bool,
    pub(super) removed: bool,
    pub(super) original_closed: bool,
    pub(super) variants_closed: bool,
}
