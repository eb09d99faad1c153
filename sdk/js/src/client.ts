import { XFilesError } from "./errors.js";
import type {
  BatchOfDeletions,
  BatchOfFiles,
  BatchOfUploads,
  Cleanup,
  CleanupWish,
  CursorPage,
  DeletedAnswer,
  Deletion,
  DeletionResult,
  DeliveriesAnswer,
  Delivery,
  DeliveryState,
  Done,
  FileAnswer,
  FileChange,
  FileFilter,
  FileResult,
  FilesAnswer,
  FileWithUrls,
  KeyAnswer,
  KeysAnswer,
  ApiKey,
  ListedFile,
  MediaType,
  NewKey,
  NewProject,
  NewWebhook,
  NumberedPage,
  Project,
  ProjectAnswer,
  ProjectChange,
  ProjectsAnswer,
  ReplayedAnswer,
  StoredFile,
  Upload,
  UploadIntent,
  UploadResult,
  Urls,
  UrlWish,
  Usage,
  Version,
  Webhook,
  WebhookAnswer,
  WebhookChange,
  WebhooksAnswer,
} from "./generated.js";
import { mediaType } from "./media.js";
import { type CallOptions, path, type PostOptions, Transport } from "./transport.js";

/** The options of {@link XFiles}. */
export interface XFilesOptions {
  /** The API key; without it, the environment variable `XFILES_API_KEY`. */
  apiKey?: string | undefined;
  /** Where the API is, such as `https://api.example.com`; without it, the environment variable `XFILES_URL`. */
  url?: string | undefined;
  fetch?: typeof fetch | undefined;
  /** Milliseconds for one try; 30,000 without it. Uploads of bytes have no limit but their `signal`. */
  timeout?: number | undefined;
  /** Tries after the first; 2 without it. */
  retries?: number | undefined;
  /** Permits a client in a browser. Whoever opens the page can then read the API key. */
  dangerouslyAllowBrowser?: boolean | undefined;
}

/** What can be uploaded. A stream needs `size`, and is sent once. */
export type UploadBody = Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | string | ReadableStream<Uint8Array>;

/** The fields of an upload that do not follow from its bytes. */
export interface UploadOptions extends CallOptions, Omit<UploadIntent, "filename" | "contentType" | "size" | "transformations"> {
  /** The name of the file; without it, that of a `File`. */
  filename?: string | undefined;
  /** Without it, that of a `Blob`, or by the extension of the name. */
  contentType?: MediaType | undefined;
  /** Bytes; only a stream needs it. */
  size?: number | undefined;
  transformations?: UploadIntent["transformations"];
}

/** A list that is fetched while it is walked. */
export interface FileList extends AsyncIterable<ListedFile> {
  /** Walks page by page. A page may be empty with more to come. */
  pages(): AsyncIterable<CursorPage>;
  /** One numbered page, from 1, with the total. */
  page(number?: number): Promise<NumberedPage>;
}

/** Filters and form of a list. */
export interface ListOptions extends FileFilter, CallOptions {
  /** Files in a page, 1 to 100; without it 100 for a walk and 20 for a numbered page. */
  limit?: number | undefined;
  /** Adds `url` and `variants` to each file. */
  include?: "urls" | undefined;
}

const FILES = "/api/v1/files";
/** What the API takes in one request. */
const BATCH_OF_DELETIONS = 1000;

function environment(name: string): string | undefined {
  return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name];
}

/** A client of one XFiles deployment, for servers. */
export class XFiles {
  readonly files: Files;
  readonly projects: Projects;
  /** API keys of a project. */
  readonly keys: Keys;
  readonly webhooks: Webhooks;
  readonly #transport: Transport;

  constructor(options: XFilesOptions = {}) {
    if (typeof window !== "undefined" && typeof document !== "undefined" && !options.dangerouslyAllowBrowser) {
      throw new TypeError(
        "an XFiles client in a browser shows its API key to every visitor; use @xfiles/sdk/upload with an upload handler, " +
          "or set `dangerouslyAllowBrowser`",
      );
    }
    const apiKey = options.apiKey ?? environment("XFILES_API_KEY");
    const url = options.url ?? environment("XFILES_URL");
    if (!apiKey) throw new TypeError("`apiKey` is missing; pass it or set XFILES_API_KEY");
    if (!url) throw new TypeError("`url` is missing; pass it or set XFILES_URL");
    this.#transport = new Transport({
      apiKey,
      url: url.replace(/\/+$/, ""),
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
      timeout: options.timeout ?? 30_000,
      retries: options.retries ?? 2,
    });
    this.files = new Files(this.#transport);
    this.projects = new Projects(this.#transport);
    this.keys = new Keys(this.#transport);
    this.webhooks = new Webhooks(this.#transport);
  }

  /** Storage of the key's project. */
  usage(options?: CallOptions): Promise<Usage> {
    return this.#transport.call("GET", "/api/v1/usage", options);
  }

  /** Finishes what is overdue, or with `dryRun` or `report` only reports it. Needs the scope `admin`. */
  cleanup(wish: CleanupWish = {}, options?: PostOptions): Promise<Cleanup> {
    return this.#transport.call("POST", "/api/v1/cleanup", { ...options, body: wish });
  }

  /** Name and version of the server. */
  version(options?: CallOptions): Promise<Version> {
    return this.#transport.call("GET", "/version", options);
  }
}

class Files {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Uploads bytes and publishes them. If it fails, the upload is ended and its quota given back. */
  async upload(body: UploadBody, options: UploadOptions = {}): Promise<StoredFile> {
    const { signal, timeout, retries, filename: givenName, contentType: givenType, size: givenSize, ...intent } = options;
    const call = { signal, timeout, retries };
    const stream = body instanceof ReadableStream;
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const size = givenSize ?? (bytes instanceof Blob ? bytes.size : stream ? undefined : (bytes as ArrayBuffer).byteLength);
    const filename = givenName ?? (body instanceof Blob && "name" in body ? String(body.name) : undefined);
    if (!filename) throw new TypeError("`filename` is missing; only a File has a name of its own");
    if (size === undefined) throw new TypeError("`size` is missing; the length of a stream is not known before its end");
    const contentType = givenType ?? mediaType(filename, body instanceof Blob ? body.type : "");
    if (!contentType) throw new TypeError("`contentType` is missing, and the extension of `filename` is not known");
    const upload = await this.begin({ ...intent, filename, contentType, size }, call);
    try {
      await this.put(upload, bytes as BodyInit, { ...call, size });
      return await this.confirm(upload.fileId, call);
    } catch (error) {
      // An upload that was confirmed, with the answer lost, must stay.
      await this.#discard(upload.fileId).catch(() => {});
      throw error;
    }
  }

  /** Sends the bytes of an upload that has begun. */
  async put(upload: Upload, body: BodyInit, options: CallOptions & { size?: number } = {}): Promise<void> {
    const once = body instanceof ReadableStream;
    // The length is part of the signature; without the header a stream would be sent in chunks and refused.
    const headers: Record<string, string> = { ...upload.headers };
    if (once && options.size !== undefined) headers["content-length"] = String(options.size);
    try {
      await this.#transport.send("PUT", upload.uploadUrl, { headers, body, once }, { ...options, timeout: 2 ** 31 - 1 });
    } catch (error) {
      if (!(error instanceof XFilesError) || error.status === 0 || error.code !== "unexpected_answer") throw error;
      throw new XFilesError({
        code: "upload_refused",
        status: error.status,
        detail: `the store refused the bytes with status ${error.status}; size, type and checksum must be those of the intent`,
        requestId: error.requestId,
        retryAfter: error.retryAfter,
      });
    }
  }

  /** Reserves quota and makes an upload URL. */
  begin(intent: UploadIntent, options?: PostOptions): Promise<Upload> {
    return this.#transport.call("POST", `${FILES}/upload-intent`, { ...options, body: intent });
  }

  /** Begins up to 100 uploads; the results come in the order of `intents`. */
  async beginAll(intents: UploadIntent[], options?: PostOptions & { allOrNothing?: boolean }): Promise<UploadResult[]> {
    const { allOrNothing, ...post } = options ?? {};
    const body = { files: intents, ...(allOrNothing === undefined ? {} : { allOrNothing }) };
    return (await this.#transport.call<BatchOfUploads>("POST", `${FILES}/upload-intents`, { ...post, body })).results;
  }

  /** Makes a fresh URL for an upload that is not confirmed. */
  renew(id: string, options?: PostOptions): Promise<Upload> {
    return this.#transport.call("POST", path`/api/v1/files/${id}/resign`, options);
  }

  /** Checks the uploaded bytes and publishes them. A confirmed file is answered again. */
  async confirm(id: string, options?: PostOptions): Promise<StoredFile> {
    return (await this.#transport.call<FileAnswer>("POST", `${FILES}/confirm`, { ...options, body: { fileId: id } })).file;
  }

  /** Confirms up to 100 uploads; the results come in the order of `ids`. */
  async confirmAll(ids: string[], options?: PostOptions): Promise<FileResult[]> {
    return (await this.#transport.call<BatchOfFiles>("POST", `${FILES}/confirms`, { ...options, body: { fileIds: ids } })).results;
  }

  /**
   * Ends an upload that is not confirmed and gives its quota back. A confirmed file is refused with 412
   * `precondition_failed`.
   */
  async cancel(id: string, options?: CallOptions): Promise<void> {
    await this.#discard(id, options);
  }

  // Confirmed files count from version 1, so version 0 spares them also if the confirmation happens meanwhile.
  #discard(id: string, options?: CallOptions): Promise<Deletion> {
    return this.#transport.call("DELETE", path`/api/v1/files/${id}`, { ...options, ifMatch: '"0"' });
  }

  /** The files that match every filter. Iterate over it, or take `.page(n)`. */
  list(options: ListOptions = {}): FileList {
    const { signal, timeout, retries, ...query } = options;
    const transport = this.#transport;
    const get = <T>(more: object) =>
      transport.call<T>("GET", FILES, { signal, timeout, retries, query: { ...query, ...more } });
    async function* pages(): AsyncGenerator<CursorPage> {
      for (let cursor: string | null = ""; cursor !== null; ) {
        const page: CursorPage = await get({ limit: query.limit ?? 100, cursor });
        yield page;
        cursor = page.nextCursor;
      }
    }
    return {
      pages,
      page: (number = 1) => get({ page: number }),
      async *[Symbol.asyncIterator]() {
        for await (const page of pages()) yield* page.files;
      },
    };
  }

  /** A confirmed file with its URLs. With `wait` (seconds, at most 25) a pending upload is answered once it is confirmed. */
  get(id: string, options: CallOptions & { wait?: number; format?: FileFilter["format"] } = {}): Promise<FileWithUrls> {
    const { wait, format, ...call } = options;
    const timeout = wait && call.timeout === undefined ? 30_000 + wait * 1000 : call.timeout;
    return this.#transport.call("GET", path`/api/v1/files/${id}`, { ...call, timeout, query: { wait, format } });
  }

  /** URLs of a file and its variants, signed for `expiresIn` seconds where the file is private. */
  urls(id: string, wish: UrlWish & { format?: FileFilter["format"] } = {}, options?: PostOptions): Promise<Urls> {
    const { format, ...body } = wish;
    return this.#transport.call("POST", path`/api/v1/files/${id}/url`, { ...options, query: { format }, body });
  }

  /** Changes a file. Only with `ifMatch` (its `etag`) is the request repeated after a failure. */
  async update(id: string, change: FileChange, options: CallOptions & { ifMatch?: string } = {}): Promise<StoredFile> {
    return (await this.#transport.call<FileAnswer>("PATCH", path`/api/v1/files/${id}`, { ...options, body: change })).file;
  }

  /** Deletes a file, or ends a pending upload. `erase` also clears the CDN and reports what was removed. */
  delete(id: string, options: CallOptions & { ifMatch?: string; erase?: boolean } = {}): Promise<Deletion> {
    const { erase, ...call } = options;
    return this.#transport.call("DELETE", path`/api/v1/files/${id}`, { ...call, query: { erase } });
  }

  /** Deletes the listed files, any number of them; the results come in the order of `ids`. */
  async deleteAll(ids: string[], options?: CallOptions): Promise<DeletionResult[]> {
    const results: DeletionResult[] = [];
    for (let from = 0; from < ids.length; from += BATCH_OF_DELETIONS) {
      const body = { fileIds: ids.slice(from, from + BATCH_OF_DELETIONS) };
      results.push(...(await this.#transport.call<BatchOfDeletions>("POST", `${FILES}/delete`, { ...options, body })).results);
    }
    return results;
  }

  /** Deletes all files of an entity, type of entity or role, and returns how many. */
  async deleteWhere(
    filter: { entityType?: string; entityId?: string; role?: string },
    options?: CallOptions,
  ): Promise<number> {
    let deleted = 0;
    for (;;) {
      const answer = await this.#transport.call<DeletedAnswer>("DELETE", FILES, { ...options, query: filter });
      deleted += answer.deleted;
      if (!answer.more) return deleted;
    }
  }

  /** Puts the files of an entity in this order. */
  async reorder(entity: { type: string; id: string }, ids: string[], options?: CallOptions): Promise<StoredFile[]> {
    const where = path`/api/v1/entities/${entity.type}/${entity.id}/order`;
    return (await this.#transport.call<FilesAnswer>("PUT", where, { ...options, body: { fileIds: ids } })).files;
  }
}

class Projects {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async list(options?: CallOptions): Promise<Project[]> {
    return (await this.#transport.call<ProjectsAnswer>("GET", "/api/v1/projects", options)).projects;
  }

  async create(project: NewProject, options?: PostOptions): Promise<Project> {
    return (await this.#transport.call<ProjectAnswer>("POST", "/api/v1/projects", { ...options, body: project })).project;
  }

  async get(id: string, options?: CallOptions): Promise<Project> {
    return (await this.#transport.call<ProjectAnswer>("GET", path`/api/v1/projects/${id}`, options)).project;
  }

  async update(id: string, change: ProjectChange, options?: CallOptions): Promise<Project> {
    const answer = this.#transport.call<ProjectAnswer>("PATCH", path`/api/v1/projects/${id}`, { ...options, body: change });
    return (await answer).project;
  }

  /** Begins to delete all files of a project. */
  async empty(id: string, options?: PostOptions): Promise<void> {
    await this.#transport.call<Done>("POST", path`/api/v1/projects/${id}/empty`, options);
  }

  /** Begins to delete a project with its keys and files. */
  async delete(id: string, options?: CallOptions): Promise<void> {
    await this.#transport.call<Done>("DELETE", path`/api/v1/projects/${id}`, options);
  }
}

class Keys {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async list(projectId: string, options?: CallOptions): Promise<ApiKey[]> {
    return (await this.#transport.call<KeysAnswer>("GET", path`/api/v1/projects/${projectId}/keys`, options)).keys;
  }

  /** Makes a key. `apiKey` in the answer is the key itself, shown this once. */
  create(projectId: string, key: NewKey, options?: PostOptions): Promise<KeyAnswer> {
    return this.#transport.call("POST", path`/api/v1/projects/${projectId}/keys`, { ...options, body: key });
  }

  /** Makes a new key in the place of an old one, which works on for `gracePeriod` seconds. */
  rotate(projectId: string, keyId: string, rotation: { gracePeriod?: number } = {}, options?: PostOptions): Promise<KeyAnswer> {
    const where = path`/api/v1/projects/${projectId}/keys/${keyId}/rotate`;
    return this.#transport.call("POST", where, { ...options, body: rotation });
  }

  async revoke(projectId: string, keyId: string, options?: CallOptions): Promise<ApiKey> {
    return (await this.#transport.call<KeyAnswer>("DELETE", path`/api/v1/projects/${projectId}/keys/${keyId}`, options)).key;
  }
}

class Webhooks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async list(projectId: string, options?: CallOptions): Promise<Webhook[]> {
    return (await this.#transport.call<WebhooksAnswer>("GET", path`/api/v1/projects/${projectId}/webhooks`, options)).webhooks;
  }

  /** Makes an endpoint. `secret` in the answer is shown this once. */
  create(projectId: string, webhook: NewWebhook, options?: PostOptions): Promise<WebhookAnswer> {
    return this.#transport.call("POST", path`/api/v1/projects/${projectId}/webhooks`, { ...options, body: webhook });
  }

  async update(projectId: string, id: string, change: WebhookChange, options?: CallOptions): Promise<Webhook> {
    const where = path`/api/v1/projects/${projectId}/webhooks/${id}`;
    return (await this.#transport.call<WebhookAnswer>("PATCH", where, { ...options, body: change })).webhook;
  }

  async delete(projectId: string, id: string, options?: CallOptions): Promise<void> {
    await this.#transport.call<Done>("DELETE", path`/api/v1/projects/${projectId}/webhooks/${id}`, options);
  }

  /** Makes a new secret; messages carry the old one's signature too for `gracePeriod` seconds. */
  rotate(projectId: string, id: string, rotation: { gracePeriod?: number } = {}, options?: PostOptions): Promise<WebhookAnswer> {
    const where = path`/api/v1/projects/${projectId}/webhooks/${id}/rotate`;
    return this.#transport.call("POST", where, { ...options, body: rotation });
  }

  /** Deliveries of an endpoint, newest first. */
  async *deliveries(projectId: string, id: string, options: CallOptions & { status?: DeliveryState } = {}): AsyncGenerator<Delivery> {
    const { status, ...call } = options;
    const where = path`/api/v1/projects/${projectId}/webhooks/${id}/deliveries`;
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page: DeliveriesAnswer = await this.#transport.call("GET", where, { ...call, query: { status, cursor } });
      yield* page.deliveries;
      cursor = page.nextCursor;
    }
  }

  /** Tries all parked deliveries again, or one delivery whatever its state, and returns how many. */
  async replay(projectId: string, id: string, deliveryId?: string, options?: CallOptions): Promise<number> {
    const where = path`/api/v1/projects/${projectId}/webhooks/${id}/replay`;
    let replayed = 0;
    for (;;) {
      const body = deliveryId === undefined ? {} : { deliveryId };
      const answer = await this.#transport.call<ReplayedAnswer>("POST", where, { ...options, body });
      replayed += answer.replayed;
      if (!answer.more) return replayed;
    }
  }
}

export type { Files, Keys, Projects, Webhooks };
