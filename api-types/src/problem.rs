//! Refusals: their codes, and the one shape that all of them have (RFC 9457).

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $title:literal { cause: $cause:literal, remedy: $remedy:literal $(,)? })*) => {
        /// What a client can rely on when it handles a refusal. Codes are never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $cause] $name),* }

        impl Code {
            pub const ALL: [Self; { [$($code),*].len() }] = [$(Self::$name),*];

            /// The code as it stands in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// What happened, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// What brings it about, for the catalogue.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause),* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),* }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", 400, "The request breaks a rule" {
        cause: "A field of the body, a query parameter or a header breaks its rule, or is missing.",
        remedy: "Correct each field that `errors` names and send the request again.",
    }
    MalformedJson = "malformed_json", 400, "The body is not a JSON object" {
        cause: "The body is not JSON, or it is JSON but not an object.",
        remedy: "Send a JSON object in UTF-8.",
    }
    NotUploaded = "not_uploaded", 400, "The file has not been uploaded" {
        cause: "The file is to be confirmed, and the store has no bytes for it yet.",
        remedy: "PUT the bytes to `uploadUrl`, wait for its 200, then confirm.",
    }
    Unauthorized = "unauthorized", 401, "The API key is not valid" {
        cause: "There is no key, or it is malformed, unknown, expired or revoked; nobody learns which.",
        remedy: "Send `Authorization: Bearer xf_…` with a key that is neither expired nor revoked.",
    }
    MissingScope = "missing_scope", 403, "The API key may not do this" {
        cause: "The key is good but lacks the scope that the operation needs.",
        remedy: "Use a key that has the scope.",
    }
    FileNotFound = "file_not_found", 404, "No such file" {
        cause: "The file does not exist, belongs to another project, is not confirmed where that matters, or is deleted; \
            nobody learns which.",
        remedy: "Check the id; a file can be read once it is confirmed, and only with a key of its project.",
    }
    NotFound = "not_found", 404, "No such thing" {
        cause: "The project or the key does not exist.",
        remedy: "Check the id.",
    }
    RouteNotFound = "route_not_found", 404, "No such route" {
        cause: "The path is none of this API's.",
        remedy: "Check the path; routes begin with /api/v1.",
    }
    MethodNotAllowed = "method_not_allowed", 405, "The route does not know this method" {
        cause: "The path exists and knows other methods only.",
        remedy: "Use one of the methods that `Allow` names.",
    }
    NotPending = "not_pending", 409, "The upload is finished already" {
        cause: "A fresh upload URL is asked for, and the file is confirmed.",
        remedy: "Read the file; a new version of it is a new upload.",
    }
    NoEntity = "no_entity", 400, "The file has no entity" {
        cause: "A position is given to a file that is attached to nothing.",
        remedy: "Give the file an entity when its upload begins.",
    }
    PreconditionFailed = "precondition_failed", 412, "The file has changed" {
        cause: "`If-Match` names a version that the file no longer has.",
        remedy: "Read the file, decide again, and send its new ETag.",
    }
    PageTooDeep = "page_too_deep", 400, "The page is too deep" {
        cause: "A numbered page would have to count or skip more entries than one request may.",
        remedy: "Walk the list: begin with an empty `cursor`, go on with each `nextCursor`.",
    }
    QuotaBelowUsage = "quota_below_usage", 409, "The project holds more than that" {
        cause: "The new quota is less than what the project's files and uploads hold.",
        remedy: "Delete files first, or choose a higher quota.",
    }
    TooManyWebhooks = "too_many_webhooks", 409, "The project has no room for another webhook" {
        cause: "The project has as many webhooks as a project may have.",
        remedy: "Change one of the webhooks, or delete one first.",
    }
    RequestInFlight = "request_in_flight", 409, "The same request is in flight" {
        cause: "A request under the same `Idempotency-Key` has begun and has not answered yet.",
        remedy: "Wait for its answer, or try again after a minute.",
    }
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The idempotency key belongs to another request" {
        cause: "The `Idempotency-Key` was used for a request with another path, body or scope.",
        remedy: "Use a new key for a new request.",
    }
    RateLimited = "rate_limited", 429, "The API key asks too often" {
        cause: "The key makes more requests a second than this deployment allows.",
        remedy: "Try again after the seconds that `Retry-After` names.",
    }
    Conflict = "conflict", 409, "The file changed at the same time" {
        cause: "Others changed the same record, again and again, while the request tried to.",
        remedy: "Read the file and try again.",
    }
    QuotaExceeded = "quota_exceeded", 413, "The project has no room" {
        cause: "The project's files and pending uploads leave less room than the new file needs. `detail` says how much is \
            held by pending uploads.",
        remedy: "Delete files, delete pending uploads that will not be completed, or raise the project's quota.",
    }
    TooManyPendingUploads = "too_many_pending_uploads", 409, "Too many uploads are pending" {
        cause: "The project, or the API key, has as many pending uploads as it may have. `detail` says how many there are and \
            what the limit is.",
        remedy: "Confirm pending uploads, or delete those that will not be completed; `GET /api/v1/files?uploadStatus=pending` \
            lists them. An abandoned upload ends by itself 30 minutes after its URL was made.",
    }
    TooManyEndedUploads = "too_many_ended_uploads", 429, "Too many ended uploads have URLs that still work" {
        cause: "Uploads of the project were deleted or refused while their upload URLs still worked, and these URLs admit \
            more bytes than the project's quota, or than 1 GB, whichever is more.",
        remedy: "Try again later: each URL stops counting 30 minutes after it was made.",
    }
    BodyTooLarge = "body_too_large", 413, "The request body is too long" {
        cause: "The request body is longer than any legal one.",
        remedy: "File bytes go to `uploadUrl`, not to the API.",
    }
    UnsupportedMediaType = "unsupported_media_type", 415, "The body is not declared as JSON" {
        cause: "The request has a body without `Content-Type: application/json`.",
        remedy: "Send `Content-Type: application/json`.",
    }
    ContentTypeMismatch = "content_type_mismatch", 422, "The bytes are not what was declared" {
        cause: "The first bytes of the upload are not those of the declared type. The upload has ended and its quota is free \
            again.",
        remedy: "Begin a new upload that declares what the bytes are.",
    }
    Unavailable = "unavailable", 503, "A store is busy" {
        cause: "The metadata store, the object store or the CDN is throttled or does not answer.",
        remedy: "Try again after the seconds that `Retry-After` names.",
    }
    StorageFull = "storage_full", 507, "The disk is full" {
        cause: "XFiles runs on one machine and its disk is full, or nearly. Reads, signed URLs and deletions go on; what \
            would write more is refused.",
        remedy: "Delete files, or have whoever runs this deployment make room on the disk, and try again.",
    }
    Internal = "internal", 500, "Something broke" {
        cause: "A fault of the server. The cause is in its log, under the request id, and never in an answer.",
        remedy: "Report the request id to whoever runs this deployment.",
    }
}

words! {
    /// Which kind of rule a field breaks.
    pub enum FieldRule { Required = "required", Invalid = "invalid", Unknown = "unknown" }
}

object! {
    /// A field that breaks its rule.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FieldError {
        /// Where: a JSON pointer into the body, or `?name` of a query parameter.
        pointer: String = "/size",
        /// Which rule.
        code: FieldRule = "invalid",
        /// The rule in words.
        detail: String,
    }

    /// A refusal, as RFC 9457 has it. `code` is stable; texts are for people.
    pub struct Problem {
        /// A name of the kind of problem: `urn:xfiles:problem:` and the code.
        kind as "type": String,
        title: String,
        status: Status,
        detail: String,
        /// The path that was asked for.
        instance: String,
        code: String,
        /// The same as in the header `Request-Id`.
        request_id: String,
        /// The same text as `detail`.
        error: String,
        /// Every field that breaks its rule.
        errors: Vec<FieldError>,
        /// What to do about it.
        hint: String,
    }

    /// Why one item of a batch was refused.
    pub struct ItemRefused {
        error: ItemProblem,
    }

    /// A refusal inside a batch: the status and code that a request for this item alone would have got.
    pub struct ItemProblem {
        status: Status,
        code: String,
        detail: String,
        errors: Vec<FieldError>,
        /// What to do about it.
        hint: String,
    }
}

/// The HTTP status of a refusal.
pub type Status = crate::words::Whole<400, 599>;

impl FieldError {
    pub fn invalid(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: FieldRule::Invalid, detail: rule.into() }
    }
}
