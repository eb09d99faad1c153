/** The longest wait between two tries, also when the server asks for more; then the error is returned. */
const MAX_RETRY_AFTER_S = 60;
const BASE_MS = 500;
const MAX_BACKOFF_MS = 8_000;

/** One failed try, as the decision to repeat it sees it. */
export interface Failure {
  method: string;
  /** The HTTP status; 0 if there was no answer. */
  status: number;
  code?: string | undefined;
  /** Seconds. */
  retryAfter?: number | undefined;
  /** The request has an `Idempotency-Key`. */
  idempotencyKey?: boolean | undefined;
  /** The request has an `If-Match`. */
  ifMatch?: boolean | undefined;
}

/**
 * Milliseconds until the next try of a request that failed `attempt` times before (0 for its first failure),
 * or null if it must not be repeated. `random` is in [0, 1).
 *
 * GET, PUT and DELETE are idempotent; POST is under an `Idempotency-Key`, PATCH under `If-Match`.
 */
export function retryDelay(failure: Failure, attempt: number, random: number): number | null {
  const repeatable =
    failure.method === "POST"
      ? failure.idempotencyKey === true
      : failure.method === "PATCH"
        ? failure.ifMatch === true
        : true;
  const passing =
    [0, 408, 429, 502, 503, 504].includes(failure.status) ||
    (failure.status === 409 && failure.code === "request_in_flight");
  if (!repeatable || !passing) return null;
  if (failure.retryAfter !== undefined) {
    return failure.retryAfter > MAX_RETRY_AFTER_S ? null : failure.retryAfter * 1000;
  }
  return Math.round(random * Math.min(MAX_BACKOFF_MS, BASE_MS * 2 ** attempt));
}
