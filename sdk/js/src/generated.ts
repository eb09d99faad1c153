// Generated from openapi.json by scripts/types.mjs. Do not edit.

/** What became of each deletion, in order. */
export interface BatchOfDeletions {
  results: DeletionResult[];
}

/** What became of each confirmation, in order. */
export interface BatchOfFiles {
  results: FileResult[];
}

/** What became of each intent, in order. */
export interface BatchOfUploads {
  results: UploadResult[];
}

/** What a cleanup did, or would do. */
export type Cleanup = CleanupDue | CleanupDone | CleanupReport;

/** What a cleanup did. */
export interface CleanupDone {
  /** The ids of those that could not be; the next run tries again. */
  failed: string[];
  /** Whether it stopped at its bounds with more to do. */
  more: boolean;
  /** How many records were settled. */
  settled: number;
}

/** What a cleanup would do. */
export interface CleanupDue {
  /** Whether there is more than is listed. */
  more: boolean;
  overdue: Overdue[];
}

/** `{"report": Reconciliation}`. */
export interface CleanupReport {
  report: Reconciliation;
}

/** How to clean up. */
export interface CleanupWish {
  /** Only list what is overdue. */
  dryRun?: boolean | null | undefined;
  /** Only compare bucket, records and quota, and list what does not agree. */
  report?: boolean | null | undefined;
}

/** A page of a list that is walked. */
export interface CursorPage {
  files: ListedFile[];
  /** Where the next page begins; null at the end. */
  nextCursor: string | null;
}

/** Why a record is overdue: the state of a file, or a project that is being cleared. */
export type DebtorState = "pending" | "confirming" | "confirmed" | "moving" | "expiring" | "deleting" | "removed" | "clearing";

/** What a bulk deletion did. */
export interface DeletedAnswer {
  /** How many files are gone. */
  deleted: number;
  /** Present and true when its time ran out: the same request goes on. */
  more?: boolean | undefined;
}

/** What a deletion answers; of an erasure also what it looked at, and found gone. */
export interface Deletion {
  /**
   * When the cleanup looks once more: a worker may still be busy with a variant, or the file's upload URL may still
   * work.
   */
  againAt?: string | undefined;
  /** Every key under which the bucket could have had something of the file. */
  objects?: string[] | undefined;
  /** Every CDN path, with a trailing `*`, under which nothing of the file is cached any more. */
  paths?: string[] | undefined;
  success: boolean;
  /** Every CDN path that the CDN was asked to forget and cannot be asked about. */
  unverifiedPaths?: string[] | undefined;
}

/** Deleted, or why not. */
export type DeletionResult = Done | ItemRefused;

/** A page of deliveries, newest first. With a filter a page may be short and still have a next one. */
export interface DeliveriesAnswer {
  deliveries: Delivery[];
  /** Where the next page begins; null at the end. */
  nextCursor: string | null;
}

/** One event on its way to one webhook. */
export interface Delivery {
  attempts: number;
  createdAt: string;
  /** The same as in the header `webhook-id`. */
  eventId: string;
  id: string;
  lastAttemptAt: string | null;
  /** Why the last attempt had no answer. */
  lastError: string | null;
  /** The HTTP status of the last answer. */
  lastStatus: number | null;
  nextAttemptAt: string | null;
  status: DeliveryState;
  type: EventName;
}

/** How far a delivery is: it will be tried, was accepted, or was given up and waits to be replayed. */
export type DeliveryState = "pending" | "delivered" | "parked";

/** A description of an API, as the OpenAPI specification has it. */
export interface Description {
  /** Which version of that specification. */
  openapi: string;
}

/** `{"success": true}`. */
export interface Done {
  success: boolean;
}

/** A project whose counter is off. */
export interface Drift {
  /** How many bytes too few are free; negative: too many. */
  missingBytes: number;
  projectId: string;
}

/** What a file is attached to, and where among its files. */
export interface Entity {
  id: string;
  position: number;
  role: string | null;
  type: string;
}

/** The application's thing to which a file is attached, and where among its files. */
export interface EntityPlace {
  /** Which one. */
  id: string;
  /** Its place in the order. */
  position?: number | null | undefined;
  /** What the file is to it, such as `cover`. */
  role?: string | null | undefined;
  /** The kind of thing, such as `listing`. */
  type: string;
}

/** What can happen to a file. */
export type EventName = "file.confirmed" | "file.updated" | "file.deleted" | "file.expired" | "variants.purged";

/** A field that breaks its rule. */
export interface FieldError {
  /** Which rule. */
  code: FieldRule;
  /** The rule in words. */
  detail: string;
  /** Where: a JSON pointer into the body, or `?name` of a query parameter. */
  pointer: string;
}

/** Which kind of rule a field breaks. */
export type FieldRule = "required" | "invalid" | "unknown";

/** A file. */
export interface StoredFile {
  checksumSha256?: string | undefined;
  contentType: string;
  createdAt: string;
  entity: Entity | null;
  /** The version, to be sent as `If-Match`; the same as in the header of an answer that is about this file alone. */
  etag: string;
  /**
   * When a pending upload ends by itself and its bytes are free again, unless it is confirmed or its URL is renewed.
   * Only pending uploads have it.
   */
  expiresAt?: string | undefined;
  /** The sanitised name, as it stands in URLs. */
  filename: string;
  height?: number | undefined;
  id: string;
  /** The client's name, kept as it came. */
  originalFilename: string;
  ownerUserId: string | null;
  /** Bytes. */
  size: number;
  /**
   * A [ThumbHash](https://evanw.github.io/thumbhash/) in base64, to be shown until the picture is there. A raster image
   * has it soon after its confirmation: seconds on one machine, up to about a minute on AWS, or, where that is switched
   * off, from its first variant on. One that cannot be decoded never has it.
   */
  thumbhash?: string | undefined;
  transformations: Transformations;
  uploadStatus: UploadStatus;
  visibility: Visibility;
  /** Pixels, as displayed; raster images have it. */
  width?: number | undefined;
}

/** `{"file": File}`. */
export interface FileAnswer {
  file: StoredFile;
}

/** What of a file is to change; what is left out stays. */
export interface FileChange {
  /** Null takes the owner away. */
  ownerUserId?: string | null | undefined;
  /** Only a file with an entity has one. */
  position?: number | null | undefined;
  transformations?: TransformationsWish | null | undefined;
  /** Moves the file between its public and its private path. */
  visibility?: Visibility | null | undefined;
}

/** Files in their order. */
export interface FileOrder {
  /** Each once; the first gets position 0. */
  fileIds: string[];
}

/** Either kind of page. */
export type FilePage = NumberedPage | CursorPage;

/** One file. */
export interface FileReference {
  /** A text that is no id is a file that does not exist. */
  fileId: string;
}

/** Several files. */
export interface FileReferences {
  /** A text that is no id is a file that does not exist. */
  fileIds: string[];
}

/** A confirmed file, or why it is not. */
export type FileResult = FileAnswer | ItemRefused;

/** `{"file": File, "url", "variants"}`. */
export type FileWithUrls = Urls & {
  file: StoredFile;
};

/** `{"files": [File]}`. */
export interface FilesAnswer {
  files: StoredFile[];
}

/** Files to delete. */
export interface FilesToDelete {
  /** A text that is no id is a file that does not exist. */
  fileIds: string[];
}

/** The answer of a health check. */
export interface Health {
  /** `ok`. */
  status: string;
}

/** The encoding of a variant. */
export type ImageFormat = "webp" | "jpeg" | "png" | "avif" | "auto";

/** Whether variants are made of an image, and who may read them. */
export interface ImageTransformations {
  enabled: boolean;
  visibility: Visibility;
}

/** Whether variants are made of an image, and who may read them. */
export interface ImageWish {
  /** Left out, it is false for a new upload and stays as it is in a change. */
  enabled?: boolean | null | undefined;
  /** Left out, it is private for a new upload and stays as it is in a change. */
  visibility?: Visibility | null | undefined;
}

/** What a list adds to each file. */
export type Include = "urls";

/** A refusal inside a batch: the status and code that a request for this item alone would have got. */
export interface ItemProblem {
  code: string;
  detail: string;
  errors: FieldError[];
  /** What to do about it. */
  hint: string;
  status: number;
}

/** Why one item of a batch was refused. */
export interface ItemRefused {
  error: ItemProblem;
}

/** A key, without what opens anything. */
export interface ApiKey {
  createdAt: string;
  expiresAt: string | null;
  id: string;
  lastFour: string;
  lastUsedAt: string | null;
  name: string;
  prefix: string;
  revokedAt: string | null;
  scopes: KeyScope[];
}

/** A key and, in the one answer that makes it, the raw key. */
export interface KeyAnswer {
  apiKey?: string | undefined;
  key: ApiKey;
}

/** How the old key ends. */
export interface KeyRotation {
  /** Seconds that the old key still works, 30 days at most. */
  gracePeriod?: number | null | undefined;
}

/** What a key may do. */
export type KeyScope = "read" | "write" | "delete" | "admin";

/** `{"keys": [Key]}`. */
export interface KeysAnswer {
  keys: ApiKey[];
}

/** A file in a list, with its URLs beside its own fields if they were asked for. */
export type ListedFile = StoredFile & {
  /** Seconds; present where anything is signed. */
  expiresIn?: number | undefined;
  url?: string | undefined;
  variants?: Variant[] | undefined;
};

/** An allowed media type, or another name in use for it; `File.contentType` has the registered name. Parameters may follow, as in `text/plain; charset=utf-8` or `video/webm;codecs=vp9`: the upload is sent with the same text, and of a text the charset is served. */
export type MediaType = "image/jpeg" | "image/png" | "image/gif" | "image/webp" | "image/svg+xml" | "image/avif" | "image/tiff" | "image/bmp" | "image/x-icon" | "image/heic" | "image/heif" | "image/jxl" | "image/jp2" | "image/vnd.adobe.photoshop" | "application/pdf" | "application/msword" | "application/vnd.ms-excel" | "application/vnd.ms-powerpoint" | "application/vnd.ms-outlook" | "application/vnd.oasis.opendocument.text" | "application/vnd.oasis.opendocument.spreadsheet" | "application/vnd.oasis.opendocument.presentation" | "application/vnd.oasis.opendocument.graphics" | "application/rtf" | "application/epub+zip" | "application/vnd.apple.pages" | "application/vnd.apple.numbers" | "application/vnd.apple.keynote" | "text/plain" | "text/csv" | "text/tab-separated-values" | "text/markdown" | "text/calendar" | "text/vcard" | "text/vtt" | "application/x-subrip" | "application/yaml" | "application/toml" | "text/html" | "application/xhtml+xml" | "text/css" | "text/javascript" | "application/json" | "application/geo+json" | "application/xml" | "application/gpx+xml" | "application/wasm" | "application/zip" | "application/gzip" | "application/x-tar" | "application/x-7z-compressed" | "application/vnd.rar" | "application/x-bzip2" | "application/x-xz" | "application/zstd" | "audio/mpeg" | "audio/wav" | "audio/ogg" | "audio/webm" | "audio/mp4" | "audio/aac" | "audio/flac" | "audio/midi" | "audio/aiff" | "video/mp4" | "video/quicktime" | "video/webm" | "video/ogg" | "video/matroska" | "video/x-msvideo" | "video/3gpp" | "model/gltf-binary" | "font/woff" | "font/woff2" | "font/ttf" | "font/otf" | "image/jpg" | "image/pjpeg" | "image/x-png" | "image/apng" | "image/vnd.mozilla.apng" | "image/svg" | "image/avif-sequence" | "image/tif" | "image/x-tiff" | "image/x-bmp" | "image/x-ms-bmp" | "image/vnd.microsoft.bmp" | "image/ico" | "image/vnd.microsoft.icon" | "image/icon" | "image/heic-sequence" | "image/heif-sequence" | "image/jpx" | "image/x-photoshop" | "image/psd" | "application/x-photoshop" | "application/photoshop" | "application/x-pdf" | "application/vnd.ms-word" | "application/msexcel" | "application/x-msexcel" | "application/mspowerpoint" | "text/rtf" | "application/x-rtf" | "text/richtext" | "application/x-iwork-pages-sffpages" | "application/x-iwork-numbers-sffnumbers" | "application/x-iwork-keynote-sffkey" | "application/csv" | "text/x-csv" | "text/comma-separated-values" | "text/x-markdown" | "text/x-vcard" | "text/directory" | "text/srt" | "text/x-srt" | "application/x-yaml" | "text/yaml" | "text/x-yaml" | "text/toml" | "application/javascript" | "application/x-javascript" | "text/ecmascript" | "application/ecmascript" | "text/json" | "application/x-json" | "text/xml" | "application/x-zip-compressed" | "application/x-zip" | "application/zip-compressed" | "application/x-gzip" | "application/x-gtar-compressed" | "application/x-compressed-tar" | "application/tar" | "application/x-gtar" | "application/7z" | "application/x-rar-compressed" | "application/x-rar" | "application/bzip2" | "application/x-bzip" | "application/xz" | "application/x-zstd" | "audio/mp3" | "audio/x-mp3" | "audio/x-mpeg" | "audio/mpeg3" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" | "audio/x-pn-wav" | "audio/opus" | "application/ogg" | "audio/x-m4a" | "audio/m4a" | "audio/x-aac" | "audio/aacp" | "audio/x-flac" | "audio/x-midi" | "audio/mid" | "audio/x-aiff" | "video/x-m4v" | "application/mp4" | "video/x-matroska" | "video/avi" | "video/msvideo" | "audio/3gpp" | "application/font-woff" | "application/x-font-woff" | "application/font-woff2" | "application/x-font-ttf" | "application/font-sfnt" | "font/sfnt" | "application/x-font-otf" | "application/vnd.ms-opentype" | (string & {});

/** The method of the upload. */
export type UploadMethod = "PUT";

/** A key to make. */
export interface NewKey {
  /** Seconds until it ends, ten years at most; if it is left out, never. */
  expiresIn?: number | null | undefined;
  /** The name that people know it by. */
  name: string;
  /** If they are left out, all but `admin`. */
  scopes?: KeyScope[] | null | undefined;
}

/** A project to make. */
export interface NewProject {
  name: string;
  /** How much it may hold. */
  quotaBytes: number;
}

/** A webhook to make. */
export interface NewWebhook {
  /** Whether anything is sent. */
  enabled?: boolean | null | undefined;
  /** Which events; all if there are none. */
  events?: EventName[] | null | undefined;
  url: PublicUrl;
}

/** A page of a list. */
export interface NumberedPage {
  files: ListedFile[];
  page: number;
  /** How many files match; at least, if `totalIsExact` is false. */
  total: number;
  /**
   * Whether `total` and `totalPages` count everything. Counting stops where 20,000 files have been compared with the
   * filters.
   */
  totalIsExact: boolean;
  totalPages: number;
}

/** An object without a record. */
export interface Orphan {
  key: string;
  /** When the cleanup first found it. */
  since?: string | undefined;
}

/** A record that owes work. */
export interface Overdue {
  createdAt: string;
  /** A file's id, or that of a project that is being cleared. */
  id: string;
  /** How many bytes it holds. */
  size: number;
  state: DebtorState;
}

/** A refusal, as RFC 9457 has it. `code` is stable; texts are for people. */
export interface Problem {
  code: string;
  detail: string;
  /** The same text as `detail`. */
  error: string;
  /** Every field that breaks its rule. */
  errors: FieldError[];
  /** What to do about it. */
  hint: string;
  /** The path that was asked for. */
  instance: string;
  /** The same as in the header `Request-Id`. */
  requestId: string;
  status: number;
  title: string;
  /** A name of the kind of problem: `urn:xfiles:problem:` and the code. */
  type: string;
}

/** A project. */
export interface Project {
  createdAt: string;
  id: string;
  name: string;
  status: ProjectStatus;
  usage: Usage;
}

/** `{"project": Project}`. */
export interface ProjectAnswer {
  project: Project;
}

/** What of a project is to change; what is left out stays. */
export interface ProjectChange {
  name?: string | null | undefined;
  /** Not less than what the project holds and has reserved. */
  quotaBytes?: number | null | undefined;
}

/** Whether a project is in use, or being emptied or deleted by the cleanup. */
export type ProjectStatus = "active" | "emptying" | "deleting";

/** `{"projects": [Project]}`. */
export interface ProjectsAnswer {
  projects: Project[];
}

/** An https URL of a public host, without user and fragment. */
export type PublicUrl = string;

/** What a walk through bucket, records and quota found. */
export interface Reconciliation {
  /** Published files whose bytes are not those that were published. Only the embedded store checks this. */
  damaged: string[];
  /** Projects whose free bytes are not what their files leave. */
  drifts: Drift[];
  /** How many objects have keys that XFiles does not make. They are left alone. */
  foreign: number;
  /** Published files whose bytes are missing. */
  missing: string[];
  /** Whether the time of one request was not enough for all of it. */
  more: boolean;
  /** How many objects were looked at. */
  objects: number;
  /** Objects without a record. The cleanup removes those that it has known for a day. */
  orphans: Orphan[];
  /** How many published files were looked at. */
  records: number;
}

/** What to replay. */
export interface ReplayWish {
  /** One delivery, whatever its status; if it is left out, all that are parked. */
  deliveryId?: string | null | undefined;
}

/** What was replayed. */
export interface ReplayedAnswer {
  /** Whether there are more: the same request goes on. */
  more: boolean;
  /** How many deliveries will be tried again. */
  replayed: number;
}

/** How the old secret ends. */
export interface SecretRotation {
  /** Seconds for which messages carry the old secret's signature too, 30 days at most. */
  gracePeriod?: number | null | undefined;
}

/** What is made of a file. */
export interface Transformations {
  image: ImageTransformations;
}

/** What is to be made of a file. */
export interface TransformationsWish {
  image?: ImageWish | null | undefined;
}

/** Where and how to upload. */
export interface Upload {
  expiresAt: string;
  /** Seconds until the URL ends. */
  expiresIn: number;
  fileId: string;
  /** Exactly the headers that the upload is sent with, by name. */
  headers: Record<string, string>;
  /** Where the file will be on the CDN once it is confirmed. */
  key: string;
  method: UploadMethod;
  /** Where the bytes go; it is good for this upload only. */
  uploadUrl: string;
}

/** What is to be uploaded. */
export interface UploadIntent {
  /** The base64 of the SHA-256 of the bytes. The store refuses other bytes. */
  checksumSha256?: string | null | undefined;
  contentType: MediaType;
  entity?: EntityPlace | null | undefined;
  /** The client's name of the file; kept as it is. */
  filename: string;
  /** The application's id of a user. */
  ownerUserId?: string | null | undefined;
  /** Bytes. */
  size: number;
  transformations?: TransformationsWish | null | undefined;
  /** Who may read the original. */
  visibility?: Visibility | null | undefined;
}

/** Several uploads. */
export interface UploadIntents {
  /** Whether all are refused if there is no room for one; otherwise each is judged alone. */
  allOrNothing?: boolean | null | undefined;
  files: UploadIntent[];
}

/** An upload, or why there is none. */
export type UploadResult = Upload | ItemRefused;

/** Whether the file is published. */
export type UploadStatus = "pending" | "confirmed";

/** What kind of URLs. */
export interface UrlWish {
  /** Whether `url` makes a browser save the original, under the name that it had on the client. */
  download?: boolean | null | undefined;
  /**
   * Seconds that signed URLs live, a week at most. More than an hour needs the scope `write` as well. If it is
   * left out, they live five to six minutes, and requests within the same minute get the same URLs.
   */
  expiresIn?: number | null | undefined;
}

/** Where a file's bytes are. */
export interface Urls {
  /** Seconds; present where anything is signed. */
  expiresIn?: number | undefined;
  url: string;
  /** All seven widths of a raster image whose variants are enabled, otherwise none. */
  variants: Variant[];
}

/** What a project holds, in bytes. */
export interface Usage {
  /** How many files are confirmed. */
  files: number;
  freeBytes: number;
  quotaBytes: number;
  /** Held for uploads that are not confirmed yet. */
  reservedBytes: number;
  /** Held by confirmed files. */
  usedBytes: number;
}

/** A variant of an image. */
export interface Variant {
  url: string;
  /** Pixels; the picture is never wider than its original. */
  width: number;
}

/** Which version answers. */
export interface Version {
  name: string;
  version: string;
}

/** Who may read: everybody who knows the URL, or only with a signed URL. */
export type Visibility = "public" | "private";

/** Where a project's events are sent. */
export interface Webhook {
  createdAt: string;
  /** False when it was switched off, or answered 410. */
  enabled: boolean;
  /** Which events; empty: all. */
  events: EventName[];
  id: string;
  /** Until when messages carry the old secret's signature too, after a rotation. */
  oldSecretUntil: string | null;
  url: string;
}

/** A webhook and, in an answer that makes one, its secret. */
export interface WebhookAnswer {
  secret?: string | undefined;
  webhook: Webhook;
}

/** What of a webhook is to change; what is left out stays. */
export interface WebhookChange {
  enabled?: boolean | null | undefined;
  /** Empty: all. */
  events?: EventName[] | null | undefined;
  url?: PublicUrl | null | undefined;
}

/** `{"webhooks": [Webhook]}`. */
export interface WebhooksAnswer {
  webhooks: Webhook[];
}

/** The codes of the refusals that docs/errors.md lists. */
export type ProblemCode =
  | "body_too_large"
  | "conflict"
  | "content_type_mismatch"
  | "file_not_found"
  | "idempotency_key_reused"
  | "internal"
  | "invalid_request"
  | "malformed_json"
  | "method_not_allowed"
  | "missing_scope"
  | "no_entity"
  | "not_found"
  | "not_pending"
  | "not_uploaded"
  | "page_too_deep"
  | "precondition_failed"
  | "quota_below_usage"
  | "quota_exceeded"
  | "rate_limited"
  | "request_in_flight"
  | "route_not_found"
  | "storage_full"
  | "too_many_ended_uploads"
  | "too_many_pending_uploads"
  | "too_many_webhooks"
  | "unauthorized"
  | "unavailable"
  | "unsupported_media_type";

/** The filters of a list of files. */
export interface FileFilter {
  /** Attached to an entity of this type. */
  entityType?: string | undefined;
  /** Attached to an entity with this id. */
  entityId?: string | undefined;
  /** In this role there. */
  role?: string | undefined;
  /** Of this user of the application. */
  ownerUserId?: string | undefined;
  /** With originals of this visibility. */
  visibility?: Visibility | undefined;
  /** With variants of this visibility. */
  variantVisibility?: Visibility | undefined;
  /** Confirmed files, which is the default, or pending uploads instead of them. */
  uploadStatus?: UploadStatus | undefined;
  /** Begun at this time or later. */
  createdAfter?: string | undefined;
  /** Begun before this time. */
  createdBefore?: string | undefined;
  /** Of this media type, or of a family such as `image/*`. */
  contentType?: string | undefined;
  /** With a client-side name that begins so; case does not matter. */
  q?: string | undefined;
  /**
   * The encoding of the variants whose URLs are listed, `webp` if it is left out; `auto` is what the viewer's
   * `Accept` prefers.
   */
  format?: ImageFormat | undefined;
}
