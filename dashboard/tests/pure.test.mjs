// The parts of the page that need no browser: window maths, filters, numbers, media types.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const app = join(dirname(dirname(fileURLToPath(import.meta.url))), "app");
async function load(name) {
  const { outputFiles } = await build({ entryPoints: [join(app, name)], bundle: true, write: false, format: "esm" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
const w = await load("window.ts"), f = await load("filters.ts"), n = await load("format.ts"), m = await load("media.ts");

test("every index is in the window at some scroll position, whatever the shape", () => {
  for (const count of [0, 1, 5, 99, 100, 101, 1284]) {
    for (const columns of [1, 2, 3, 6, 7]) {
      for (const rowHeight of [44, 60, 171]) {
        const shape = { count, columns, rowHeight }, seen = new Set(), view = 700;
        for (let top = 0; top <= w.rowsOf(shape) * rowHeight; top += view / 2) {
          const [from, to] = w.visible(shape, top, top + view);
          assert.ok(from >= 0 && to <= w.rowsOf(shape) && from <= to);
          assert.ok(to - from <= Math.ceil(view / rowHeight) + 8, "the window is bounded");
          for (let i = from * columns; i < Math.min(count, to * columns); i++) seen.add(i);
        }
        assert.equal(seen.size, count);
      }
    }
  }
});

test("every index is reached by arrows from every other, and no key leaves the list", () => {
  for (const count of [1, 2, 7, 40]) {
    for (const columns of [1, 3, 6]) {
      const shape = { count, columns, rowHeight: 10 };
      for (let target = 0; target < count; target++) {
        let at = 0, steps = 0;
        while (Math.floor(at / columns) < Math.floor(target / columns) && steps++ < 100) at = w.moved("ArrowDown", at, shape, 3);
        while (at !== target && steps++ < 200) at = w.moved(at < target ? "ArrowRight" : "ArrowLeft", at, shape, 3);
        assert.equal(at, target);
      }
      for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"]) {
        for (let i = 0; i < count; i++) { const to = w.moved(key, i, shape, 3); assert.ok(to >= 0 && to < count); }
      }
    }
  }
  assert.equal(w.moved("x", 0, { count: 3, columns: 1, rowHeight: 1 }, 1), null);
  assert.equal(w.moved("End", 0, { count: 0, columns: 1, rowHeight: 1 }, 1), null);
});

test("filters survive the address, and what is not a filter stays in it", () => {
  const filters = { q: "a b&c=ü", type: "image/*", visibility: "private", owner: "u/1", entityType: "article", entityId: "x y", role: "r", after: "2026-11-01", before: "2026-11-27" };
  const query = f.toQuery(filters, new URLSearchParams("view=table&role=old"));
  assert.deepEqual(f.fromQuery(new URLSearchParams(query.toString())), filters);
  assert.equal(query.get("view"), "table");
  assert.equal(f.toQuery(f.NONE, query).toString(), "view=table");
  assert.deepEqual(f.fromQuery(new URLSearchParams("visibility=secret&after=yesterday")), f.NONE);
  const api = f.toApi(filters);
  assert.equal(new Date(api.createdBefore) - new Date(api.createdAfter), 27 * 86_400_000, "the last day is included");
  assert.ok(!f.anySet(f.NONE) && f.anySet(filters));
});

test("bytes have IEC units and at most one decimal, and are read back", () => {
  for (const [bytes, text] of [[0, "0 B"], [1023, "1023 B"], [1024, "1 KiB"], [1536, "1.5 KiB"], [632_699, "618 KiB"], [2_936_013, "2.8 MiB"], [104_857_600, "100 MiB"], [1_048_575, "1 MiB"], [10 * 2 ** 30, "10 GiB"]]) assert.equal(n.bytes(bytes), text);
  for (const [text, bytes] of [["10 GB", 10 * 2 ** 30], ["10GiB", 10 * 2 ** 30], ["500MiB", 500 * 2 ** 20], ["1,5 KiB", 1536], ["7", 7], ["7 B", 7], ["ten", null], ["1 XB", null], ["", null], ["-1", null]]) assert.equal(n.parseSize(text), bytes);
  assert.equal(n.relative("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:02:00Z")), "2 min ago");
  assert.equal(n.relative("2026-01-01T00:12:00Z", Date.parse("2026-01-01T00:00:00Z")), "in 12 min");
  assert.equal(n.clock(3581), "59:41");
  assert.deepEqual(n.ends("derwentwater-boats-dusk.jpg"), ["derwentwater-boa", "ts-dusk.jpg"]);
});

test("a file whose type the system does not know is known by its extension", () => {
  assert.equal(m.typeOf({ name: "A.HEIC", type: "" }), "image/heic");
  assert.equal(m.typeOf({ name: "a.geojson", type: "application/octet-stream" }), "application/geo+json");
  assert.equal(m.typeOf({ name: "a.jpg", type: "image/png" }), "image/png");
  assert.equal(m.typeOf({ name: "noname", type: "" }), null);
});
