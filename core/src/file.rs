//! A file's record and the states it passes through. No input or output happens here.
//!
//! ```text
//! Pending ── claim ──> Confirming ── finish ──> Confirmed ── hide ──> Deleting ──> gone
//!    │  ^─── reopen ──────┘                      │     ^
//!    │                                         move   swap
//!    └─── expire ──> Expiring ──> gone           └> Moving
//! ```

use std::time::Duration;

use crate::{
    clock::Timestamp,
    content_type::ContentType,
    error::{Error, Result},
    id::{FileId, ProjectId},
    intent::{
        ByteSize, Entity, Filename, OriginalFilename, OwnerId, Position, Sha256Checksum, UPLOAD_URL_LIFE, UploadIntent,
        VariantPolicy,
    },
    object_key::{ObjectKey, Visibility},
    sniff::Dimensions,
    variant::VariantSpec,
};

/// How long after its URL's expiry a pending upload is kept: a PUT that began in time may still be under way.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(15 * 60);

/// How long whoever claimed some work has it for himself before the cleanup takes it over.
pub const LEASE: Duration = Duration::from_secs(60);

/// After this long no worker is still busy with what it read before a change: its time limit of 60 s, and a margin.
pub const WORKER_LIFE: Duration = Duration::from_secs(120);

/// A file as the catalog knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Which file.
    pub id: FileId,
    /// Whose.
    pub project: ProjectId,
    /// Its stored name.
    pub name: Filename,
    /// The name it had on the client.
    pub original_filename: OriginalFilename,
    /// The declared media type, which the bytes agree with once it is confirmed.
    pub content_type: ContentType,
    /// The declared size, which the bytes have once it is confirmed.
    pub size: ByteSize,
    /// Who may read the original.
    pub visibility: Visibility,
    /// The application's user to whom it belongs.
    pub owner: Option<OwnerId>,
    /// The application's thing to which it is attached.
    pub entity: Option<Entity>,
    /// Whether variants are made, and who may read them.
    pub variants: VariantPolicy,
    /// The SHA-256 that the store verified.
    pub checksum: Option<Sha256Checksum>,
    /// Upright width and height of a raster image, once it is confirmed and if its header tells.
    pub dimensions: Option<Dimensions>,
    /// When the upload began.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: State,
    /// When the cleanup may take over the work that the record owes. `None`: it owes none.
    pub due: Option<Timestamp>,
    /// Counts the writes; every write is conditional on it.
    pub version: u64,
    /// Counts the changes after which older variants are wrong.
    pub epoch: u64,
    /// Counts the changes that a client can see.
    pub revision: u64,
}

/// Where a file is in its life, with what that state owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// An upload URL was given out. Owes: expiry.
    Pending,
    /// The staged object with this ETag, and no other, is being published. Owes: the copy.
    Confirming {
        /// The ETag that was inspected.
        etag: String,
    },
    /// Published.
    Confirmed {
        /// The published object's ETag.
        etag: String,
        /// What a change left behind, and must be removed from the store and the CDN.
        owes: Option<Purge>,
    },
    /// Published, still where its visibility says, and on its way to the other visibility.
    Moving {
        /// The published object's ETag.
        etag: String,
        /// Where it goes.
        to: Visibility,
        /// What the move leaves behind.
        leaves: Purge,
    },
    /// Never published, and on its way out. Owes: staged bytes and quota.
    Expiring,
    /// Hidden from everybody, and on its way out. Owes: published bytes, variants, cached copies and quota.
    Deleting,
}

/// What a change left where it must not stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// The original at this visibility.
    pub original: Option<Visibility>,
    /// The variants for anybody.
    pub public_variants: bool,
    /// The variants for bearers of a signed URL.
    pub private_variants: bool,
    /// Whether it was done once and is done again, now that every worker that was busy during the change has ended.
    pub again: bool,
}

impl Purge {
    fn of_variants(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self { public_variants: true, ..Self::default() },
            Visibility::Private => Self { private_variants: true, ..Self::default() },
        }
    }

    /// Both, from the beginning.
    fn and(self, other: Self) -> Self {
        Self {
            original: other.original.or(self.original),
            public_variants: self.public_variants || other.public_variants,
            private_variants: self.private_variants || other.private_variants,
            again: false,
        }
    }

    /// Whether there is anything to remove.
    pub fn is_empty(self) -> bool {
        self.original.is_none() && !self.public_variants && !self.private_variants
    }

    /// At which visibilities variants must go.
    pub fn variants(self) -> impl Iterator<Item = Visibility> {
        Visibility::ALL.into_iter().filter(move |visibility| match visibility {
            Visibility::Public => self.public_variants,
            Visibility::Private => self.private_variants,
        })
    }
}

/// What a change to a file asks for; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Who may read the original.
    pub visibility: Option<Visibility>,
    /// To whom it belongs; `Some(None)`: to nobody.
    pub owner: Option<Option<OwnerId>>,
    /// Its place among its entity's files.
    pub position: Option<Position>,
    /// Whether variants are made.
    pub variants_enabled: Option<bool>,
    /// Who may read the variants.
    pub variants_visibility: Option<Visibility>,
}

impl State {
    /// The state's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirming { .. } => "confirming",
            Self::Confirmed { .. } => "confirmed",
            Self::Moving { .. } => "moving",
            Self::Expiring => "expiring",
            Self::Deleting => "deleting",
        }
    }
}

impl File {
    /// A new upload, pending until its URL ends.
    pub fn begin(project: ProjectId, intent: UploadIntent, now: Timestamp) -> Self {
        Self {
            id: FileId::mint(),
            project,
            name: Filename::mint(intent.original_filename.as_str(), &intent.content_type),
            original_filename: intent.original_filename,
            content_type: intent.content_type,
            size: intent.size,
            visibility: intent.visibility,
            owner: intent.owner,
            entity: intent.entity,
            variants: intent.variants,
            checksum: intent.checksum,
            dimensions: None,
            created: now,
            state: State::Pending,
            due: Some(now + UPLOAD_URL_LIFE + EXPIRY_GRACE),
            version: 1,
            epoch: 1,
            revision: 1,
        }
    }

    /// Gives a pending upload another URL's life.
    pub fn renew(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(self.next(State::Pending, Some(now + UPLOAD_URL_LIFE + EXPIRY_GRACE))),
            State::Confirming { .. } | State::Confirmed { .. } | State::Moving { .. } => Err(Error::NotPending),
            State::Expiring | State::Deleting => Err(Error::FileNotFound),
        }
    }

    /// Claims the inspected bytes for publication.
    pub fn claim(&self, etag: String, dimensions: Option<Dimensions>, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(Self { dimensions, ..self.next(State::Confirming { etag }, Some(now + LEASE)) }),
            State::Confirming { .. } | State::Confirmed { .. } | State::Moving { .. } => Err(Error::Conflict),
            State::Expiring | State::Deleting => Err(Error::FileNotFound),
        }
    }

    /// Publication is complete.
    pub fn finish(&self) -> Result<Self> {
        match &self.state {
            State::Confirming { etag } => Ok(self.next(State::Confirmed { etag: etag.clone(), owes: None }, None)),
            _ => Err(Error::Conflict),
        }
    }

    /// The claimed bytes were overwritten before they could be published: the upload is open again.
    pub fn reopen(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirming { .. } => Ok(self.next(State::Pending, Some(now + EXPIRY_GRACE))),
            _ => Err(Error::Conflict),
        }
    }

    /// The upload will not be published.
    pub fn expire(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(self.next(State::Expiring, Some(now + LEASE))),
            _ => Err(Error::Conflict),
        }
    }

    /// Hides a confirmed file, so that it can be taken apart.
    pub fn hide(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirmed { .. } | State::Moving { .. } => {
                Ok(Self { epoch: self.epoch + 1, ..self.next(State::Deleting, Some(now + LEASE)) })
            }
            State::Pending | State::Confirming { .. } | State::Expiring | State::Deleting => Err(Error::FileNotFound),
        }
    }

    /// Changes a confirmed file. What a client sees changes at once, but for the visibility of the original, which
    /// changes when its bytes have been moved.
    pub fn patch(&self, patch: &Patch, now: Timestamp) -> Result<Self> {
        let (etag, owed) = match &self.state {
            State::Confirmed { etag, owes } => (etag.clone(), owes.unwrap_or_default()),
            // The move is finished first.
            State::Moving { .. } => return Err(Error::Conflict),
            State::Pending | State::Confirming { .. } | State::Expiring | State::Deleting => {
                return Err(Error::FileNotFound);
            }
        };
        let mut changed = Self { revision: self.revision + 1, ..self.clone() };
        if let Some(owner) = &patch.owner {
            changed.owner.clone_from(owner);
        }
        if let Some(position) = patch.position {
            changed.entity.as_mut().ok_or(Error::NoEntity)?.position = position;
        }
        changed.variants = VariantPolicy {
            enabled: patch.variants_enabled.unwrap_or(self.variants.enabled),
            visibility: patch.variants_visibility.unwrap_or(self.variants.visibility),
        };
        let mut leaves = owed;
        if self.variants.enabled && changed.variants != self.variants {
            changed.epoch += 1;
            leaves = leaves.and(Purge::of_variants(self.variants.visibility));
        }
        let due = Some(now + LEASE);
        Ok(match patch.visibility.filter(|to| *to != self.visibility) {
            Some(to) => {
                let leaves = Purge { original: Some(self.visibility), ..leaves };
                changed.next(State::Moving { etag, to, leaves }, due)
            }
            None if leaves.is_empty() => changed.next(State::Confirmed { etag, owes: None }, None),
            // A purge that waits to be done again keeps its time.
            None if leaves == owed => changed.next(State::Confirmed { etag, owes: Some(leaves) }, self.due),
            None => changed.next(State::Confirmed { etag, owes: Some(leaves) }, due),
        })
    }

    /// The bytes are at the new visibility; what is at the old one must go.
    pub fn swap(&self, now: Timestamp) -> Result<Self> {
        match &self.state {
            State::Moving { etag, to, leaves } => {
                let state = State::Confirmed { etag: etag.clone(), owes: Some(*leaves) };
                Ok(Self { visibility: *to, ..self.next(state, Some(now + LEASE)) })
            }
            _ => Err(Error::Conflict),
        }
    }

    /// What was left behind has been removed: once, and after every worker has ended, again.
    pub fn purged(&self, now: Timestamp) -> Result<Self> {
        match &self.state {
            State::Confirmed { etag, owes: Some(purge) } => {
                let etag = etag.clone();
                Ok(if purge.again || purge.variants().next().is_none() {
                    self.next(State::Confirmed { etag, owes: None }, None)
                } else {
                    let again = Purge { original: None, again: true, ..*purge };
                    self.next(State::Confirmed { etag, owes: Some(again) }, Some(now + WORKER_LIFE))
                })
            }
            _ => Err(Error::Conflict),
        }
    }

    /// Whether clients may read the file.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. } | State::Moving { .. })
    }

    /// Whether the cleanup should act on it now.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Where the client puts its bytes.
    pub fn staging_key(&self) -> ObjectKey {
        ObjectKey::Staging { project: self.project, file: self.id, name: self.name.clone() }
    }

    /// Where the published bytes are.
    pub fn original_key(&self) -> ObjectKey {
        self.original_key_at(self.visibility)
    }

    /// Where the published bytes are at a visibility.
    pub fn original_key_at(&self, visibility: Visibility) -> ObjectKey {
        let Self { project, id: file, .. } = *self;
        ObjectKey::Original { visibility, project, file, name: self.name.clone() }
    }

    /// Where a variant is, for readers of one visibility.
    pub fn variant_key(&self, visibility: Visibility, spec: VariantSpec) -> ObjectKey {
        let Self { project, id: file, .. } = *self;
        ObjectKey::Variant { visibility, project, file, stem: self.name.stem().clone(), spec }
    }

    /// Whether the worker may make this variant: confirmed, raster, enabled, at this visibility, under this name.
    pub fn offers(&self, key: &ObjectKey) -> bool {
        let ObjectKey::Variant { visibility, project, file, stem, .. } = key else {
            return false;
        };
        self.is_confirmed()
            && self.has_variants()
            && (*project, *file) == (self.project, self.id)
            && *visibility == self.variants.visibility
            && stem == self.name.stem()
    }

    /// Whether variants are made of it.
    pub fn has_variants(&self) -> bool {
        self.variants.enabled && self.content_type.is_raster()
    }

    fn next(&self, state: State, due: Option<Timestamp>) -> Self {
        Self { state, due, version: self.version + 1, ..self.clone() }
    }
}
