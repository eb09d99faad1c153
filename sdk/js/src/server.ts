import { toBase64Url, utf8 } from "./bytes.js";
import { type Claim, readClaim, signClaim } from "./claims.js";
import type { XFiles } from "./client.js";
import { XFilesError } from "./errors.js";
import type { EntityPlace, StoredFile, Upload, UploadIntent, Visibility } from "./generated.js";
import { accepts, mediaType } from "./media.js";
import {
  type Begun,
  type Confirmed,
  type FileToUpload,
  MAX_ITEMS,
  MAX_MESSAGE_BYTES,
  type Problem,
  type Refused,
  type RouteLimits,
} from "./protocol.js";
import type { XFilesEvent } from "./webhooks.js";

export { fastifyUploads, toNodeHandler } from "./node.js";
export type { FileToUpload, RouteLimits } from "./protocol.js";

type Awaitable<T> = T | Promise<T>;

/** A validator of Standard Schema, such as a schema of zod, valibot or arktype. */
export interface StandardSchema<T> {
  readonly "~standard": {
    validate(value: unknown): Awaitable<{ value: T; issues?: undefined } | { issues: readonly { message: string }[] }>;
    readonly types?: { readonly input: unknown; readonly output: T } | undefined;
  };
}

/** Checks what the page sends along: a function that returns it or throws, or a Standard Schema. */
export type InputParser<I> = ((raw: unknown) => Awaitable<I>) | StandardSchema<I>;

/** What `authorize` grants. */
export interface Grant<C> {
  /** Without it, private. */
  visibility?: Visibility | undefined;
  ownerUserId?: string | undefined;
  /** What the files belong to; a function chooses for each file. */
  entity?: EntityPlace | ((file: FileToUpload, index: number) => EntityPlace) | undefined;
  /** Variants of images: true for variants as visible as the file. */
  variants?: boolean | Visibility | undefined;
  /** Reaches `onConfirmed`. At most 2 KiB of JSON; signed, and readable by the browser. */
  context?: C | undefined;
}

/** One kind of upload. */
export interface RouteOptions<I = undefined, C = undefined, D = undefined> {
  /** Media types, families such as `image/*`, or extensions such as `.pdf`. Without it, all that XFiles accepts. */
  accept?: readonly string[] | undefined;
  /** The size limit of one file, in bytes or as `"5MB"`. */
  maxBytes?: number | string | undefined;
  /** Files in one batch, at most 100; 1 without it. */
  maxFiles?: number | undefined;
  input?: InputParser<I> | undefined;
  /** Decides who may upload what. Null, undefined or an exception refuses with 403. */
  authorize(call: { request: Request; input: I; files: FileToUpload[] }): Awaitable<Grant<C> | null | undefined>;
  /** Runs when a file is published, at least once: make it idempotent by `file.id`. Its result reaches the browser. */
  onConfirmed?: ((call: { file: StoredFile; context: C }) => Awaitable<D>) | undefined;
}

/** A route, with the types of its input and of what `onConfirmed` returns. */
export interface Route<I = any, D = any> {
  readonly options: RouteOptions<any, any, any>;
  /** Exists for the types alone. */
  readonly "~types"?: { input: I; data: D };
}

/** Declares a route. It exists because TypeScript infers types across the functions of one call only. */
export function route<I = undefined, C = undefined, D = undefined>(options: RouteOptions<I, C, D>): Route<I, D> {
  return { options };
}

/** The options of {@link createUploads}. */
export interface UploadsOptions<R extends Record<string, Route>> {
  client: XFiles;
  /** The API key that signs claims; the first of several signs, all verify. Without it, `XFILES_API_KEY`. */
  apiKeys?: string | readonly string[] | undefined;
  routes: R;
  /** Other origins whose pages may upload, such as `https://app.example.com`. */
  origins?: readonly string[] | undefined;
  /** Learns of failures that the browser is not shown, such as an exception of `onConfirmed`. */
  onError?: ((error: unknown) => void) | undefined;
}

/** An upload handler. */
export interface Uploads<R extends Record<string, Route> = Record<string, Route>> {
  /** Answers a request of the protocol; `GET`, `POST` and `OPTIONS` are the same function, for file-based routers. */
  handle(request: Request): Promise<Response>;
  GET(request: Request): Promise<Response>;
  POST(request: Request): Promise<Response>;
  OPTIONS(request: Request): Promise<Response>;
  /**
   * Calls `onConfirmed` for a verified `file.confirmed` event, for browsers that left before they confirmed. An event
   * does not name its route: `choose` does, or returns null for files of other origin.
   */
  onEvent(
    event: XFilesEvent,
    choose: (file: StoredFile) => Awaitable<{ route: keyof R & string; context?: unknown } | null>,
  ): Promise<unknown>;
  /** Exists for the types alone. */
  readonly "~routes"?: R;
}

/** How long a claim is good, in seconds: longer than any upload, short enough for a leaked one to end. */
const CLAIM_LIFE_S = 24 * 3600;
const MAX_CONTEXT_BYTES = 2048;
/** The API's limit of one upload; openapi.json, `UploadIntent.size`. */
const MAX_BYTES = 104_857_600;

class Refusal extends Error {
  readonly problem: Problem;
  readonly retryAfter: number | undefined;
  constructor(problem: Problem, retryAfter?: number) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

const refuse = (status: number, code: string, detail: string, hint?: string) =>
  new Refusal({ status, code, detail, ...(hint ? { hint } : {}) });

/** Makes the handler that browsers upload through. */
export function createUploads<R extends Record<string, Route>>(options: UploadsOptions<R>): Uploads<R> {
  const { client, onError } = options;
  const given = options.apiKeys ?? (globalThis as any).process?.env?.XFILES_API_KEY;
  const keys: readonly string[] = typeof given === "string" ? [given] : (given ?? []);
  const signingKey = keys[0];
  if (!signingKey) throw new TypeError("`apiKeys` is missing; pass the API key or set XFILES_API_KEY");
  const routes = new Map(Object.entries(options.routes).map(([name, { options }]) => [name, { ...options, limits: limitsOf(name, options) }]));
  const now = () => Math.floor(Date.now() / 1000);

  async function claimed(token: unknown): Promise<Claim> {
    const claim = typeof token === "string" ? await readClaim(keys, token, now()) : null;
    if (!claim || !routes.has(claim.route)) {
      throw refuse(403, "invalid_claim", "the claim is not one of this handler, or it has expired", "Begin the upload again.");
    }
    return claim;
  }

  async function begun(upload: Upload, route: string, context: unknown): Promise<Begun> {
    const claim = await signClaim(signingKey!, { fileId: upload.fileId, route, context, exp: now() + CLAIM_LIFE_S });
    return { claim, url: upload.uploadUrl, headers: upload.headers, expiresAt: upload.expiresAt };
  }

  async function begin(request: Request, message: Record<string, unknown>): Promise<object> {
    const route = typeof message.route === "string" ? routes.get(message.route) : undefined;
    if (!route) throw refuse(404, "unknown_route", "this handler has no such route", `Its routes are: ${[...routes.keys()].join(", ")}.`);
    const files = filesOf(message.files);
    const attempt = message.attempt;
    if (typeof attempt !== "string" || !/^[\w-]{16,64}$/.test(attempt)) {
      throw refuse(400, "invalid_request", "`attempt` must be 16 to 64 letters, digits, `-` or `_`, random for each new batch");
    }
    const input = await parse(route.input, message.input);
    let grant: Grant<unknown> | null | undefined;
    try {
      grant = await route.authorize({ request, input, files });
    } catch (error) {
      onError?.(error);
    }
    if (!grant) throw refuse(403, "not_authorized", "this upload is not permitted");
    const { limits } = route;
    if (files.length > limits.maxFiles) {
      throw refuse(400, "too_many_files", `${files.length} files were given; the route takes ${limits.maxFiles}`);
    }
    const context = grant.context ?? null;
    if (utf8(JSON.stringify(context)).length > MAX_CONTEXT_BYTES) {
      throw new TypeError(`the \`context\` of ${String(message.route)} is longer than ${MAX_CONTEXT_BYTES} bytes of JSON`);
    }
    const uploads: (Begun | Refused)[] = [];
    const intents: UploadIntent[] = [];
    const places: number[] = [];
    files.forEach((file, index) => {
      const type = mediaType(file.name, file.type);
      if (!type || !accepts(limits.accept, file.name, type)) {
        uploads[index] = {
          error: { status: 400, code: "content_type_not_allowed", detail: `the type ${type || "of the file"} is not accepted`, hint: `Accepted: ${limits.accept.join(", ")}.` },
        };
      } else if (file.size > limits.maxBytes) {
        uploads[index] = {
          error: { status: 400, code: "file_too_large", detail: `the file has ${file.size} bytes; the route takes ${limits.maxBytes}` },
        };
      } else {
        places.push(index);
        intents.push(intentOf(file, type, grant, index));
      }
    });
    while (intents.length) {
      // A repeated `begin` is answered with the same uploads. The key covers the intents, so that one attempt of two
      // users can never meet.
      const digest = await crypto.subtle.digest("SHA-256", utf8(JSON.stringify([message.route, attempt, intents, context])));
      try {
        const results = await client.files.beginAll(intents, { idempotencyKey: `begin-${toBase64Url(new Uint8Array(digest))}` });
        for (const [at, result] of results.entries()) {
          uploads[places[at]!] = "error" in result ? { error: result.error } : await begun(result, message.route as string, context);
        }
        break;
      } catch (error) {
        // The API refuses a batch as a whole for a fault in one intent; only that file fails here.
        const faulty = error instanceof XFilesError && error.code === "invalid_request" ? faultsOf(error) : null;
        if (!faulty) throw error;
        for (const at of [...faulty.keys()].sort((one, other) => other - one)) {
          intents.splice(at, 1);
          uploads[places.splice(at, 1)[0]!] = { error: faulty.get(at)! };
        }
      }
    }
    return { uploads };
  }

  async function confirmOne(claim: Claim, file: StoredFile): Promise<Confirmed | Refused> {
    try {
      const data = await routes.get(claim.route)!.onConfirmed?.({ file, context: claim.context ?? undefined });
      return { file, data: data ?? null };
    } catch (error) {
      onError?.(error);
      return {
        error: { status: 500, code: "on_confirmed_failed", detail: "the file is stored; the application could not take note of it", hint: "Confirm again." },
      };
    }
  }

  async function confirm(message: Record<string, unknown>): Promise<object> {
    const claims = await Promise.all(listOf(message.claims, "claims").map((token) => claimed(token).catch(itemProblem)));
    const good = claims.filter((claim) => "fileId" in claim);
    const results = good.length ? await client.files.confirmAll(good.map((claim) => claim.fileId)) : [];
    let at = 0;
    const files = claims.map((claim) => {
      if ("error" in claim) return claim;
      const result = results[at++]!;
      return "error" in result ? { error: result.error } : confirmOne(claim, result.file);
    });
    return { files: await Promise.all(files) };
  }

  async function cancel(message: Record<string, unknown>): Promise<object> {
    const cancelOne = async (token: unknown) => {
      try {
        await client.files.cancel((await claimed(token)).fileId);
      } catch (error) {
        // What does not exist any more is cancelled.
        if (!(error instanceof XFilesError && error.code === "file_not_found")) return itemProblem(error);
      }
      return { cancelled: true };
    };
    return { results: await Promise.all(listOf(message.claims, "claims").map(cancelOne)) };
  }

  async function answer(request: Request): Promise<object> {
    if (request.method === "GET" || request.method === "HEAD") {
      return { routes: Object.fromEntries([...routes].map(([name, { limits }]) => [name, limits])) };
    }
    if (request.method !== "POST") throw refuse(405, "method_not_allowed", "the upload handler takes GET and POST");
    const message = await messageOf(request);
    switch (message.action) {
      case "begin":
        return begin(request, message);
      case "confirm":
        return confirm(message);
      case "renew": {
        const claim = await claimed(message.claim);
        return { upload: await begun(await client.files.renew(claim.fileId), claim.route, claim.context) };
      }
      case "cancel":
        return cancel(message);
      default:
        throw refuse(400, "invalid_request", "`action` must be `begin`, `confirm`, `renew` or `cancel`");
    }
  }

  async function handle(request: Request): Promise<Response> {
    const headers = new Headers({ "cache-control": "no-store", vary: "origin" });
    const origin = request.headers.get("origin");
    const foreign = origin !== null && origin !== originOf(request);
    const named = foreign && options.origins?.includes(origin);
    if (named) {
      headers.set("access-control-allow-origin", origin);
      headers.set("access-control-allow-credentials", "true");
      headers.set("access-control-expose-headers", "retry-after");
    }
    try {
      // The cookies of the application authorise, so pages of other origins are refused.
      const site = request.headers.get("sec-fetch-site");
      if (!named && (site ? site !== "same-origin" && site !== "none" : foreign)) {
        throw refuse(403, "cross_site", "pages of this origin may not upload here", "Name the origin in `origins` of createUploads.");
      }
      if (request.method === "OPTIONS") {
        headers.set("access-control-allow-methods", "GET, POST");
        headers.set("access-control-allow-headers", "content-type");
        headers.set("access-control-max-age", "600");
        return new Response(null, { status: 204, headers });
      }
      return Response.json(await answer(request), { headers });
    } catch (error) {
      const { error: problem } = itemProblem(error);
      headers.set("content-type", "application/problem+json");
      const retryAfter = error instanceof XFilesError || error instanceof Refusal ? error.retryAfter : undefined;
      if (retryAfter !== undefined) headers.set("retry-after", String(retryAfter));
      const whole = {
        type: `urn:xfiles:problem:${problem.code}`,
        title: problem.detail,
        error: problem.detail,
        instance: new URL(request.url).pathname,
        errors: [],
        ...problem,
      };
      return new Response(JSON.stringify(whole), { status: problem.status, headers });
    }
  }

  function itemProblem(error: unknown): Refused {
    if (error instanceof Refusal) return { error: error.problem };
    onError?.(error);
    // A refused API key is a fault of the application's configuration; the browser must not take it for its user's.
    if (error instanceof XFilesError && error.status >= 400 && ![401, 403].includes(error.status)) {
      const { status, code, detail, hint, errors, requestId } = error;
      return { error: { status, code, detail, hint, errors, requestId } };
    }
    if (error instanceof XFilesError) {
      return { error: { status: 502, code: "upstream_failed", detail: "the file service cannot be used at the moment", requestId: error.requestId } };
    }
    return { error: { status: 500, code: "internal", detail: "the upload handler failed" } };
  }

  return {
    handle,
    GET: handle,
    POST: handle,
    OPTIONS: handle,
    async onEvent(event, choose) {
      if (event.type !== "file.confirmed") return undefined;
      const { file } = await client.files.get(event.data.fileId);
      const chosen = await choose(file);
      return chosen && routes.get(chosen.route)?.onConfirmed?.({ file, context: chosen.context });
    },
  };
}

/** The faults of each intent by its index, or null if the error concerns anything else. */
function faultsOf(error: XFilesError): Map<number, Problem> | null {
  const faults = new Map<number, Problem>();
  for (const fault of error.errors) {
    const index = /^\/files\/(\d+)(?=\/|$)/.exec(fault.pointer);
    if (!index) return null;
    const errors = [...(faults.get(Number(index[1]))?.errors ?? []), { ...fault, pointer: fault.pointer.slice(index[0].length) }];
    const detail = errors.map(({ pointer, detail }) => `${pointer.slice(1)} ${detail}`).join("; ");
    faults.set(Number(index[1]), { status: 400, code: error.code, detail, errors, requestId: error.requestId });
  }
  return faults.size ? faults : null;
}

// Behind a proxy the URL that a framework builds can have another scheme than the page; hosts are what counts.
function originOf(request: Request): string {
  const url = new URL(request.url);
  const host = request.headers.get("host") ?? url.host;
  const origin = request.headers.get("origin");
  try {
    return origin && new URL(origin).host === host ? origin : url.origin;
  } catch {
    return url.origin;
  }
}

function limitsOf(name: string, options: RouteOptions<any, any, any>): RouteLimits {
  const { accept = [], maxBytes = MAX_BYTES, maxFiles = 1 } = options;
  const bytes = typeof maxBytes === "number" ? maxBytes : bytesOf(maxBytes);
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > MAX_BYTES) {
    throw new TypeError(`\`maxBytes\` of the route ${name} must be at most ${MAX_BYTES} bytes, or a text such as "5MB"`);
  }
  if (!Number.isInteger(maxFiles) || maxFiles < 1 || maxFiles > MAX_ITEMS) {
    throw new TypeError(`\`maxFiles\` of the route ${name} must be 1 to ${MAX_ITEMS}`);
  }
  return { accept: [...accept], maxBytes: bytes, maxFiles };
}

/** `"5MB"`, `"512 KiB"`; NaN if it is no size. */
function bytesOf(text: string): number {
  const [, number, prefix = "", binary] = /^\s*(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?\s*$/i.exec(text) ?? [];
  const exponent = { "": 0, k: 1, m: 2, g: 3 }[prefix.toLowerCase()]!;
  return number === undefined ? Number.NaN : Math.round(Number(number) * (binary ? 1024 : 1000) ** exponent);
}

function intentOf(file: FileToUpload, type: string, grant: Grant<unknown>, index: number): UploadIntent {
  const { visibility = "private", variants, ownerUserId, entity } = grant;
  return {
    filename: file.name,
    contentType: type,
    size: file.size,
    visibility,
    ...(ownerUserId === undefined ? {} : { ownerUserId }),
    ...(entity === undefined ? {} : { entity: typeof entity === "function" ? entity(file, index) : entity }),
    ...(file.checksumSha256 === undefined ? {} : { checksumSha256: file.checksumSha256 }),
    ...(variants ? { transformations: { image: { enabled: true, visibility: variants === true ? visibility : variants } } } : {}),
  };
}

async function messageOf(request: Request): Promise<Record<string, unknown>> {
  const tooLong = refuse(413, "body_too_large", `the message is longer than ${MAX_MESSAGE_BYTES} bytes`, "File bytes go to the store, not to this handler.");
  if (Number(request.headers.get("content-length")) > MAX_MESSAGE_BYTES) throw tooLong;
  if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? "")) {
    throw refuse(415, "unsupported_media_type", "the message must be declared as application/json");
  }
  let read = 0;
  const chunks: Uint8Array[] = [];
  const reader = request.body?.getReader();
  for (let step = await reader?.read(); step && !step.done; step = await reader!.read()) {
    if ((read += step.value.length) > MAX_MESSAGE_BYTES) {
      await reader!.cancel();
      throw tooLong;
    }
    chunks.push(step.value);
  }
  try {
    const message = JSON.parse(await new Blob(chunks as BlobPart[]).text());
    if (message && typeof message === "object" && !Array.isArray(message)) return message;
  } catch {
    // Refused below.
  }
  throw refuse(400, "malformed_json", "the message is no JSON object");
}

function listOf(list: unknown, name: string): unknown[] {
  if (Array.isArray(list) && list.length >= 1 && list.length <= MAX_ITEMS) return list;
  throw refuse(400, "invalid_request", `\`${name}\` must be a list of 1 to ${MAX_ITEMS} items`);
}

function filesOf(list: unknown): FileToUpload[] {
  return listOf(list, "files").map((file: any) => {
    if (typeof file?.name !== "string" || typeof file.type !== "string" || !Number.isSafeInteger(file.size) || file.size < 0) {
      throw refuse(400, "invalid_request", "each of `files` must have the texts `name` and `type` and the whole number `size`");
    }
    const { name, type, size, checksumSha256 } = file;
    return { name, type, size, ...(typeof checksumSha256 === "string" ? { checksumSha256 } : {}) };
  });
}

async function parse(parser: InputParser<any> | undefined, raw: unknown): Promise<any> {
  if (!parser) return undefined;
  let reason: string;
  try {
    if (!("~standard" in parser)) return await parser(raw);
    const result = await parser["~standard"].validate(raw);
    if (!result.issues) return result.value;
    reason = result.issues.map((issue) => issue.message).join("; ");
  } catch (error) {
    reason = error instanceof Error ? error.message : "it was refused";
  }
  throw refuse(400, "invalid_input", `\`input\` is not valid: ${reason}`);
}
