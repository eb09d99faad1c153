// Against a real `xf serve`. sdk/python has the same cases.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { verifyWebhook, XFiles } from "@xfiles/sdk";
import { createUploads, fastifyUploads, route, toNodeHandler } from "@xfiles/sdk/server";
import express from "express";
import fastify from "fastify";
import { listen, serve } from "./support.mjs";

let server;
let client;
before(async () => {
  server = await serve("--webhooks-anywhere");
  client = new XFiles(server);
});
after(() => server.stop());

const text = (name, more = {}) => ({ filename: name, contentType: "text/plain", size: 3, ...more });
const put = ({ url, headers }, body) => fetch(url, { method: "PUT", headers, body });

describe("client", () => {
  it("uploads, lists, changes, reorders and deletes", async () => {
    const entity = (position) => ({ type: "listing", id: "one", position });
    const one = await client.files.upload("abc", { filename: "one.txt", entity: entity(0) });
    const two = await client.files.upload(new File(["def"], "two.txt"), { entity: entity(1), visibility: "public" });
    const three = await client.files.upload(new Blob(["ghi"]).stream(), { filename: "three.txt", size: 3, entity: entity(2) });
    const filter = { entityType: "listing", entityId: "one" };
    const names = async () => {
      const found = [];
      for await (const file of client.files.list({ ...filter, limit: 1 })) found.push(file.originalFilename);
      return found;
    };
    assert.deepEqual(await names(), ["one.txt", "two.txt", "three.txt"]);
    assert.equal((await client.files.list(filter).page()).total, 3);
    await client.files.reorder({ type: "listing", id: "one" }, [three.id, two.id, one.id]);
    assert.deepEqual(await names(), ["three.txt", "two.txt", "one.txt"]);
    const { url } = await client.files.urls(one.id, { expiresIn: 60, download: true });
    assert.equal(await (await fetch(url)).text(), "abc");
    const { file } = await client.files.get(one.id);
    const changed = await client.files.update(one.id, { ownerUserId: "u" }, { ifMatch: file.etag });
    assert.equal(changed.ownerUserId, "u");
    await assert.rejects(client.files.update(one.id, { ownerUserId: null }, { ifMatch: file.etag }), { code: "precondition_failed" });
    assert.equal((await client.files.delete(one.id)).success, true);
    assert.deepEqual(await client.files.deleteAll([two.id]), [{ success: true }]);
    assert.equal(await client.files.deleteWhere(filter), 1);
    await assert.rejects(client.files.get(three.id), { code: "file_not_found", status: 404 });
  });

  it("gives quota back when an upload fails", async () => {
    const before = await client.usage();
    await assert.rejects(client.files.upload("no picture", { filename: "a.png" }), { code: "content_type_mismatch" });
    await assert.rejects(client.files.upload("abc", { filename: "a.txt", checksumSha256: `${"A".repeat(43)}=` }), { code: "upload_refused" });
    assert.deepEqual(await client.usage(), before);
  });

  it("repeats a lost POST without a second effect", async () => {
    let lose = true;
    const flaky = new XFiles({
      ...server,
      fetch: async (...call) => {
        const answer = await fetch(...call);
        if (!lose) return answer;
        lose = false;
        throw new TypeError("the answer was lost");
      },
    });
    const before = await client.usage();
    const upload = await flaky.files.begin(text("lost.txt"));
    assert.equal((await client.usage()).reservedBytes, before.reservedBytes + 3);
    await client.files.cancel(upload.fileId);
  });

  it("reports every field error with its pointer", async () => {
    const error = await client.files.begin({ filename: "", contentType: "text/plain", size: -1 }).catch((error) => error);
    assert.deepEqual(error.errors.map(({ pointer }) => pointer).sort(), ["/filename", "/size"]);
    assert.ok(error.requestId);
  });

  it("manages projects, keys and webhooks", async () => {
    const project = await client.projects.create({ name: "sdk", quotaBytes: 1000 });
    const { apiKey, key } = await client.keys.create(project.id, { name: "k", scopes: ["read"] });
    await assert.rejects(new XFiles({ ...server, apiKey }).files.begin(text("a.txt")), { code: "missing_scope", status: 403 });
    await client.keys.revoke(project.id, key.id);
    assert.equal((await client.keys.list(project.id)).length, 1);
    assert.equal((await client.projects.update(project.id, { name: "renamed" })).name, "renamed");
    await client.projects.delete(project.id);
  });

  it("receives a webhook that verifies", async () => {
    let arrived;
    const message = new Promise((resolve) => (arrived = resolve));
    const hook = await listen(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      response.end();
      arrived({ headers: request.headers, body: Buffer.concat(chunks) });
    });
    try {
      const { secret, webhook } = await client.webhooks.create(server.projectId, { url: hook.url, events: ["file.confirmed"] });
      const file = await client.files.upload("abc", { filename: "hook.txt" });
      const { headers, body } = await message;
      const event = await verifyWebhook(body, headers, secret);
      assert.deepEqual([event.type, event.data.fileId], ["file.confirmed", file.id]);
      await client.webhooks.delete(server.projectId, webhook.id);
    } finally {
      await hook.close();
    }
  });
});

describe("upload handler", () => {
  const attempt = () => crypto.randomUUID();
  let confirmed;
  let broken;
  let uploads;
  before(() => {
    confirmed = [];
    uploads = createUploads({
      client,
      apiKeys: server.apiKey,
      origins: ["https://friend.test"],
      routes: {
        note: route({
          accept: ["text/*"],
          maxBytes: "1KB",
          maxFiles: 100,
          input: (raw) => {
            if (typeof raw?.album !== "number") throw new Error("`album` must be a number");
            return raw;
          },
          authorize: ({ request, input }) =>
            request.headers.get("cookie") === "user=zoe" ? { ownerUserId: "zoe", entity: (_file, index) => ({ type: "album", id: String(input.album), position: index }), context: { album: input.album } } : null,
          onConfirmed: ({ file, context }) => {
            if (broken) throw new Error("the database is down");
            confirmed.push(file.id);
            return { album: context.album, name: file.originalFilename };
          },
        }),
      },
    });
  });
  const call = async (message, headers = {}) => {
    const body = typeof message === "string" ? message : JSON.stringify(message);
    const answer = await uploads.handle(
      new Request("http://app.test/api/upload", { method: "POST", body, headers: { "content-type": "application/json", cookie: "user=zoe", ...headers } }),
    );
    return { status: answer.status, headers: answer.headers, ...(await answer.json()) };
  };
  const begin = (files, more = {}) => call({ action: "begin", route: "note", input: { album: 7 }, attempt: attempt(), files, ...more });
  const note = (name = "a.txt", size = 3) => ({ name, type: "text/plain", size });

  it("uploads from begin to onConfirmed", async () => {
    const { uploads: [one] } = await begin([note()]);
    assert.equal((await put(one, "abc")).status, 200);
    const { files: [result] } = await call({ action: "confirm", claims: [one.claim] });
    assert.deepEqual(result.data, { album: 7, name: "a.txt" });
    assert.equal(result.file.ownerUserId, "zoe");
    assert.ok(confirmed.includes(result.file.id));
    const again = await call({ action: "confirm", claims: [one.claim] });
    assert.equal(again.files[0].file.id, result.file.id);
    const cancelled = await call({ action: "cancel", claims: [one.claim] });
    assert.equal(cancelled.results[0].error.code, "precondition_failed");
    assert.equal((await client.files.get(result.file.id)).file.id, result.file.id);
    assert.equal((await call({ action: "renew", claim: one.claim })).code, "not_pending");
  });

  it("begins 100 files in one message, and refuses 101", async () => {
    const { uploads: all } = await begin(Array.from({ length: 100 }, (_, index) => note(`${index}.txt`)));
    assert.equal(all.filter((one) => one.claim).length, 100);
    const { results } = await call({ action: "cancel", claims: all.map(({ claim }) => claim) });
    assert.ok(results.every((one) => one.cancelled));
    assert.equal((await begin(Array.from({ length: 101 }, () => note()))).code, "invalid_request");
  });

  it("reserves once for a repeated attempt", async () => {
    const more = { attempt: attempt() };
    const before = await client.usage();
    const first = await begin([note()], more);
    const second = await begin([note()], more);
    assert.equal(first.uploads[0].url, second.uploads[0].url);
    assert.equal((await client.usage()).reservedBytes, before.reservedBytes + 3);
    await call({ action: "cancel", claims: [first.uploads[0].claim] });
    assert.deepEqual(await client.usage(), before);
  });

  it("refuses files one by one", async () => {
    const { uploads: results } = await begin([note(), note("b.png"), { name: "c.png", type: "image/png", size: 1 }, note("d.txt", 1001), { name: "e.nothing", type: "", size: 1 }, { name: "x".repeat(2000), type: "text/plain", size: 1 }, { name: "f", type: "text/x-unheard-of", size: 1 }]);
    assert.deepEqual(results.map((one) => one.error?.code ?? "ok"), ["ok", "ok", "content_type_not_allowed", "file_too_large", "content_type_not_allowed", "invalid_request", "invalid_request"]);
    assert.equal(results[5].error.errors[0].pointer, "/filename");
    await call({ action: "cancel", claims: results.slice(0, 2).map(({ claim }) => claim) });
  });

  it("reports a failing onConfirmed, and confirms again", async () => {
    const { uploads: [one] } = await begin([note()]);
    await put(one, "abc");
    broken = true;
    assert.equal((await call({ action: "confirm", claims: [one.claim] })).files[0].error.code, "on_confirmed_failed");
    broken = false;
    assert.equal((await call({ action: "confirm", claims: [one.claim] })).files[0].data.album, 7);
  });

  it("renews a URL", async () => {
    const { uploads: [one] } = await begin([note()]);
    const { upload } = await call({ action: "renew", claim: one.claim });
    assert.equal((await put(upload, "abc")).status, 200);
    assert.ok((await call({ action: "confirm", claims: [upload.claim] })).files[0].file);
  });

  it("answers not_uploaded in its place", async () => {
    const { uploads: [one, two] } = await begin([note(), note()]);
    await put(two, "abc");
    const { files } = await call({ action: "confirm", claims: [one.claim, "xfc1.a.b", two.claim] });
    assert.deepEqual(files.map((file) => file.error?.code ?? "ok"), ["not_uploaded", "invalid_claim", "ok"]);
    await call({ action: "cancel", claims: [one.claim] });
  });

  for (const [name, message, headers, status, code] of [
    ["nobody", { action: "begin", route: "note", input: { album: 7 }, attempt: "a".repeat(20), files: [note()] }, { cookie: "" }, 403, "not_authorized"],
    ["a foreign site", { action: "cancel", claims: ["x"] }, { "sec-fetch-site": "cross-site", origin: "https://evil.test" }, 403, "cross_site"],
    ["a neighbouring site", { action: "cancel", claims: ["x"] }, { "sec-fetch-site": "same-site", origin: "http://evil.app.test" }, 403, "cross_site"],
    ["a foreign origin without Sec-Fetch-Site", { action: "cancel", claims: ["x"] }, { origin: "https://evil.test" }, 403, "cross_site"],
    ["the origin null", { action: "cancel", claims: ["x"] }, { origin: "null" }, 403, "cross_site"],
    ["an unknown route", { action: "begin", route: "toString", attempt: "a".repeat(20), files: [note()] }, {}, 404, "unknown_route"],
    ["wrong input", { action: "begin", route: "note", input: {}, attempt: "a".repeat(20), files: [note()] }, {}, 400, "invalid_input"],
    ["a short attempt", { action: "begin", route: "note", attempt: "a", files: [note()] }, {}, 400, "invalid_request"],
    ["no files", { action: "begin", route: "note", attempt: "a".repeat(20), files: [] }, {}, 400, "invalid_request"],
    ["a file without a size", { action: "begin", route: "note", attempt: "a".repeat(20), files: [{ name: "a", type: "text/plain" }] }, {}, 400, "invalid_request"],
    ["no action", {}, {}, 400, "invalid_request"],
    ["no JSON", "{", {}, 400, "malformed_json"],
    ["a list", "[]", {}, 400, "malformed_json"],
    ["another type", "a=1", { "content-type": "text/plain" }, 415, "unsupported_media_type"],
    ["a long body", `{"action":"${"x".repeat(65536)}"}`, {}, 413, "body_too_large"],
    ["a foreign claim", { action: "renew", claim: "xfc1.e30.AAAA" }, {}, 403, "invalid_claim"],
  ]) {
    it(`refuses ${name}`, async () => {
      const answer = await call(message, headers);
      assert.deepEqual([answer.status, answer.code], [status, code]);
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      assert.equal(answer.error, answer.detail);
    });
  }

  it("lets named origins in, with CORS", async () => {
    const answer = await call({ action: "cancel", claims: ["x"] }, { "sec-fetch-site": "cross-site", origin: "https://friend.test" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("access-control-allow-origin"), "https://friend.test");
    assert.equal(answer.headers.get("vary"), "origin");
  });

  it("hides a refused API key", async () => {
    const stranger = createUploads({ client: new XFiles({ ...server, apiKey: `xf_${"a".repeat(32)}` }), apiKeys: "xf_other", routes: { any: route({ authorize: () => ({}) }) } });
    const answer = await stranger.handle(
      new Request("http://app.test/", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ action: "begin", route: "any", attempt: "a".repeat(20), files: [note()] }) }),
    );
    assert.deepEqual([answer.status, (await answer.json()).code], [502, "upstream_failed"]);
  });

  it("calls onConfirmed for an event", async () => {
    const file = await client.files.upload("abc", { filename: "event.txt" });
    const event = { type: "file.confirmed", data: { fileId: file.id } };
    assert.deepEqual(await uploads.onEvent(event, () => ({ route: "note", context: { album: 1 } })), { album: 1, name: "event.txt" });
    assert.equal(await uploads.onEvent(event, () => null), null);
  });

  for (const [name, start] of [
    ["node:http", () => createServer(toNodeHandler(uploads))],
    ["Express", () => createServer(express().use("/api/upload", toNodeHandler(uploads)))],
    ["Express with a JSON parser", () => createServer(express().use(express.json()).use("/api/upload", toNodeHandler(uploads)))],
    ["Fastify", async () => {
      const app = fastify();
      await app.register(fastifyUploads, { uploads, url: "/api/upload" });
      await app.ready();
      return createServer((request, response) => app.routing(request, response));
    }],
  ]) {
    it(`works under ${name}`, async () => {
      const app = await start();
      await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
      const endpoint = `http://127.0.0.1:${app.address().port}/api/upload`;
      const send = (message) =>
        fetch(endpoint, { method: "POST", headers: { "content-type": "application/json", cookie: "user=zoe" }, body: JSON.stringify(message) });
      try {
        assert.deepEqual(await (await fetch(endpoint)).json(), { routes: { note: { accept: ["text/*"], maxBytes: 1000, maxFiles: 100 } } });
        const { uploads: [one] } = await (await send({ action: "begin", route: "note", input: { album: 7 }, attempt: attempt(), files: [note("Zoë.txt")] })).json();
        await put(one, "abc");
        const { files: [result] } = await (await send({ action: "confirm", claims: [one.claim] })).json();
        assert.equal(result.data.name, "Zoë.txt");
        assert.equal((await send({ action: "renew", claim: "x" })).status, 403);
      } finally {
        app.closeAllConnections();
        app.close();
      }
    });
  }
});
