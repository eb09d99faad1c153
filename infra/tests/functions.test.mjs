// The CloudFront functions, as they stand in the template, against the vectors that the code is held to as well: in Node,
// which says what the language means, and in njs, from which CloudFront's runtime is derived and which lacks what it lacks.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';

const template = readFileSync(new URL('../template.yaml', import.meta.url), 'utf8').split('\n');
const choices = JSON.parse(readFileSync(new URL('../../tests/vectors/auto.json', import.meta.url), 'utf8'));
const vectors = JSON.parse(readFileSync(new URL('../../tests/vectors/cdn.json', import.meta.url), 'utf8'));
const NJS = process.env.NJS;
assert.ok(NJS, 'NJS must name the njs that infra/njs prints; infra/check sets it');

/** The code of a function in the template: the block that is indented below its `FunctionCode`. */
function code(name) {
  const start = template.findIndex((line, i) => i > template.indexOf(`  ${name}:`) && /^ {6}FunctionCode: \|$/.test(line));
  const end = template.findIndex((line, i) => i > start && /^ {0,7}\S/.test(line));
  return template.slice(start + 1, end).map((line) => line.slice(8)).join('\n');
}

/** Runs a script that ends in an expression of a string. CloudFront runs functions in strict mode; njs always does. */
const ENGINES = {
  node: (script) => vm.runInContext(`'use strict';\n${script}`, vm.createContext({})),
  njs: (script) => {
    const at = script.lastIndexOf('\n');
    const printing = `${script.slice(0, at)}\nprint(${script.slice(at + 1)});\n`;
    return execFileSync(NJS, ['-s', '-'], { input: printing, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
  },
};

for (const [engine, evaluate] of Object.entries(ENGINES)) {
  /** Runs a function on an event, and gives its answer as plain data. */
  const run = (name, event) => {
    const source = code(name);
    assert.ok(Buffer.byteLength(source) <= 10240, 'CloudFront takes 10 KB of code');
    return JSON.parse(evaluate(`${source}\nconst EVENT = ${JSON.stringify(event)};\nJSON.stringify(handler(EVENT))`));
  };

  const ask = (uri, method = 'GET', headers = {}) =>
    run('ViewerRequest', { request: { uri, method, querystring: {}, headers } });

  const answer = (uri, querystring, statusCode = 200, headers = {}) =>
    run('ViewerResponse', { request: { uri, querystring, headers }, response: { statusCode, headers: {} } });

  const AUTO = '/files/variants/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.auto';

  test(`${engine}: a path at which something may be passes as it is`, () => {
    for (const path of vectors.served) {
      assert.equal(ask(path).uri, path, path);
    }
  });

  test(`${engine}: every other path is refused before an origin is asked`, () => {
    for (const path of vectors.refused) {
      const refused = ask(path);
      assert.equal(refused.statusCode, 404, path);
      assert.equal(refused.headers['x-content-type-options'].value, 'nosniff');
      assert.match(refused.headers['content-security-policy'].value, /sandbox/);
      assert.equal(ask(path, 'OPTIONS').statusCode, 404, path);
    }
  });

  test(`${engine}: a preflight is answered for every origin`, () => {
    const { statusCode, headers } = ask(vectors.served[0], 'OPTIONS');
    assert.equal(statusCode, 204);
    assert.equal(headers['access-control-allow-origin'].value, '*');
    assert.equal(headers['access-control-allow-methods'].value, 'GET, HEAD');
  });

  test(`${engine}: of a path that ends in auto the viewer gets the format that the code chooses`, () => {
    for (const { accept, expected } of choices) {
      const asked = ask(AUTO, 'GET', accept === null ? {} : { accept: { value: accept } });
      assert.equal(asked.uri, AUTO.replace(/auto$/, expected), accept);
      assert.equal(answer(asked.uri, {}, 200, asked.headers).headers.vary.value, 'Accept');
    }
    const multiValue = [{ value: 'image/webp;q=0.5' }, { value: 'image/avif;q=0.6' }];
    assert.match(ask(AUTO, 'GET', { accept: { value: multiValue[1].value, multiValue } }).uri, /\.avif$/);
  });

  test(`${engine}: no other path depends on the viewer`, () => {
    const original = '/files/originals/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.auto';
    assert.equal(ask(original, 'GET', { accept: { value: 'image/avif' } }).uri, original);
    for (const path of vectors.served.filter((path) => !path.endsWith('.auto'))) {
      const asked = ask(path, 'GET', { accept: { value: 'image/avif' } });
      assert.equal(asked.uri, path);
      assert.equal(answer(asked.uri, {}, 200, asked.headers).headers.vary, undefined);
    }
  });

  test(`${engine}: a save-as name is answered as the code answers it`, () => {
    for (const { path, download, disposition } of vectors.downloads) {
      const header = answer(path, { download: { value: download } }).headers['content-disposition'];
      assert.equal(header?.value ?? null, disposition, download);
    }
  });

  test(`${engine}: of several names the first counts`, () => {
    const download = { value: 'b.pdf', multiValue: [{ value: 'a.pdf' }, { value: 'b.pdf' }] };
    assert.match(answer(vectors.downloads[0].path, { download }).headers['content-disposition'].value, /"a\.pdf"/);
  });

  test(`${engine}: without a name, or without an object, nothing is added`, () => {
    const path = vectors.downloads[0].path;
    assert.deepEqual(answer(path, {}).headers, {});
    assert.deepEqual(answer(path, { download: { value: 'a.pdf' } }, 404).headers, {});
  });
}
