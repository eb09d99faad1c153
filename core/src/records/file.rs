//! A file's record and the states it passes through. No input or output happens here.
//!
//! ```text
//! Pending ── claim ──> Confirming ── finish ──> Confirmed ── hide ──> Deleting ──> (Removed ──>) gone
//!    │  ^─── reopen ──────┘                      │     ^
//!    │                                         move   swap
//!    │                                           └> Moving
//!    └─── expire ──> Expiring ──> (Removed ──>) gone
//! ```
//!
//! An upload URL works until it expires, whatever became of its upload. So a record that ends before that stays as
//! `Removed` until no PUT can arrive any more, and its last step empties the staging area.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    content_type::ContentType,
    error::{Error, Result},
    id::{FileId, KeyId, ProjectId},
    intent::{
        ByteSize, Entity, Filename, OriginalFilename, OwnerId, Position, Sha256Checksum, UPLOAD_URL_LIFE, UploadIntent,
        VariantPolicy,
    },
    object_key::{ObjectKey, Visibility},
    sniff::Dimensions,
    thumbhash::ThumbHash,
    variant::VariantSpec,
};

/// How long after its URL's expiry a pending upload is kept: a PUT that began in time may still be under way.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(15 * 60);

/// How long a request has the work that it claimed for itself before the cleanup takes it over: longer than it can live,
/// 29 s on AWS, so that nothing which it sent is still on its way then.
pub const LEASE: Duration = Duration::from_secs(60);

/// How long a cleanup has the work that it took over for itself: longer than it can live, 120 s on AWS.
pub const SWEEP_LEASE: Duration = Duration::from_secs(180);

/// How long after a file was published, or its publication given up, a copy of its upload may still arrive: any number of
/// confirmations may have begun one, and the longest-lived of them runs in the cleanup.
pub const LATE_COPIES: Duration = SWEEP_LEASE;

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
    /// The placeholder of a raster image, once the worker has seen its pixels. It follows from the bytes, so that it
    /// changes nothing when it arrives: no version, no revision.
    pub thumbhash: Option<ThumbHash>,
    /// When the upload began.
    pub created: Timestamp,
    /// The API key that began the upload, if one did.
    pub uploader: Option<KeyId>,
    /// When the last upload URL expires. `None` on records written before this was kept, which are also the records
    /// that the project's count of pending uploads does not include.
    pub url_expires: Option<Timestamp>,
    /// Where it is in its life.
    pub state: State,
    /// When the cleanup may take over the work that the record owes. `None`: it owes none.
    pub due: Option<Timestamp>,
    /// Until when copies that were begun earlier may still create the original.
    pub late_copies: LateCopies,
    /// Counts the writes; every write is conditional on it.
    pub version: u64,
    /// Counts the changes after which older variants are wrong.
    pub epoch: u64,
    /// Counts the changes that a client can see.
    pub revision: u64,
}

/// Until when a copy that a request began earlier may still create the original, for each visibility.
///
/// A request outlives the caller's interest in it: its sender may have timed out, or another sender may have been
/// quicker, and the store carries it out all the same. A copy that arrives while the file is at its target changes
/// nothing. After the file has moved on or gone, it leaves bytes that no record accounts for, so the place is checked
/// once more when this time has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateCopies {
    public: Option<Timestamp>,
    private: Option<Timestamp>,
}

impl LateCopies {
    /// These times, for the original at each visibility.
    pub fn new(public: Option<Timestamp>, private: Option<Timestamp>) -> Self {
        Self { public, private }
    }

    /// Until when a copy may create the original at this visibility.
    pub fn at(self, visibility: Visibility) -> Option<Timestamp> {
        match visibility {
            Visibility::Public => self.public,
            Visibility::Private => self.private,
        }
    }

    /// Until when a copy may create the original at any visibility.
    pub fn last(self) -> Option<Timestamp> {
        self.public.max(self.private)
    }

    /// With copies to this visibility under way now.
    fn begun(self, visibility: Visibility, now: Timestamp) -> Self {
        let until = Some(now + LATE_COPIES).max(self.at(visibility));
        match visibility {
            Visibility::Public => Self { public: until, ..self },
            Visibility::Private => Self { private: until, ..self },
        }
    }

    /// Those that may still arrive after a time.
    fn after(self, time: Timestamp) -> Self {
        let later = |until: Option<Timestamp>| until.filter(|until| *until > time);
        Self { public: later(self.public), private: later(self.private) }
    }
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
        owes: Option<Leftovers>,
    },
    /// Published, still where its visibility says, and on its way to the other visibility.
    Moving {
        /// The published object's ETag.
        etag: String,
        /// Where it goes.
        to: Visibility,
        /// What the move leaves behind.
        leaves: Leftovers,
    },
    /// Never published, and on its way out. Owes: staged bytes and quota.
    Expiring,
    /// Hidden from everybody, and on its way out. Owes: published bytes, variants, cached copies and quota.
    Deleting {
        /// What a CDN may have cached beside the original at the file's visibility.
        leaves: Leftovers,
    },
    /// Taken apart, and its quota given back. Owes: another removal of the variants that a worker may have stored since,
    /// of originals that late copies have created, and of what was uploaded late.
    Removed {
        /// The variants that may be back, and an original that was found to be.
        leaves: Leftovers,
        /// Returns true if the upload URL still worked when the quota was given back. The file's size is then part of
        /// the project's [`late_bytes`](crate::catalog::Project::late_bytes) until this record goes.
        late: bool,
    },
}

/// Originals and variants that a change left where they must not stay, until they are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The original at this visibility.
    pub original: Option<Visibility>,
    /// The variants for anybody.
    pub public_variants: bool,
    /// The variants for bearers of a signed URL.
    pub private_variants: bool,
    /// Whether it was done once and is done again, now that every worker that was busy during the change has ended.
    pub again: bool,
    /// Whether a change of visibility caused it. The event of that change is written when these leftovers are removed:
    /// only then is nothing left where the file was.
    pub moved: bool,
}

impl Leftovers {
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
            moved: self.moved || other.moved,
        }
    }

    /// Whether there is anything to remove.
    pub fn is_empty(self) -> bool {
        self.original.is_none() && !self.public_variants && !self.private_variants && !self.moved
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
    /// To whom it belongs; `Some(None)` removes the owner.
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
            Self::Deleting { .. } => "deleting",
            Self::Removed { .. } => "removed",
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
            thumbhash: None,
            created: now,
            uploader: None,
            url_expires: Some(now + UPLOAD_URL_LIFE),
            state: State::Pending,
            due: Some(now + UPLOAD_URL_LIFE + EXPIRY_GRACE),
            late_copies: LateCopies::default(),
            version: 1,
            epoch: 1,
            revision: 1,
        }
    }

    /// Gives a pending upload another URL's life.
    pub fn renew(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => {
                let renewed = self.next(State::Pending, Some(now + UPLOAD_URL_LIFE + EXPIRY_GRACE));
                // A record that is not counted stays so.
                let url_expires = self.url_expires.map(|_| now + UPLOAD_URL_LIFE);
                Ok(Self { url_expires, ..renewed })
            }
            State::Confirming { .. } | State::Confirmed { .. } | State::Moving { .. } => Err(Error::NotPending),
            State::Expiring | State::Deleting { .. } | State::Removed { .. } => Err(Error::FileNotFound),
        }
    }

    /// Claims the inspected bytes for publication.
    pub fn claim(&self, etag: String, dimensions: Option<Dimensions>, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Pending => Ok(Self {
                dimensions,
                content_type: self.content_type.published(),
                ..self.next(State::Confirming { etag }, Some(now + LEASE))
            }),
            State::Confirming { .. } | State::Confirmed { .. } | State::Moving { .. } => Err(Error::Conflict),
            State::Expiring | State::Deleting { .. } | State::Removed { .. } => Err(Error::FileNotFound),
        }
    }

    /// Claims the bytes that are in the file's place already, for the ones that were claimed last.
    pub fn claim_instead(&self, etag: String, dimensions: Option<Dimensions>, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirming { .. } => {
                Ok(Self { dimensions, ..self.next(State::Confirming { etag }, Some(now + LEASE)) })
            }
            _ => Err(Error::Conflict),
        }
    }

    /// Publication is complete: the published object has this ETag.
    pub fn finish(&self, etag: String, now: Timestamp) -> Result<Self> {
        match &self.state {
            State::Confirming { .. } => {
                let confirmed = self.next(State::Confirmed { etag, owes: None }, None);
                Ok(Self { late_copies: self.late_copies.begun(self.visibility, now), ..confirmed })
            }
            _ => Err(Error::Conflict),
        }
    }

    /// The claimed bytes were overwritten before they could be published: the upload is open again.
    pub fn reopen(&self, now: Timestamp) -> Result<Self> {
        match self.state {
            State::Confirming { .. } => {
                let due = self.last_arrival().max(now + EXPIRY_GRACE);
                let pending = self.next(State::Pending, Some(due));
                Ok(Self { late_copies: self.late_copies.begun(self.visibility, now), ..pending })
            }
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
        let mut late_copies = self.late_copies.after(now);
        let owed = match &self.state {
            State::Confirmed { owes, .. } => owes.unwrap_or_default(),
            // A copy may be where it goes.
            State::Moving { to, leaves, .. } => {
                late_copies = late_copies.begun(*to, now);
                Leftovers { original: Some(*to), ..*leaves }
            }
            State::Pending
            | State::Confirming { .. }
            | State::Expiring
            | State::Deleting { .. }
            | State::Removed { .. } => {
                return Err(Error::FileNotFound);
            }
        };
        let variants = self.has_variants().then(|| Leftovers::of_variants(self.variants.visibility));
        let leaves = owed.and(variants.unwrap_or_default());
        Ok(Self { epoch: self.epoch + 1, late_copies, ..self.next(State::Deleting { leaves }, Some(now + LEASE)) })
    }

    /// The bytes were removed by requests that were sent from a time on. `None`: neither a worker, nor a late copy, nor
    /// an upload can create any of them again, and the record may go as well.
    pub fn remove(&self, removed_at: Timestamp, now: Timestamp) -> Option<Self> {
        let leaves = match self.state {
            State::Deleting { leaves } => Leftovers { original: None, moved: false, ..leaves },
            State::Expiring => Leftovers::default(),
            State::Pending
            | State::Confirming { .. }
            | State::Confirmed { .. }
            | State::Moving { .. }
            | State::Removed { .. } => return None,
        };
        let workers_end = leaves.variants().next().map(|_| now + WORKER_LIFE);
        self.keep(leaves, removed_at < self.last_arrival(), removed_at, workers_end)
    }

    /// What workers and late copies may have brought back was removed by requests that were sent from a time on. `None`:
    /// no upload can arrive any more either, and the record may go.
    pub fn remove_again(&self, removed_at: Timestamp) -> Option<Self> {
        match self.state {
            State::Removed { late, .. } => self.keep(Leftovers::default(), late, removed_at, None),
            State::Pending
            | State::Confirming { .. }
            | State::Confirmed { .. }
            | State::Moving { .. }
            | State::Expiring
            | State::Deleting { .. } => None,
        }
    }

    /// The record after a removal that was sent at a time: first until the workers and the late copies have ended, then
    /// until the last upload has.
    fn keep(
        &self,
        leaves: Leftovers,
        late: bool,
        removed_at: Timestamp,
        workers_end: Option<Timestamp>,
    ) -> Option<Self> {
        let late_copies = self.late_copies.after(removed_at);
        let uploads_end = Some(self.last_arrival()).filter(|end| late && removed_at < *end);
        let due = workers_end.max(late_copies.last()).or(uploads_end)?;
        Some(Self { late_copies, ..self.next(State::Removed { leaves, late }, Some(due)) })
    }

    /// A late copy has created the original of a file that is gone, and the record owes its removal.
    pub fn owe_late_copy(&self, visibility: Visibility) -> Result<Self> {
        match self.state {
            State::Removed { leaves, late } => {
                let leaves = Leftovers { original: Some(visibility), ..leaves };
                Ok(self.next(State::Removed { leaves, late }, self.due))
            }
            _ => Err(Error::Conflict),
        }
    }

    /// When the last PUT to one of the file's upload URLs has ended: one that begins in time may still be under way for
    /// [`EXPIRY_GRACE`].
    pub fn last_arrival(&self) -> Timestamp {
        self.url_expires.unwrap_or(self.created + UPLOAD_URL_LIFE) + EXPIRY_GRACE
    }

    /// The same upload, for whose URL it is certain that it was never given out.
    pub fn withdraw_url(&self) -> Self {
        Self { url_expires: self.url_expires.map(|_| Timestamp::from_millis(0)), ..self.clone() }
    }

    /// How many bytes of its project's quota it takes.
    pub fn holds(&self) -> u64 {
        match self.state {
            State::Removed { .. } => 0,
            _ => self.size.bytes(),
        }
    }

    /// Changes a confirmed file. What a client sees changes at once, but for the visibility of the original, which
    /// changes when its bytes have been moved.
    pub fn patch(&self, patch: &Patch, now: Timestamp) -> Result<Self> {
        let (etag, owed) = match &self.state {
            // The move is finished first, with the removal of what it leaves behind: one that is still under way would take
            // the bytes of a file that came back.
            _ if self.is_on_the_move() => return Err(Error::Conflict),
            State::Confirmed { etag, owes } => (etag.clone(), owes.unwrap_or_default()),
            State::Moving { .. } => return Err(Error::Conflict),
            State::Pending
            | State::Confirming { .. }
            | State::Expiring
            | State::Deleting { .. }
            | State::Removed { .. } => {
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
            leaves = leaves.and(Leftovers::of_variants(self.variants.visibility));
        }
        let due = Some(now + LEASE);
        Ok(match patch.visibility.filter(|to| *to != self.visibility) {
            Some(to) => {
                let leaves = Leftovers { original: Some(self.visibility), ..leaves };
                changed.next(State::Moving { etag, to, leaves }, due)
            }
            // What waits for workers or late copies keeps its time.
            None if leaves.is_empty() => changed.next(State::Confirmed { etag, owes: None }, self.due),
            None if leaves == owed => changed.next(State::Confirmed { etag, owes: Some(leaves) }, self.due),
            None => changed.next(State::Confirmed { etag, owes: Some(leaves) }, due),
        })
    }

    /// The bytes are at the new visibility, under this ETag; what is at the old one must go.
    pub fn swap(&self, etag: String, now: Timestamp) -> Result<Self> {
        match &self.state {
            State::Moving { to, leaves, .. } => {
                let owes = Some(Leftovers { moved: true, ..*leaves });
                let state = State::Confirmed { etag, owes };
                // The claim of the process that moves the file does not become shorter.
                let due = self.due.map_or(now + LEASE, |due| due.max(now + LEASE));
                let late_copies = self.late_copies.after(now).begun(*to, now);
                Ok(Self { visibility: *to, late_copies, ..self.next(state, Some(due)) })
            }
            _ => Err(Error::Conflict),
        }
    }

    /// Corrects the visibility of a file whose original was found there, and ends a move that was under way.
    pub fn correct_visibility(&self, visibility: Visibility) -> Self {
        let state = match self.state.clone() {
            State::Moving { etag, .. } => State::Confirmed { etag, owes: None },
            state => state,
        };
        let due = if matches!(state, State::Confirmed { owes: None, .. }) { None } else { self.due };
        Self { visibility, revision: self.revision + 1, ..self.next(state, due) }
    }

    /// Whether a process moves the published bytes between visibilities, or removes them from where they were.
    ///
    /// Only one process may do that at a time. Its claim outlasts the longest possible run of that process, because a
    /// late copy or deletion would leave the file in two places, or in none.
    pub fn is_on_the_move(&self) -> bool {
        match &self.state {
            State::Moving { .. } => true,
            State::Confirmed { owes: Some(owed), .. } => owed.original.is_some(),
            State::Confirmed { owes: None, .. }
            | State::Pending
            | State::Confirming { .. }
            | State::Expiring
            | State::Deleting { .. }
            | State::Removed { .. } => false,
        }
    }

    /// Takes over overdue work of a process that did not finish it, for this long.
    pub fn take_over(&self, now: Timestamp, lease: Duration) -> Result<Self> {
        if self.is_overdue(now) { Ok(self.next(self.state.clone(), Some(now + lease))) } else { Err(Error::Conflict) }
    }

    /// Has the record owe the removal of an original that was found at the other visibility.
    pub fn owe_original(&self, visibility: Visibility, now: Timestamp) -> Result<Self> {
        match &self.state {
            State::Confirmed { etag, owes } if !self.is_on_the_move() && visibility != self.visibility => {
                let owed = owes.unwrap_or_default();
                // A second removal of variants that is not due yet is not brought forward: workers are still busy.
                let again = owed.again && self.is_overdue(now);
                let owes = Some(Leftovers { original: Some(visibility), again, ..owed });
                Ok(self.next(State::Confirmed { etag: etag.clone(), owes }, Some(now + SWEEP_LEASE)))
            }
            _ => Err(Error::Conflict),
        }
    }

    /// What was left behind has been removed, by requests that were sent from a time on: variants once, and again after
    /// every worker has ended. Where late copies may create the original, the place is checked once more.
    pub fn clear_debt(&self, removed_at: Timestamp, now: Timestamp) -> Result<Self> {
        let State::Confirmed { etag, owes } = &self.state else {
            return Err(Error::Conflict);
        };
        let late_copies = self.late_copies.after(removed_at);
        let check = late_copies.at(self.visibility.other());
        let again = owes.filter(|leftovers| !leftovers.again && leftovers.variants().next().is_some());
        let owes = again.map(|leftovers| Leftovers { original: None, again: true, moved: false, ..leftovers });
        let due = owes.map(|_| now + WORKER_LIFE).max(check);
        Ok(Self { late_copies, ..self.next(State::Confirmed { etag: etag.clone(), owes }, due) })
    }

    /// Where a late copy may have created the original, although the file is at its other visibility.
    pub fn place_to_check(&self) -> Option<Visibility> {
        let other = self.visibility.other();
        let waits =
            matches!(&self.state, State::Confirmed { owes, .. } if owes.is_none_or(|leftovers| leftovers.again));
        (waits && !self.is_on_the_move() && self.late_copies.at(other).is_some()).then_some(other)
    }

    /// Returns true while the upload is neither published nor ended.
    pub fn is_upload_under_way(&self) -> bool {
        matches!(self.state, State::Pending | State::Confirming { .. })
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

    /// Whether an object under this key is there for a reason: it is served, on its way, or about to be removed.
    pub fn accounts_for(&self, key: &ObjectKey) -> bool {
        let purges = |owed: Leftovers, visibility| owed.variants().any(|v| v == visibility);
        match key {
            ObjectKey::Staging { .. } => {
                *key == self.staging_key()
                    && match self.state {
                        State::Pending | State::Confirming { .. } | State::Expiring | State::Deleting { .. } => true,
                        State::Removed { late, .. } => late,
                        State::Confirmed { .. } | State::Moving { .. } => false,
                    }
            }
            ObjectKey::Original { visibility, .. } => {
                *key == self.original_key_at(*visibility)
                    && match &self.state {
                        // A claim that was given up may still have its copy arrive.
                        State::Pending
                        | State::Confirming { .. }
                        | State::Expiring
                        | State::Confirmed { owes: None, .. } => *visibility == self.visibility,
                        State::Confirmed { owes: Some(owed), .. } => {
                            *visibility == self.visibility || owed.original == Some(*visibility)
                        }
                        State::Moving { .. } | State::Deleting { .. } => true,
                        // Only an upload may still arrive when nothing is left that could come back.
                        State::Removed { leaves, .. } => !leaves.is_empty() || self.late_copies.last().is_some(),
                    }
                    || *key == self.original_key_at(*visibility) && self.place_to_check() == Some(*visibility)
            }
            ObjectKey::Variant { visibility, spec, .. } => {
                *key == self.variant_key(*visibility, *spec)
                    && match &self.state {
                        State::Confirmed { owes, .. } => {
                            self.offers(key) || purges(owes.unwrap_or_default(), *visibility)
                        }
                        State::Moving { leaves, .. } => self.offers(key) || purges(*leaves, *visibility),
                        State::Deleting { .. } => true,
                        State::Removed { leaves, .. } => !leaves.is_empty(),
                        State::Pending | State::Confirming { .. } | State::Expiring => false,
                    }
            }
        }
    }

    /// Whether variants are made of it.
    pub fn has_variants(&self) -> bool {
        self.variants.enabled && self.content_type.is_raster()
    }

    /// Whether it is a published picture whose pixels the worker has not seen yet.
    pub fn lacks_placeholder(&self) -> bool {
        self.is_confirmed() && self.content_type.is_raster() && self.thumbhash.is_none()
    }

    fn next(&self, state: State, due: Option<Timestamp>) -> Self {
        Self { state, due, version: self.version + 1, ..self.clone() }
    }
}
