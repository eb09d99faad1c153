//! `xf doctor`: a complete round trip through a running XFiles, with cause and remedy for each failure. It deletes what
//! it uploads.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Method, Request, Response, header},
};
use xfiles_api_types::files::{ImageWish, TransformationsWish, Upload, UploadIntent, Urls};
use xfiles_core::{
    clock::{Clock, Timestamp},
    id::FileId,
    intent::{ByteSize, OriginalFilename, Sha256Checksum},
    object_key::Visibility,
};

use crate::{
    args::ServerArgs,
    client::{Client, IdempotencyKey},
    failure::{Exit, Failure},
    output::Console,
};

/// Test a deployment from upload to deletion, and explain what does not work
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf doctor
  xf doctor --url https://abc123.execute-api.eu-central-1.amazonaws.com --origin https://app.example.com

It uploads two small files, reads them like a viewer, and deletes them. The key needs the scopes read and write.")]
pub(crate) struct DoctorArgs {
    /// The origin of a web page that uploads; the store must allow it
    #[arg(long, value_name = "URL", default_value = "https://doctor.example")]
    origin: String,
    /// How long a deleted file may still be served, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    purge_within: u64,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A one-pixel image of which variants can be rendered.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, b'I', b'D', b'A', b'T', 0x78, 0xda, 0x63, 0x64, 0xf8, 0xcf,
    0x50, 0x0f, 0, 0x03, 0x86, 0x01, 0x80, 0x5a, 0x34, 0x7d, 0x6b, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42,
    0x60, 0x82,
];
/// The allowed clock difference: signed URLs are valid for five minutes, of which a part must remain.
const SKEW: Duration = Duration::from_secs(60);

/// A failure with its cause and remedy.
struct Fault {
    cause: String,
    fix: String,
}

impl Fault {
    fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }

    /// A failed request of the client. If the server itself fails, its advice to clients is to contact the operator, so
    /// `fix` replaces it.
    fn of(failure: &Failure, fix: &str) -> Self {
        match (failure.code(), failure.request_id()) {
            (Some("internal" | "unavailable"), Some(id)) => {
                Self::new(format!("{} (request {id})", failure.detail()), fix)
            }
            _ => Self::new(failure.detail(), failure.hint().unwrap_or(fix)),
        }
    }
}

type Finding = Result<(), Fault>;

pub(crate) fn run(args: &DoctorArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    let mut report = Report { json: args.json, findings: Vec::new(), console };
    let mut uploaded = Vec::new();
    let examined = Examination { args, client: &client, agent }.all(&mut report, &mut uploaded);
    // Nothing is left behind, whatever failed.
    for file in uploaded {
        drop(client.delete(&[file], &IdempotencyKey::mint()));
    }
    examined?;
    report.end()
}

/// The findings, printed as they occur.
struct Report<'a, 'b> {
    json: bool,
    findings: Vec<Value>,
    console: &'a mut Console<'b>,
}

impl Report<'_, '_> {
    /// Prints a finding, and returns whether the checks that depend on it should run.
    fn tell(&mut self, check: &str, finding: Finding) -> Result<bool, Failure> {
        let good = finding.is_ok();
        if !self.json {
            match &finding {
                Ok(()) => self.console.result(format_args!("ok    {check}"))?,
                Err(fault) => self
                    .console
                    .result(format_args!("FAIL  {check}\n      cause: {}\n      fix:   {}", fault.cause, fault.fix))?,
            }
        }
        self.findings.push(match finding {
            Ok(()) => json!({"check": check, "ok": true}),
            Err(Fault { cause, fix }) => json!({"check": check, "ok": false, "cause": cause, "fix": fix}),
        });
        Ok(good)
    }

    fn end(self) -> Result<Exit, Failure> {
        let failed = self.findings.iter().filter(|finding| finding["ok"] == false).count();
        if self.json {
            self.console.json(&Value::Array(self.findings))?;
        } else if failed == 0 {
            self.console.note("everything works");
        } else {
            self.console.note(format_args!("{failed} of {} checks failed", self.findings.len()));
        }
        Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
    }
}

struct Examination<'a> {
    args: &'a DoctorArgs,
    client: &'a Client,
    agent: Agent,
}

impl Examination<'_> {
    /// The checks in the order of their dependencies; stops if the next one cannot be run.
    fn all(&self, report: &mut Report<'_, '_>, uploaded: &mut Vec<FileId>) -> Result<(), Failure> {
        let url = self.args.server.url.to_string();
        let alive = self.get(&format!("{url}/healthz")).and_then(|answer| is_200(answer, |_| ALIVE));
        let headers = alive.as_ref().map(|answer| answer.headers().clone()).unwrap_or_default();
        if !report.tell("the API answers", alive.map(drop))? {
            return Ok(());
        }
        report.tell("the clocks agree", clocks(&headers))?;
        let ready = self.get(&format!("{url}/readyz")).and_then(|answer| is_200(answer, not_ready));
        report.tell("the API reaches its stores and can sign", ready.map(drop))?;
        let key = self.client.usage().map(drop).map_err(|failure| Fault::of(&failure, "use another key"));
        if !report.tell("the API key is accepted", key)? {
            return Ok(());
        }

        let Some(public) = self.upload(Visibility::Public, report, uploaded)? else { return Ok(()) };
        let original = self.reads(public.url.as_str(), not_public);
        let served = report.tell("the CDN reads the bucket", original)?;
        let variant = match public.variants.0.first() {
            Some(variant) => self.get(variant.url.as_str()).and_then(|answer| is_200(answer, not_made)).map(drop),
            None => Err(Fault::new("a public image has no variants", "is the server's version older?")),
        };
        report.tell("a variant is rendered on its first request (failover to the worker)", variant)?;

        if let Some(private) = self.upload(Visibility::Private, report, uploaded)? {
            report.tell("a signed URL opens a private file", self.reads(private.url.as_str(), not_opened))?;
            let bare = private.url.as_str().split('?').next().unwrap_or_default();
            let closed = self.get(bare).and_then(|answer| match answer.status().as_u16() {
                403 => Ok(()),
                status => {
                    let fix = failed_function(answer.headers()).map_or(UNSIGNED, |(_, fix)| fix);
                    Err(Fault::new(format!("without a signature the response is {status} and not 403"), fix))
                }
            });
            report.tell("without the signature it is refused", closed)?;
        }
        let deleted = self.delete(uploaded);
        if report.tell("files are deleted", deleted)? && served {
            report.tell("the CDN removes deleted files", self.is_purged(public.url.as_str()))?;
        }
        Ok(())
    }

    /// The three steps of an upload, and the checks that need an upload ticket. `None` if a step failed.
    fn upload(
        &self,
        visibility: Visibility,
        report: &mut Report<'_, '_>,
        uploaded: &mut Vec<FileId>,
    ) -> Result<Option<Urls>, Failure> {
        let begun = self.client.begin_upload(&intent(visibility), &IdempotencyKey::mint());
        let begun = begun.map_err(|failure| Fault::of(&failure, "see the API's log for the request id"));
        let (ticket, finding) = split(begun);
        report.tell(&format!("a {visibility} upload begins"), finding)?;
        let Some(ticket) = ticket else { return Ok(None) };
        uploaded.push(ticket.file_id);
        if visibility == Visibility::Public {
            report.tell("the store lets browsers upload (CORS)", self.preflight(&ticket))?;
            report.tell("the store checks upload URLs", self.refuses_another_type(&ticket))?;
        }
        let put = self.client.put(&ticket, PIXEL.len() as u64, &mut &*PIXEL);
        let put = put.map_err(|failure| Fault::of(&failure, not_taken(failure.detail())));
        if !report.tell("the store accepts the upload", put)? {
            return Ok(None);
        }
        let confirmed = self.client.confirm(ticket.file_id, &IdempotencyKey::mint());
        let confirmed = confirmed.and_then(|()| self.client.get(ticket.file_id, None));
        let confirmed = confirmed.map_err(|failure| Fault::of(&failure, CONFIRM));
        let (answer, finding) = split(confirmed);
        report.tell("the API publishes it", finding)?;
        Ok(answer.map(|answer| answer.value.urls.0))
    }

    fn preflight(&self, ticket: &Upload) -> Finding {
        let request = Request::builder().method(Method::OPTIONS).uri(ticket.upload_url.as_str());
        let request = request
            .header(header::ORIGIN, &self.args.origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
        let answer = self.send(request.body(()))?;
        let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|value| value.to_str().ok());
        if answer.status().is_success() && allowed.is_some_and(|allowed| allowed == "*" || allowed == self.args.origin)
        {
            return Ok(());
        }
        let cause = format!(
            "a page of {} may not upload: the response to the preflight is {}",
            self.args.origin,
            answer.status()
        );
        Err(Fault::new(cause, "add the origin to the template's parameter UploadOrigins, or give yours with --origin"))
    }

    /// An upload URL is valid only for the declared type. A store that accepts another type does not check signatures.
    fn refuses_another_type(&self, ticket: &Upload) -> Finding {
        let request = Request::builder().method(Method::PUT).uri(ticket.upload_url.as_str());
        let answer = self.send(request.header(header::CONTENT_TYPE, "text/html").body(PIXEL))?;
        match answer.status().as_u16() {
            403 => Ok(()),
            status => Err(Fault::new(
                format!("the response to an upload of another type than declared is {status} and not 403"),
                "the store does not check signatures: is it an emulator with signature checks disabled?",
            )),
        }
    }

    /// Reads a URL and compares the bytes.
    fn reads(&self, url: &str, fix: fn(&Refusal) -> &'static str) -> Finding {
        let mut answer = is_200(self.get(url)?, fix)?;
        match answer.body_mut().read_to_vec() {
            Ok(bytes) if bytes == PIXEL => Ok(()),
            Ok(_) => {
                Err(Fault::new("other bytes are served than were uploaded", "does a proxy in between change images?"))
            }
            Err(_) => Err(Fault::new("the response ended early", "try again")),
        }
    }

    fn delete(&self, uploaded: &mut Vec<FileId>) -> Finding {
        let results =
            self.client.delete(uploaded, &IdempotencyKey::mint()).map_err(|failure| Fault::of(&failure, CONFIRM))?;
        for result in results {
            result.map_err(|failure| Fault::of(&failure, "see the API's log; the cleanup will retry"))?;
        }
        uploaded.clear();
        Ok(())
    }

    fn is_purged(&self, url: &str) -> Finding {
        let began = Instant::now();
        loop {
            let status = self.get(url)?.status().as_u16();
            if matches!(status, 403 | 404) {
                return Ok(());
            }
            if began.elapsed() >= Duration::from_secs(self.args.purge_within) {
                return Err(Fault::new(
                    format!(
                        "{} s after its deletion a file is still served with status {status}",
                        self.args.purge_within
                    ),
                    "check that the API's role may call cloudfront:CreateInvalidation on this distribution, and whether \
                     another cache is in front of it",
                ));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn get(&self, url: &str) -> Result<Response<Body>, Fault> {
        self.send(Request::builder().uri(url).body(()))
    }

    fn send(
        &self,
        request: Result<Request<impl ureq::AsSendBody>, ureq::http::Error>,
    ) -> Result<Response<Body>, Fault> {
        let request =
            request.map_err(|_| Fault::new("the server returned an invalid address", "is --url an XFiles server?"))?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        self.agent.run(request).map_err(|error| {
            Fault::new(format!("{host} does not respond: {error}"), "check the name, the network and the certificate")
        })
    }
}

const ALIVE: &str = "is --url the API's address, which `xf status` shows?";
const CONFIRM: &str =
    "check the API's role: s3:GetObject on staging/*, s3:PutObject on files/*; its log has the request id";
const UNSIGNED: &str = "private paths need a trusted key group: check the behaviour /files/originals/private/*";

fn not_ready(refusal: &Refusal) -> &'static str {
    if refusal.reason.contains("signing key") {
        "check that the secret holds the private key of the active public key (docs/deploy.md, \"Rotating the signing \
         key\"), and that the API's role may secretsmanager:GetSecretValue; its log has the reason"
    } else if refusal.reason.contains("table") {
        "check that the table exists and that the API's role may dynamodb:GetItem; its log has the reason"
    } else {
        "check that the table and the bucket exist and that the API's role may use them; its log has the reason"
    }
}

/// The remedy for an upload that S3 refused.
fn not_taken(said: &str) -> &'static str {
    if said.contains("RequestTimeTooSkewed") || said.contains("expired") {
        "set the clock of the machine that signed the upload URL"
    } else if said.contains("SignatureDoesNotMatch") {
        "does a proxy between here and the store change requests? The upload URL is signed for its host, type and length"
    } else if said.contains("NoSuchBucket") {
        "the bucket does not exist: deploy again"
    } else {
        "check the presign role's permission s3:PutObject on staging/*, and the bucket's policy"
    }
}

/// The remedy for a public original that the CDN refused; only the bucket serves originals.
fn not_public(refusal: &Refusal) -> &'static str {
    match (refusal.status, refusal.reason.as_str()) {
        (403, "MissingKey") => "the behaviour /files/originals/public/* must not require a signature",
        (403, _) => {
            "check the bucket policy (s3:GetObject on files/* for this distribution) and the bucket origin's access \
             control"
        }
        (404, _) => {
            "is the host an alias of this stack's distribution, and is the behaviour /files/originals/public/*?"
        }
        _ => "CloudFront cannot reach the bucket: check the origin's name and that the bucket is in the stack's region",
    }
}

/// The remedy for a variant that the CDN refused and the worker should have rendered.
fn not_made(refusal: &Refusal) -> &'static str {
    match (refusal.status, refusal.reason.as_str()) {
        // The error is S3's, so the worker was not called.
        (403, "AccessDenied") => {
            "the bucket's 403 was not followed by the worker: check the origin group (failover on 403 and 404)"
        }
        (403, "MissingKey") => "the behaviour /files/variants/public/* must not require a signature",
        (403, _) => {
            "the worker's URL refuses CloudFront: both lambda:InvokeFunctionUrl and lambda:InvokeFunction must be \
             granted to this distribution, and the worker's origin needs its access control"
        }
        (404, _) => "the worker finds no such file: check its XFILES_TABLE and XFILES_BUCKET; its log has the path",
        // Lambda's own response is 429. The worker returns 503 if a store is busy or its time is up.
        (429, _) => "the worker is throttled: raise WorkerConcurrency, or the account has no free concurrency",
        (503, _) => "the worker is throttled or a store is busy: see WorkerConcurrency and the worker's log",
        _ => "the worker failed or took too long: its log has the cause",
    }
}

/// The remedy for a newly signed URL that the CDN refused.
fn not_opened(refusal: &Refusal) -> &'static str {
    match (refusal.status, refusal.reason.as_str()) {
        (403, "InvalidKey") => {
            "the distribution's key group does not hold the active public key: deploy again, or wait until CloudFront has \
             deployed it"
        }
        (403, _) => {
            "the URL is signed for another host, by another key, or with a wrong clock: check DomainName, and that \
             no proxy in between changes the query"
        }
        _ => "check the behaviour /files/originals/private/*",
    }
}

fn intent(visibility: Visibility) -> UploadIntent {
    let name = OriginalFilename::new("doctor.png").expect("the name is not empty");
    let content_type = "image/png".parse().expect("PNG is an allowed type");
    let size = ByteSize::new(PIXEL.len() as u64).expect("one pixel is small");
    let image = ImageWish { enabled: Some(true), visibility: Some(visibility) };
    UploadIntent {
        visibility,
        transformations: Some(TransformationsWish { image: Some(image) }),
        checksum_sha256: Some(Sha256Checksum::of(PIXEL)),
        ..UploadIntent::new(name, content_type, size)
    }
}

/// Splits a result into the value and the finding.
fn split<T>(result: Result<T, Fault>) -> (Option<T>, Finding) {
    match result {
        Ok(value) => (Some(value), Ok(())),
        Err(fault) => (None, Err(fault)),
    }
}

/// A response other than the expected one.
struct Refusal {
    status: u16,
    /// The reason, if the response has one: a `Code` of S3 or CloudFront, or the `detail` of this API.
    reason: String,
}

fn is_200(mut answer: Response<Body>, fix: impl Fn(&Refusal) -> &'static str) -> Result<Response<Body>, Fault> {
    let status = answer.status().as_u16();
    if status == 200 {
        return Ok(answer);
    }
    let said = answer.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
    let (reason, fix) = match failed_function(answer.headers()) {
        Some((name, fix)) => (name.to_owned(), fix),
        None => {
            let refusal = Refusal { status, reason: reason(&said) };
            let fix = fix(&refusal);
            (refusal.reason, fix)
        }
    };
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    Err(Fault::new(format!("the response is {status}{because} and not 200"), fix))
}

/// CloudFront's error for a function that fails for each request, with the remedy. No origin is contacted then, so the
/// response contains nothing else.
fn failed_function(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    const FAILS: &str = "a CloudFront function of the distribution fails on every request: `xf deploy` runs both in CloudFront and reports \
                         why, as does `aws cloudfront test-function`; deploy a version whose infra/check passes";
    const THROTTLED: &str = "CloudFront throttles a function that has failed or taken too long: once the deployed one works, wait \
                             ten minutes; its ComputeUtilization in `aws cloudfront test-function` must be below 70";
    let cache = headers.get("x-cache").and_then(|value| value.to_str().ok())?;
    [("FunctionExecutionError", FAILS), ("FunctionValidationError", FAILS), ("FunctionThrottledError", THROTTLED)]
        .into_iter()
        .find(|(name, _)| cache.starts_with(name))
}

/// Only this part of an error is repeated, because S3 includes the signed request in it.
fn reason(said: &str) -> String {
    if let Ok(problem) = serde_json::from_str::<Value>(said) {
        let known = ["detail", "Message", "message"].into_iter().find_map(|name| problem[name].as_str());
        return known.unwrap_or_default().to_owned();
    }
    let code = said.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or("", |(code, _)| code).to_owned()
}

fn clocks(headers: &HeaderMap) -> Finding {
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(http_date) else {
        return Err(Fault::new("the response has no Date header", "does a proxy in between remove it?"));
    };
    let ours = Clock::system().now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    if apart <= SKEW {
        return Ok(());
    }
    let direction = if ours > theirs { "ahead of" } else { "behind" };
    let cause = format!("this machine's clock is {} s {direction} the server's", apart.as_secs());
    Err(Fault::new(cause, "set the clock (NTP): signed URLs are valid for five minutes"))
}

/// An HTTP date, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_date_is_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_millis(784_111_777_000)));
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn a_wrong_clock_is_reported_with_its_direction() {
        let headers = |date: &str| HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]);
        let fault = clocks(&headers("Sun, 06 Nov 1994 08:49:37 GMT")).err().unwrap();
        assert!(fault.cause.contains("ahead of the server's"), "{}", fault.cause);
        assert!(clocks(&HeaderMap::new()).is_err());
    }
}
