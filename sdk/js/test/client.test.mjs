import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { XFiles, XFilesError } from "@xfiles/sdk";

/** A client whose requests are answered by `answers` in turn, and what it sent. */
function scripted(...answers) {
  const sent = [];
  const fetch = async (url, init) => {
    sent.push({ url, ...init });
    const answer = answers[sent.length - 1];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { sent, client: new XFiles({ apiKey: "xf_test", url: "http://api.test", fetch }) };
}
const problem = (status, code, headers = {}) =>
  new Response(JSON.stringify({ code, detail: code }), { status, headers: { "content-type": "application/problem+json", ...headers } });
const soon = { "retry-after": "0" };

describe("retries", () => {
  it("repeats a POST under the same Idempotency-Key", async () => {
    const { client, sent } = scripted(problem(503, "unavailable", soon), problem(409, "request_in_flight", soon), Response.json({ file: { id: "a" } }));
    assert.equal((await client.files.confirm("a")).id, "a");
    assert.equal(sent.length, 3);
    assert.equal(new Set(sent.map(({ headers }) => headers["idempotency-key"])).size, 1);
  });
  it("gives two calls two keys", async () => {
    const { client, sent } = scripted(Response.json({ file: {} }), Response.json({ file: {} }));
    await client.files.confirm("a");
    await client.files.confirm("a");
    assert.equal(new Set(sent.map(({ headers }) => headers["idempotency-key"])).size, 2);
  });
  it("does not repeat a PATCH without If-Match", async () => {
    const { client, sent } = scripted(problem(503, "unavailable", soon));
    await assert.rejects(client.files.update("a", {}), { code: "unavailable", retryAfter: 0 });
    assert.equal(sent.length, 1);
  });
  it("gives up after its retries", async () => {
    const { client, sent } = scripted(...Array.from({ length: 9 }, () => problem(429, "rate_limited", soon)));
    await assert.rejects(client.usage(), { code: "rate_limited" });
    assert.equal(sent.length, 3);
  });
  it("never repeats a body that is a stream", async () => {
    const upload = { uploadUrl: "http://store.test/x", headers: { "content-type": "text/plain" } };
    const { client, sent } = scripted(new Response("", { status: 503, headers: soon }));
    await assert.rejects(client.files.put(upload, new Blob(["abc"]).stream(), { size: 3 }), { code: "upload_refused", status: 503 });
    assert.equal(sent.length, 1);
    assert.equal(sent[0].headers["content-length"], "3");
  });
  it("stops when its signal aborts, also while it waits", async () => {
    const controller = new AbortController();
    const { client } = scripted(problem(503, "unavailable", { "retry-after": "50" }));
    const call = client.usage({ signal: controller.signal });
    setImmediate(() => controller.abort());
    await assert.rejects(call, { code: "aborted" });
  });
});

describe("errors", () => {
  it("a lost connection is an XFilesError", async () => {
    const { client } = scripted(new TypeError("fetch failed"));
    const error = await client.usage({ retries: 0 }).catch((error) => error);
    assert.ok(error instanceof XFilesError);
    assert.deepEqual([error.code, error.status], ["connection_failed", 0]);
  });
  it("an answer without JSON is an XFilesError", async () => {
    const { client } = scripted(new Response("<html>", { status: 200 }));
    await assert.rejects(client.usage(), { code: "unexpected_answer" });
  });
  it("never contain the key", async () => {
    const { client } = scripted(problem(401, "unauthorized"));
    const error = await client.usage().catch((error) => error);
    assert.ok(!JSON.stringify([error, String(error), error.stack]).includes("xf_test"));
  });
});

describe("construction", () => {
  it("names what is missing", () => {
    assert.throws(() => new XFiles({ url: "http://api.test" }), /apiKey/);
    assert.throws(() => new XFiles({ apiKey: "xf_test" }), /url/);
  });
  it("refuses a browser unless it is permitted", () => {
    Object.assign(globalThis, { window: {}, document: {} });
    try {
      assert.throws(() => new XFiles({ apiKey: "xf_test", url: "http://api.test" }), /dangerouslyAllowBrowser/);
      new XFiles({ apiKey: "xf_test", url: "http://api.test", dangerouslyAllowBrowser: true });
    } finally {
      delete globalThis.window;
      delete globalThis.document;
    }
  });
});
