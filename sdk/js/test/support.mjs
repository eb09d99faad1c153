import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, watch } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

export const vectors = (name) => JSON.parse(readFileSync(join(root, "sdk/vectors", `${name}.json`), "utf8"));
export const openapi = () => JSON.parse(readFileSync(join(root, "openapi.json"), "utf8"));

/** The server to test against: XF_BIN, or what `cargo build` makes. */
export function binary() {
  const candidates = [process.env.XF_BIN, join(root, "target/debug/xf"), join(root, "target/release/xf")];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error("there is no xf: set XF_BIN, or run `cargo build --bin xf`");
  return found;
}

/** A Chromium to test with: $XFILES_CHROMIUM, or one on PATH. */
export function browserPath() {
  const onPath = (name) => (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)).find(existsSync);
  return process.env.XFILES_CHROMIUM || onPath("chromium") || onPath("google-chrome");
}

/** Runs `xf serve --ephemeral`; resolves when it answers. */
export async function serve(...args) {
  const folder = mkdtempSync(join(tmpdir(), "xfiles-sdk-"));
  const ready = join(folder, "ready.json");
  const process = spawn(
    binary(),
    ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--metrics-listen", "off", "--ready-file", ready, ...args],
    { cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  process.stderr.on("data", (text) => (log += text));
  await new Promise((resolve, reject) => {
    const watcher = watch(folder, () => check());
    const check = () => {
      try {
        JSON.parse(readFileSync(ready, "utf8"));
      } catch {
        return;
      }
      watcher.close();
      resolve();
    };
    process.on("exit", (code) => {
      watcher.close();
      reject(new Error(`xf serve ended with ${code}: ${log}`));
    });
    check();
  });
  return {
    ...JSON.parse(readFileSync(ready, "utf8")),
    async stop() {
      process.removeAllListeners("exit");
      const ended = new Promise((resolve) => process.on("exit", resolve));
      process.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Listens on a free port of the loopback interface. */
export async function listen(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())),
  };
}
