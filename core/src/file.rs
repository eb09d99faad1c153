//! A file's record and the states it passes through. No input or output happens here.
//!
//! ```text
//! Pending ── claim ──> Confirming ── finish ──> Confirmed ── hide ──> Deleting ──> gone
//!    │  ^─── reopen ──────┘
//!    └─── expire ──> Expiring ──> gone
//! ```

use std::time::Duration;

use crate::{
    clock::Timestamp,
    content_type::ContentType,
    error::{Error, Result},
    id::{FileId, ProjectId},
    intent::{
        ByteSize, Entity, Filename, OriginalFilename, OwnerId, Sha256Checksum, UPLOAD_URL_LIFE, UploadIntent,
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
    },
    /// Never published, and on its way out. Owes: staged bytes and quota.
    Expiring,
    /// Hidden from everybody, and on its way out. Owes: published bytes, variants, cached copies and quota.
    Deleting,
}

impl State {
    /// The state's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirming { .. } => "confirming",
            Self::Confirmed { .. } => "confirmed",
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
        }
    }

    /// Claims the inspected bytes for publication.
    pub fn claim(&self, etag: String, dimensions: Option<Dimensions>, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(Self { dimensions, ..self.next(State::Confirming { etag }, Some(now + LEASE)) }),
            State::Confirming { .. } | State::Confirmed { .. } => Err(Error::Conflict),
            State::Expiring | State::Deleting => Err(Error::FileNotFound),
        }
    }

    /// Publication is complete.
    pub fn finish(&self) -> Result<Self> {
        match &self.state {
            State::Confirming { etag } => Ok(self.next(State::Confirmed { etag: etag.clone() }, None)),
            State::Pending | State::Confirmed { .. } | State::Expiring | State::Deleting => Err(Error::Conflict),
        }
    }

    /// The claimed bytes were overwritten before they could be published: the upload is open again.
    pub fn reopen(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirming { .. } => Ok(self.next(State::Pending, Some(now + EXPIRY_GRACE))),
            State::Pending | State::Confirmed { .. } | State::Expiring | State::Deleting => Err(Error::Conflict),
        }
    }

    /// The upload will not be published.
    pub fn expire(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(self.next(State::Expiring, Some(now + LEASE))),
            State::Confirming { .. } | State::Confirmed { .. } | State::Expiring | State::Deleting => {
                Err(Error::Conflict)
            }
        }
    }

    /// Hides a confirmed file, so that it can be taken apart.
    pub fn hide(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirmed { .. } => {
                Ok(Self { epoch: self.epoch + 1, ..self.next(State::Deleting, Some(now + LEASE)) })
            }
            State::Pending | State::Confirming { .. } | State::Expiring | State::Deleting => Err(Error::FileNotFound),
        }
    }

    /// Whether clients may read the file.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. })
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
        let Self { visibility, project, id: file, .. } = *self;
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
