import assert from "node:assert/strict";
import { it } from "node:test";
import { XFiles } from "@xfiles/sdk";
import { openapi } from "./support.mjs";

// One call for each operation, and the operations that are left out, with the reason.
const CALLS = {
  cleanUp: (c) => c.cleanup({ dryRun: true }),
  orderFiles: (c) => c.files.reorder({ type: "t", id: "i/1" }, ["a"]),
  deleteFiles: (c) => c.files.deleteWhere({ entityType: "t" }),
  listFiles: (c) => c.files.list({ q: "a" }).page(2),
  confirmUpload: (c) => c.files.confirm("id"),
  confirmUploads: (c) => c.files.confirmAll(["id"]),
  deleteListedFiles: (c) => c.files.deleteAll(["id"]),
  beginUpload: (c) => c.files.begin({}),
  beginUploads: (c) => c.files.beginAll([{}], { allOrNothing: true }),
  deleteFile: (c) => c.files.delete("id", { erase: true }),
  getFile: (c) => c.files.get("id", { wait: 5 }),
  changeFile: (c) => c.files.update("id", {}, { ifMatch: '"1"' }),
  renewUploadUrl: (c) => c.files.renew("id"),
  makeUrls: (c) => c.files.urls("id", { expiresIn: 60, format: "auto" }),
  listProjects: (c) => c.projects.list(),
  createProject: (c) => c.projects.create({ name: "n", quotaBytes: 1 }),
  deleteProject: (c) => c.projects.delete("p"),
  getProject: (c) => c.projects.get("p"),
  changeProject: (c) => c.projects.update("p", { name: "n" }),
  emptyProject: (c) => c.projects.empty("p"),
  listKeys: (c) => c.keys.list("p"),
  createKey: (c) => c.keys.create("p", { name: "n" }),
  revokeKey: (c) => c.keys.revoke("p", "k"),
  rotateKey: (c) => c.keys.rotate("p", "k"),
  listWebhooks: (c) => c.webhooks.list("p"),
  createWebhook: (c) => c.webhooks.create("p", { url: "https://example.com" }),
  deleteWebhook: (c) => c.webhooks.delete("p", "w"),
  changeWebhook: (c) => c.webhooks.update("p", "w", { enabled: false }),
  listDeliveries: (c) => c.webhooks.deliveries("p", "w", { status: "parked" }).next(),
  replayDeliveries: (c) => c.webhooks.replay("p", "w"),
  rotateWebhookSecret: (c) => c.webhooks.rotate("p", "w"),
  getUsage: (c) => c.usage(),
  getVersion: (c) => c.version(),
};
const LEFT_OUT = {
  isAlive: "a probe for load balancers",
  isReady: "a probe for load balancers",
  getDescription: "tools read the document by its URL",
};

const operations = Object.entries(openapi().paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
);

it("every operation of openapi.json has a call or a reason to have none", () => {
  const known = [...Object.keys(CALLS), ...Object.keys(LEFT_OUT)].sort();
  assert.deepEqual(operations.map(({ operationId }) => operationId).sort(), known);
});

for (const operation of operations.filter(({ operationId }) => operationId in CALLS)) {
  it(`${operation.operationId} sends what openapi.json declares`, async () => {
    let sent;
    const fetch = async (url, init) => {
      sent = { url: new URL(url), ...init };
      return Response.json({ results: [], deliveries: [], nextCursor: null });
    };
    await CALLS[operation.operationId](new XFiles({ apiKey: "xf_test", url: "http://api.test/", fetch }));
    const pattern = new RegExp(`^${operation.path.replace(/\{\w+\}/g, "[^/]+")}$`);
    assert.equal(sent.method, operation.method);
    assert.match(sent.url.pathname, pattern);
    const names = (where) => operation.parameters?.filter((parameter) => parameter.in === where).map(({ name }) => name) ?? [];
    for (const name of sent.url.searchParams.keys()) assert.ok(names("query").includes(name), `?${name} is not declared`);
    assert.equal("idempotency-key" in sent.headers, names("header").includes("Idempotency-Key"));
    if (sent.body && !operation.requestBody) assert.fail("a body is not declared");
  });
}
