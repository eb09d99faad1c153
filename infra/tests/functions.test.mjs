// The CloudFront functions, as they stand in the template, against the vectors that the code is held to as well.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';

const template = readFileSync(new URL('../template.yaml', import.meta.url), 'utf8').split('\n');
const vectors = JSON.parse(readFileSync(new URL('../../tests/vectors/cdn.json', import.meta.url), 'utf8'));

/** The code of a function in the template: the block that is indented below its `FunctionCode`. */
function code(name) {
  const start = template.findIndex((line, i) => i > template.indexOf(`  ${name}:`) && /^ {6}FunctionCode: \|$/.test(line));
  const end = template.findIndex((line, i) => i > start && /^ {0,7}\S/.test(line));
  return template.slice(start + 1, end).map((line) => line.slice(8)).join('\n');
}

/** Runs a function on an event, and gives its answer as plain data. */
function run(name, event) {
  const source = code(name);
  assert.ok(Buffer.byteLength(source) <= 10240, 'CloudFront takes 10 KB of code');
  const context = vm.createContext({ event });
  return JSON.parse(vm.runInContext(`${source}\nJSON.stringify(handler(event))`, context));
}

const ask = (uri, method = 'GET') => run('ViewerRequest', { request: { uri, method, querystring: {}, headers: {} } });

const answer = (uri, querystring, statusCode = 200) =>
  run('ViewerResponse', { request: { uri, querystring }, response: { statusCode, headers: {} } });

test('a path at which something may be passes as it is', () => {
  for (const path of vectors.served) {
    assert.equal(ask(path).uri, path);
  }
});

test('every other path is refused before an origin is asked', () => {
  for (const path of vectors.refused) {
    const refused = ask(path);
    assert.equal(refused.statusCode, 404, path);
    assert.equal(refused.headers['x-content-type-options'].value, 'nosniff');
    assert.match(refused.headers['content-security-policy'].value, /sandbox/);
    assert.equal(ask(path, 'OPTIONS').statusCode, 404, path);
  }
});

test('a preflight is answered for every origin', () => {
  const { statusCode, headers } = ask(vectors.served[0], 'OPTIONS');
  assert.equal(statusCode, 204);
  assert.equal(headers['access-control-allow-origin'].value, '*');
  assert.equal(headers['access-control-allow-methods'].value, 'GET, HEAD');
});

test('a save-as name is answered as the code answers it', () => {
  for (const { path, download, disposition } of vectors.downloads) {
    const header = answer(path, { download: { value: download } }).headers['content-disposition'];
    assert.equal(header?.value ?? null, disposition, download);
  }
});

test('of several names the first counts', () => {
  const download = { value: 'b.pdf', multiValue: [{ value: 'a.pdf' }, { value: 'b.pdf' }] };
  assert.match(answer(vectors.downloads[0].path, { download }).headers['content-disposition'].value, /"a\.pdf"/);
});

test('without a name, or without an object, nothing is added', () => {
  const path = vectors.downloads[0].path;
  assert.deepEqual(answer(path, {}).headers, {});
  assert.deepEqual(answer(path, { download: { value: 'a.pdf' } }, 404).headers, {});
});
