//! Every operation of the router, grouped as a caller meets them: what it promises, what it takes, how it may refuse,
//! and an example of each.

use serde_json::{Value, json};
use xfiles_core::{
    api_key::Scope,
    catalog::{NamePrefix, PageSize},
    variant::ImageFormat,
};

use super::{
    operation::Operation,
    requests::{
        CleanupWish, FileChange, FileOrder, FileReference, FileReferences, FilesToDelete, KeyRotation, NewKey,
        NewProject, NewWebhook, ProjectChange, ReplayWish, SecretRotation, UploadIntent, UploadIntents, UrlWish,
        WebhookChange,
    },
    words::{BatchOfDeletions, BatchOfFiles, BatchOfUploads, Description},
};
use crate::{
    error::Code,
    health::{Health, Version},
    view::{
        CleanupAnswer, DeletedAnswer, DeletionAnswer, DeliveriesAnswer, Done, FileAnswer, FileWithUrls, FilesAnswer,
        IntentView, KeyAnswer, KeysAnswer, PageAnswer, ProjectAnswer, ProjectsAnswer, ReplayedAnswer, UrlsView,
        UsageView, WebhookAnswer, WebhooksAnswer,
    },
};

/// The groups, in reading order.
pub(super) const TAGS: [(&str, &str); 7] = [
    ("Uploading", "From an intent to a published file."),
    ("Reading", "Files, lists of them, and the URLs of their bytes."),
    ("Changing", "What of a confirmed file can change, and its end."),
    ("Projects", "Projects, their quota and their usage. A key with the scope `admin` manages every project."),
    ("Keys", "The API keys of a project."),
    ("Webhooks", "Where a project's events are sent, signed as the Standard Webhooks specification says."),
    ("Running", "What whoever runs the deployment asks."),
];

const FILE: &str = "2h8w0k5v9d3m7q1x4z6b";
const OTHER_FILE: &str = "7c1n4r8t2y6u0p5s9a3e";
const PROJECT: &str = "k3v9x2m7q1z8";
const KEY: &str = "p4t8w1n6y2";
const WEBHOOK: &str = "m5x1c8r3j9d2";
const DELIVERY: &str = "01769860800000-evt_0d8f3b2a6c4e9f7150a2b3c4d5e6f708";

pub(super) fn all() -> Vec<Operation> {
    [uploading(), reading(), changing(), projects(), keys(), webhooks(), running()].into_iter().flatten().collect()
}

fn uploading() -> Vec<Operation> {
    let begun =
        [Code::QuotaExceeded, Code::TooManyPendingUploads, Code::TooManyEndedUploads, Code::NotFound, Code::Conflict];
    vec![
        Operation::new::<IntentView>("post", "/api/v1/files/upload-intent", "beginUpload")
            .says(
                "Uploading",
                "Begin an upload",
                "Reserves quota and answers a URL that takes exactly one upload, and the headers it is sent with: \
                 a client that sends only `Content-Type` (and the length, as every HTTP library does) succeeds. The \
                 store refuses another type, length or path, and anything once the URL has ended. With a \
                 `checksumSha256` it refuses other bytes as well. What is not confirmed in time expires, and its quota \
                 is free again.",
            )
            .needs(Scope::Write)
            .reads::<UploadIntent>(intent())
            .or_reads("smallest", json!({"filename": "notes.txt", "contentType": "text/plain", "size": 13}))
            .answers(upload())
            .refuses(begun),
        Operation::new::<BatchOfUploads>("post", "/api/v1/files/upload-intents", "beginUploads")
            .says(
                "Uploading",
                "Begin several uploads",
                "Up to 100 intents at once; the results come in their order. A fault in any of them refuses the \
                 request. One that finds no room is refused alone, unless `allOrNothing` is true: then nothing is \
                 reserved.",
            )
            .needs(Scope::Write)
            .reads::<UploadIntents>(json!({"files": [intent()], "allOrNothing": true}))
            .answers(json!({"results": [upload()]}))
            .or_answers("one refused", json!({"results": [upload(), item_refused(Code::QuotaExceeded)]}))
            .refuses(begun),
        Operation::new::<FileAnswer>("post", "/api/v1/files/confirm", "confirmUpload")
            .says(
                "Uploading",
                "Confirm an upload",
                "Checks that the bytes are there, that they have the declared size and type and begin as that type \
                 does, and publishes them. Bytes of another type end the upload. To confirm a confirmed file changes \
                 nothing and answers the same.",
            )
            .needs(Scope::Write)
            .reads::<FileReference>(json!({"fileId": FILE}))
            .with_etag()
            .answers(json!({"file": file()}))
            .refuses([Code::NotUploaded, Code::FileNotFound, Code::Conflict, Code::ContentTypeMismatch]),
        Operation::new::<BatchOfFiles>("post", "/api/v1/files/confirms", "confirmUploads")
            .says(
                "Uploading",
                "Confirm several uploads",
                "Up to 100 at once, each for itself; the results come in the order of the ids.",
            )
            .needs(Scope::Write)
            .reads::<FileReferences>(json!({"fileIds": [FILE, OTHER_FILE]}))
            .answers(json!({"results": [{"file": file()}, item_refused(Code::NotUploaded)]})),
        Operation::new::<IntentView>("post", "/api/v1/files/{id}/resign", "renewUploadUrl")
            .says(
                "Uploading",
                "Get a fresh upload URL",
                "For an upload that is not confirmed and whose URL has ended or was lost. The upload stays the same \
                 one and gets as long a life again.",
            )
            .needs(Scope::Write)
            .takes([file_id()])
            .answers(upload())
            .refuses([Code::FileNotFound, Code::NotPending, Code::Conflict]),
    ]
}

fn reading() -> Vec<Operation> {
    let page = json!({"files": [file()], "total": 41, "totalIsExact": true, "page": 1, "totalPages": 3});
    let run = json!({"files": [with_urls(file())], "nextCursor": "AeJ0m1sQ7xkB"});
    vec![
        Operation::new::<PageAnswer>("get", "/api/v1/files", "listFiles")
            .says(
                "Reading",
                "List files",
                "The confirmed files of the key's project that match every filter given. With an entity filter by \
                 position, then oldest first; otherwise newest first. A numbered page knows the total. Without filters \
                 it is the project's counter; otherwise the files are counted, which costs more the more there are and \
                 stops where 20,000 have been compared with the filters: then `totalIsExact` is false and `total` is \
                 what was found so far. A page beyond that, or one whose order takes all matches, is refused. With \
                 `cursor` every page costs the same: begin with an empty one, go on with each `nextCursor` until it is \
                 null; a page compares at most 2,000 files and may be short, even empty, with more to come. Whoever walks so sees every file that was \
                 there throughout exactly once. A walk keeps the order above where `entityId` is given with \
                 `entityType`; with `entityType` alone, or beside filters other than an owner or a time, it goes \
                 entity by entity; every other walk goes newest first. With `uploadStatus=pending` the list has the \
                 uploads that have begun and are neither confirmed nor ended, each with `expiresAt`, the one that ends \
                 first coming first; it is always walked, and takes `limit` and `cursor` alone.",
            )
            .needs(Scope::Read)
            .takes(entity_filters())
            .takes([
                query("ownerUserId", "Of this user of the application.", word()),
                query("visibility", "With originals readable so.", visibility()),
                query("variantVisibility", "With variants readable so.", visibility()),
                query(
                    "uploadStatus",
                    "Confirmed files, or pending uploads instead of them.",
                    json!({"type": "string", "enum": ["confirmed", "pending"], "default": "confirmed"}),
                ),
                query("createdAfter", "Begun at this time or later.", time()),
                query("createdBefore", "Begun before this time.", time()),
                query(
                    "contentType",
                    "Of this media type, or of a family such as `image/*`.",
                    json!({"type": "string", "pattern": r"^[^/]+/[\s\S]+$"}),
                ),
                query(
                    "q",
                    "With a client-side name that begins so, whatever the case.",
                    json!({"type": "string", "minLength": 1, "maxLength": NamePrefix::MAX_CHARS}),
                ),
                query(
                    "page",
                    "A numbered page, from 1. Not together with `cursor`.",
                    json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "default": 1}),
                ),
                query(
                    "limit",
                    "How many files a page has.",
                    json!({"type": "integer", "minimum": 1, "maximum": PageSize::MAX, "default": PageSize::default().get()}),
                ),
                query(
                    "cursor",
                    "Empty to begin a walk, then each `nextCursor` of the same list with the same filters.",
                    json!({"type": "string"}),
                ),
                query(
                    "include",
                    "Adds `url` and `variants` to each file.",
                    json!({"type": "string", "enum": ["urls"]}),
                ),
                format(),
            ])
            .answers(page)
            .or_answers("walking, with URLs", run)
            .refuses([Code::PageTooDeep]),
        Operation::new::<FileWithUrls>("get", "/api/v1/files/{id}", "getFile")
            .says(
                "Reading",
                "Get a file",
                "The record of a confirmed file and its URLs: permanent for what is public, signed for some minutes \
                 for what is private. A variant is as visible as the file's transformations say, whatever its \
                 original is. With `wait`, a pending upload is answered as soon as it is confirmed.",
            )
            .needs(Scope::Read)
            .takes([
                file_id(),
                format(),
                query(
                    "wait",
                    "For how many seconds to wait for a pending upload to be confirmed; 25 at the most are waited.",
                    json!({"type": "integer", "minimum": 0, "maximum": 30, "default": 0}),
                ),
            ])
            .with_etag()
            .answers(with_urls(json!({"file": file()})))
            .refuses([Code::FileNotFound]),
        Operation::new::<UrlsView>("post", "/api/v1/files/{id}/url", "makeUrls")
            .says(
                "Reading",
                "Make fresh URLs",
                "URLs of a confirmed file and its variants. `expiresIn` is in the answer when anything in it is \
                 signed. Without a wish, those who ask within a minute get identical URLs, so that caches work.",
            )
            .needs(Scope::Read)
            .takes([file_id(), format()])
            .may_read::<UrlWish>(json!({"expiresIn": 3600}))
            .answers(with_urls(json!({})))
            .refuses([Code::FileNotFound]),
    ]
}

fn changing() -> Vec<Operation> {
    vec![
        Operation::new::<FileAnswer>("patch", "/api/v1/files/{id}", "changeFile")
            .says(
                "Changing",
                "Change a file",
                "Changes owner, position, visibility or transformations of a confirmed file. Another visibility moves \
                 the bytes between the public and the private path; another visibility of the variants, or their end, \
                 removes those that exist. When it answers, nothing is left at the old place.",
            )
            .needs(Scope::Write)
            .takes([file_id(), if_match()])
            .reads::<FileChange>(json!({"visibility": "public", "ownerUserId": null, "position": 3}))
            .or_reads("variants", json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}}))
            .with_etag()
            .answers(json!({"file": file()}))
            .refuses([Code::NoEntity, Code::FileNotFound, Code::Conflict, Code::PreconditionFailed]),
        Operation::new::<FilesAnswer>("put", "/api/v1/entities/{type}/{id}/order", "orderFiles")
            .says(
                "Changing",
                "Put an entity's files in order",
                "Gives the files of one entity the positions 0, 1, 2 and so on, as they are listed, at most 98: all of \
                 them, or none when one is missing or belongs to another entity.",
            )
            .needs(Scope::Write)
            .takes([path("type", "The kind of thing.", word(), "listing"), path("id", "Which one.", word(), "1187")])
            .reads::<FileOrder>(json!({"fileIds": [FILE]}))
            .answers(json!({"files": [file()]}))
            .refuses([Code::NoEntity, Code::FileNotFound, Code::Conflict]),
        Operation::new::<DeletionAnswer>("delete", "/api/v1/files/{id}", "deleteFile")
            .says(
                "Changing",
                "Delete a file",
                "Removes the original, all variants, cached copies and the record, and gives the quota back. On an \
                 upload that is not confirmed, ends it at once. With `erase=true` it then looks at every key and every \
                 CDN path that the file could have had, and answers the list of what it found gone; an erasure that \
                 was interrupted can be repeated.",
            )
            .needs(Scope::Delete)
            .takes([
                file_id(),
                if_match(),
                query(
                    "erase",
                    "Whether to verify that no trace is left.",
                    json!({"type": "boolean", "default": false}),
                ),
            ])
            .answers(done())
            .or_answers(
                "erased",
                json!({
                    "success": true,
                    "objects": [format!("staging/{PROJECT}/{FILE}/photo-k3v9x2.jpg")],
                    "paths": [format!("/files/originals/public/{PROJECT}/{FILE}/*")],
                    "unverifiedPaths": [],
                }),
            )
            .refuses([Code::FileNotFound, Code::Conflict, Code::PreconditionFailed]),
        Operation::new::<DeletedAnswer>("delete", "/api/v1/files", "deleteFiles")
            .says(
                "Changing",
                "Delete the files of an entity",
                "Deletes every confirmed file that matches; at least one filter is needed, and a parameter that is \
                 none is refused. `more` is true when the time of one request was not enough: the same request again \
                 goes on.",
            )
            .needs(Scope::Delete)
            .takes(entity_filters())
            .answers(json!({"deleted": 12}))
            .or_answers("more to do", json!({"deleted": 5200, "more": true})),
        Operation::new::<BatchOfDeletions>("post", "/api/v1/files/delete", "deleteListedFiles")
            .says(
                "Changing",
                "Delete files by their ids",
                "Up to 1,000 at once, each for itself; the results come in the order of the ids.",
            )
            .needs(Scope::Delete)
            .reads::<FilesToDelete>(json!({"fileIds": [FILE, OTHER_FILE]}))
            .answers(json!({"results": [done(), item_refused(Code::FileNotFound)]})),
    ]
}

fn projects() -> Vec<Operation> {
    let one = || json!({"project": project()});
    vec![
        Operation::new::<UsageView>("get", "/api/v1/usage", "getUsage")
            .says("Projects", "Get the usage", "How much the key's own project holds, has reserved and may hold.")
            .needs(Scope::Read)
            .answers(usage())
            .refuses([Code::NotFound]),
        Operation::new::<ProjectsAnswer>("get", "/api/v1/projects", "listProjects")
            .says("Projects", "List projects", "Every project of the deployment.")
            .needs(Scope::Admin)
            .answers(json!({"projects": [project()]})),
        Operation::new::<ProjectAnswer>("post", "/api/v1/projects", "createProject")
            .says("Projects", "Make a project", "A new project, empty and without keys.")
            .needs(Scope::Admin)
            .reads::<NewProject>(json!({"name": "shop", "quotaBytes": 10_737_418_240_u64}))
            .with_status(201)
            .answers(one()),
        Operation::new::<ProjectAnswer>("get", "/api/v1/projects/{id}", "getProject")
            .says("Projects", "Get a project", "A project, its state and its usage.")
            .needs(Scope::Admin)
            .takes([project_id()])
            .answers(one())
            .refuses([Code::NotFound]),
        Operation::new::<ProjectAnswer>("patch", "/api/v1/projects/{id}", "changeProject")
            .says("Projects", "Change a project", "Another name or quota.")
            .needs(Scope::Admin)
            .takes([project_id()])
            .reads::<ProjectChange>(json!({"quotaBytes": 21_474_836_480_u64}))
            .answers(one())
            .refuses([Code::NotFound, Code::QuotaBelowUsage, Code::Conflict]),
        Operation::new::<Done>("post", "/api/v1/projects/{id}/empty", "emptyProject")
            .says(
                "Projects",
                "Empty a project",
                "Deletes every file that the project has now. The cleanup does it; the project's status and usage show \
                 how far it is.",
            )
            .needs(Scope::Admin)
            .takes([project_id()])
            .with_status(202)
            .answers(done())
            .refuses([Code::NotFound, Code::Conflict]),
        Operation::new::<Done>("delete", "/api/v1/projects/{id}", "deleteProject")
            .says(
                "Projects",
                "Delete a project",
                "Its keys stop working and it takes no new uploads. The cleanup deletes its files, then the project.",
            )
            .needs(Scope::Admin)
            .takes([project_id()])
            .with_status(202)
            .answers(done())
            .refuses([Code::NotFound, Code::Conflict]),
    ]
}

fn keys() -> Vec<Operation> {
    let made = || json!({"key": key(), "apiKey": "xf_ExampleExampleExampleExample4242"});
    vec![
        Operation::new::<KeysAnswer>("get", "/api/v1/projects/{id}/keys", "listKeys")
            .says("Keys", "List keys", "The keys of a project, without what opens anything.")
            .needs(Scope::Admin)
            .takes([project_id()])
            .answers(json!({"keys": [key()]}))
            .refuses([Code::NotFound]),
        Operation::new::<KeyAnswer>("post", "/api/v1/projects/{id}/keys", "createKey")
            .says("Keys", "Make a key", "`apiKey` is the raw key. This answer is the only one that ever shows it.")
            .needs(Scope::Admin)
            .takes([project_id()])
            .reads::<NewKey>(json!({"name": "web server", "scopes": ["read", "write"]}))
            .with_status(201)
            .answers(made())
            .refuses([Code::NotFound]),
        Operation::new::<KeyAnswer>("delete", "/api/v1/projects/{id}/keys/{key}", "revokeKey")
            .says("Keys", "Revoke a key", "It stops working within 30 seconds, and stays in the list.")
            .needs(Scope::Admin)
            .takes([project_id(), key_id()])
            .answers(json!({"key": key()}))
            .refuses([Code::NotFound, Code::Conflict]),
        Operation::new::<KeyAnswer>("post", "/api/v1/projects/{id}/keys/{key}/rotate", "rotateKey")
            .says(
                "Keys",
                "Rotate a key",
                "Makes a new key like the old one, which works on for a grace and then ends. `apiKey` is the new raw \
                 key.",
            )
            .needs(Scope::Admin)
            .takes([project_id(), key_id()])
            .may_read::<KeyRotation>(json!({"gracePeriod": 3600}))
            .with_status(201)
            .answers(made())
            .refuses([Code::NotFound, Code::Conflict]),
    ]
}

fn webhooks() -> Vec<Operation> {
    let made = || json!({"webhook": webhook(), "secret": "whsec_RXhhbXBsZUV4YW1wbGVFeGFtcGxlRXhhbXBsZTQyNDI="});
    let status = json!({"type": "string", "enum": ["pending", "delivered", "parked"]});
    vec![
        Operation::new::<WebhooksAnswer>("get", "/api/v1/projects/{id}/webhooks", "listWebhooks")
            .says("Webhooks", "List webhooks", "Where the events of a project are sent, without the secrets.")
            .needs(Scope::Admin)
            .takes([project_id()])
            .answers(json!({"webhooks": [webhook()]}))
            .refuses([Code::NotFound]),
        Operation::new::<WebhookAnswer>("post", "/api/v1/projects/{id}/webhooks", "createWebhook")
            .says(
                "Webhooks",
                "Make a webhook",
                "From now on events of the project are POSTed to the URL, signed with `secret`, which is shown in this \
                 answer only. A project has at most ten.",
            )
            .needs(Scope::Admin)
            .takes([project_id()])
            .reads::<NewWebhook>(json!({"url": "https://app.example.com/hooks/files", "events": ["file.confirmed"]}))
            .with_status(201)
            .answers(made())
            .refuses([Code::NotFound, Code::TooManyWebhooks]),
        Operation::new::<WebhookAnswer>("patch", "/api/v1/projects/{id}/webhooks/{webhook}", "changeWebhook")
            .says(
                "Webhooks",
                "Change a webhook",
                "The URL, the events, or whether anything is sent. Deliveries that fall due while it is off are parked.",
            )
            .needs(Scope::Admin)
            .takes([project_id(), webhook_id()])
            .reads::<WebhookChange>(json!({"enabled": false}))
            .answers(json!({"webhook": webhook()}))
            .refuses([Code::NotFound, Code::Conflict]),
        Operation::new::<Done>("delete", "/api/v1/projects/{id}/webhooks/{webhook}", "deleteWebhook")
            .says("Webhooks", "Delete a webhook", "What is on its way to it is dropped.")
            .needs(Scope::Admin)
            .takes([project_id(), webhook_id()])
            .answers(done())
            .refuses([Code::NotFound]),
        Operation::new::<WebhookAnswer>("post", "/api/v1/projects/{id}/webhooks/{webhook}/rotate", "rotateWebhookSecret")
            .says(
                "Webhooks",
                "Rotate a webhook's secret",
                "`secret` is the new one. For a grace every message carries two signatures, by the new and by the old.",
            )
            .needs(Scope::Admin)
            .takes([project_id(), webhook_id()])
            .may_read::<SecretRotation>(json!({"gracePeriod": 3600}))
            .answers(made())
            .refuses([Code::NotFound, Code::Conflict]),
        Operation::new::<DeliveriesAnswer>("get", "/api/v1/projects/{id}/webhooks/{webhook}/deliveries", "listDeliveries")
            .says(
                "Webhooks",
                "List deliveries",
                "What was and will be sent to a webhook, newest first; kept for 30 days.",
            )
            .needs(Scope::Admin)
            .takes([
                project_id(),
                webhook_id(),
                query("status", "Only those in this status.", status),
                query(
                    "cursor",
                    "Empty to begin, then the `nextCursor` of the page before.",
                    json!({"type": "string", "pattern": "^([0-9]{14}-evt_[0-9a-f]{32})?$"}),
                ),
            ])
            .answers(json!({"deliveries": [delivery()], "nextCursor": null}))
            .refuses([Code::NotFound]),
        Operation::new::<ReplayedAnswer>("post", "/api/v1/projects/{id}/webhooks/{webhook}/replay", "replayDeliveries")
            .says(
                "Webhooks",
                "Replay deliveries",
                "Tries a delivery again, or all that are parked, for another day. The messages keep their ids.",
            )
            .needs(Scope::Admin)
            .takes([project_id(), webhook_id()])
            .may_read::<ReplayWish>(json!({"deliveryId": DELIVERY}))
            .or_reads("all", json!({}))
            .answers(json!({"replayed": 1, "more": false}))
            .refuses([Code::NotFound, Code::Conflict]),
    ]
}

fn running() -> Vec<Operation> {
    let overdue = json!({"id": FILE, "state": "pending", "size": 2_417_803, "createdAt": "2026-01-31T12:00:00.000Z"});
    vec![
        Operation::new::<CleanupAnswer>("post", "/api/v1/cleanup", "cleanUp")
            .says(
                "Running",
                "Clean up",
                "Finishes what is overdue: uploads that were not confirmed, changes that were interrupted, projects \
                 that are being emptied. It runs on a schedule anyway. `more` is true when it stopped at the bounds \
                 of one request. With `report` it changes nothing and compares the bucket with the records and the \
                 records with the quota; what has not agreed for a day the scheduled cleanup repairs.",
            )
            .needs(Scope::Admin)
            .may_read::<CleanupWish>(json!({"dryRun": true}))
            .or_reads("run", json!({}))
            .answers(json!({"overdue": [overdue], "more": false}))
            .or_answers("run", json!({"settled": 7, "failed": [], "more": false}))
            .or_answers(
                "report",
                json!({"report": {
                    "objects": 1204, "records": 398, "orphans": [], "foreign": 0, "missing": [], "damaged": [], "drifts": [],
                    "more": false,
                }}),
            ),
        Operation::new::<Health>("get", "/healthz", "isAlive")
            .says("Running", "Whether the process lives", "Looks at nothing but itself.")
            .answers(json!({"status": "ok"})),
        Operation::new::<Health>("get", "/readyz", "isReady")
            .says(
                "Running",
                "Whether the stores answer",
                "Asks the metadata store and the object store, and whether URLs can be signed.",
            )
            .answers(json!({"status": "ok"}))
            .refuses([Code::Unavailable]),
        Operation::new::<Version>("get", "/version", "getVersion")
            .says("Running", "Which version this is", "The version of the software that answers.")
            .answers(json!({"name": "xfiles", "version": "0.1.0"})),
        Operation::new::<Description>("get", "/openapi.json", "getDescription")
            .says("Running", "Get this document", "The description of this API in OpenAPI 3.1.")
            .answers(json!({"openapi": "3.1.0"})),
    ]
}

fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn path(name: &str, description: &str, schema: Value, example: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true,
        "description": description, "schema": schema, "example": example,
    })
}

fn id(length: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[a-z0-9]{{{length}}}$")})
}

fn file_id() -> Value {
    path("id", "The file. A text that is no id is a file that does not exist.", id(20), FILE)
}

fn project_id() -> Value {
    path("id", "The project. A text that is no id is a project that does not exist.", id(12), PROJECT)
}

fn key_id() -> Value {
    path("key", "The key's id, not the key.", id(10), KEY)
}

fn webhook_id() -> Value {
    path("webhook", "The webhook. A text that is no id is a webhook that does not exist.", id(12), WEBHOOK)
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header",
        "description": "The `ETag` that the caller knows. Another version is left as it is.",
        "schema": {"type": "string"}, "example": "\"3\"",
    })
}

fn word() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256})
}

fn visibility() -> Value {
    json!({"type": "string", "enum": ["public", "private"]})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn format() -> Value {
    let names = ImageFormat::ALL.map(ImageFormat::extension);
    let schema = json!({"type": "string", "enum": names, "default": ImageFormat::default().extension()});
    query(
        "format",
        "The encoding of the variants whose URLs are listed; `auto` is what the viewer's `Accept` prefers.",
        schema,
    )
}

fn entity_filters() -> [Value; 3] {
    [
        query("entityType", "Attached to an entity of this type.", word()),
        query("entityId", "Attached to an entity with this id.", word()),
        query("role", "In this role there.", word()),
    ]
}

fn intent() -> Value {
    json!({
        "filename": "Best Ever Photo (2024).JPG",
        "contentType": "image/jpeg",
        "size": 2_417_803,
        "visibility": "private",
        "entity": {"type": "listing", "id": "1187", "role": "cover", "position": 0},
        "transformations": {"image": {"enabled": true, "visibility": "public"}},
    })
}

fn upload() -> Value {
    let key = format!("files/originals/private/{PROJECT}/{FILE}/best-ever-photo-2024-a7x9k2.jpg");
    json!({
        "fileId": FILE,
        "uploadUrl": "https://store.example.com/…?X-Amz-Signature=…",
        "method": "PUT",
        "headers": {"content-type": "image/jpeg", "content-length": "2417803"},
        "key": key,
        "expiresIn": 900,
        "expiresAt": "2026-01-31T12:15:00.000Z",
    })
}

fn file() -> Value {
    json!({
        "id": FILE,
        "filename": "best-ever-photo-2024-a7x9k2.jpg",
        "originalFilename": "Best Ever Photo (2024).JPG",
        "contentType": "image/jpeg",
        "size": 2_417_803,
        "visibility": "private",
        "uploadStatus": "confirmed",
        "ownerUserId": null,
        "entity": {"type": "listing", "id": "1187", "role": "cover", "position": 0},
        "transformations": {"image": {"enabled": true, "visibility": "public"}},
        "width": 4032,
        "height": 3024,
        "thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJUI",
        "createdAt": "2026-01-31T12:00:00.000Z",
        "etag": "\"3\"",
    })
}

/// The same answer with where the bytes are.
fn with_urls(mut answer: Value) -> Value {
    let variants = format!("https://cdn.example.com/files/variants/public/{PROJECT}/{FILE}");
    let variant =
        |width| json!({"width": width, "url": format!("{variants}/best-ever-photo-2024-a7x9k2_w{width}.webp")});
    let original = format!("https://cdn.example.com/files/originals/private/{PROJECT}/{FILE}");
    answer["url"] = format!("{original}/best-ever-photo-2024-a7x9k2.jpg?Signature=…").into();
    answer["variants"] = [100, 300, 400, 600, 800, 1000, 1200].map(variant).to_vec().into();
    answer["expiresIn"] = 300.into();
    answer
}

fn item_refused(code: Code) -> Value {
    json!({"error": crate::error::Problem::new(code).item()})
}

fn done() -> Value {
    json!({"success": true})
}

fn usage() -> Value {
    json!({
        "quotaBytes": 10_737_418_240_u64,
        "usedBytes": 99_129_923,
        "reservedBytes": 2_417_803,
        "freeBytes": 10_635_870_514_u64,
        "files": 41,
    })
}

fn project() -> Value {
    json!({
        "id": PROJECT,
        "name": "shop",
        "status": "active",
        "usage": usage(),
        "createdAt": "2026-01-05T09:30:00.000Z",
    })
}

fn key() -> Value {
    json!({
        "id": KEY,
        "name": "web server",
        "prefix": "xf_",
        "lastFour": "4242",
        "scopes": ["read", "write"],
        "createdAt": "2026-01-05T09:31:00.000Z",
        "lastUsedAt": "2026-01-31T11:40:00.000Z",
        "expiresAt": null,
        "revokedAt": null,
    })
}

fn webhook() -> Value {
    json!({
        "id": WEBHOOK,
        "url": "https://app.example.com/hooks/files",
        "events": ["file.confirmed"],
        "enabled": true,
        "oldSecretUntil": null,
        "createdAt": "2026-01-05T09:32:00.000Z",
    })
}

fn delivery() -> Value {
    json!({
        "id": DELIVERY,
        "eventId": "evt_0d8f3b2a6c4e9f7150a2b3c4d5e6f708",
        "type": "file.confirmed",
        "status": "pending",
        "attempts": 1,
        "createdAt": "2026-01-31T12:00:00.000Z",
        "lastAttemptAt": "2026-01-31T12:00:00.412Z",
        "lastStatus": 503,
        "lastError": null,
        "nextAttemptAt": "2026-01-31T12:00:31.000Z",
    })
}
