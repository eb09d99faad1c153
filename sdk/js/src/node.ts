// Node's own types are not imported, so that this file compiles for applications on other platforms.

interface Incoming extends AsyncIterable<Uint8Array> {
  method?: string | undefined;
  url?: string | undefined;
  headers: Record<string, string | string[] | undefined>;
  /** A body that a middleware has parsed. */
  body?: unknown;
  /** The whole path, where a router has cut its mount point off `url`. */
  originalUrl?: string | undefined;
  protocol?: string | undefined;
  socket?: unknown;
}

interface Outgoing {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body?: string): unknown;
}

interface Handler {
  handle(request: Request): Promise<Response>;
}

async function toRequest(incoming: Incoming): Promise<Request> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined && !name.startsWith(":")) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const secure = (incoming.socket as { encrypted?: boolean } | undefined)?.encrypted;
  const scheme = incoming.protocol ?? (secure ? "https" : "http");
  const url = new URL(incoming.originalUrl ?? incoming.url ?? "/", `${scheme}://${headers.get("host") ?? "localhost"}`);
  const method = incoming.method ?? "GET";
  if (method === "GET" || method === "HEAD" || method === "OPTIONS") return new Request(url, { method, headers });
  const parsed = incoming.body;
  if (parsed !== undefined) {
    const body = typeof parsed === "string" || parsed instanceof Uint8Array ? parsed : JSON.stringify(parsed);
    // A parser may have changed the length.
    headers.delete("content-length");
    return new Request(url, { method, headers, body: body as BodyInit });
  }
  const iterator = incoming[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const step = await iterator.next();
      if (step.done) controller.close();
      else controller.enqueue(step.value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Request(url, { method, headers, body, duplex: "half" } as RequestInit);
}

/**
 * The upload handler as a listener of Node's `http`, which is also a handler of Express: with or without a JSON parser
 * before it.
 */
export function toNodeHandler(uploads: Handler) {
  return (incoming: Incoming, outgoing: Outgoing, next?: (error: unknown) => void): void => {
    toRequest(incoming)
      .then((request) => uploads.handle(request))
      .then(async (answer) => {
        outgoing.statusCode = answer.status;
        answer.headers.forEach((value, name) => outgoing.setHeader(name, value));
        outgoing.end(await answer.text());
      })
      .catch((error: unknown) => {
        if (next) return next(error);
        outgoing.statusCode = 500;
        outgoing.end();
      });
  };
}

interface FastifyLike {
  route(options: {
    method: string[];
    url: string;
    handler(
      request: { raw: Incoming; body: unknown; protocol?: string },
      reply: { status(code: number): unknown; headers(all: Record<string, string>): unknown; send(body: string): unknown },
    ): Promise<unknown>;
  }): unknown;
}

/** A plugin of Fastify: `app.register(fastifyUploads, { uploads, url: "/api/upload" })`. */
export async function fastifyUploads(app: FastifyLike, options: { uploads: Handler; url?: string }): Promise<void> {
  app.route({
    method: ["GET", "POST", "OPTIONS"],
    url: options.url ?? "/",
    async handler(request, reply) {
      const { raw } = request;
      const incoming: Incoming = {
        method: raw.method,
        url: raw.url,
        headers: raw.headers,
        body: request.body ?? undefined,
        protocol: request.protocol,
        [Symbol.asyncIterator]: () => raw[Symbol.asyncIterator](),
      };
      const answer = await options.uploads.handle(await toRequest(incoming));
      reply.status(answer.status);
      reply.headers(Object.fromEntries(answer.headers));
      return reply.send(await answer.text());
    },
  });
}
