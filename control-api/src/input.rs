//! From a request's text to the core's types. All faults of one request are found at once.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    num::NonZeroU32,
    str::FromStr,
    time::Duration,
};

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    response::IntoResponse as _,
};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use serde_json::{Map, Value};
use xfiles_core::{
    api_key::Scope,
    catalog::{Catalog, Cursor, FileFilter, NamePrefix, PageNumber, PageSize, PendingCursor},
    cdn::Expiry,
    clock::Timestamp,
    content_type::ContentType,
    error::Error,
    event::{EventId, EventType},
    file::Patch,
    id::{EndpointId, FileId, KeyId, ProjectId},
    intent::{ByteSize, Entity, EntityWord, OriginalFilename, OwnerId, Position, UploadIntent, VariantPolicy},
    object_key::Visibility,
    operations::{EndpointChange, NewEndpoint, NewKey, NewProject, ProjectChange},
    variant::ImageFormat,
    webhook::{DeliveryStatus, Reach, TargetUrl},
};

use crate::{
    error::{Code, FieldError, Problem},
    request::check_length,
    spelling,
};

/// A request body that is a JSON object. A request without bytes says the same as `{}`, whatever its headers declare:
/// HTTP libraries send `Content-Type` with requests that have no body.
pub(crate) struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
        let media_type = declared.split(';').next().unwrap_or("").trim();
        let json = media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json");
        // Bytes that were announced need not be read to be refused.
        if !json && request.body().size_hint().lower() > 0 {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        check_length(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|e| unread(&e))?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        if !json {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Problem::new(Code::MalformedJson)),
            // serde_json names line and column and never repeats the text.
            Err(e) => Err(Problem::new(Code::MalformedJson).because(format!("the body is not JSON: {e}"))),
        }
    }
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Code::BodyTooLarge)
    } else {
        Problem::new(Code::InvalidRequest).because("the body could not be read")
    }
}

impl Body {
    /// `POST /files/upload-intent`.
    pub(crate) fn upload_intent(&self) -> Result<UploadIntent, Problem> {
        let mut fields = Fields::of(&self.0);
        let intent = intent_of(&mut fields);
        fields.finish(intent)
    }

    /// `POST /files/upload-intents`.
    pub(crate) fn upload_intents(&self) -> Result<(Vec<UploadIntent>, bool), Problem> {
        let mut fields = Fields::of(&self.0);
        let intents = fields.objects("files", MAX_BATCH, intent_of);
        let all_or_nothing = fields.maybe("allOrNothing", flag).unwrap_or(false);
        fields.finish(intents.map(|intents| (intents, all_or_nothing)))
    }

    /// `POST /files/confirm`. An id that is not one is a file that does not exist.
    pub(crate) fn file_id(&self) -> Result<FileId, Problem> {
        let mut fields = Fields::of(&self.0);
        let id = fields.need("fileId", |v| text(v).ok_or("must be a string"));
        parse_file_id(&fields.finish(id)?)
    }

    /// `POST /files/confirms`, `POST /files/delete`: at most so many ids. `None`: one that is none.
    pub(crate) fn file_ids(&self, most: usize) -> Result<Vec<Option<FileId>>, Problem> {
        let mut fields = Fields::of(&self.0);
        let ids = fields.texts("fileIds", most);
        Ok(fields.finish(ids)?.iter().map(|id| id.parse().ok()).collect())
    }

    /// `PUT /entities/{type}/{id}/order`: ids, each once.
    pub(crate) fn order(&self) -> Result<Vec<FileId>, Problem> {
        let ids = self.file_ids(Catalog::REPLACE_AT_ONCE)?;
        let mut seen = HashSet::new();
        let known = ids.into_iter().collect::<Option<Vec<_>>>().ok_or(Error::FileNotFound)?;
        if known.iter().all(|id| seen.insert(*id)) {
            Ok(known)
        } else {
            Err(Problem::invalid(vec![FieldError::invalid("/fileIds", "must name each file once")]))
        }
    }

    /// `PATCH /files/{id}`.
    pub(crate) fn patch(&self) -> Result<Patch, Problem> {
        let mut fields = Fields::of(&self.0);
        let mut patch = Patch {
            visibility: fields.maybe("visibility", readers),
            owner: fields.maybe("ownerUserId", owner).map(Some),
            position: fields.maybe("position", position),
            variants_enabled: None,
            variants_visibility: None,
        };
        if self.0.get("ownerUserId").is_some_and(Value::is_null) {
            patch.owner = Some(None);
        }
        fields.maybe_object("transformations", |transformations| {
            transformations.maybe_object("image", |image| {
                patch.variants_enabled = image.maybe("enabled", flag);
                patch.variants_visibility = image.maybe("visibility", readers);
                Some(())
            })
        });
        fields.finish(Some(patch))
    }

    /// `POST /files/{id}/url`: for how long, in seconds, and whether to save rather than to open.
    pub(crate) fn url_terms(&self) -> Result<(Option<Duration>, bool), Problem> {
        let mut fields = Fields::of(&self.0);
        let life = fields.maybe("expiresIn", |v| {
            let seconds = whole(v).filter(|s| (5..=Expiry::MAX_LIFE.as_secs()).contains(s));
            seconds.map(Duration::from_secs).ok_or("must be a whole number of seconds, 5 to 604800")
        });
        let as_download = fields.maybe("download", flag).unwrap_or(false);
        fields.finish(Some((life, as_download)))
    }

    /// `POST /cleanup`.
    pub(crate) fn cleanup_wish(&self) -> Result<CleanupWish, Problem> {
        let mut fields = Fields::of(&self.0);
        let (dry_run, report) = (fields.maybe("dryRun", flag), fields.maybe("report", flag));
        fields.finish(Some(match (dry_run.unwrap_or(false), report.unwrap_or(false)) {
            (_, true) => CleanupWish::Report,
            (true, false) => CleanupWish::DryRun,
            (false, false) => CleanupWish::Run,
        }))
    }

    /// `POST /projects`.
    pub(crate) fn project(&self) -> Result<NewProject, Problem> {
        let mut fields = Fields::of(&self.0);
        let name = fields.need("name", name);
        let quota_bytes = fields.need("quotaBytes", quota);
        fields.finish(name.zip(quota_bytes).map(|(name, quota_bytes)| NewProject { name, quota_bytes }))
    }

    /// `PATCH /projects/{id}`.
    pub(crate) fn project_patch(&self) -> Result<ProjectChange, Problem> {
        let mut fields = Fields::of(&self.0);
        let patch = ProjectChange { name: fields.maybe("name", name), quota_bytes: fields.maybe("quotaBytes", quota) };
        fields.finish(Some(patch))
    }

    /// `POST /projects/{id}/keys`.
    pub(crate) fn key(&self) -> Result<NewKey, Problem> {
        let mut fields = Fields::of(&self.0);
        let name = fields.need("name", name);
        let scopes = fields.maybe("scopes", |v| {
            let words = v.as_array().filter(|words| !words.is_empty());
            let scopes =
                words.and_then(|words| words.iter().map(|w| w.as_str()?.parse().ok()).collect::<Option<Vec<Scope>>>());
            scopes.ok_or("must be a list of `read`, `write`, `delete` and `admin`")
        });
        let expires_in = fields.maybe("expiresIn", |v| {
            let seconds = whole(v).filter(|s| (1..=MAX_KEY_LIFE).contains(s));
            seconds.map(Duration::from_secs).ok_or("must be a whole number of seconds, at most ten years")
        });
        fields.finish(name.map(|name| {
            let mut scopes = scopes.unwrap_or_else(|| Scope::DEFAULT.to_vec());
            scopes.sort_unstable();
            scopes.dedup();
            NewKey { name, scopes, expires_in }
        }))
    }

    /// `POST /projects/{id}/keys/{keyId}/rotate`.
    pub(crate) fn grace(&self) -> Result<Option<Duration>, Problem> {
        let mut fields = Fields::of(&self.0);
        let grace = fields.maybe("gracePeriod", |v| {
            let seconds = whole(v).filter(|s| *s <= MAX_GRACE);
            seconds.map(Duration::from_secs).ok_or("must be a whole number of seconds, at most 30 days")
        });
        fields.finish(Some(grace))
    }
}

impl Body {
    /// `POST /projects/{id}/webhooks`.
    pub(crate) fn webhook(&self, reach: Reach) -> Result<NewEndpoint, Problem> {
        let mut fields = Fields::of(&self.0);
        let url = fields.need("url", |v| target(v, reach));
        let types = fields.maybe("events", event_types).unwrap_or_default();
        let enabled = fields.maybe("enabled", flag).unwrap_or(true);
        fields.finish(url.map(|url| NewEndpoint { url, types, enabled }))
    }

    /// `PATCH /projects/{id}/webhooks/{webhook}`.
    pub(crate) fn webhook_patch(&self, reach: Reach) -> Result<EndpointChange, Problem> {
        let mut fields = Fields::of(&self.0);
        let url = fields.maybe("url", |v| target(v, reach));
        let types = fields.maybe("events", event_types);
        let enabled = fields.maybe("enabled", flag);
        fields.finish(Some(EndpointChange { url, types, enabled }))
    }

    /// `POST /projects/{id}/webhooks/{webhook}/replay`.
    pub(crate) fn delivery_id(&self) -> Result<Option<String>, Problem> {
        let mut fields = Fields::of(&self.0);
        let id =
            fields.maybe("deliveryId", |v| v.as_str().and_then(delivery_name).ok_or("must be the id of a delivery"));
        fields.finish(Some(id))
    }
}

fn target(value: &Value, reach: Reach) -> Rule<TargetUrl> {
    let rule = match reach {
        Reach::Public => "must be an https URL of a public host, without user and fragment, at most 1024 characters",
        Reach::Anywhere => "must be an http or https URL, without user and fragment, at most 1024 characters",
    };
    value.as_str().and_then(|t| TargetUrl::parse(t, reach)).ok_or(rule)
}

fn event_types(value: &Value) -> Rule<Vec<EventType>> {
    let words = value.as_array().and_then(|words| {
        words.iter().map(|word| word.as_str()?.parse().ok()).collect::<Option<BTreeSet<EventType>>>()
    });
    words.map(|types| types.into_iter().collect()).ok_or(
        "must be a list of `file.confirmed`, `file.updated`, `file.deleted`, `file.expired` and `variants.purged`",
    )
}

/// A delivery's name: the milliseconds of its event, and the event's id.
fn delivery_name(text: &str) -> Option<String> {
    let (millis, event) = text.split_once('-')?;
    let ours = millis.len() == 14 && millis.bytes().all(|b| b.is_ascii_digit()) && event.parse::<EventId>().is_ok();
    ours.then(|| text.to_owned())
}

/// How many items a batch has at the most.
pub(crate) const MAX_BATCH: usize = 100;
/// Ten years, in seconds.
const MAX_KEY_LIFE: u64 = 10 * 365 * 24 * 60 * 60;
/// Thirty days, in seconds.
const MAX_GRACE: u64 = 30 * 24 * 60 * 60;

fn intent_of(fields: &mut Fields<'_>) -> Option<UploadIntent> {
    let original_filename = fields.need("filename", |v| {
        text(v).and_then(OriginalFilename::new).ok_or("must be a string of 1 to 1024 characters")
    });
    let content_type = fields.need("contentType", |v| {
        let text = v.as_str().ok_or(Cow::Borrowed("must be a string"))?;
        text.parse::<ContentType>().map_err(|_| near_media_types(text))
    });
    let size = fields
        .need("size", |v| whole(v).and_then(ByteSize::new).ok_or("must be a whole number of bytes, 0 to 104857600"));
    let visibility = fields.maybe("visibility", readers);
    let owner = fields.maybe("ownerUserId", owner);
    let entity = fields.maybe_object("entity", |entity| {
        let kind = entity.need("type", word);
        let id = entity.need("id", word);
        let role = entity.maybe("role", word);
        let position = entity.maybe("position", position);
        Some(Entity { kind: kind?, id: id?, role, position: position.unwrap_or_default() })
    });
    let variants = fields.maybe_object("transformations", |t| {
        t.maybe_object("image", |image| {
            let enabled = image.maybe("enabled", flag);
            let visibility = image.maybe("visibility", readers);
            Some(VariantPolicy {
                enabled: enabled.unwrap_or(false),
                visibility: visibility.unwrap_or(Visibility::Private),
            })
        })
    });
    let checksum = fields.maybe("checksumSha256", |v| {
        text(v).and_then(|t| t.parse().ok()).ok_or("must be the base64 of 32 bytes, 44 characters")
    });
    Some(UploadIntent {
        original_filename: original_filename?,
        content_type: content_type?,
        size: size?,
        visibility: visibility.unwrap_or(Visibility::Private),
        owner,
        entity,
        variants: variants.unwrap_or_default(),
        checksum,
    })
}

/// The rule for a media type, with the allowed ones that its writer may have meant.
fn near_media_types(text: &str) -> Cow<'static, str> {
    const SUCH_AS: &str = "must be an allowed media type, such as `image/jpeg`";
    let (family, _) = text.split_once('/').unwrap_or((text, ""));
    let names: Vec<&str> = ContentType::names().collect();
    let nearest = spelling::nearest(text, &names).map(|name| vec![name]);
    let relatives = || names.iter().filter(|name| name.split('/').next() == Some(family)).copied().collect();
    let near: Vec<&str> = nearest.unwrap_or_else(relatives);
    if near.is_empty() {
        SUCH_AS.into()
    } else {
        format!("must be an allowed media type; near it are `{}`", near.join("`, `")).into()
    }
}

fn parse_file_id(id: &str) -> Result<FileId, Problem> {
    id.parse().map_err(|_| Problem::from(Error::FileNotFound))
}

type Rule<T> = Result<T, &'static str>;

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A whole number. JSON has one kind of number, so `300.0` is one too; past 2^53 a fraction cannot be told any more.
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let rounded = || value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=EXACT).contains(n));
    value.as_u64().or_else(|| rounded()?.abs().to_string().parse().ok())
}

fn flag(value: &Value) -> Rule<bool> {
    value.as_bool().ok_or("must be true or false")
}

fn position(value: &Value) -> Rule<Position> {
    let position = whole(value).and_then(|n| u32::try_from(n).ok());
    position.map(Position).ok_or("must be a whole number, 0 to 4294967295")
}

fn name(value: &Value) -> Rule<String> {
    text(value).filter(|t| (1..=100).contains(&t.chars().count())).ok_or("must be a string of 1 to 100 characters")
}

fn quota(value: &Value) -> Rule<u64> {
    whole(value).filter(|n| *n <= MAX_QUOTA).ok_or("must be a whole number of bytes, at most 2^53")
}

/// The largest whole number that every JSON reader keeps exact.
const MAX_QUOTA: u64 = 1 << 53;

fn readers(value: &Value) -> Rule<Visibility> {
    value.as_str().and_then(|t| t.parse().ok()).ok_or("must be `public` or `private`")
}

fn owner(value: &Value) -> Rule<OwnerId> {
    text(value).and_then(OwnerId::new).ok_or("must be a string of 1 to 256 characters")
}

fn word(value: &Value) -> Rule<EntityWord> {
    text(value).and_then(EntityWord::new).ok_or("must be a string of 1 to 256 characters")
}

/// The fields of a JSON object, and what was wrong with those that were read. An absent field and `null` are the same. A
/// field that was not read does not exist, and is refused by name.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    fn of(object: &'a Map<String, Value>) -> Self {
        Self::at(object, String::new())
    }

    fn at(object: &'a Map<String, Value>, pointer: String) -> Self {
        Self { object, pointer, known: Vec::new(), errors: Vec::new() }
    }

    fn need<T, R: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, R>,
    ) -> Option<T> {
        if self.get(name).is_none() {
            self.refuse(name, "required", "is required");
        }
        self.maybe(name, parse)
    }

    fn maybe<T, R: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, R>,
    ) -> Option<T> {
        match parse(self.get(name)?) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.refuse(name, "invalid", &rule.into());
                None
            }
        }
    }

    fn maybe_object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let Some(object) = self.get(name)?.as_object() else {
            self.refuse(name, "invalid", "must be an object");
            return None;
        };
        let mut inner = Self::at(object, format!("{}/{name}", self.pointer));
        let value = read(&mut inner);
        self.errors.extend(inner.into_errors());
        value
    }

    /// A list of at most so many objects, each read by itself.
    fn objects<T>(&mut self, name: &'static str, most: usize, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let values = self.list(name, most)?;
        let mut items = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let pointer = format!("{}/{name}/{i}", self.pointer);
            let Some(object) = value.as_object() else {
                self.errors.push(FieldError::invalid(pointer, "must be an object"));
                continue;
            };
            let mut inner = Self::at(object, pointer);
            items.extend(read(&mut inner));
            self.errors.extend(inner.into_errors());
        }
        Some(items)
    }

    /// A list of at most so many strings.
    fn texts(&mut self, name: &'static str, most: usize) -> Option<Vec<&'a str>> {
        let texts: Option<Vec<&str>> = self.list(name, most)?.iter().map(Value::as_str).collect();
        if texts.is_none() {
            self.refuse(name, "invalid", "must be a list of strings");
        }
        texts
    }

    fn list(&mut self, name: &'static str, most: usize) -> Option<&'a Vec<Value>> {
        let Some(value) = self.get(name) else {
            self.refuse(name, "required", "is required");
            return None;
        };
        let list = value.as_array().filter(|list| (1..=most).contains(&list.len()));
        if list.is_none() {
            self.refuse(name, "invalid", &format!("must be a list of 1 to {most}"));
        }
        list
    }

    /// What was read, if nothing was wrong with any field.
    fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match (value, self.into_errors()) {
            (Some(value), errors) if errors.is_empty() => Ok(value),
            (_, errors) => Err(Problem::invalid(errors)),
        }
    }

    /// The faults of the fields that were read, and of those that there are beside them.
    fn into_errors(mut self) -> Vec<FieldError> {
        let names = self.object.keys().map(String::as_str);
        self.errors.extend(spelling::unknown(names, &self.known, &format!("{}/", self.pointer), "field"));
        self.errors
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, name: &str, code: &'static str, rule: &str) {
        let pointer = format!("{}/{name}", self.pointer);
        self.errors.push(FieldError { pointer, code, detail: rule.to_owned() });
    }
}

/// The file id in the path. A text that is none is a file that does not exist.
pub(crate) struct PathId(pub(crate) FileId);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::from(Error::FileNotFound))?;
        parse_file_id(&id).map(Self)
    }
}

/// Query parameters, by name.
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::from_request_parts(parts, state).await.map_err(|e| {
            let status = e.into_response().status();
            Problem::new(Code::InvalidRequest).because(format!("the query string is not well formed ({status})"))
        })?;
        Ok(Self(pairs))
    }
}

/// The project in the path.
pub(crate) struct ProjectPath(pub(crate) ProjectId);

impl<S: Send + Sync> FromRequestParts<S> for ProjectPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| Error::ProjectNotFound.into())
    }
}

/// The project and the key in the path.
pub(crate) struct KeyPath {
    pub(crate) project: ProjectId,
    pub(crate) key: KeyId,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ids = Path::<(String, String)>::from_request_parts(parts, state).await.ok();
        let ids =
            ids.and_then(|Path((project, key))| Some(Self { project: project.parse().ok()?, key: key.parse().ok()? }));
        ids.ok_or_else(|| Error::KeyNotFound.into())
    }
}

/// The project and the webhook in the path.
pub(crate) struct WebhookPath {
    pub(crate) project: ProjectId,
    pub(crate) webhook: EndpointId,
}

impl<S: Send + Sync> FromRequestParts<S> for WebhookPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ids = Path::<(String, String)>::from_request_parts(parts, state).await.ok();
        let ids = ids.and_then(|Path((project, webhook))| {
            Some(Self { project: project.parse().ok()?, webhook: webhook.parse().ok()? })
        });
        ids.ok_or_else(|| Error::EndpointNotFound.into())
    }
}

/// The entity in the path.
pub(crate) struct EntityPath {
    pub(crate) kind: EntityWord,
    pub(crate) id: EntityWord,
}

impl<S: Send + Sync> FromRequestParts<S> for EntityPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let words = Path::<(String, String)>::from_request_parts(parts, state).await.ok();
        let words =
            words.and_then(|Path((kind, id))| Some(Self { kind: EntityWord::new(kind)?, id: EntityWord::new(id)? }));
        words.ok_or_else(|| Error::FileNotFound.into())
    }
}

/// What a request to clean up asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CleanupWish {
    /// Finish what is overdue.
    Run,
    /// Say what is overdue.
    DryRun,
    /// Compare bucket, records and quota.
    Report,
}

/// The revision that `If-Match` asks for: one of ours, or whichever there is.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        match value.to_str().map(str::trim) {
            Ok("*") => Ok(Self(None)),
            // Whatever we did not give out matches nothing.
            Ok(tag) => {
                let revision = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
                Ok(Self(Some(revision.unwrap_or(u64::MAX))))
            }
            Err(_) => Ok(Self(Some(u64::MAX))),
        }
    }
}

/// What `GET /files` asks for.
pub(crate) struct ListQuery {
    pub(crate) filter: FileFilter,
    pub(crate) size: PageSize,
    pub(crate) position: ListPosition,
    pub(crate) with_urls: bool,
}

/// Where in a list.
pub(crate) enum ListPosition {
    /// At a numbered page.
    Page(PageNumber),
    /// Walking: at the beginning, or where the last page ended.
    Walk(Option<Cursor>),
}

/// What `GET /files?uploadStatus=pending` asks for.
pub(crate) struct PendingQuery {
    pub(crate) cursor: Option<PendingCursor>,
    pub(crate) size: PageSize,
}

impl Parameters {
    /// The list of pending uploads, if that is what is asked for. It has no filters and no numbered pages.
    pub(crate) fn pending(&self) -> Result<Option<PendingQuery>, Problem> {
        let mut errors = Vec::new();
        let pending = self.read("uploadStatus", &mut errors, |t| match t {
            "pending" => Ok(true),
            "confirmed" => Ok(false),
            _ => Err("must be `confirmed` or `pending`"),
        });
        if pending != Some(true) {
            return if errors.is_empty() { Ok(None) } else { Err(Problem::invalid(errors)) };
        }
        let size = self.page_size(&mut errors);
        let cursor = self.read("cursor", &mut errors, |t| match t {
            "" => Ok(None),
            t => t.parse().map(Some).map_err(|_| "must be a `nextCursor` of this list"),
        });
        for (name, _) in &self.0 {
            if !["uploadStatus", "limit", "cursor"].contains(&name.as_str()) {
                errors.push(FieldError::invalid(
                    format!("?{name}"),
                    "cannot be given together with `uploadStatus=pending`",
                ));
            }
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(Some(PendingQuery { cursor: cursor.flatten(), size: size.unwrap_or_default() }))
    }

    fn page_size(&self, errors: &mut Vec<FieldError>) -> Option<PageSize> {
        self.read("limit", errors, |t| t.parse().ok().and_then(PageSize::new).ok_or("must be a whole number, 1 to 100"))
    }

    pub(crate) fn list(&self, project: ProjectId) -> Result<ListQuery, Problem> {
        let mut errors = Vec::new();
        let filter = self.filter(&mut errors);
        let page =
            self.read("page", &mut errors, |t| t.parse::<NonZeroU32>().map_err(|_| "must be a whole number from 1"));
        let size = self.page_size(&mut errors);
        let include =
            self.read("include", &mut errors, |t| if t == "urls" { Ok(()) } else { Err("can only be `urls`") });
        let cursor = self.read("cursor", &mut errors, |t| {
            let ours = |cursor: &Cursor| cursor.belongs_to(project, &filter);
            match t {
                "" => Ok(None),
                t => t
                    .parse()
                    .ok()
                    .filter(ours)
                    .map(Some)
                    .ok_or("must be a `nextCursor` of this list with these filters"),
            }
        });
        if cursor.is_some() && page.is_some() {
            errors.push(FieldError::invalid("?cursor", "cannot be given together with `page`"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let position = match cursor {
            Some(cursor) => ListPosition::Walk(cursor),
            None => ListPosition::Page(page.unwrap_or(PageNumber::MIN)),
        };
        Ok(ListQuery { filter, size: size.unwrap_or_default(), position, with_urls: include.is_some() })
    }

    /// The filters of a list.
    fn filter(&self, errors: &mut Vec<FieldError>) -> FileFilter {
        FileFilter {
            entity_type: self.word("entityType", errors),
            entity_id: self.word("entityId", errors),
            role: self.word("role", errors),
            owner: self.read("ownerUserId", errors, |t| OwnerId::new(t).ok_or("must be 1 to 256 characters")),
            visibility: self.visibility("visibility", errors),
            variants_visibility: self.visibility("variantVisibility", errors),
            created_after: self.time("createdAfter", errors),
            created_before: self.time("createdBefore", errors),
            content_type: self.read("contentType", errors, |t| {
                t.parse().map_err(|_| "must be a media type such as image/jpeg, or a family such as image/*")
            }),
            name_prefix: self.read("q", errors, |t| NamePrefix::new(t).ok_or("must be 1 to 64 characters")),
        }
    }

    /// What `DELETE /files` asks for: at least one of the entity's words.
    pub(crate) fn bulk_delete(&self) -> Result<FileFilter, Problem> {
        let mut errors = Vec::new();
        let filter = FileFilter {
            entity_type: self.word("entityType", &mut errors),
            entity_id: self.word("entityId", &mut errors),
            role: self.word("role", &mut errors),
            ..FileFilter::default()
        };
        if self.0.is_empty() {
            errors.push(FieldError::invalid("?entityType", "or `entityId` or `role` is required"));
        }
        if errors.is_empty() { Ok(filter) } else { Err(Problem::invalid(errors)) }
    }

    /// What of an endpoint's deliveries is listed: in which status, after which.
    pub(crate) fn deliveries(&self) -> Result<(Option<DeliveryStatus>, Option<String>), Problem> {
        let mut errors = Vec::new();
        let status =
            self.read("status", &mut errors, |t| t.parse().map_err(|()| "must be `pending`, `delivered` or `parked`"));
        let cursor = self.read("cursor", &mut errors, |t| match t {
            "" => Ok(None),
            t => delivery_name(t).map(Some).ok_or("must be a `nextCursor` of this list"),
        });
        if errors.is_empty() { Ok((status, cursor.flatten())) } else { Err(Problem::invalid(errors)) }
    }

    /// How long to wait for a confirmation.
    pub(crate) fn wait(&self) -> Result<Duration, Problem> {
        let mut errors = Vec::new();
        let wait = self.read("wait", &mut errors, |t| {
            let seconds = t.parse().ok().filter(|seconds| *seconds <= 30);
            seconds.map(Duration::from_secs).ok_or("must be a whole number of seconds, 0 to 30")
        });
        if errors.is_empty() { Ok(wait.unwrap_or_default()) } else { Err(Problem::invalid(errors)) }
    }

    /// Whether a deletion is an erasure.
    pub(crate) fn erase(&self) -> Result<bool, Problem> {
        let mut errors = Vec::new();
        let erase = self.read("erase", &mut errors, |t| t.parse().map_err(|_| "must be true or false"));
        if errors.is_empty() { Ok(erase.unwrap_or(false)) } else { Err(Problem::invalid(errors)) }
    }

    /// The format of listed variant URLs.
    pub(crate) fn format(&self) -> Result<ImageFormat, Problem> {
        let mut errors = Vec::new();
        let format =
            self.read("format", &mut errors, |t| t.parse().map_err(|_| "must be webp, jpeg, png, avif or auto"));
        if errors.is_empty() { Ok(format.unwrap_or_default()) } else { Err(Problem::invalid(errors)) }
    }

    fn word(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<EntityWord> {
        self.read(name, errors, |t| EntityWord::new(t).ok_or("must be 1 to 256 characters"))
    }

    fn visibility(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<Visibility> {
        self.read(name, errors, |t| Visibility::from_str(t).map_err(|_| "must be `public` or `private`"))
    }

    fn time(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<Timestamp> {
        self.read(name, errors, |t| Timestamp::parse_rfc3339(t).ok_or("must be a time such as 2026-01-31T12:00:00Z"))
    }

    fn read<T>(&self, name: &str, errors: &mut Vec<FieldError>, parse: impl FnOnce(&str) -> Rule<T>) -> Option<T> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value);
        let value = values.next()?;
        let parsed = if values.next().is_some() { Err("may be given once") } else { parse(value) };
        parsed
            .map_err(|rule| {
                errors.push(FieldError::invalid(format!("?{name}"), rule));
            })
            .ok()
    }
}
