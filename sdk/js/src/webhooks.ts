import { fromBase64, hmac, sameBytes, utf8 } from "./bytes.js";
import type { Entity, EventName, Visibility } from "./generated.js";

/** An event, as a webhook's body or an EventBridge event's `detail` has it. */
export interface XFilesEvent {
  /** Drop ids that were seen before: a message can arrive more than once. */
  id: string;
  type: EventName;
  timestamp: string;
  data: {
    fileId: string;
    projectId: string;
    /** The higher one of two events is the newer. */
    revision: number;
    contentType: string;
    size: number;
    visibility: Visibility;
    ownerUserId: string | null;
    entity: Entity | null;
    /** Which variants were removed; only `variants.purged` has it. */
    purged?: unknown;
  };
}

/** A message that is not from this webhook, or too old. */
export class WebhookError extends Error {
  override readonly name = "WebhookError";
}

/** How far a message's timestamp may be from now, in seconds; docs/webhooks.md. */
const TOLERANCE_S = 300;

/**
 * Verifies a message and returns its event; throws {@link WebhookError} otherwise. `body` must be the bytes or text as
 * received, not JSON that was parsed and written again.
 *
 * @param secret `whsec_…`, or several while a secret is being rotated.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: Headers | Record<string, string | string[] | undefined>,
  secret: string | readonly string[],
  options: { now?: number } = {},
): Promise<XFilesEvent> {
  const header = (name: string) => {
    const value = headers instanceof Headers ? headers.get(name) : headers[name];
    if (typeof value !== "string" || !value) throw new WebhookError(`the header ${name} is missing`);
    return value;
  };
  const id = header("webhook-id");
  const timestamp = header("webhook-timestamp");
  const signatures = header("webhook-signature").split(" ");
  const age = (options.now ?? Date.now()) / 1000 - Number(timestamp);
  if (!/^\d+$/.test(timestamp) || Math.abs(age) > TOLERANCE_S) {
    throw new WebhookError("the header webhook-timestamp is more than five minutes from now");
  }
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const message = utf8(`${id}.${timestamp}.${text}`);
  for (const one of typeof secret === "string" ? [secret] : secret) {
    const expected = await hmac(fromBase64(one.replace(/^whsec_/, "")), message);
    const right = signatures.some((signature) => {
      if (!signature.startsWith("v1,")) return false;
      try {
        return sameBytes(fromBase64(signature.slice(3)), expected);
      } catch {
        return false;
      }
    });
    if (right) return JSON.parse(text) as XFilesEvent;
  }
  throw new WebhookError("no signature in webhook-signature is right for this body and secret");
}
