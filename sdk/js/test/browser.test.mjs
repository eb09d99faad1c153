import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { XFiles } from "@xfiles/sdk";
import { createUploads, route, toNodeHandler } from "@xfiles/sdk/server";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { browserPath, listen, serve } from "./support.mjs";

const executablePath = browserPath();
const skip = executablePath ? false : "there is no Chromium: set XFILES_CHROMIUM, or put one on PATH";
if (skip) process.on("exit", () => console.log(`SKIPPED: the browser tests; ${skip}`));

describe("in Chromium", { skip }, () => {
  let server;
  let app;
  let browser;
  let page;
  let client;
  let largest = 0;
  const confirmed = [];

  before(async () => {
    server = await serve();
    client = new XFiles(server);
    const uploads = createUploads({
      client,
      apiKeys: server.apiKey,
      routes: {
        photo: route({
          maxFiles: 100,
          maxBytes: 100_000_000,
          authorize: () => ({}),
          onConfirmed: ({ file }) => {
            confirmed.push(file.id);
            return { name: file.originalFilename };
          },
        }),
      },
    });
    const { outputFiles } = await build({ entryPoints: [new URL("browser-page.tsx", import.meta.url).pathname], bundle: true, format: "esm", jsx: "automatic", define: { "process.env.NODE_ENV": '"development"' }, write: false });
    const handler = toNodeHandler(uploads);
    app = await listen((request, response) => {
      if (request.url === "/api/upload") {
        largest = Math.max(largest, Number(request.headers["content-length"] ?? 0));
        return handler(request, response);
      }
      if (request.url === "/page.js") return response.setHeader("content-type", "text/javascript").end(outputFiles[0].contents);
      response.setHeader("content-type", "text/html").end('<!doctype html><script type="module" src="/page.js"></script><body>');
    });
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  });
  after(async () => {
    await browser?.close();
    await app?.close();
    await server?.stop();
  });

  async function open() {
    page = await browser.newPage();
    await page.goto(app.url);
    await page.waitForFunction(() => "createUploader" in globalThis);
    await page.evaluate(() => {
      globalThis.file = (name, size, type = "text/plain") => new File([new Uint8Array(size).fill(97)], name, { type });
      globalThis.uploader = (options) => createUploader({ endpoint: "/api/upload", route: "photo", ...options });
    });
    return page;
  }
  async function throttle(bytesPerSecond) {
    const session = await page.context().newCDPSession(page);
    await session.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: bytesPerSecond });
  }

  it("uploads with monotonic progress, and sends the application small bodies only", async () => {
    await open();
    await throttle(5_000_000);
    const { steps, result } = await page.evaluate(async () => {
      const up = uploader();
      const steps = [];
      up.subscribe(() => steps.push(up.snapshot().progress));
      const result = await up.add([file("big.txt", 12_000_000), file("small.txt", 3), file("empty.txt", 0)]);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return { result, steps };
    });
    assert.deepEqual(result.map(({ status, data }) => [status, data.name]), [["done", "big.txt"], ["done", "small.txt"], ["done", "empty.txt"]]);
    assert.ok(steps.length >= 10, `${steps.length} steps`);
    steps.reduce((last, step) => (assert.ok(step >= last, "progress went back"), step), 0);
    assert.equal(steps.at(-1), 1);
    assert.ok(largest < 65_536);
    await page.close();
  });

  it("refuses, cancels and gives quota back", async () => {
    await open();
    const before = await client.usage();
    await throttle(200_000);
    const cancelled = page.waitForResponse((answer) => answer.request().postData()?.includes('"cancel"') ?? false);
    const result = await page.evaluate(async () => {
      const up = uploader({ limits: { maxBytes: 5_000_000 } });
      const all = up.add([file("a.unknown", 3, ""), file("huge.txt", 5_000_001), file("slow.txt", 4_000_000)]);
      const { id } = up.snapshot().files[2];
      await new Promise((resolve) => up.subscribe(() => up.snapshot().files[2].progress > 0 && resolve()));
      up.cancel(id);
      return (await all).map(({ status, error, retryable }) => [status, error?.code, retryable]);
    });
    assert.deepEqual(result, [["failed", "content_type_not_allowed", false], ["failed", "file_too_large", false], ["cancelled", undefined, undefined]]);
    await (await cancelled).finished();
    assert.deepEqual(await client.usage(), before);
    await page.close();
  });

  it("survives a lost connection, a 403 of the store, a lost begin and a lost confirm", async () => {
    await open();
    const lost = { put: 0, begin: 0, confirm: 0 };
    await page.route("**/staging/**", async (put) => {
      if (put.request().method() !== "PUT") return put.continue();
      if (lost.put === 0) return lost.put++, put.abort();
      if (lost.put === 1) return lost.put++, put.fulfill({ status: 403, headers: { "access-control-allow-origin": "*" } });
      return put.continue();
    });
    await page.route("**/api/upload", async (message) => {
      const { action } = message.request().postDataJSON();
      if (lost[action] === 0) {
        lost[action]++;
        await message.fetch();
        return message.abort();
      }
      return message.continue();
    });
    const before = await client.usage();
    const [result] = await page.evaluate(() => uploader().add([file("hard.txt", 1000)]));
    assert.equal(result.status, "done");
    assert.deepEqual(lost, { put: 2, begin: 1, confirm: 1 });
    const { files, reservedBytes } = await client.usage();
    assert.deepEqual([files, reservedBytes], [before.files + 1, before.reservedBytes]);
    await page.close();
  });

  it("fails after its tries, and retry goes on with the same upload", async () => {
    await open();
    let broken = true;
    await page.route("**/staging/**", (put) => (broken && put.request().method() === "PUT" ? put.fulfill({ status: 400, headers: { "access-control-allow-origin": "*" } }) : put.continue()));
    const first = await page.evaluate(async () => {
      globalThis.up = uploader();
      return (await up.add([file("again.txt", 1000)]))[0];
    });
    assert.deepEqual([first.status, first.retryable], ["failed", true]);
    const before = await client.usage();
    broken = false;
    const state = await page.evaluate(async () => {
      const done = new Promise((resolve) => up.subscribe(() => up.snapshot().state === "done" && resolve()));
      up.retry();
      await done;
      return up.snapshot().state;
    });
    assert.equal(state, "done");
    assert.equal((await client.usage()).reservedBytes, before.reservedBytes - 1000);
    await page.close();
  });

  it("waits while the page is offline", async () => {
    await open();
    await page.context().setOffline(true);
    const adding = page.evaluate(() => ((globalThis.up = uploader()), up.add([file("offline.txt", 10)])));
    await page.waitForFunction(() => globalThis.up?.snapshot().state === "busy");
    await page.context().setOffline(false);
    assert.equal((await adding)[0].status, "done");
    await page.close();
  });

  it("uploads more files than one message may begin", async () => {
    await open();
    const result = await page.evaluate(() => uploader().add(Array.from({ length: 130 }, (_, index) => file(`${index}.txt`, 1))));
    assert.equal(result.filter(({ status }) => status === "done").length, 130);
    await page.close();
  });

  it("works as a React component under StrictMode", async () => {
    await open();
    await page.evaluate(() => renderGallery());
    const dialog = page.waitForEvent("filechooser");
    await page.click("#choose");
    await (await dialog).setFiles([{ name: "one.txt", mimeType: "text/plain", buffer: Buffer.from("abc") }]);
    await page.getByText('one.txt done {"name":"one.txt"}').waitFor();
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(file("two.txt", 5));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    });
    await page.getByText('two.txt done {"name":"two.txt"}').waitFor();
    assert.equal(await page.textContent("#state"), "done");
    assert.match(await page.getAttribute("img", "style"), /data:image\/png/);
    await page.close();
  });

  it("Uppy is complete only for what was published", async () => {
    await open();
    const before = await client.usage();
    const { successful, failed } = await page.evaluate(async () => {
      const uppy = newUppy();
      const add = (name, type, text) => uppy.addFile({ name, type, data: new Blob([text], { type }) });
      add("good.txt", "text/plain", "abc");
      add("untyped.md", "", "# abc");
      add("liar.png", "image/png", "no picture");
      const { successful, failed } = await uppy.upload();
      return { successful: successful.map(({ name, response }) => [name, response.body.data]), failed: failed.map(({ name, error }) => [name, typeof error]) };
    });
    assert.deepEqual(successful.sort(), [["good.txt", { name: "good.txt" }], ["untyped.md", { name: "untyped.md" }]]);
    assert.deepEqual(failed, [["liar.png", "string"]]);
    const usage = await client.usage();
    assert.deepEqual([usage.files, usage.reservedBytes], [before.files + 2, before.reservedBytes]);
    await page.close();
  });

  it("keeps nothing of 10,000 uploads that were cleared", async () => {
    await open();
    const session = await page.context().newCDPSession(page);
    const heap = async () => {
      await session.send("HeapProfiler.collectGarbage");
      return (await session.send("Runtime.getHeapUsage")).usedSize;
    };
    await page.evaluate(() => {
      // Without a network: only what the uploader itself keeps is measured.
      globalThis.fetch = async (_url, { body }) => {
        const message = JSON.parse(body);
        return Response.json(
          message.action === "begin"
            ? { uploads: message.files.map(() => ({ claim: "c", url: "/put", headers: {}, expiresAt: "2999-01-01T00:00:00Z" })) }
            : { files: message.claims.map(() => ({ file: {}, data: null })) },
        );
      };
      globalThis.XMLHttpRequest = class {
        status = 200;
        upload = {};
        open() {}
        setRequestHeader() {}
        send() {
          queueMicrotask(() => this.onloadend());
        }
      };
      globalThis.up = uploader();
      globalThis.round = async (count) => {
        for (let from = 0; from < count; from += 100) {
          await up.add(Array.from({ length: 100 }, (_, index) => file(`${from + index}.txt`, 1)));
          up.clear();
        }
      };
    });
    await page.evaluate(() => round(1000));
    const early = await heap();
    await page.evaluate(() => round(9000));
    const late = await heap();
    assert.ok(late - early < 500_000, `the heap grew by ${late - early} bytes`);
    await page.close();
  });
});
