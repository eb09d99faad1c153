// Serves examples/static by Express and by FastAPI, and uploads through both as a visitor does. The Express example must
// be installed (`npm install --install-links`), and PYTHON must name an interpreter with its requirements.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, it } from "node:test";
import { chromium } from "../sdk/js/node_modules/playwright-core/index.mjs";
import { browserPath, listen, serve } from "../sdk/js/test/support.mjs";

const executablePath = browserPath();
const folder = (name) => new URL(`${name}/`, import.meta.url).pathname;
let server;
let env;
before(async () => {
  server = await serve();
  env = { ...process.env, XFILES_URL: server.url, XFILES_API_KEY: server.apiKey };
});
after(() => server.stop());

async function freePort() {
  const probe = await listen(() => {});
  await probe.close();
  return new URL(probe.url).port;
}

const BACK_ENDS = {
  express: (port) => spawn(process.execPath, ["server.mjs"], { cwd: folder("express"), env: { ...env, PORT: port } }),
  fastapi: (port) => spawn(process.env.PYTHON ?? "python3", ["-m", "uvicorn", "main:app", "--port", port], { cwd: folder("fastapi"), env }),
};
for (const [name, start] of Object.entries(BACK_ENDS)) {
  it(`uploads through ${name}`, { skip: !executablePath && "there is no Chromium" }, async () => {
    const port = await freePort();
    const app = start(port);
    let log = "";
    await new Promise((resolve, reject) => {
      for (const stream of [app.stdout, app.stderr]) stream.on("data", (text) => /http:\/\//.test((log += text)) && resolve());
      app.on("exit", (code) => reject(new Error(`the example ended with ${code}: ${log}`)));
    });
    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    try {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${port}/`);
      await page.setInputFiles("input", [{ name: "hello.txt", mimeType: "text/plain", buffer: Buffer.from("hello") }, { name: "no.mp3", mimeType: "audio/mpeg", buffer: Buffer.from("no") }]);
      const href = await page.locator("a").getAttribute("href");
      assert.equal(await (await fetch(href)).text(), "hello");
      await page.getByText("the type audio/mpeg is not accepted").waitFor();
    } finally {
      await browser.close();
      app.removeAllListeners("exit");
      app.kill("SIGTERM");
    }
  });
}
