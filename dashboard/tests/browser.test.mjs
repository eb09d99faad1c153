// The console in Chromium against `xf serve`.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Api, browser, freePort, png, serve } from "./stack.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const started = await browser();
if (!started.browser) {
  console.log(`SKIPPED: the browser tests of the console: ${started.reason}`);
  process.exit(0);
}
const chromium = started.browser;
let server, api, picture;
before(async () => {
  server = await serve();
  api = new Api(server);
});
after(async () => { await chromium.close(); await server.stop(); });

/** A page that fails its test when the policy is broken, a script throws, or another host is asked. */
async function open({ width = 1440, height = 900, scheme = "light", at = server } = {}) {
  const context = await chromium.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  // A busy machine is slow; what never comes fails all the same.
  page.setDefaultTimeout(120_000);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(`script: ${error.message}`));
  page.on("console", (message) => { if (/Content Security Policy|Trusted/i.test(message.text())) page.faults.push(message.text()); });
  page.on("request", (request) => { const url = new URL(request.url()); if (/^https?:$/.test(url.protocol) && ![at.url, at.s3].includes(url.origin)) page.faults.push(`another host: ${url.origin}`); });
  return page;
}
async function signIn(page, key = server.key, at = server) {
  await page.goto(`${at.url}/dashboard/`);
  await page.fill("#key", key);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".app");
}
const walk = (page, path) => page.evaluate((to) => { history.pushState(null, "", to); dispatchEvent(new PopStateEvent("popstate")); }, path);
const close = async (page) => { const { faults } = page; await page.context().close(); assert.deepEqual(faults, []); };
async function check(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } })).violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 160)}`));
  assert.deepEqual(found, [], `axe on ${name}`);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} scrolls sideways`);
}

test("a key signs in, is kept nowhere, and is forgotten by a reload", async () => {
  const page = await open();
  await page.goto(`${server.url}/`);
  await page.waitForSelector("#key");
  await check(page, "sign in");
  await page.fill("#key", "xf_" + "a".repeat(32));
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=This key is not valid here");
  await check(page, "refused sign in");
  await page.fill("#key", server.key);
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=Send your first file");
  await check(page, "first overview");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(server.key));
  const before = page.url();
  await page.reload();
  await page.waitForSelector("#key");
  assert.equal(page.url(), before, "the address stays");
  await close(page);
});

test("three files are sent: one is published, one is refused, one is not what it says; the tray survives a walk", async () => {
  const page = await open();
  await signIn(page);
  await walk(page, `/dashboard/p/${server.project}/files`);
  await page.waitForSelector("text=Drop files here");
  await check(page, "no files");
  await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)), data = new DataTransfer();
    data.items.add(new File([bytes], "kite-clouds.png", { type: "image/png" }));
    data.items.add(new File(["x"], "what.zzz"));
    data.items.add(new File(["%PDF-1.4 not a picture"], "scan.jpg", { type: "image/jpeg" }));
    document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
  }, png(1).toString("base64"));
  await walk(page, `/dashboard/p/${server.project}/uploads`);
  await page.waitForSelector('.tray li[data-state="done"]');
  await page.waitForSelector("text=The type of what.zzz is unknown");
  await page.waitForSelector("text=Named image/jpeg, but the bytes are something else");
  await check(page, "tray");
  await walk(page, `/dashboard/p/${server.project}/files`);
  await page.waitForSelector('[role=gridcell] img.in-view');
  const { files } = await api.call("GET", "files?include=urls");
  assert.equal(files.length, 1);
  picture = files[0];
  await page.click("[data-index='0']");
  await page.waitForSelector(".drawer .facts");
  await check(page, "drawer");
  await close(page);
});

test("a key is shown once and is gone from the page afterwards", async () => {
  const page = await open();
  await signIn(page);
  await walk(page, `/dashboard/p/${server.project}/keys`);
  await page.click("text=New key");
  await page.fill("dialog input[type=text]", "Image import");
  await page.click("text=Make key");
  await page.click("text=Reveal");
  const raw = await page.inputValue("#key-once");
  assert.match(raw, /^xf_[A-Za-z0-9]{32}$/);
  assert.ok((await new Api(server, raw).call("GET", "usage")).quotaBytes > 0);
  await page.keyboard.press("Escape");
  assert.ok(await page.isVisible("text=Not stored yet?"), "Esc asks");
  await check(page, "key once");
  await page.click("text=I have stored it");
  assert.ok(!(await page.content()).includes(raw));
  await close(page);
});

test("every screen is free of axe's findings, wide and light and narrow and dark", async () => {
  await api.call("POST", "files/upload-intent", { filename: "pending.mp4", contentType: "video/mp4", size: 1000 });
  const p = `/dashboard/p/${server.project}`;
  const screens = { overview: p, table: `${p}/files?view=table`, nothing: `${p}/files?q=zzz`, file: `${p}/files/${picture.id}`, playground: `${p}/playground`, uploads: `${p}/uploads`, webhooks: `${p}/webhooks`, members: `${p}/members`, audit: `${p}/audit`, settings: `${p}/settings`, projects: "/dashboard/projects", people: "/dashboard/people", cleanup: "/dashboard/cleanup", deployment: "/dashboard/deployment", sessions: "/dashboard/sessions", missing: "/dashboard/nowhere" };
  for (const shape of [{}, { width: 360, height: 780, scheme: "dark" }]) {
    const page = await open(shape);
    await signIn(page);
    for (const [name, path] of Object.entries(screens)) {
      await walk(page, path);
      await page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("main [aria-busy=true]"));
      await check(page, `${name} at ${shape.width ?? 1440}`);
    }
    await close(page);
  }
});

test("what a key may not do is said, with the scope that is missing", async () => {
  const { apiKey } = await api.call("POST", `projects/${server.project}/keys`, { name: "writer", scopes: ["write"] });
  const page = await open();
  await signIn(page, apiKey);
  for (const [path, scope] of [["files", "read"], ["keys", "admin"], ["webhooks", "admin"], ["settings", "admin"], ["uploads", "read"]]) {
    await walk(page, `/dashboard/p/-/${path}`);
    await page.waitForSelector(`.say:has-text("Needed"):has-text("${scope}")`);
    await check(page, `${path} without ${scope}`);
  }
  await close(page);
});

test("a fault stays in place with its code, and Try again mends it", async () => {
  const page = await open();
  await signIn(page);
  await page.route("**/api/v1/projects/*/keys", (route) => route.fulfill({ status: 500, contentType: "application/problem+json", body: JSON.stringify({ status: 500, code: "internal", detail: "it failed", requestId: "req1" }) }), { times: 1 });
  await walk(page, `/dashboard/p/${server.project}/keys`);
  await page.waitForSelector('[role=alert]:has-text("req1")');
  await check(page, "error");
  await page.click("text=Try again");
  await page.waitForSelector("table");
  await page.context().setOffline(true);
  await page.waitForSelector("text=Offline.");
  await close(page);
});

test("each of 250 files is reached by keyboard, and few of them are in the document", async () => {
  await api.many(250);
  const page = await open();
  await signIn(page);
  for (const view of ["", "?view=table"]) {
    await walk(page, `/dashboard/p/${server.project}/files${view}`);
    await page.waitForSelector("[data-index='0']");
    await page.focus("[data-index='0']");
    await page.keyboard.press("End");
    await page.waitForFunction(() => document.activeElement?.getAttribute("data-index") === "250");
    assert.match(await page.textContent("[data-index='250']"), /kite-clouds/, "the oldest is the last");
    assert.ok((await page.locator("[data-index]").count()) < 120);
    await page.keyboard.press("Home");
    await page.waitForFunction(() => document.activeElement?.getAttribute("data-index") === "0");
    await page.keyboard.press("Space");
    await page.waitForSelector(".actbar:has-text('1 selected')");
    await page.keyboard.press("Escape");
  }
  await page.fill("#filter", "kite");
  await page.waitForFunction(() => document.querySelectorAll("[data-index]").length === 1);
  assert.equal(new URL(page.url()).searchParams.get("q"), "kite");
  await close(page);
});

test("an upload that fails while the server is away is retried once it is back", async () => {
  const data = mkdtempSync(join(tmpdir(), "xf-dashboard-data-"));
  const [listen, store] = [await freePort(), await freePort()];
  const options = { data, listen, dev: false, args: ["--s3-listen", store] };
  let other = await serve(options);
  const page = await open({ at: other });
  await signIn(page, other.key, other);
  await other.stop();
  await page.setInputFiles("#chooser", [{ name: "later.png", mimeType: "image/png", buffer: png(3) }]);
  await page.waitForSelector('.tray li[data-state="failed"]');
  other = await serve(options);
  await page.click(".tray >> text=Retry");
  await page.waitForSelector('.tray li[data-state="done"]');
  await close(page);
  await other.stop();
  rmSync(data, { recursive: true, force: true });
});
