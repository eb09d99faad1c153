//! The HTTP client of the API, of the object store's one presigned PUT, and of the CDN's GET. It knows the wire and
//! nothing of terminals. Redirects of the API are never followed, so the API key goes to the given address only.

mod admin;
mod fetch;
mod no_answer;
mod tls;
mod webhooks;

use std::{fmt::Write as _, io, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand;
use serde_json::Value;
use ureq::{
    Agent, AsSendBody, Body, SendBody,
    http::{Method, Request, Response, Uri, header, request},
};
use xfiles_api_types::{
    files::{
        BatchOfDeletions, CursorPage, Deletion, DeletionResult, FileAnswer, FileChange, FileReference, FileWithUrls,
        FilesToDelete, NumberedPage, Upload, UploadIntent, UrlWish, Urls,
    },
    read_answer,
    wire::{List, Wire, to_json},
    words::{BatchedFile, FileRef},
};
use xfiles_core::{api_key::ApiKey, id::FileId};

use self::no_answer::no_answer;
use crate::{
    args::{ServerArgs, ServerUrl},
    failure::{Exit, Failure, Retry},
};

/// A machine that does not answer the first packet in this time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence on a connection. The API's own limit on an answer is 30 s; a store may verify 100 MB first.
const SILENCE: Duration = Duration::from_secs(60);
/// From this size on, ask before the body is sent (100-continue): otherwise a store that refuses at the headers closes the
/// connection under the body, and its reason is lost.
const ASK_FIRST: u64 = 256 * 1024;

/// A client of one server under one API key.
pub(crate) struct Client {
    agent: Agent,
    server: ServerUrl,
    key: ApiKey,
}

/// An answer of the API: what is understood of it, and all of it.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) raw: Value,
}

/// Under which a POST that is sent again is answered again, and not carried out again: 128 random bits.
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key for one request and its retries.
    pub(crate) fn mint() -> Self {
        let random = rand::generate::<[u8; 16]>(&rand::SystemRandom::new());
        Self(URL_SAFE_NO_PAD.encode(random.expect("the operating system has random bytes").expose()))
    }
}

impl Client {
    /// A client as the arguments ask for. Nothing is sent yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let given = args.api_key.as_ref().map(|key| key.reveal().trim()).filter(|key| !key.is_empty());
        let given = given.ok_or_else(|| {
            Failure::new(Exit::Unauthorized, "no API key")
                .or_hint("set XFILES_API_KEY; `xf serve` prints a key at its first start, and on its machine `xf keys create --data DIR` makes another")
        })?;
        let key = given.parse().map_err(|malformed: xfiles_core::api_key::MalformedKey| {
            Failure::new(Exit::Unauthorized, malformed.to_string()).or_hint("check XFILES_API_KEY and --api-key")
        })?;
        Ok(Self { agent: agent(SILENCE), server: args.url.clone(), key })
    }

    /// Asks for an upload. Safe to repeat under the same key.
    pub(crate) fn begin_upload(&self, intent: &UploadIntent, once: &IdempotencyKey) -> Result<Upload, Failure> {
        self.api(Method::POST, "/api/v1/files/upload-intent", Some(to_json(intent)), Some(once))
            .map(|answer| answer.value)
    }

    /// Sends the bytes to the upload's URL, with exactly its headers. Safe to repeat.
    pub(crate) fn put(&self, ticket: &Upload, size: u64, bytes: &mut dyn io::Read) -> Result<(), Failure> {
        let mut request = Request::builder().method(Method::PUT).uri(ticket.upload_url.as_str());
        for (name, value) in &ticket.headers {
            request = request.header(name, value);
        }
        if !ticket.headers.keys().any(|name| name.eq_ignore_ascii_case("content-length")) {
            request = request.header(header::CONTENT_LENGTH, size);
        }
        if size >= ASK_FIRST {
            request = request.header(header::EXPECT, "100-continue");
        }
        let mut response = self.send("the object store", request, SendBody::from_reader(bytes))?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status().as_u16();
        let retry = retry_of(&response);
        let reason = response.body_mut().read_to_string().unwrap_or_default();
        Err(Failure::new(Exit::Failed, store_refusal(status, &reason)).retry(retry))
    }

    /// Publishes an uploaded file. Safe to repeat.
    pub(crate) fn confirm(&self, file: FileId, once: &IdempotencyKey) -> Result<(), Failure> {
        let body = to_json(&FileReference { file_id: FileRef(Some(file)) });
        self.api::<FileAnswer>(Method::POST, "/api/v1/files/confirm", Some(body), Some(once)).map(drop)
    }

    /// A file and its URLs, those of variants in `format` (the server's default when `None`).
    pub(crate) fn get(&self, file: FileId, format: Option<&str>) -> Result<Answer<FileWithUrls>, Failure> {
        let query: Vec<_> = format.map(|format| ("format", format.to_owned())).into_iter().collect();
        self.read(&path(&format!("/api/v1/files/{file}"), &query))
    }

    /// One page of the confirmed files that match the filters.
    pub(crate) fn list(&self, filters: &[(&'static str, String)]) -> Result<Answer<NumberedPage>, Failure> {
        self.read(&path("/api/v1/files", filters))
    }

    /// The page of the confirmed files that match the filters at their `cursor`.
    pub(crate) fn walk(&self, filters: &[(&'static str, String)]) -> Result<Answer<CursorPage>, Failure> {
        self.read(&path("/api/v1/files", filters))
    }

    /// Fresh URLs of a file.
    pub(crate) fn fresh_urls(&self, file: FileId) -> Result<Answer<Urls>, Failure> {
        self.post(&format!("/api/v1/files/{file}/url"), &UrlWish { expires_in: None, download: false })
    }

    /// Changes what the API lets change of a file. Safe to repeat.
    pub(crate) fn change(&self, file: FileId, change: &FileChange) -> Result<(), Failure> {
        self.api::<FileAnswer>(Method::PATCH, &format!("/api/v1/files/{file}"), Some(to_json(change)), None).map(drop)
    }

    /// Deletes files and says what became of each, in order. Safe to repeat under the same key.
    pub(crate) fn delete(&self, files: &[FileId], once: &IdempotencyKey) -> Result<Vec<Result<(), Failure>>, Failure> {
        let ids = files.iter().map(|id| BatchedFile(Some(*id))).collect();
        let body = to_json(&FilesToDelete { file_ids: List(ids) });
        let answer = self.api::<BatchOfDeletions>(Method::POST, "/api/v1/files/delete", Some(body), Some(once))?;
        let List(results) = answer.value.results;
        if results.len() != files.len() {
            return Err(self.not_understood());
        }
        let outcome = |result| match result {
            DeletionResult::Done(_) => Ok(()),
            DeletionResult::Refused(refused) => Err(Failure::of_item(&to_json(&refused.error))),
        };
        Ok(results.into_iter().map(outcome).collect())
    }

    /// Deletes a file and has every trace of it looked for. Safe to repeat while its removal is under way.
    pub(crate) fn erase(&self, file: FileId) -> Result<Answer<Deletion>, Failure> {
        self.api(Method::DELETE, &format!("/api/v1/files/{file}?erase=true"), None, None)
    }

    fn read<T: Wire>(&self, path: &str) -> Result<Answer<T>, Failure> {
        self.api(Method::GET, path, None, None)
    }

    fn post<T: Wire>(&self, path: &str, body: &impl Wire) -> Result<Answer<T>, Failure> {
        self.api(Method::POST, path, Some(to_json(body)), None)
    }

    fn api<T: Wire>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        once: Option<&IdempotencyKey>,
    ) -> Result<Answer<T>, Failure> {
        let Self { server, key, .. } = self;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{server}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", key.reveal()));
        if let Some(IdempotencyKey(once)) = once {
            request = request.header("idempotency-key", once);
        }
        let whom = format!("the server at {server}");
        let mut response = match body {
            None => self.send(&whom, request, ()),
            Some(body) => self.send(&whom, request.header(header::CONTENT_TYPE, "application/json"), body.to_string()),
        }?;
        let status = response.status();
        let retry = retry_of(&response);
        let request_id = response.headers().get("request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let bytes = response.body_mut().read_to_vec().map_err(|error| self.broken_off(&error))?;
        if !status.is_success() {
            let failure = Failure::of_answer(status.as_u16(), request_id, &bytes);
            // An earlier try whose answer was lost is still being carried out; a later one is given its answer.
            let in_flight = failure.code() == Some("request_in_flight");
            return Err(failure.retry(if in_flight { Retry::After(Duration::ZERO) } else { retry }));
        }
        let raw: Value = serde_json::from_slice(&bytes).map_err(|_| self.not_understood())?;
        let value = read_answer(&raw).map_err(|_| self.not_understood())?;
        Ok(Answer { value, raw })
    }

    fn send(&self, whom: &str, request: request::Builder, body: impl AsSendBody) -> Result<Response<Body>, Failure> {
        let request = request.body(body).map_err(|_| self.not_understood())?;
        let uri = request.uri().clone();
        self.agent.run(request).map_err(|error| no_answer(whom, &uri, self.agent.config().proxy(), &error))
    }

    fn broken_off(&self, error: &ureq::Error) -> Failure {
        let uri = self.server.to_string().parse().unwrap_or_default();
        no_answer(&format!("the server at {}", self.server), &uri, self.agent.config().proxy(), error)
    }

    fn not_understood(&self) -> Failure {
        Failure::new(Exit::Failed, format!("the answer of {} is not what the API promises", self.server))
            .or_hint("is --url an XFiles server?")
    }
}

fn agent(silence: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("xf/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .tls_config(tls::config())
        .build()
        .new_agent()
}

/// How long a health check waits for an answer.
const HEALTH: Duration = Duration::from_secs(4);

/// Whether a server says that it is ready.
pub(crate) fn is_ready(server: &ServerUrl) -> Result<(), Failure> {
    let agent = agent(HEALTH);
    let whom = format!("the server at {server}");
    let uri: Uri = format!("{server}/readyz").parse().map_err(|_| Failure::new(Exit::Usage, "the address is none"))?;
    match agent.get(&uri).call() {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(Failure::new(Exit::Failed, format!("{whom} is not ready: it answered {}", answer.status()))),
        Err(error) => Err(no_answer(&whom, &uri, agent.config().proxy(), &error)),
    }
}

/// A path with its query.
fn path(path: &str, query: &[(&'static str, String)]) -> String {
    query.iter().enumerate().fold(path.to_owned(), |mut path, (i, (name, value))| {
        let mark = if i == 0 { '?' } else { '&' };
        write!(path, "{mark}{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)).expect("a String takes all text");
        path
    })
}

/// Whether an answer invites another try, and when: 429 and every 5xx do.
fn retry_of(response: &Response<Body>) -> Retry {
    let status = response.status();
    if status.as_u16() != 429 && !status.is_server_error() {
        return Retry::Never;
    }
    let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    Retry::After(Duration::from_secs(after.unwrap_or(0)))
}

/// What the object store said. Only its code and message: S3 also answers with the key id and the string that was signed.
fn store_refusal(status: u16, xml: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("the object store refused the upload: {code}: {message}"),
        (Some(code), None) => format!("the object store refused the upload: {code}"),
        _ => format!("the object store refused the upload with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_escapes_what_could_change_its_meaning() {
        let query = [("entityId", "a&b=c #%é".to_owned()), ("page", "2".to_owned())];
        assert_eq!(path("/p", &query), "/p?entityId=a%26b%3Dc%20%23%25%C3%A9&page=2");
        assert_eq!(path("/p", &[]), "/p");
    }

    #[test]
    fn a_store_refusal_shows_code_and_message_and_no_signed_text() {
        let xml = "<Error><Code>SignatureDoesNotMatch</Code><Message>Nope</Message><StringToSign>secret</StringToSign></Error>";
        assert_eq!(store_refusal(403, xml), "the object store refused the upload: SignatureDoesNotMatch: Nope");
        assert_eq!(store_refusal(502, "<html>"), "the object store refused the upload with status 502");
    }
}
