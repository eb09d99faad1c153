// Uploads: they live outside the screens, so that walking through the console does not stop them.
//
// Each goes queued > beginning > uploading > confirming > done, or ends as failed or cancelled. The bytes go straight to
// the store by XMLHttpRequest, because `fetch` does not tell how far an upload is.
import { ApiError, call, online } from "./api.ts";
import { bytes } from "./format.ts";
import { MAX_BYTES, typeOf } from "./media.ts";
import { Store } from "./store.ts";
import type { Upload, XFile, Visibility } from "./types.ts";

export type State = "queued" | "beginning" | "uploading" | "waiting" | "confirming" | "done" | "failed" | "cancelled";
export interface Item {
  readonly id: number; readonly name: string; readonly size: number; readonly project: string; readonly preview: string | null; readonly type: string;
  readonly state: State; readonly sent: number;
  /** Bytes a second, over the last seconds. */
  readonly speed: number;
  readonly error: { detail: string; hint?: string; code: string; requestId?: string; retryable: boolean } | null;
  readonly file: XFile | null;
  readonly tookMs: number;
}
export interface Settings { visibility: Visibility; variants: boolean; variantVisibility: Visibility; entityType: string; entityId: string; owner: string }

export const items = new Store<readonly Item[]>([]);
export const settings = new Store<Settings>({ visibility: "private", variants: true, variantVisibility: "private", entityType: "", entityId: "", owner: "" });
/** Counts confirmed uploads; lists load again when it changes. */
export const arrivals = new Store(0);

const AT_ONCE = 3;
/** A request without progress for so long is given up and tried again. */
const STALL_MS = 30_000;
const TRIES = 3;

interface Job { item: Item; source: File; settings: Settings; upload: Upload | null; xhr: XMLHttpRequest | null; stop: AbortController; begun: number; tries: number; marks: [number, number][] }
const jobs = new Map<number, Job>();
let last = 0;
let frame = 0;

/** Screens draw once a frame, however many progress events there were. */
function publish() {
  frame ||= requestAnimationFrame(() => { frame = 0; items.set([...jobs.values()].map((job) => job.item)); });
}

function change(job: Job, to: Partial<Item>) {
  job.item = { ...job.item, ...to };
  publish();
}

export function add(files: Iterable<File>, project: string) {
  for (const source of files) {
    const type = typeOf(source), id = ++last;
    const preview = type?.startsWith("image/") && source.size < 20_000_000 && type !== "image/svg+xml" ? URL.createObjectURL(source) : null;
    const item: Item = { id, name: source.name, size: source.size, project, preview, type: type ?? "", state: "queued", sent: 0, speed: 0, error: null, file: null, tookMs: 0 };
    const job: Job = { item, source, settings: settings.value, upload: null, xhr: null, stop: new AbortController(), begun: 0, tries: 0, marks: [] };
    jobs.set(id, job);
    if (!type) fail(job, { code: "content_type_unknown", detail: `The type of ${source.name} is unknown`, hint: "Give the name an extension that tells it, such as .jpg.", retryable: false });
    else if (source.size > MAX_BYTES) fail(job, { code: "invalid_request", detail: `${bytes(source.size)}, but one file may have ${bytes(MAX_BYTES)}`, retryable: false });
  }
  publish();
  pump();
}

export function retry(id: number) {
  const job = jobs.get(id);
  if (!job || job.item.state !== "failed") return;
  job.tries = 0;
  job.stop = new AbortController();
  change(job, { state: "queued", error: null, speed: 0 });
  pump();
}

/** Stops an upload and gives its reservation back, if the person may delete; otherwise it ends by itself. */
export function cancel(id: number) {
  const job = jobs.get(id);
  if (!job) return;
  const running = !["done", "failed", "cancelled"].includes(job.item.state);
  if (!running) { dismiss(id); return; }
  job.stop.abort();
  job.xhr?.abort();
  change(job, { state: "cancelled", speed: 0 });
  if (job.upload) void call("DELETE", `files/${job.upload.fileId}`, { project: job.item.project }).catch(() => null);
  pump();
}

export function dismiss(id: number) {
  const job = jobs.get(id);
  if (job?.item.preview) URL.revokeObjectURL(job.item.preview);
  jobs.delete(id);
  publish();
}

export const clear = () => { for (const { item } of [...jobs.values()]) if (["done", "failed", "cancelled"].includes(item.state)) dismiss(item.id); };
export const running = (list: readonly Item[]) => list.filter((i) => !["done", "failed", "cancelled"].includes(i.state));

function pump() {
  const active = [...jobs.values()].filter((j) => ["beginning", "uploading", "confirming"].includes(j.item.state)).length;
  const waiting = [...jobs.values()].filter((j) => j.item.state === "queued");
  for (const job of waiting.slice(0, Math.max(0, AT_ONCE - active))) void work(job);
}

async function work(job: Job) {
  const { stop } = job;
  job.begun ||= performance.now();
  try {
    await reachable(job);
    if (!job.upload) {
      change(job, { state: "beginning" });
      job.upload = await begin(job);
    } else if (new Date(job.upload.expiresAt).getTime() < Date.now() + 10_000) {
      job.upload = await resign(job);
    }
    if (stop.signal.aborted) return;
    await put(job);
    change(job, { state: "confirming", sent: job.item.size, speed: 0 });
    const { file } = await persist(job, () => call<{ file: XFile }>("POST", "files/confirm", { body: { fileId: job.upload!.fileId }, project: job.item.project, signal: stop.signal }));
    change(job, { state: "done", file, tookMs: performance.now() - job.begun });
    arrivals.set(arrivals.value + 1);
  } catch (error) {
    if (!stop.signal.aborted) fail(job, explain(job, error));
  } finally {
    if (job.stop === stop) job.xhr = null;
    pump();
  }
}

function begin(job: Job): Promise<Upload> {
  const { settings: s, item } = job;
  const raster = /^image\/(jpeg|png|gif|webp|avif|tiff|bmp|x-icon)$/.test(item.type);
  return persist(job, () => call<Upload>("POST", "files/upload-intent", {
    project: item.project, signal: job.stop.signal,
    body: {
      filename: item.name, contentType: item.type, size: item.size, visibility: s.visibility,
      ...(raster && s.variants ? { transformations: { image: { enabled: true, visibility: s.variantVisibility } } } : {}),
      ...(s.entityType && s.entityId ? { entity: { type: s.entityType, id: s.entityId } } : {}),
      ...(s.owner ? { ownerUserId: s.owner } : {}),
    },
  }));
}

const resign = (job: Job) => persist(job, () => call<Upload>("POST", `files/${job.upload!.fileId}/resign`, { project: job.item.project, signal: job.stop.signal }));

/** Tries again what failed for the connection or for a busy server. */
async function persist<T>(job: Job, send: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try { return await send(); } catch (error) {
      const passing = error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status === 503);
      if (!passing || tries >= TRIES || job.stop.signal.aborted) throw error;
      await pause(job, Math.max(error.retryAfter * 1000, 500 * 2 ** tries));
      await reachable(job);
    }
  }
}

class StoreRefused extends Error { constructor(readonly status: number) { super(`The store answered ${status}`); } }

async function put(job: Job) {
  let renewed = false;
  for (;;) {
    await reachable(job);
    change(job, { state: "uploading", sent: 0 });
    job.marks = [[performance.now(), 0]];
    const status = await send(job);
    if (status >= 200 && status < 300) return;
    if (job.stop.signal.aborted) throw new DOMException("cancelled", "AbortError");
    if (status === 403 && !renewed) { renewed = true; job.upload = await resign(job); continue; }
    if (status !== 0 && status !== 503 && status !== 500) throw new StoreRefused(status);
    if (++job.tries >= TRIES) throw new StoreRefused(status);
    change(job, { state: "waiting", speed: 0 });
    await pause(job, 500 * 2 ** job.tries);
    job.upload = await resign(job);
  }
}

/** One PUT. Resolves with the status, 0 where there was none. */
function send(job: Job): Promise<number> {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest(), { upload } = job;
    job.xhr = xhr;
    let stalled = setTimeout(() => xhr.abort(), STALL_MS);
    xhr.open(upload!.method, upload!.uploadUrl);
    for (const [name, value] of Object.entries(upload!.headers)) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = ({ loaded }) => {
      clearTimeout(stalled);
      stalled = setTimeout(() => xhr.abort(), STALL_MS);
      const now = performance.now();
      job.marks.push([now, loaded]);
      while (job.marks.length > 2 && now - job.marks[0]![0] > 4000) job.marks.shift();
      const [t, n] = job.marks[0]!;
      change(job, { sent: Math.min(loaded, job.item.size), speed: now - t > 200 ? ((loaded - n) * 1000) / (now - t) : 0 });
    };
    xhr.onloadend = () => { clearTimeout(stalled); resolve(xhr.status); };
    xhr.send(job.source);
  });
}

function reachable(job: Job): Promise<void> {
  if (online.value) return Promise.resolve();
  change(job, { state: "waiting", speed: 0 });
  return new Promise((resolve) => {
    const off = online.listen(() => { if (online.value) { off(); resolve(); } });
    job.stop.signal.addEventListener("abort", () => { off(); resolve(); }, { once: true });
  });
}

const pause = (job: Job, ms: number) => new Promise<void>((resolve) => {
  const timer = setTimeout(resolve, ms);
  job.stop.signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

function fail(job: Job, error: NonNullable<Item["error"]>) {
  change(job, { state: "failed", error, speed: 0 });
}

function explain(job: Job, error: unknown): NonNullable<Item["error"]> {
  if (error instanceof ApiError) {
    const { code, detail, hint, requestId, errors } = error.problem;
    const first = errors?.[0]?.detail;
    const words = errors?.some((e) => e.pointer === "/contentType") ? `Files of the type ${job.item.type} are not allowed` : code === "content_type_mismatch" ? `Named ${job.item.type}, but the bytes are something else` : first ?? detail;
    // The bytes of a refused upload are gone; it begins anew.
    if (error.status >= 400 && error.status !== 401 && error.status !== 429) job.upload = null;
    return { code, detail: words, ...(hint ? { hint } : {}), ...(requestId ? { requestId } : {}), retryable: error.status === 0 || error.status === 401 || error.status === 413 || error.status >= 429 };
  }
  if (error instanceof StoreRefused) {
    if (error.status === 0) return { code: "store_unreachable", detail: "The store does not answer", hint: "Check the connection, then try again.", retryable: true };
    return { code: `store_${error.status}`, detail: `The store refused the bytes with ${error.status}`, hint: "The file may have changed on disk since it was chosen.", retryable: true };
  }
  return { code: "unreadable", detail: `${job.item.name} cannot be read`, hint: "Choose the file again.", retryable: true };
}

addEventListener("beforeunload", (event) => { if (running(items.value).length > 0) event.preventDefault(); });
