// A server to test against, a browser, and pictures. Everything ends with the process.
import { spawn } from "node:child_process";
import { createServer, request as forward } from "node:http";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { deflateSync, crc32 } from "node:zlib";
import { chromium } from "playwright-core";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8" };

/** `xf serve`. With `dev`, the page comes from dist/ by a small proxy, so that no Rust build is needed between changes. */
export async function serve({ bin = process.env.XFILES_BIN ?? join(here, "../target/debug/xf"), dev = Boolean(process.env.DASHBOARD_DEV), data = null, listen = "127.0.0.1:0", args = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "xf-dashboard-"));
  const ready = join(folder, "ready.json");
  let proxy = null, target = null;
  if (dev) {
    proxy = createServer((req, res) => {
      const path = new URL(req.url, "http://x").pathname;
      if (path === "/" || path === "/dashboard") { res.writeHead(307, { location: "/dashboard/" }); res.end(); return; }
      if (path.startsWith("/dashboard/")) {
        const last = path.split("/").pop(), file = join(here, "dist", last.includes(".") ? last : "index.html");
        if (!existsSync(file)) { res.writeHead(404); res.end(); return; }
        const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' ${target.s3.endpoint}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'`;
        res.writeHead(200, { "content-type": types[extname(file)], "content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
        res.end(readFileSync(file));
        return;
      }
      const up = forward(new URL(req.url, target.url), { method: req.method, headers: { ...req.headers, host: new URL(target.url).host } }, (answer) => { res.writeHead(answer.statusCode, answer.headers); answer.pipe(res); });
      up.on("error", () => res.destroy());
      req.pipe(up);
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  }
  if (proxy && listen.endsWith(":0")) listen = await freePort();
  const own = proxy ? ["--public-url", `http://127.0.0.1:${proxy.address().port}`] : [];
  const child = spawn(bin, ["serve", ...(data ? ["--data", data] : ["--ephemeral"]), "--listen", listen, "--ready-file", ready, "--quiet", ...own, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => { said = (said + text).slice(-4000); });
  const ended = new Promise((done) => child.on("exit", done));
  for (let i = 0; !existsSync(ready); i++) {
    if (child.exitCode !== null || i > 1200) throw new Error(`xf serve did not start: ${said}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  target = JSON.parse(readFileSync(ready, "utf8"));
  // The server names its public address; the proxy's requests go to where it listens.
  if (proxy) target.url = `http://${listen}`;
  const stop = async () => { child.kill("SIGKILL"); await ended; proxy?.closeAllConnections(); proxy?.close(); rmSync(folder, { recursive: true, force: true }); };
  process.on("exit", () => child.kill("SIGKILL"));
  return { url: proxy ? `http://127.0.0.1:${proxy.address().port}` : target.url, key: target.apiKey, project: target.projectId, s3: target.s3.endpoint, stop };
}

export function freePort() {
  return new Promise((done) => { const probe = createServer().listen(0, "127.0.0.1", () => { const { port } = probe.address(); probe.close(() => done(`127.0.0.1:${port}`)); }); });
}

/** The browser, or null with the reason. */
export async function browser() {
  const path = process.env.PATH.split(":").flatMap((dir) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(dir, name))).find(existsSync);
  const named = process.env.XFILES_CHROMIUM ?? path;
  const flags = ["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"];
  if (named) return { browser: await chromium.launch({ executablePath: named, args: flags }) };
  const cache = join(here, "../target/dashboard-chromium");
  try {
    const found = createRequire(pathToFileURL(join(cache, "package.json"))).resolve("@sparticuz/chromium");
    const { default: packed } = await import(pathToFileURL(found).href);
    return { browser: await chromium.launch({ executablePath: await packed.executablePath(), args: [...flags, "--headless=old", "--disable-gpu"] }) };
  } catch (error) {
    return { browser: null, reason: `no Chromium: ${error.message.split("\n")[0]}` };
  }
}

/** A PNG of two colours that differ with the seed, so that no two pictures are the same. */
export function png(seed, width = 640, height = 420) {
  const rows = Buffer.alloc(height * (1 + width * 3));
  const hue = (n) => 127 + 110 * Math.sin(seed * 1.7 + n * 2.1);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (1 + width * 3) + 1 + x * 3, hill = y > height * (0.55 + 0.14 * Math.sin((x / width) * 5 + seed)) ? 1 : 0;
      for (let c = 0; c < 3; c++) rows[at + c] = Math.max(0, Math.min(255, hill ? hue(c) * (1 - y / height / 2) : hue(c + 1) + (110 * y) / height));
    }
  }
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), out = Buffer.alloc(8 + data.length + 4);
    out.writeUInt32BE(data.length); body.copy(out, 4); out.writeUInt32BE(crc32(body) >>> 0, 8 + data.length);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width); head.writeUInt32BE(height, 4); head[8] = 8; head[9] = 2;
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

export class Api {
  constructor(server, key = server.key) { this.server = server; this.key = key; }
  async call(method, path, body) {
    const answer = await fetch(`${this.server.url}/api/v1/${path}`, { method, headers: { authorization: `Bearer ${this.key}`, "content-type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${json.detail}`);
    return json;
  }
  /** Uploads bytes and answers the file. */
  async upload(filename, contentType, bytes, more = {}) {
    const intent = await this.call("POST", "files/upload-intent", { filename, contentType, size: bytes.length, ...more });
    const put = await fetch(intent.uploadUrl, { method: "PUT", headers: intent.headers, body: bytes });
    if (!put.ok) throw new Error(`PUT ${put.status}`);
    return (await this.call("POST", "files/confirm", { fileId: intent.fileId })).file;
  }
  /** Many small text files, in batches. */
  async many(count, name = (i) => `note-${String(i).padStart(5, "0")}.txt`) {
    const bytes = Buffer.from("text\n");
    for (let from = 0; from < count; from += 100) {
      const files = Array.from({ length: Math.min(100, count - from) }, (_, i) => ({ filename: name(from + i), contentType: "text/plain", size: bytes.length }));
      const { results } = await this.call("POST", "files/upload-intents", { files });
      for (let i = 0; i < results.length; i += 20) await Promise.all(results.slice(i, i + 20).map((r) => fetch(r.uploadUrl, { method: "PUT", headers: r.headers, body: bytes })));
      await this.call("POST", "files/confirms", { fileIds: results.map((r) => r.fileId) });
    }
  }
}
