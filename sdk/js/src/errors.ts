import type { FieldError, ProblemCode } from "./generated.js";

/**
 * `code` of an {@link XFilesError}: one of the API's, or one of the SDK's own:
 * `connection_failed` (no answer), `timeout`, `aborted`, `upload_refused` (the store refused the bytes) and
 * `unexpected_answer` (an answer that is no problem document).
 */
export type ErrorCode =
  | ProblemCode
  | "connection_failed"
  | "timeout"
  | "aborted"
  | "upload_refused"
  | "unexpected_answer"
  | (string & {});

/** The fields of a problem document that callers use. */
export interface ProblemFields {
  code: ErrorCode;
  status: number;
  detail: string;
  hint?: string | undefined;
  errors?: FieldError[] | undefined;
  requestId?: string | undefined;
  /** Seconds. */
  retryAfter?: number | undefined;
}

/** Any failure of a call. Programs should look at `code`; `message` is for people. */
export class XFilesError extends Error {
  readonly code: ErrorCode;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  readonly detail: string;
  /** What to do about it. */
  readonly hint: string | undefined;
  /** Every field that breaks its rule. */
  readonly errors: FieldError[];
  /** Identifies the request in the server's log. */
  readonly requestId: string | undefined;
  /** Seconds to wait before the next try, if the server named them. */
  readonly retryAfter: number | undefined;

  constructor(problem: ProblemFields, options?: { cause?: unknown }) {
    super(`${problem.detail} (${problem.code})`, options);
    this.name = "XFilesError";
    this.code = problem.code;
    this.status = problem.status;
    this.detail = problem.detail;
    this.hint = problem.hint;
    this.errors = problem.errors ?? [];
    this.requestId = problem.requestId;
    this.retryAfter = problem.retryAfter;
  }
}

/** Parses `Retry-After`: seconds, or an HTTP date relative to `now` (ms). */
export function parseRetryAfter(value: string | null | undefined, now: number): number | undefined {
  if (!value) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}

/** The error that an answer other than a success stands for. */
export function errorOf(status: number, headers: Headers, body: string, now: number): XFilesError {
  const retryAfter = parseRetryAfter(headers.get("retry-after"), now);
  const fallbackId = headers.get("request-id") ?? undefined;
  try {
    const problem = JSON.parse(body) as Partial<ProblemFields>;
    if (typeof problem.code === "string") {
      return new XFilesError({
        code: problem.code,
        status,
        detail: typeof problem.detail === "string" ? problem.detail : problem.code,
        hint: problem.hint,
        errors: Array.isArray(problem.errors) ? problem.errors : [],
        requestId: problem.requestId ?? fallbackId,
        retryAfter,
      });
    }
  } catch {
    // Not JSON: a proxy answered.
  }
  return new XFilesError({
    code: "unexpected_answer",
    status,
    detail: `the answer has status ${status} and is no problem document; a proxy may have sent it`,
    requestId: fallbackId,
    retryAfter,
  });
}
