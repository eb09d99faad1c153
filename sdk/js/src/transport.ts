import { errorOf, XFilesError } from "./errors.js";
import { retryDelay } from "./retry.js";

/** How a client reaches the API. */
export interface TransportOptions {
  url: string;
  apiKey: string;
  fetch: typeof fetch;
  /** Milliseconds for one try. */
  timeout: number;
  /** Tries after the first. */
  retries: number;
}

/** What every call accepts. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds for one try; without it, the client's. */
  timeout?: number | undefined;
  /** Tries after the first; without it, the client's. */
  retries?: number | undefined;
}

/** What a POST accepts as well. */
export interface PostOptions extends CallOptions {
  /** The same key for the same request makes it take effect once; without it, a random one. */
  idempotencyKey?: string | undefined;
}

export interface Call extends PostOptions {
  query?: object | undefined;
  body?: unknown;
  ifMatch?: string | undefined;
}

/** Waits `ms`; rejects when `signal` aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The error that a rejected `fetch` stands for. */
function lost(error: unknown, signal: AbortSignal | undefined): XFilesError {
  if (signal?.aborted) {
    return new XFilesError({ code: "aborted", status: 0, detail: "the call was aborted by its signal" }, { cause: error });
  }
  const late = error instanceof Error && error.name === "TimeoutError";
  return new XFilesError(
    late
      ? { code: "timeout", status: 0, detail: "there was no answer in time" }
      : { code: "connection_failed", status: 0, detail: "the server could not be reached or the connection was lost" },
    { cause: error },
  );
}

export class Transport {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** Sends one request, repeats it where that is safe, and returns the JSON of its answer. */
  async call<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const headers: Record<string, string> = {
      accept: "application/json",
      authorization: `Bearer ${this.#options.apiKey}`,
    };
    if (method === "POST") headers["idempotency-key"] = call.idempotencyKey ?? crypto.randomUUID();
    if (call.ifMatch !== undefined) headers["if-match"] = call.ifMatch;
    if (call.body !== undefined) headers["content-type"] = "application/json";
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const answer = await this.send(method, this.#options.url + path + queryOf(call.query), { headers, body }, call);
    const text = await answer.text();
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new XFilesError(
        { code: "unexpected_answer", status: answer.status, detail: "the answer is no JSON; is `url` that of an XFiles API?" },
        { cause },
      );
    }
  }

  /**
   * Sends a request and returns its successful answer, whose body arrived in full. `once` forbids repetitions, for
   * bodies that cannot be read a second time.
   */
  async send(
    method: string,
    url: string,
    init: { headers: Record<string, string>; body: BodyInit | null; once?: boolean },
    call: CallOptions,
  ): Promise<Response> {
    const retries = init.once ? 0 : (call.retries ?? this.#options.retries);
    for (let attempt = 0; ; attempt++) {
      let error: XFilesError;
      try {
        const deadline = AbortSignal.timeout(call.timeout ?? this.#options.timeout);
        const signal = call.signal ? AbortSignal.any([call.signal, deadline]) : deadline;
        // Node needs `duplex` for a body that is a stream; other platforms ignore it.
        const answer = await this.#options.fetch(url, {
          method,
          headers: init.headers,
          body: init.body,
          signal,
          redirect: "error",
          ...(init.once ? { duplex: "half" } : {}),
        } as RequestInit);
        const text = await answer.text();
        if (answer.ok) return new Response(text, { status: answer.status, headers: answer.headers });
        error = errorOf(answer.status, answer.headers, text, Date.now());
      } catch (cause) {
        error = lost(cause, call.signal);
        if (error.code === "aborted") throw error;
      }
      const wait = retryDelay(
        {
          method,
          status: error.status,
          code: error.code,
          retryAfter: error.retryAfter,
          idempotencyKey: "idempotency-key" in init.headers,
          ifMatch: "if-match" in init.headers,
        },
        attempt,
        Math.random(),
      );
      if (attempt >= retries || wait === null) throw error;
      await sleep(wait, call.signal).catch((cause) => {
        throw lost(cause, call.signal);
      });
    }
  }
}

function queryOf(query: object | undefined): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return pairs.length ? `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}` : "";
}

/** Writes a path, with every value encoded. */
export function path(strings: TemplateStringsArray, ...values: (string | number)[]): string {
  return strings.reduce((all, part, index) => all + encodeURIComponent(values[index - 1] ?? "") + part);
}
