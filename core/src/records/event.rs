//! Events: one for each change to a file that an application can notice. The event id is derived from the file and the
//! change, so finishing a change twice yields the same event.
//!
//! Nothing is sent here. An event is written to the outbox in the transaction that makes its change.

use std::{fmt, str::FromStr};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    clock::Timestamp,
    content_type::ContentType,
    file::{File, Leftovers},
    id::{FileId, ProjectId},
    object_key::Visibility,
};

/// What can happen to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// An upload was published.
    FileConfirmed,
    /// A confirmed file was changed, and is where its visibility says.
    FileUpdated,
    /// A confirmed file is gone: bytes, variants, cached copies and record.
    FileDeleted,
    /// An upload ended without being published: its time ran out, its bytes were refused, or it was deleted.
    FileExpired,
    /// A file's variants were removed from the store and the CDN because a change made them wrong.
    VariantsPurged,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::FileConfirmed, Self::FileUpdated, Self::FileDeleted, Self::FileExpired, Self::VariantsPurged];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileConfirmed => "file.confirmed",
            Self::FileUpdated => "file.updated",
            Self::FileDeleted => "file.deleted",
            Self::FileExpired => "file.expired",
            Self::VariantsPurged => "variants.purged",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no event type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event type is one of file.confirmed, file.updated, file.deleted, file.expired, variants.purged")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEventType)
    }
}

/// An event's name: `evt_` and 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);

impl EventId {
    const PREFIX: &str = "evt_";
    const DIGITS: usize = 32;

    /// The id of the change that brought a file to this count of its changes of this type.
    fn of(file: FileId, kind: EventType, count: u64) -> Self {
        let digest = Sha256::digest(format!("{file} {kind} {count}"));
        Self(format!("{}{}", Self::PREFIX, &hex::encode(digest)[..Self::DIGITS]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not an event id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is `evt_` and 32 hexadecimal digits")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let digits = text.strip_prefix(Self::PREFIX).ok_or(InvalidEventId)?;
        let hexadecimal = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hexadecimal && digits.len() == Self::DIGITS).then(|| Self(text.to_owned())).ok_or(InvalidEventId)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which event; the same however often the change is carried to its end.
    pub id: EventId,
    /// What happened.
    pub kind: EventType,
    /// To a file of which project.
    pub project: ProjectId,
    /// When.
    pub created: Timestamp,
    /// All of it as JSON, the very text that is signed and sent.
    pub body: String,
}

impl Event {
    /// The file has been published.
    pub fn confirmed(file: &File, now: Timestamp) -> Self {
        Self::about(file, EventType::FileConfirmed, 0, now, described(file))
    }

    /// The file has been changed, and this is its revision now.
    pub fn updated(file: &File, now: Timestamp) -> Self {
        Self::about(file, EventType::FileUpdated, file.revision, now, described(file))
    }

    /// The file is gone.
    pub fn deleted(file: &File, now: Timestamp) -> Self {
        Self::about(file, EventType::FileDeleted, 0, now, described(file))
    }

    /// The upload ended without being published.
    pub fn expired(file: &File, now: Timestamp) -> Self {
        Self::about(file, EventType::FileExpired, 0, now, described(file))
    }

    /// The variants of the epoch before this one have been removed.
    pub fn purged(file: &File, leftovers: Leftovers, now: Timestamp) -> Self {
        let mut data = described(file);
        data["purged"] = leftovers.variants().map(Visibility::as_str).collect();
        Self::about(file, EventType::VariantsPurged, file.epoch, now, data)
    }

    fn about(file: &File, kind: EventType, count: u64, created: Timestamp, data: Value) -> Self {
        let id = EventId::of(file.id, kind, count);
        let body = json!({"id": id.as_str(), "type": kind.as_str(), "timestamp": created, "data": data});
        Self { id, kind, project: file.project, created, body: body.to_string() }
    }
}

/// Which picture was published, if that is what the event of this body tells.
pub fn published_picture(body: &Value) -> Option<FileId> {
    let told = |name: &str| body["data"][name].as_str();
    let is_picture = told("contentType")?.parse().is_ok_and(|declared: ContentType| declared.is_raster());
    let is_published = body["type"] == EventType::FileConfirmed.as_str();
    told("fileId")?.parse().ok().filter(|_| is_picture && is_published)
}

/// What an application needs to find its own side of the file. The client's name of the file is not part of it.
fn described(file: &File) -> Value {
    let entity = file.entity.as_ref().map(|entity| {
        let role = entity.role.as_ref().map(|role| role.as_str());
        json!({"type": entity.kind.as_str(), "id": entity.id.as_str(), "role": role, "position": entity.position.0})
    });
    json!({
        "fileId": file.id,
        "projectId": file.project,
        "revision": file.revision,
        "contentType": file.content_type.as_str(),
        "size": file.size.bytes(),
        "visibility": file.visibility.as_str(),
        "ownerUserId": file.owner.as_ref().map(|owner| owner.as_str()),
        "entity": entity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{ByteSize, OriginalFilename, UploadIntent, VariantPolicy};

    fn file() -> File {
        let intent = UploadIntent {
            original_filename: OriginalFilename::new("secret plans.txt").unwrap(),
            content_type: "text/plain".parse().unwrap(),
            size: ByteSize::new(13).unwrap(),
            visibility: Visibility::Private,
            owner: None,
            entity: None,
            variants: VariantPolicy::default(),
            checksum: None,
        };
        File::begin(ProjectId::mint(), intent, Timestamp::from_millis(1_760_000_000_007))
    }

    #[test]
    fn the_same_change_has_the_same_id_at_any_time_and_every_other_change_another() {
        let file = file();
        let changed = File { revision: file.revision + 1, ..file.clone() };
        let (now, later) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        assert_eq!(Event::updated(&file, now).id, Event::updated(&file, later).id);
        let ids = [
            Event::confirmed(&file, now).id,
            Event::updated(&file, now).id,
            Event::updated(&changed, now).id,
            Event::deleted(&file, now).id,
            Event::expired(&file, now).id,
            Event::purged(&file, Leftovers::default(), now).id,
            Event::confirmed(&self::file(), now).id,
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn an_id_and_a_type_parse_back_and_nothing_else_does() {
        let id = Event::confirmed(&file(), Timestamp::from_millis(1)).id;
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for text in ["", "evt_", "evt_00", &id.as_str().to_uppercase(), &id.as_str()[1..], "evt_z0"] {
            assert_eq!(text.parse::<EventId>(), Err(InvalidEventId), "{text}");
        }
        for kind in EventType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("file.opened".parse::<EventType>(), Err(UnknownEventType));
    }

    #[test]
    fn a_published_picture_is_known_by_what_is_told_of_it() {
        let (now, text) = (Timestamp::from_millis(1), file());
        let picture = File { content_type: "image/jpeg".parse().unwrap(), ..file() };
        let told = |event: Event| published_picture(&serde_json::from_str(&event.body).unwrap());
        assert_eq!(told(Event::confirmed(&picture, now)), Some(picture.id));
        for event in [Event::confirmed(&text, now), Event::updated(&picture, now), Event::deleted(&picture, now)] {
            assert_eq!(told(event), None);
        }
        let nobodys = json!({"type": "file.confirmed", "data": {"contentType": "image/jpeg", "fileId": "?"}});
        for body in [Value::Null, json!("text"), json!({"type": "file.confirmed"}), nobodys] {
            assert_eq!(published_picture(&body), None, "{body}");
        }
    }

    #[test]
    fn the_body_tells_what_happened_and_not_the_name_on_the_client() {
        let event = Event::purged(
            &file(),
            Leftovers { public_variants: true, ..Leftovers::default() },
            Timestamp::from_millis(1_760_000_000_007),
        );
        let body: Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(body["id"], event.id.as_str());
        assert_eq!(body["type"], "variants.purged");
        assert_eq!(body["timestamp"], "2025-10-09T08:53:20.007Z");
        assert_eq!(body["data"]["purged"], json!(["public"]));
        assert_eq!(body["data"]["size"], 13);
        assert!(!event.body.contains("secret"));
    }
}
