//! From a request's text to the core's types. All faults of one request are found at once.

use std::{num::NonZeroU32, str::FromStr};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    response::IntoResponse as _,
};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use serde_json::{Map, Value};
use xfiles_core::{
    catalog::{FileFilter, PageNumber, PageSize},
    id::FileId,
    intent::{ByteSize, Entity, EntityWord, OriginalFilename, OwnerId, Position, UploadIntent, VariantPolicy},
    object_key::Visibility,
    variant::ImageFormat,
};

use crate::error::{Code, FieldError, Problem};

/// A request body that is a JSON object.
pub(crate) struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
        let media_type = declared.split(';').next().unwrap_or("").trim();
        let json = media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json");
        if !json {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|e| unread(&e))?;
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
        let original_filename = fields.need("filename", |v| {
            text(v).and_then(OriginalFilename::new).ok_or("must be a string of 1 to 1024 characters")
        });
        let content_type = fields.need("contentType", |v| {
            text(v)
                .and_then(|t| t.parse().ok())
                .ok_or("must be an allowed media type without parameters, such as image/jpeg")
        });
        let size = fields.need("size", |v| {
            v.as_u64().and_then(ByteSize::new).ok_or("must be a whole number of bytes, 1 to 104857600")
        });
        let visibility = fields.maybe("visibility", readers);
        let owner = fields.maybe("ownerUserId", owner);
        let entity = fields.maybe_object("entity", |entity| {
            let kind = entity.need("type", word);
            let id = entity.need("id", word);
            let role = entity.maybe("role", word);
            let position = entity.maybe("position", |v| {
                let position = v.as_u64().and_then(|n| u32::try_from(n).ok());
                position.map(Position).ok_or("must be a whole number, 0 to 4294967295")
            });
            Some(Entity { kind: kind?, id: id?, role, position: position.unwrap_or_default() })
        });
        let variants = fields.maybe_object("transformations", |t| {
            t.maybe_object("image", |image| {
                let enabled = image.maybe("enabled", |v| v.as_bool().ok_or("must be true or false"));
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
        fields.finish()?;
        match (original_filename, content_type, size) {
            (Some(original_filename), Some(content_type), Some(size)) => Ok(UploadIntent {
                original_filename,
                content_type,
                size,
                visibility: visibility.unwrap_or(Visibility::Private),
                owner,
                entity,
                variants: variants.unwrap_or_default(),
                checksum,
            }),
            _ => Err(Problem::new(Code::InvalidRequest)),
        }
    }

    /// `POST /files/confirm`. An id that is not one is a file that does not exist.
    pub(crate) fn file_id(&self) -> Result<FileId, Problem> {
        let mut fields = Fields::of(&self.0);
        let id = fields.need("fileId", |v| text(v).ok_or("must be a string"));
        fields.finish()?;
        parse_file_id(&id.unwrap_or_default())
    }

    /// `POST /cleanup`.
    pub(crate) fn dry_run(&self) -> Result<bool, Problem> {
        let mut fields = Fields::of(&self.0);
        let dry_run = fields.maybe("dryRun", |v| v.as_bool().ok_or("must be true or false"));
        fields.finish()?;
        Ok(dry_run.unwrap_or(false))
    }
}

fn parse_file_id(id: &str) -> Result<FileId, Problem> {
    id.parse().map_err(|_| Problem::from(xfiles_core::error::Error::FileNotFound))
}

type Rule<T> = Result<T, &'static str>;

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn readers(value: &Value) -> Rule<Visibility> {
    value.as_str().and_then(|t| t.parse().ok()).ok_or("must be `public` or `private`")
}

fn owner(value: &Value) -> Rule<OwnerId> {
    text(value).and_then(OwnerId::new).ok_or("must be a string of 1 to 256 characters")
}

fn word(value: &Value) -> Rule<EntityWord> {
    text(value).and_then(EntityWord::new).ok_or("must be a string of 1 to 256 characters")
}

/// The fields of a JSON object, and what was wrong with those that were read. An absent field and `null` are the same.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    fn of(object: &'a Map<String, Value>) -> Self {
        Self { object, pointer: String::new(), errors: Vec::new() }
    }

    fn need<T>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Rule<T>) -> Option<T> {
        if self.get(name).is_none() {
            self.refuse(name, "required", "is required");
        }
        self.maybe(name, parse)
    }

    fn maybe<T>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Rule<T>) -> Option<T> {
        match parse(self.get(name)?) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.refuse(name, "invalid", rule);
                None
            }
        }
    }

    fn maybe_object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let Some(object) = self.get(name)?.as_object() else {
            self.refuse(name, "invalid", "must be an object");
            return None;
        };
        let mut inner = Self { object, pointer: format!("{}/{name}", self.pointer), errors: Vec::new() };
        let value = read(&mut inner);
        self.errors.append(&mut inner.errors);
        value
    }

    fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
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
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::from(xfiles_core::error::Error::FileNotFound))?;
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

/// What `GET /files` asks for.
pub(crate) struct ListQuery {
    pub(crate) filter: FileFilter,
    pub(crate) page: PageNumber,
    pub(crate) size: PageSize,
    pub(crate) with_urls: bool,
}

impl Parameters {
    pub(crate) fn list(&self) -> Result<ListQuery, Problem> {
        let mut errors = Vec::new();
        let filter = FileFilter {
            entity_type: self.word("entityType", &mut errors),
            entity_id: self.word("entityId", &mut errors),
            role: self.word("role", &mut errors),
            owner: self.read("ownerUserId", &mut errors, |t| OwnerId::new(t).ok_or("must be 1 to 256 characters")),
            visibility: self.visibility("visibility", &mut errors),
            variants_visibility: self.visibility("variantVisibility", &mut errors),
        };
        let page =
            self.read("page", &mut errors, |t| t.parse::<NonZeroU32>().map_err(|_| "must be a whole number from 1"));
        let size = self.read("limit", &mut errors, |t| {
            t.parse().ok().and_then(PageSize::new).ok_or("must be a whole number, 1 to 100")
        });
        let include =
            self.read("include", &mut errors, |t| if t == "urls" { Ok(()) } else { Err("can only be `urls`") });
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(ListQuery {
            filter,
            page: page.unwrap_or(PageNumber::MIN),
            size: size.unwrap_or_default(),
            with_urls: include.is_some(),
        })
    }

    /// The format of listed variant URLs.
    pub(crate) fn format(&self) -> Result<ImageFormat, Problem> {
        let mut errors = Vec::new();
        let format = self.read("format", &mut errors, |t| t.parse().map_err(|_| "must be webp, jpeg, png or avif"));
        if errors.is_empty() { Ok(format.unwrap_or_default()) } else { Err(Problem::invalid(errors)) }
    }

    fn word(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<EntityWord> {
        self.read(name, errors, |t| EntityWord::new(t).ok_or("must be 1 to 256 characters"))
    }

    fn visibility(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<Visibility> {
        self.read(name, errors, |t| Visibility::from_str(t).map_err(|_| "must be `public` or `private`"))
    }

    fn read<T>(&self, name: &str, errors: &mut Vec<FieldError>, parse: impl FnOnce(&str) -> Rule<T>) -> Option<T> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value);
        let value = values.next()?;
        let parsed = if values.next().is_some() { Err("may be given once") } else { parse(value) };
        parsed
            .map_err(|rule| {
                errors.push(FieldError { pointer: format!("?{name}"), code: "invalid", detail: rule.to_owned() });
            })
            .ok()
    }
}
