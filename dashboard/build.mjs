// Builds app/ into dist/: one script, one style sheet, the page that names them, and the sums of the sources.
// The same sources give the same bytes on every machine; esbuild's version is pinned for that.
//   node build.mjs           once
//   node build.mjs --watch   again after each change
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync, mkdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const walk = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).sort().flatMap((name) => walk(join(path, name))) : [path];

const write = (outputs) => {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  const names = {};
  for (const { path, contents } of outputs) {
    const extension = path.endsWith(".css") ? "css" : "js";
    names[extension] = `app.${sha256(contents).slice(0, 16)}.${extension}`;
    writeFileSync(join(dist, names[extension]), contents);
  }
  const page = readFileSync(join(here, "app/index.html"), "utf8");
  writeFileSync(join(dist, "index.html"), page.replace("{js}", names.js).replace("{css}", names.css));
  const sources = ["app", "build.mjs", "package-lock.json"].flatMap((name) => walk(join(here, name)));
  const line = (path) => `${sha256(readFileSync(path))}  ${relative(here, path).replaceAll("\\", "/")}\n`;
  writeFileSync(join(dist, "SOURCES.sha256"), sources.map(line).sort().join(""));
};

const options = {
  absWorkingDir: here,
  entryPoints: { app: "app/main.tsx" },
  outdir: "dist",
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
  plugins: [
    {
      name: "write",
      setup: (build) => build.onEnd((result) => result.errors.length === 0 && write(result.outputFiles)),
    },
  ],
};

if (process.argv.includes("--watch")) await (await esbuild.context(options)).watch();
else await esbuild.build(options);
