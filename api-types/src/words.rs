//! The single values of requests and answers: how each is read, written and described.

use std::{borrow::Cow, marker::PhantomData, time::Duration};

use serde::{Serialize as _, Serializer};
use serde_json::{Value, json};
use xfiles_core::{
    api_key::Scope,
    catalog::{Cursor, NamePrefix, PageSize, PendingCursor, TypeFilter},
    clock::Timestamp,
    content_type::ContentType,
    event::{EventId, EventType},
    id::{EndpointId, FileId, KeyId, ProjectId},
    intent::{ByteSize, EntityWord, OriginalFilename, OwnerId, Position, Sha256Checksum},
    object_key::Visibility,
    variant::ImageFormat,
    webhook::{DeliveryStatus, Reach, TargetUrl},
};

use crate::{
    limits, spelling,
    wire::{At, Reading, Schemas, Wire},
};

/// A word of an answer: one of the words of `T`. A client reads it as text, so that it can be older than its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<T>(Cow<'static, str>, PhantomData<T>);

impl<T> Word<T> {
    pub(crate) const fn new(word: &'static str) -> Self {
        Self(Cow::Borrowed(word), PhantomData)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Wire> Wire for Word<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }

    leaf!(@read
        |value| value.as_str().map(|text| Self(Cow::Owned(text.to_owned()), PhantomData)).ok_or("must be a string"),
        |it| it.as_str());
}

/// The words, as a rule names them: "`a`, `b` or `c`".
pub(crate) fn alternatives<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

word!(
    "Visibility",
    Visibility,
    Visibility::ALL,
    Visibility::as_str,
    ["Who may read: everybody who knows the URL, or only with a signed URL."]
);
word!("KeyScope", Scope, Scope::ALL, Scope::as_str, ["What a key may do."]);
word!("EventName", EventType, EventType::ALL, EventType::as_str, ["What can happen to a file."]);
word!("ImageFormat", ImageFormat, ImageFormat::ALL, ImageFormat::extension, ["The encoding of a variant."]);
word!(
    "DeliveryState",
    DeliveryStatus,
    DeliveryStatus::ALL,
    DeliveryStatus::as_str,
    ["How far a delivery is: it will be tried, was accepted, or was given up and waits to be replayed."]
);

words! {
    /// Whether the file is published.
    pub enum UploadStatus { Pending = "pending", Confirmed = "confirmed" }

    /// The method of the upload.
    pub enum Method { Put = "PUT" }

    /// Whether a project is in use, or being emptied or deleted by the cleanup.
    pub enum ProjectStatus { Active = "active", Emptying = "emptying", Deleting = "deleting" }

    /// What a list adds to each file.
    pub enum Include { Urls = "urls" }

    /// Why a record is overdue: the state of a file, or a project that is being cleared.
    pub enum DebtorState {
        Pending = "pending", Confirming = "confirming", Confirmed = "confirmed", Moving = "moving", Expiring = "expiring",
        Deleting = "deleting", Removed = "removed", Clearing = "clearing",
    }
}

/// A whole number. JSON has one kind of number, so `300.0` is one too; above 2^53 a fraction is not representable.
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let rounded = || value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=EXACT).contains(n));
    value.as_u64().or_else(|| rounded()?.abs().to_string().parse().ok())
}

fn number_of_text(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}

fn text(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("must be a string")
}

macro_rules! integers {
    ($($type:ty: $format:literal),*) => {$(
        leaf!($type, {"type": "integer", "format": $format, "minimum": 0},
            |value| whole(value).and_then(|n| n.try_into().ok()).ok_or("must be a whole number"), |it| it);
    )*};
}

integers!(u16: "int32", u32: "int32", u64: "int64");
leaf!(i64, {"type": "integer", "format": "int64"}, |value| value.as_i64().ok_or("must be a whole number"), |it| it);
leaf!(String, {"type": "string"}, |value| text(value).map(str::to_owned), |it| it);

impl Wire for bool {
    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "boolean"})
    }

    leaf!(@read |value| value.as_bool().ok_or("must be true or false"), |it| it);

    fn of_text(text: &str) -> Value {
        text.parse::<bool>().map_or_else(|_| text.into(), Value::from)
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Wire for Whole<MIN, MAX> {
    fn schema(_: &mut Schemas) -> Value {
        let mut schema = json!({"type": "integer", "format": "int64", "minimum": MIN});
        if MAX < u64::MAX {
            schema["maximum"] = MAX.into();
        }
        schema
    }

    leaf!(@read
        |value| whole(value)
            .filter(|n| (MIN..=MAX).contains(n))
            .map(Self)
            .ok_or_else(|| match MAX {
                u64::MAX => format!("must be a whole number from {MIN}"),
                _ => format!("must be a whole number, {MIN} to {MAX}"),
            }),
        |it| it.0);

    fn of_text(text: &str) -> Value {
        number_of_text(text)
    }
}

/// A span of time in whole seconds, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds<const MIN: u64, const MAX: u64>(pub Duration);

impl<const MIN: u64, const MAX: u64> Wire for Seconds<MIN, MAX> {
    fn schema(schemas: &mut Schemas) -> Value {
        Whole::<MIN, MAX>::schema(schemas)
    }

    leaf!(@read
        |value| whole(value)
            .filter(|n| (MIN..=MAX).contains(n))
            .map(|n| Self(Duration::from_secs(n)))
            .ok_or_else(|| format!("must be a whole number of seconds, {MIN} to {MAX}")),
        |it| it.0.as_secs());

    fn of_text(text: &str) -> Value {
        number_of_text(text)
    }
}

/// How long a replaced key or secret goes on working.
pub type Grace = Seconds<0, { limits::MAX_GRACE }>;

leaf!(ByteSize, {"type": "integer", "format": "int64", "minimum": 0, "maximum": (ByteSize::MAX.bytes())},
    |value| whole(value).and_then(ByteSize::new).ok_or_else(|| {
        format!("must be a whole number of bytes, 0 to {}", ByteSize::MAX.bytes())
    }),
    |it| it.bytes());

leaf!(Position, {"type": "integer", "format": "int64", "minimum": 0, "maximum": (u32::MAX)},
    |value| whole(value).and_then(|n| n.try_into().ok()).map(Position).ok_or_else(|| {
        format!("must be a whole number, 0 to {}", u32::MAX)
    }),
    |it| it.0);

/// How much a project may hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(pub u64);

leaf!(Quota, {"type": "integer", "format": "int64", "minimum": 0, "maximum": (limits::QUOTA_BYTES)},
    |value| whole(value).filter(|n| *n <= limits::QUOTA_BYTES).map(Self)
        .ok_or("must be a whole number of bytes, at most 2^53"),
    |it| it.0);

impl Wire for PageSize {
    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": Self::MAX})
    }

    leaf!(@read
        |value| whole(value).and_then(|n| n.try_into().ok()).and_then(Self::new).ok_or_else(|| {
            format!("must be a whole number, 1 to {}", Self::MAX)
        }),
        |it| it.get());

    fn of_text(text: &str) -> Value {
        number_of_text(text)
    }
}

/// The name that people give a project or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

macro_rules! bounded {
    ($($type:ty, $max:expr, $new:expr, $as_str:expr;)*) => {$(
        leaf!($type, {"type": "string", "minLength": 1, "maxLength": ($max)},
            |value| value.as_str().and_then($new).ok_or_else(|| format!("must be a string of 1 to {} characters", $max)),
            |it| $as_str(it));
    )*};
}

bounded! {
    OriginalFilename, OriginalFilename::MAX_CHARS, OriginalFilename::new, OriginalFilename::as_str;
    OwnerId, OwnerId::MAX_CHARS, OwnerId::new, OwnerId::as_str;
    EntityWord, EntityWord::MAX_CHARS, EntityWord::new, EntityWord::as_str;
    Name, limits::NAME_CHARS, Name::new, |name: &Name| name.0.clone();
}

impl Name {
    pub fn new(text: &str) -> Option<Self> {
        (1..=limits::NAME_CHARS).contains(&text.chars().count()).then(|| Self(text.to_owned()))
    }
}

leaf!(Sha256Checksum, {"type": "string", "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"},
    |value| value.as_str().and_then(|t| t.parse().ok()).ok_or("must be the base64 of 32 bytes, 44 characters"),
    |it| it.to_string());

leaf!(Timestamp, {"type": "string", "format": "date-time"},
    |value| value.as_str().and_then(Self::parse_rfc3339).ok_or("must be a time such as 2026-01-31T12:00:00Z"),
    |it| it.to_string(), "2026-01-31T12:00:00.000Z");

leaf!(EventId, {"type": "string", "pattern": "^evt_[0-9a-f]{32}$"},
    |value| value.as_str().and_then(|t| t.parse().ok()).ok_or("must be the id of an event"),
    |it| it.as_str(), "evt_0d8f3b2a6c4e9f7150a2b3c4d5e6f708");

macro_rules! ids {
    ($($type:ident, $length:literal, $example:expr;)*) => {$(
        leaf!($type, {"type": "string", "pattern": (concat!("^[a-z0-9]{", $length, "}$"))},
            |value| value.as_str().and_then(|t| t.parse().ok()).ok_or(concat!("must be an id of ", $length, " characters")),
            |it| it.as_str(), $example);
    )*};
}

pub const FILE: &str = "2h8w0k5v9d3m7q1x4z6b";
pub const PROJECT: &str = "k3v9x2m7q1z8";
pub const KEY: &str = "p4t8w1n6y2";
pub const WEBHOOK: &str = "m5x1c8r3j9d2";

ids! {
    FileId, 20, FILE;
    ProjectId, 12, PROJECT;
    KeyId, 10, KEY;
    EndpointId, 12, WEBHOOK;
}

/// A file in a request. A text that is no id is a file that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef(pub Option<FileId>);

leaf!(FileRef, {"type": "string", "pattern": "^[a-z0-9]{20}$"},
    |value| text(value).map(|text| Self(text.parse().ok())),
    |it| it.0.map(|id| id.to_string()), FILE);

/// A file in a batch, where one that does not exist is refused alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchedFile(pub Option<FileId>);

leaf!(BatchedFile, {"type": "string"},
    |value| text(value).map(|text| Self(text.parse().ok())),
    |it| it.0.map(|id| id.to_string()), FILE);

impl Wire for ContentType {
    fn schema(schemas: &mut Schemas) -> Value {
        let names: Vec<&str> = Self::names().chain(Self::aliases()).collect();
        schemas.name(
            "MediaType",
            json!({
                "description":
                    "An allowed media type, or another name in use for it; `File.contentType` has the registered name. \
                     Parameters may follow, as in `text/plain; charset=utf-8` or `video/webm;codecs=vp9`: the upload is \
                     sent with the same text, and of a text the charset is served.",
                "anyOf": [
                    {"type": "string", "enum": names},
                    {"type": "string", "pattern": r"^application/vnd\.openxmlformats-[A-Za-z0-9.+-]{1,100}$"},
                ],
            }),
        )
    }

    leaf!(@read
        |value| text(value).map_err(Cow::Borrowed).and_then(|text| text.parse().map_err(|_| near_media_types(text))),
        |it| it.declared());
}

/// The rule for a media type, with the allowed ones that its writer may have meant.
fn near_media_types(text: &str) -> Cow<'static, str> {
    let (family, _) = text.split_once('/').unwrap_or((text, ""));
    let names: Vec<&str> = ContentType::names().collect();
    let nearest = spelling::nearest(text, &names).map(|name| vec![name]);
    let relatives = || names.iter().filter(|name| name.split('/').next() == Some(family)).copied().collect();
    let near: Vec<&str> = nearest.unwrap_or_else(relatives);
    if near.is_empty() {
        "must be an allowed media type, such as `image/jpeg`".into()
    } else {
        format!("must be an allowed media type; near it are `{}`", near.join("`, `")).into()
    }
}

leaf!(TypeFilter, {"type": "string", "pattern": r"^[^/]+/[\s\S]+$"},
|value| value.as_str().and_then(|t| t.parse().ok())
    .ok_or("must be a media type such as image/jpeg, or a family such as image/*"),
|it| match it {
    Self::Exact(name) => name.clone(),
    Self::Family(beginning) => format!("{beginning}*"),
});

/// Where a page of a list begins: at the start of a walk, which is the empty text, or after the page before.
#[derive(Clone, Debug)]
pub enum ListCursor {
    Start,
    /// In the list of confirmed files.
    Files(Cursor),
    /// In the list of pending uploads.
    Pending(PendingCursor),
}

leaf!(ListCursor, {"type": "string"},
|value| match value.as_str() {
    Some("") => Ok(Self::Start),
    text => text
        .and_then(|t| t.parse().map(Self::Pending).or_else(|_| t.parse().map(Self::Files)).ok())
        .ok_or("must be a `nextCursor` of this list"),
},
|it| match it {
    Self::Start => String::new(),
    Self::Files(cursor) => cursor.to_string(),
    Self::Pending(cursor) => cursor.to_string(),
});

/// Where a page of deliveries begins: at the newest, which is the empty text, or after the page before.
#[derive(Clone, Debug)]
pub struct DeliveryCursor(pub Option<DeliveryId>);

leaf!(DeliveryCursor, {"type": "string", "pattern": "^([0-9]{14}-evt_[0-9a-f]{32})?$"},
    |value| match value.as_str() {
        Some("") => Ok(Self(None)),
        text => text.and_then(DeliveryId::new).map(|id| Self(Some(id))).ok_or("must be a `nextCursor` of this list"),
    },
    |it| it.0.as_ref().map(DeliveryId::as_str).unwrap_or_default());

/// The beginning of a client-side file name.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub prefix: NamePrefix,
    text: String,
}

leaf!(Beginning, {"type": "string", "minLength": 1, "maxLength": (NamePrefix::MAX_CHARS)},
    |value| value.as_str().and_then(|text| Some(Self { prefix: NamePrefix::new(text)?, text: text.to_owned() }))
        .ok_or_else(|| format!("must be 1 to {} characters", NamePrefix::MAX_CHARS)),
    |it| it.text.as_str());

/// The id of a delivery: the milliseconds of its event, and the event's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryId(String);

impl DeliveryId {
    pub fn new(text: &str) -> Option<Self> {
        let (millis, event) = text.split_once('-')?;
        let ours = millis.len() == 14 && millis.bytes().all(|b| b.is_ascii_digit()) && event.parse::<EventId>().is_ok();
        ours.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

leaf!(DeliveryId, {"type": "string", "pattern": "^[0-9]{14}-evt_[0-9a-f]{32}$"},
    |value| value.as_str().and_then(Self::new).ok_or("must be the id of a delivery"),
    |it| it.as_str(), "01769860800000-evt_0d8f3b2a6c4e9f7150a2b3c4d5e6f708");

/// The URL of a webhook.
#[derive(Clone, Debug)]
pub struct PublicUrl(pub TargetUrl);

impl Wire for PublicUrl {
    fn schema(schemas: &mut Schemas) -> Value {
        let pattern =
            r"^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~/?&=-]*)?$";
        let description = "An https URL of a public host, without user and fragment.";
        let schema = json!({"type": "string", "description": description, "pattern": pattern, "maxLength": 1024});
        schemas.name("PublicUrl", schema)
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        let reach = reading.webhooks;
        let rule = match reach {
            Reach::Public => {
                "must be an https URL of a public host, without user and fragment, at most 1024 characters"
            }
            Reach::Anywhere => "must be an http or https URL, without user and fragment, at most 1024 characters",
        };
        reading.judge(at, value.as_str().and_then(|text| TargetUrl::parse(text, reach)).map(Self).ok_or(rule))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.to_string().serialize(to)
    }
}

text! {
    /// A URL.
    pub struct Url: {"type": "string", "format": "uri"};

    /// The URL of a webhook, as answers show it.
    pub struct WebhookUrl: {"type": "string", "format": "uri", "maxLength": 1024};

    /// The sanitised name of a file.
    pub struct StoredName: {"type": "string", "pattern": "^[a-z0-9-]+\\.[a-z0-9]+$"} = "best-ever-photo-2024-a7x9k2.jpg";

    /// A version of a file, as HTTP writes it.
    pub struct Etag: {"type": "string", "pattern": "^\"[0-9]+\"$"} = "\"3\"";

    /// A ThumbHash in base64.
    pub struct Placeholder: {"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$", "minLength": 8, "maxLength": 36};

    /// The last characters of an API key.
    pub struct LastFour: {"type": "string", "minLength": 4, "maxLength": 4} = "4242";

    /// An API key.
    pub struct RawKey: {"type": "string", "pattern": "^xf_[A-Za-z0-9]{32}$"} = "xf_ExampleExampleExampleExample4242";

    /// The secret of a webhook.
    pub struct RawSecret: {"type": "string", "pattern": "^whsec_[A-Za-z0-9+/=]+$"}
        = "whsec_RXhhbXBsZUV4YW1wbGVFeGFtcGxlRXhhbXBsZTQyNDI=";

    /// The id of a file, or of a project that is being cleared.
    pub struct DebtorId: {"type": "string", "pattern": "^[a-z0-9]{12}([a-z0-9]{8})?$"} = FILE;
}
