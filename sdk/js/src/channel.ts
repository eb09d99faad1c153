import { XFilesError } from "./errors.js";
import type { Message } from "./protocol.js";

/** Sends a message of sdk/PROTOCOL.md and returns the answer; a refusal is an {@link XFilesError}. */
export type Channel = <T>(message: Message, keepalive?: boolean) => Promise<T>;

/** The options of a connection to an upload handler. */
export interface ChannelOptions {
  /** Where the upload handler is, such as `/api/upload`. */
  endpoint: string;
  /** Sent with each message, for applications that do not authorise by cookies. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>) | undefined;
  /** `include` sends cookies to an endpoint of another origin. */
  credentials?: RequestCredentials | undefined;
}

export function channel({ endpoint, headers, credentials }: ChannelOptions): Channel {
  return async (message, keepalive = false) => {
    const more = typeof headers === "function" ? await headers() : headers;
    let answer: Response;
    let body: any;
    try {
      answer = await fetch(endpoint, {
        method: "POST",
        headers: { ...more, "content-type": "application/json" },
        body: JSON.stringify(message),
        credentials: credentials ?? "same-origin",
        keepalive,
      });
      body = await answer.json().catch(() => null);
    } catch (cause) {
      throw new XFilesError({ code: "connection_failed", status: 0, detail: "the upload handler could not be reached" }, { cause });
    }
    if (answer.ok && body) return body;
    const retryAfter = Number(answer.headers.get("retry-after")) || undefined;
    throw new XFilesError({
      code: "unexpected_answer",
      detail: `the upload handler answered ${answer.status} without a problem document`,
      ...(typeof body?.code === "string" ? body : {}),
      status: answer.ok ? 0 : answer.status,
      retryAfter,
    });
  };
}
