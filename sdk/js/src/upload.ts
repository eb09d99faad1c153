import { channel, type ChannelOptions } from "./channel.js";
import { XFilesError } from "./errors.js";
import type { StoredFile } from "./generated.js";
import { accepts, mediaType } from "./media.js";
import { type Begun, type Confirmed, MAX_ITEMS, type Refused, type RouteLimits } from "./protocol.js";

export { XFilesError } from "./errors.js";
export type { RouteLimits } from "./protocol.js";

/** Where one file is on its way. */
export type UploadStatus = "queued" | "beginning" | "uploading" | "confirming" | "done" | "failed" | "cancelled";

/** One file of an uploader. Immutable: a change makes a new object, and only a change does. */
export interface UploadFile<D = unknown> {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly status: UploadStatus;
  /** 0 to 1; at most 0.99 until the file is published. */
  readonly progress: number;
  /** Present while `status` is `failed`. */
  readonly error?: XFilesError;
  /** Whether `retry` may help; present while `status` is `failed`. */
  readonly retryable?: boolean;
  /** The published file; present once `status` is `done`. */
  readonly file?: StoredFile;
  /** What the route's `onConfirmed` returned; present once `status` is `done`. */
  readonly data?: D;
}

/** What an uploader shows. */
export interface UploadSnapshot<D = unknown> {
  readonly files: readonly UploadFile<D>[];
  /** 0 to 1, weighted by bytes. */
  readonly progress: number;
  /** `busy` while any file is on its way, `failed` if one has failed, `done` if all others are done. */
  readonly state: "idle" | "busy" | "done" | "failed";
}

/** The options of {@link createUploader}. */
export interface UploaderOptions extends ChannelOptions {
  /** The route of the upload handler. */
  route: string;
  /** The route's limits, if the page has them; files that break them fail without a request. */
  limits?: Partial<RouteLimits> | undefined;
  /** Uploads at the same time; 3 without it. */
  concurrency?: number | undefined;
}

/** The uploader of a page. It outlives the components that show it. */
export interface Uploader<I = unknown, D = unknown> {
  /** Begins to upload, and resolves when each of these files is done, failed or cancelled. Never rejects. */
  add(files: Iterable<File>, input?: I): Promise<UploadFile<D>[]>;
  /** Goes on with a failed file where it stopped; without an id with all of them. */
  retry(id?: string): void;
  /** Ends uploads and gives their quota back; without an id all. A file whose confirmation has begun is not stopped. */
  cancel(id?: string): void;
  /** Forgets files that are done, failed or cancelled; without an id all of them. */
  clear(id?: string): void;
  /** Calls `listener` after changes, once in a frame at most. */
  subscribe(listener: () => void): () => void;
  snapshot(): UploadSnapshot<D>;
}

/** Without progress for this long, the connection counts as lost. */
const STALL_MS = 30_000;
/** Tries of one step after its first, before the file fails. */
const RETRIES = 3;
const EMPTY: UploadSnapshot<any> = { files: [], progress: 0, state: "idle" };
/** Messages stay below the 64 KiB that a handler reads. */
const MESSAGE_BUDGET = 56_000;

interface Item {
  view: UploadFile<any>;
  file: File;
  input: unknown;
  begun?: Begun | undefined;
  /** All bytes are in the store. */
  stored: boolean;
  failures: number;
  renewed: boolean;
  /** Fails a waiting or running step. */
  stop?: (() => void) | undefined;
  settle(): void;
  settled: Promise<void>;
}

const failed = (code: string, detail: string, status = 0) => new XFilesError({ code, status, detail });
const isActive = ({ view: { status } }: Item) => status !== "done" && status !== "failed" && status !== "cancelled";
/** Failures that pass by themselves. */
const passes = ({ status, code }: XFilesError) =>
  status === 0 || status === 408 || status === 429 || status >= 500 || code === "conflict" || code === "request_in_flight";
/** Failures that the same file meets again. */
const FINAL = ["content_type_not_allowed", "content_type_mismatch", "file_too_large", "too_many_files", "invalid_input", "invalid_request"];

/** Makes an uploader for one route of an upload handler. */
export function createUploader<I = unknown, D = unknown>(options: UploaderOptions): Uploader<I, D> {
  const send = channel(options);
  const items = new Map<string, Item>();
  const listeners = new Set<() => void>();
  let shown: UploadSnapshot<D> | null = EMPTY;
  let framed = false;
  let count = 0;
  let running = 0;
  let beginning = false;
  let confirming = false;
  let pumped = false;

  const online = () => typeof navigator === "undefined" || navigator.onLine !== false;

  function show(item: Item, change: Partial<UploadFile>): void {
    item.view = { ...item.view, ...change };
    changed();
  }

  function changed(): void {
    shown = null;
    if (framed) return;
    framed = true;
    const flush = () => {
      framed = false;
      for (const listener of [...listeners]) listener();
    };
    // Hidden pages have no frames.
    if (typeof requestAnimationFrame === "function" && !document.hidden) requestAnimationFrame(flush);
    else setTimeout(flush, 16);
  }

  function snapshot(): UploadSnapshot<D> {
    if (shown) return shown;
    const all = [...items.values()];
    let bytes = 0;
    let sent = 0;
    for (const { view } of all) {
      if (view.status === "cancelled") continue;
      // An empty file counts as one byte, so that it is seen at all.
      bytes += view.size || 1;
      sent += (view.size || 1) * view.progress;
    }
    const state = all.some(isActive) ? "busy" : all.some(({ view }) => view.status === "failed") ? "failed" : all.length ? "done" : "idle";
    return (shown = { files: all.map(({ view }) => view), progress: bytes && sent / bytes, state });
  }

  function fail(item: Item, error: XFilesError): void {
    if (!isActive(item)) return;
    show(item, { status: "failed", error, retryable: !FINAL.includes(error.code) });
    item.settle();
  }

  /** Waits before the next try of a step; false when the tries are used up or the item has ended. */
  async function again(item: Item, error: XFilesError): Promise<boolean> {
    const wasOnline = online();
    if (wasOnline && item.failures++ >= RETRIES) {
      fail(item, error);
      return false;
    }
    const wait = Math.min(60, error.retryAfter ?? 0) * 1000 || Math.random() * Math.min(8000, 500 * 2 ** item.failures);
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        if (!wasOnline) removeEventListener("online", end);
        item.stop = undefined;
        resolve();
      };
      const timer = wasOnline ? setTimeout(end, wait) : undefined;
      if (!wasOnline) addEventListener("online", end);
      item.stop = end;
    });
    return isActive(item);
  }

  function pump(): void {
    if (pumped) return;
    pumped = true;
    queueMicrotask(() => {
      pumped = false;
      void begin();
      const waiting = [...items.values()].filter(({ view, begun }) => view.status === "beginning" && begun);
      for (const item of waiting.slice(0, Math.max(0, (options.concurrency ?? 3) - running))) {
        running++;
        show(item, { status: "uploading" });
        void transfer(item).finally(() => {
          running--;
          pump();
        });
      }
      void confirm();
    });
  }

  async function begin(): Promise<void> {
    const ready = [...items.values()].filter(({ view, begun }) => view.status === "beginning" && begun).length;
    // URLs live for minutes, so they are made when they are about to be used.
    if (beginning || ready >= (options.concurrency ?? 3)) return;
    const queued = [...items.values()].filter(({ view }) => view.status === "queued");
    const first = queued[0];
    if (!first) return;
    // One attempt holds at most what the route takes at once, of one input.
    let length = 0;
    const most = Math.min(MAX_ITEMS, options.limits?.maxFiles ?? MAX_ITEMS);
    const batch = queued.filter(({ input }) => input === first.input).slice(0, most).filter(({ view }, index) => {
      length += JSON.stringify(view.name).length * 2 + 100;
      return index === 0 || length < MESSAGE_BUDGET;
    });
    beginning = true;
    const attempt = crypto.randomUUID();
    for (const item of batch) show(item, { status: "beginning" });
    const files = batch.map(({ view: { name, type, size } }) => ({ name, type, size }));
    for (;;) {
      try {
        const { uploads } = await send<{ uploads: (Begun | Refused)[] }>({ action: "begin", route: options.route, input: first.input, attempt, files });
        batch.forEach((item, index) => {
          const upload = uploads[index];
          if (upload && "claim" in upload) {
            item.begun = upload;
            // It was cancelled while the answer was on its way.
            if (!isActive(item)) release([item]);
          } else fail(item, new XFilesError(upload?.error ?? { code: "unexpected_answer", status: 0, detail: "the handler left a file out" }));
        });
        break;
      } catch (error) {
        const alive = batch.find(isActive);
        if (!alive) break;
        if (passes(error as XFilesError) && (await again(alive, error as XFilesError))) continue;
        // One that was cancelled meanwhile does not end the others.
        if (passes(error as XFilesError) && alive.view.status === "cancelled") continue;
        for (const item of batch) fail(item, error as XFilesError);
        break;
      }
    }
    beginning = false;
    pump();
  }

  /** Replaces the URL; false if the upload cannot go on from here. */
  async function renew(item: Item): Promise<boolean> {
    try {
      item.begun = (await send<{ upload: Begun }>({ action: "renew", claim: item.begun!.claim })).upload;
      return isActive(item);
    } catch (error) {
      const { code } = error as XFilesError;
      if (code === "not_pending") {
        // It is confirmed already; to confirm it again answers with the file.
        item.stored = true;
        return true;
      }
      if (code === "file_not_found" || code === "invalid_claim") {
        item.begun = undefined;
        if (item.failures++ < RETRIES) show(item, { status: "queued", progress: 0 });
        else fail(item, error as XFilesError);
        return false;
      }
      if (!passes(error as XFilesError)) {
        fail(item, error as XFilesError);
        return false;
      }
      return (await again(item, error as XFilesError)) && renew(item);
    }
  }

  async function transfer(item: Item): Promise<void> {
    let stale = Date.parse(item.begun!.expiresAt) - Date.now() < 5000;
    while (isActive(item) && !item.stored) {
      if (stale && !(await renew(item))) return;
      stale = false;
      if (item.stored) break;
      const status = await put(item);
      if (status >= 200 && status < 300) item.stored = true;
      else if (!isActive(item)) return;
      else if (status === 403 && !item.renewed) stale = item.renewed = true;
      else if (status === 0 || status === 403 || status === 408 || status === 429 || status >= 500) {
        stale = status <= 0;
        const lost = failed(status ? "upload_refused" : "connection_failed", status ? `the store answered ${status}` : "the connection to the store was lost", status);
        if (status === 403) return fail(item, lost);
        if (!(await again(item, lost))) return;
      } else return fail(item, failed("upload_refused", `the store refused the bytes with status ${status}`, status));
    }
    if (isActive(item)) show(item, { status: "confirming", progress: 0.99 });
  }

  /** Sends the bytes, and returns the status; 0 for a lost connection. */
  function put(item: Item): Promise<number> {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      let timer: ReturnType<typeof setTimeout>;
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => request.abort(), STALL_MS);
      };
      const end = () => {
        clearTimeout(timer);
        item.stop = undefined;
        request.onloadend = request.upload.onprogress = null;
        resolve(request.status);
      };
      request.open("PUT", item.begun!.url);
      for (const [name, value] of Object.entries(item.begun!.headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = ({ loaded }) => {
        alive();
        item.failures = 0;
        // A repeated upload catches up before the bar moves again: it never goes back.
        const progress = Math.min(0.99, loaded / (item.view.size || 1));
        if (progress > item.view.progress && isActive(item)) show(item, { progress });
      };
      request.onloadend = end;
      item.stop = () => request.abort();
      alive();
      request.send(item.file);
    });
  }

  async function confirm(): Promise<void> {
    if (confirming) return;
    let length = 0;
    const batch = [...items.values()]
      .filter(({ view }) => view.status === "confirming")
      .slice(0, MAX_ITEMS)
      .filter(({ begun }, index) => (length += begun!.claim.length + 3) < MESSAGE_BUDGET || index === 0);
    if (!batch.length) return;
    confirming = true;
    let results: (Confirmed<D> | Refused)[] = [];
    let lost: XFilesError | undefined;
    try {
      results = (await send<{ files: (Confirmed<D> | Refused)[] }>({ action: "confirm", claims: batch.map(({ begun }) => begun!.claim) })).files;
    } catch (error) {
      lost = error as XFilesError;
    }
    const repeats: Promise<unknown>[] = [];
    batch.forEach((item, index) => {
      const result = results[index];
      if (result && "file" in result) {
        show(item, { status: "done", progress: 1, file: result.file, data: result.data });
        item.settle();
        return;
      }
      const error = lost ?? new XFilesError(result?.error ?? { code: "unexpected_answer", status: 0, detail: "the handler left a file out" });
      if (error.code === "not_uploaded" && item.failures++ < RETRIES) {
        item.stored = false;
        show(item, { status: "beginning" });
      } else if (passes(error)) repeats.push(again(item, error));
      else {
        if (error.code === "file_not_found") item.begun = undefined;
        item.stored = item.stored && !!item.begun;
        fail(item, error);
      }
    });
    await Promise.all(repeats);
    confirming = false;
    pump();
  }

  function release(ended: Item[]): void {
    const claims = ended.flatMap(({ begun }) => (begun ? [begun.claim] : []));
    // If this is lost, the upload ends by itself half an hour later.
    for (let from = 0; from < claims.length; from += 20) send({ action: "cancel", claims: claims.slice(from, from + 20) }, true).catch(() => {});
  }

  function pick(id: string | undefined, test: (item: Item) => boolean): Item[] {
    return [...items.values()].filter((item) => (id === undefined || item.view.id === id) && test(item));
  }

  return {
    async add(files, input) {
      const added: Item[] = [];
      for (const file of files) {
        const id = `u${++count}`;
        const type = mediaType(file.name, file.type);
        let settle!: () => void;
        const settled = new Promise<void>((resolve) => (settle = resolve));
        const view: UploadFile = { id, name: file.name, type, size: file.size, status: "queued", progress: 0 };
        const item: Item = { view, file, input, stored: false, failures: 0, renewed: false, settle, settled };
        items.set(id, item);
        added.push(item);
        const { accept, maxBytes } = options.limits ?? {};
        if (!type || !accepts(accept, file.name, type)) fail(item, failed("content_type_not_allowed", `the type ${type || "of the file"} is not accepted`));
        else if (maxBytes !== undefined && file.size > maxBytes) fail(item, failed("file_too_large", `the file has ${file.size} bytes; ${maxBytes} are accepted`));
      }
      changed();
      pump();
      await Promise.all(added.map(({ settled }) => settled));
      return added.map(({ view }) => view);
    },
    retry(id) {
      for (const item of pick(id, ({ view }) => view.status === "failed" && view.retryable === true)) {
        item.failures = 0;
        item.renewed = false;
        item.settled = new Promise((resolve) => (item.settle = resolve));
        const { error: _error, retryable: _retryable, ...view } = item.view;
        item.view = view;
        // The claim goes on; a URL that has ended is renewed before it is used.
        if (item.begun && !item.stored) item.begun = { ...item.begun, expiresAt: new Date(0).toISOString() };
        show(item, { status: !item.begun ? "queued" : item.stored ? "confirming" : "beginning" });
      }
      pump();
    },
    cancel(id) {
      const ended = pick(id, (item) => isActive(item) && item.view.status !== "confirming");
      const given = pick(id, ({ view, begun }) => view.status === "failed" && begun !== undefined);
      for (const item of [...ended, ...given]) {
        const { error: _error, retryable: _retryable, ...view } = item.view;
        item.view = view;
        show(item, { status: "cancelled" });
        item.stop?.();
        item.settle();
      }
      release([...ended, ...given]);
      pump();
    },
    clear(id) {
      for (const item of pick(id, (item) => !isActive(item))) items.delete(item.view.id);
      changed();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    snapshot,
  };
}
