// Bundles each export of dist/ as an application would, and compares the gzipped size with its budget.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGETS = { index: 5, server: 6, upload: 4, react: 6, image: 2, "next/index": 3, "next/loader": 0.5, "next/config": 0.3, uppy: 2 };

let failed = false;
for (const [name, kilobytes] of Object.entries(BUDGETS)) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../dist/${name}.js`, import.meta.url).pathname],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react", "react/*", "next/*"],
    write: false,
  });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  const over = size > kilobytes * 1024;
  failed ||= over;
  console.log(`${over ? "OVER " : "ok   "}${name.padEnd(12)} ${String(size).padStart(6)} of ${kilobytes * 1024} bytes`);
}
process.exit(failed ? 1 : 0);
