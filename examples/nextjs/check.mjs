// Builds the example, runs it against `xf serve --ephemeral` and uses it as a visitor does.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { deflateSync } from "node:zlib";
import { XFiles } from "@xfiles/sdk";
import { chromium } from "../../sdk/js/node_modules/playwright-core/index.mjs";
import { browserPath, serve } from "../../sdk/js/test/support.mjs";

const next = new URL("node_modules/next/dist/bin/next", import.meta.url).pathname;
const executablePath = browserPath();
if (!executablePath) process.on("exit", () => console.log("SKIPPED: the browser's part; there is no Chromium on PATH or in XFILES_CHROMIUM"));

let server;
let client;
let app;
let url;
const folder = mkdtempSync(join(tmpdir(), "xfiles-next-"));

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.on("listening", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function png(width, height) {
  const rows = Buffer.alloc((width * 3 + 1) * height, 90);
  for (let y = 0; y < height; y++) rows[y * (width * 3 + 1)] = 0;
  const chunk = (type, data) => {
    const typed = Buffer.concat([Buffer.from(type), data]);
    let crc = ~0;
    for (const byte of typed) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(~crc >>> 0);
    return Buffer.concat([length, typed, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

before(async () => {
  server = await serve();
  client = new XFiles(server);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const env = { ...process.env, XFILES_URL: server.url, XFILES_API_KEY: server.apiKey, PRODUCTS_FILE: join(folder, "products.json"), NEXT_TELEMETRY_DISABLED: "1" };
  const cwd = new URL(".", import.meta.url).pathname;
  if (!process.env.SKIP_BUILD) assert.equal(spawnSync(process.execPath, [next, "build"], { cwd, env, stdio: ["ignore", 2, 2] }).status, 0);
  app = spawn(process.execPath, [next, "start", "--hostname", "127.0.0.1", "--port", String(port)], { cwd, env, stdio: ["ignore", "pipe", 2] });
  await new Promise((resolve, reject) => {
    app.stdout.on("data", (text) => /Ready/.test(text) && resolve());
    app.on("exit", (code) => reject(new Error(`next start ended with ${code}`)));
  });
});
after(async () => {
  app?.removeAllListeners("exit");
  app?.kill("SIGTERM");
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

it("a visitor adds a product, uploads, reorders and deletes", { skip: !executablePath && "there is no Chromium" }, async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    // Slow machines build the page anew for each change.
    page.setDefaultTimeout(120_000);
    let largest = 0;
    page.on("request", (request) => {
      if (request.url().startsWith(url)) largest = Math.max(largest, request.postDataBuffer()?.length ?? 0);
    });
    await page.goto(url);
    await page.fill('[aria-label="Name"]', "Lamp");
    await page.click("text=Add a product");
    await page.locator("section").waitFor();

    const pick = async (count, name) => {
      const dialog = page.waitForEvent("filechooser");
      await page.click(".drop");
      await (await dialog).setFiles(Array.from({ length: count }, (_, index) => ({ name: `${name}-${index}.png`, mimeType: "image/png", buffer: png(900, 600) })));
    };
    await pick(12, "public");
    await page.waitForFunction(() => document.querySelectorAll("figure img").length === 12);
    const html = await (await fetch(url)).text();
    assert.ok(html.length <= 30_000, `the page of twelve public pictures has ${html.length} characters`);
    await page.check("text=private");
    await pick(6, "private");
    await page.waitForFunction(() => document.querySelectorAll("figure img").length === 18);

    // The bytes of a large file do not pass through Next.
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(90_000_000).fill(97)], "manual.txt", { type: "text/plain" }));
      const input = document.querySelector("#manual").previousElementSibling;
      input.files = data.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    await page.getByText("done", { exact: true }).waitFor({ timeout: 120_000 });
    assert.ok(largest > 0 && largest < 65_536, `a request to Next had ${largest} bytes`);

    const first = () => page.locator("figure img").first().getAttribute("alt");
    assert.equal(await first(), "public-0.png");
    await page.locator("figure").nth(3).getByText("To the front").click();
    await page.waitForFunction(() => document.querySelector("figure img").alt === "public-3.png");
    await page.locator("figure").first().getByText("Delete").click();
    await page.waitForFunction(() => document.querySelectorAll("figure img").length === 17);

    await page.goto(`${url}/plain`);
    await page.setInputFiles('[aria-label="Picture"]', { name: "plain.png", mimeType: "image/png", buffer: png(500, 500) });
    await page.waitForFunction(() => document.querySelectorAll("section img").length === 18);
  } finally {
    await browser.close();
  }
});

it("every URL of every srcset is there", async () => {
  const html = await (await fetch(url)).text();
  const urls = new Set();
  for (const [, set] of [...html.matchAll(/srcset="([^"]+)"/gi)]) {
    for (const entry of set.replaceAll("&amp;", "&").split(", ")) urls.add(entry.split(" ")[0]);
  }
  if (executablePath) assert.ok(urls.size >= 36, `${urls.size} URLs`);
  for (const one of urls) {
    const answer = await fetch(one, { headers: { accept: "image/avif,image/webp,*/*" } });
    assert.equal(answer.status, 200, one.replace(/\?.*/, ""));
    await answer.arrayBuffer();
  }
  const plain = await (await fetch(`${url}/plain`)).text();
  for (const [, set] of plain.matchAll(/srcset="([^"]+)"/gi)) {
    for (const entry of set.replaceAll("&amp;", "&").split(", ")) assert.equal((await fetch(entry.split(" ")[0])).status, 200);
  }
});
