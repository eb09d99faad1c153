"""Generated from openapi.json by scripts/models.py. Do not edit."""

from typing import Any, Literal, NotRequired, TypedDict, Union


class BatchOfDeletions(TypedDict):
    """What became of each deletion, in order."""

    results: list["DeletionResult"]


class BatchOfFiles(TypedDict):
    """What became of each confirmation, in order."""

    results: list["FileResult"]


class BatchOfUploads(TypedDict):
    """What became of each intent, in order."""

    results: list["UploadResult"]


class CleanupDone(TypedDict):
    """What a cleanup did."""

    failed: list[str]
    more: bool
    settled: int


class CleanupDue(TypedDict):
    """What a cleanup would do."""

    more: bool
    overdue: list["Overdue"]


class CleanupReport(TypedDict):
    """`{"report": Reconciliation}`."""

    report: "Reconciliation"


class CleanupWish(TypedDict):
    """How to clean up."""

    dryRun: NotRequired[Union[bool, None]]
    report: NotRequired[Union[bool, None]]


class CursorPage(TypedDict):
    """A page of a list that is walked."""

    files: list["ListedFile"]
    nextCursor: Union[str, None]


class DeletedAnswer(TypedDict):
    """What a bulk deletion did."""

    deleted: int
    more: NotRequired[bool]


class Deletion(TypedDict):
    """What a deletion answers; of an erasure also what it looked at, and found gone."""

    againAt: NotRequired[str]
    objects: NotRequired[list[str]]
    paths: NotRequired[list[str]]
    success: bool
    unverifiedPaths: NotRequired[list[str]]


class DeliveriesAnswer(TypedDict):
    """A page of deliveries, newest first. With a filter a page may be short and still have a next one."""

    deliveries: list["Delivery"]
    nextCursor: Union[str, None]


class Delivery(TypedDict):
    """One event on its way to one webhook."""

    attempts: int
    createdAt: str
    eventId: str
    id: str
    lastAttemptAt: Union[str, None]
    lastError: Union[str, None]
    lastStatus: Union[int, None]
    nextAttemptAt: Union[str, None]
    status: "DeliveryState"
    type: "EventName"


class Description(TypedDict):
    """A description of an API, as the OpenAPI specification has it."""

    openapi: str


class Done(TypedDict):
    """`{"success": true}`."""

    success: bool


class Drift(TypedDict):
    """A project whose counter is off."""

    missingBytes: int
    projectId: str


class Entity(TypedDict):
    """What a file is attached to, and where among its files."""

    id: str
    position: int
    role: Union[str, None]
    type: str


class EntityPlace(TypedDict):
    """The application's thing to which a file is attached, and where among its files."""

    id: str
    position: NotRequired[Union[int, None]]
    role: NotRequired[Union[str, None]]
    type: str


class FieldError(TypedDict):
    """A field that breaks its rule."""

    code: "FieldRule"
    detail: str
    pointer: str


class File(TypedDict):
    """A file."""

    checksumSha256: NotRequired[str]
    contentType: str
    createdAt: str
    entity: Union["Entity", None]
    etag: str
    expiresAt: NotRequired[str]
    filename: str
    height: NotRequired[int]
    id: str
    originalFilename: str
    ownerUserId: Union[str, None]
    size: int
    thumbhash: NotRequired[str]
    transformations: "Transformations"
    uploadStatus: "UploadStatus"
    visibility: "Visibility"
    width: NotRequired[int]


class FileAnswer(TypedDict):
    """`{"file": File}`."""

    file: "File"


class FileChange(TypedDict):
    """What of a file is to change; what is left out stays."""

    ownerUserId: NotRequired[Union[str, None]]
    position: NotRequired[Union[int, None]]
    transformations: NotRequired[Union["TransformationsWish", None]]
    visibility: NotRequired[Union["Visibility", None]]


class FileOrder(TypedDict):
    """Files in their order."""

    fileIds: list[str]


class FileReference(TypedDict):
    """One file."""

    fileId: str


class FileReferences(TypedDict):
    """Several files."""

    fileIds: list[str]


class Urls(TypedDict):
    """Where a file's bytes are."""

    expiresIn: NotRequired[int]
    url: str
    variants: list["Variant"]


class FileWithUrls(Urls):
    file: "File"


class FilesAnswer(TypedDict):
    """`{"files": [File]}`."""

    files: list["File"]


class FilesToDelete(TypedDict):
    """Files to delete."""

    fileIds: list[str]


class Health(TypedDict):
    """The answer of a health check."""

    status: str


class ImageTransformations(TypedDict):
    """Whether variants are made of an image, and who may read them."""

    enabled: bool
    visibility: "Visibility"


class ImageWish(TypedDict):
    """Whether variants are made of an image, and who may read them."""

    enabled: NotRequired[Union[bool, None]]
    visibility: NotRequired[Union["Visibility", None]]


class ItemProblem(TypedDict):
    """A refusal inside a batch: the status and code that a request for this item alone would have got."""

    code: str
    detail: str
    errors: list["FieldError"]
    hint: str
    status: int


class ItemRefused(TypedDict):
    """Why one item of a batch was refused."""

    error: "ItemProblem"


class Key(TypedDict):
    """A key, without what opens anything."""

    createdAt: str
    expiresAt: Union[str, None]
    id: str
    lastFour: str
    lastUsedAt: Union[str, None]
    name: str
    prefix: str
    revokedAt: Union[str, None]
    scopes: list["KeyScope"]


class KeyAnswer(TypedDict):
    """A key and, in the one answer that makes it, the raw key."""

    apiKey: NotRequired[str]
    key: "Key"


class KeyRotation(TypedDict):
    """How the old key ends."""

    gracePeriod: NotRequired[Union[int, None]]


class KeysAnswer(TypedDict):
    """`{"keys": [Key]}`."""

    keys: list["Key"]


class ListedFile(File):
    expiresIn: NotRequired[int]
    url: NotRequired[str]
    variants: NotRequired[list["Variant"]]


class NewKey(TypedDict):
    """A key to make."""

    expiresIn: NotRequired[Union[int, None]]
    name: str
    scopes: NotRequired[Union[list["KeyScope"], None]]


class NewProject(TypedDict):
    """A project to make."""

    name: str
    quotaBytes: int


class NewWebhook(TypedDict):
    """A webhook to make."""

    enabled: NotRequired[Union[bool, None]]
    events: NotRequired[Union[list["EventName"], None]]
    url: "PublicUrl"


class NumberedPage(TypedDict):
    """A page of a list."""

    files: list["ListedFile"]
    page: int
    total: int
    totalIsExact: bool
    totalPages: int


class Orphan(TypedDict):
    """An object without a record."""

    key: str
    since: NotRequired[str]


class Overdue(TypedDict):
    """A record that owes work."""

    createdAt: str
    id: str
    size: int
    state: "DebtorState"


class Problem(TypedDict):
    """A refusal, as RFC 9457 has it. `code` is stable; texts are for people."""

    code: str
    detail: str
    error: str
    errors: list["FieldError"]
    hint: str
    instance: str
    requestId: str
    status: int
    title: str
    type: str


class Project(TypedDict):
    """A project."""

    createdAt: str
    id: str
    name: str
    status: "ProjectStatus"
    usage: "Usage"


class ProjectAnswer(TypedDict):
    """`{"project": Project}`."""

    project: "Project"


class ProjectChange(TypedDict):
    """What of a project is to change; what is left out stays."""

    name: NotRequired[Union[str, None]]
    quotaBytes: NotRequired[Union[int, None]]


class ProjectsAnswer(TypedDict):
    """`{"projects": [Project]}`."""

    projects: list["Project"]


class Reconciliation(TypedDict):
    """What a walk through bucket, records and quota found."""

    damaged: list[str]
    drifts: list["Drift"]
    foreign: int
    missing: list[str]
    more: bool
    objects: int
    orphans: list["Orphan"]
    records: int


class ReplayWish(TypedDict):
    """What to replay."""

    deliveryId: NotRequired[Union[str, None]]


class ReplayedAnswer(TypedDict):
    """What was replayed."""

    more: bool
    replayed: int


class SecretRotation(TypedDict):
    """How the old secret ends."""

    gracePeriod: NotRequired[Union[int, None]]


class Transformations(TypedDict):
    """What is made of a file."""

    image: "ImageTransformations"


class TransformationsWish(TypedDict):
    """What is to be made of a file."""

    image: NotRequired[Union["ImageWish", None]]


class Upload(TypedDict):
    """Where and how to upload."""

    expiresAt: str
    expiresIn: int
    fileId: str
    headers: dict[str, str]
    key: str
    method: "Method"
    uploadUrl: str


class UploadIntent(TypedDict):
    """What is to be uploaded."""

    checksumSha256: NotRequired[Union[str, None]]
    contentType: "MediaType"
    entity: NotRequired[Union["EntityPlace", None]]
    filename: str
    ownerUserId: NotRequired[Union[str, None]]
    size: int
    transformations: NotRequired[Union["TransformationsWish", None]]
    visibility: NotRequired[Union["Visibility", None]]


class UploadIntents(TypedDict):
    """Several uploads."""

    allOrNothing: NotRequired[Union[bool, None]]
    files: list["UploadIntent"]


class UrlWish(TypedDict):
    """What kind of URLs."""

    download: NotRequired[Union[bool, None]]
    expiresIn: NotRequired[Union[int, None]]


class Usage(TypedDict):
    """What a project holds, in bytes."""

    files: int
    freeBytes: int
    quotaBytes: int
    reservedBytes: int
    usedBytes: int


class Variant(TypedDict):
    """A variant of an image."""

    url: str
    width: int


class Version(TypedDict):
    """Which version answers."""

    name: str
    version: str


class Webhook(TypedDict):
    """Where a project's events are sent."""

    createdAt: str
    enabled: bool
    events: list["EventName"]
    id: str
    oldSecretUntil: Union[str, None]
    url: str


class WebhookAnswer(TypedDict):
    """A webhook and, in an answer that makes one, its secret."""

    secret: NotRequired[str]
    webhook: "Webhook"


class WebhookChange(TypedDict):
    """What of a webhook is to change; what is left out stays."""

    enabled: NotRequired[Union[bool, None]]
    events: NotRequired[Union[list["EventName"], None]]
    url: NotRequired[Union["PublicUrl", None]]


class WebhooksAnswer(TypedDict):
    """`{"webhooks": [Webhook]}`."""

    webhooks: list["Webhook"]


Cleanup = Union["CleanupDue", "CleanupDone", "CleanupReport"]


DebtorState = Literal["pending", "confirming", "confirmed", "moving", "expiring", "deleting", "removed", "clearing"]


DeletionResult = Union["Done", "ItemRefused"]


DeliveryState = Literal["pending", "delivered", "parked"]


EventName = Literal["file.confirmed", "file.updated", "file.deleted", "file.expired", "variants.purged"]


FieldRule = Literal["required", "invalid", "unknown"]


FilePage = Union["NumberedPage", "CursorPage"]


FileResult = Union["FileAnswer", "ItemRefused"]


ImageFormat = Literal["webp", "jpeg", "png", "avif", "auto"]


Include = Literal["urls"]


KeyScope = Literal["read", "write", "delete", "admin"]


MediaType = Union[Literal["image/jpeg", "image/png", "image/gif", "image/webp", "image/svg+xml", "image/avif", "image/tiff", "image/bmp", "image/x-icon", "image/heic", "image/heif", "image/jxl", "image/jp2", "image/vnd.adobe.photoshop", "application/pdf", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook", "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.graphics", "application/rtf", "application/epub+zip", "application/vnd.apple.pages", "application/vnd.apple.numbers", "application/vnd.apple.keynote", "text/plain", "text/csv", "text/tab-separated-values", "text/markdown", "text/calendar", "text/vcard", "text/vtt", "application/x-subrip", "application/yaml", "application/toml", "text/html", "application/xhtml+xml", "text/css", "text/javascript", "application/json", "application/geo+json", "application/xml", "application/gpx+xml", "application/wasm", "application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed", "application/vnd.rar", "application/x-bzip2", "application/x-xz", "application/zstd", "audio/mpeg", "audio/wav", "audio/ogg", "audio/webm", "audio/mp4", "audio/aac", "audio/flac", "audio/midi", "audio/aiff", "video/mp4", "video/quicktime", "video/webm", "video/ogg", "video/matroska", "video/x-msvideo", "video/3gpp", "model/gltf-binary", "font/woff", "font/woff2", "font/ttf", "font/otf", "image/jpg", "image/pjpeg", "image/x-png", "image/apng", "image/vnd.mozilla.apng", "image/svg", "image/avif-sequence", "image/tif", "image/x-tiff", "image/x-bmp", "image/x-ms-bmp", "image/vnd.microsoft.bmp", "image/ico", "image/vnd.microsoft.icon", "image/icon", "image/heic-sequence", "image/heif-sequence", "image/jpx", "image/x-photoshop", "image/psd", "application/x-photoshop", "application/photoshop", "application/x-pdf", "application/vnd.ms-word", "application/msexcel", "application/x-msexcel", "application/mspowerpoint", "text/rtf", "application/x-rtf", "text/richtext", "application/x-iwork-pages-sffpages", "application/x-iwork-numbers-sffnumbers", "application/x-iwork-keynote-sffkey", "application/csv", "text/x-csv", "text/comma-separated-values", "text/x-markdown", "text/x-vcard", "text/directory", "text/srt", "text/x-srt", "application/x-yaml", "text/yaml", "text/x-yaml", "text/toml", "application/javascript", "application/x-javascript", "text/ecmascript", "application/ecmascript", "text/json", "application/x-json", "text/xml", "application/x-zip-compressed", "application/x-zip", "application/zip-compressed", "application/x-gzip", "application/x-gtar-compressed", "application/x-compressed-tar", "application/tar", "application/x-gtar", "application/7z", "application/x-rar-compressed", "application/x-rar", "application/bzip2", "application/x-bzip", "application/xz", "application/x-zstd", "audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3", "audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav", "audio/opus", "application/ogg", "audio/x-m4a", "audio/m4a", "audio/x-aac", "audio/aacp", "audio/x-flac", "audio/x-midi", "audio/mid", "audio/x-aiff", "video/x-m4v", "application/mp4", "video/x-matroska", "video/avi", "video/msvideo", "audio/3gpp", "application/font-woff", "application/x-font-woff", "application/font-woff2", "application/x-font-ttf", "application/font-sfnt", "font/sfnt", "application/x-font-otf", "application/vnd.ms-opentype"], str]


Method = Literal["PUT"]


ProjectStatus = Literal["active", "emptying", "deleting"]


PublicUrl = str


UploadResult = Union["Upload", "ItemRefused"]


UploadStatus = Literal["pending", "confirmed"]


Visibility = Literal["public", "private"]
