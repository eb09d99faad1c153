// Tests the CloudFront functions of the template with the same vectors as the Rust code: in Node, for the semantics of
// the language, and in njs, from which CloudFront's runtime is derived, for its limitations.

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

/** Runs a script whose last line is an expression of a string. CloudFront runs functions in strict mode; njs always does. */
const ENGINES = {
  node: (script) => vm.runInContext(`'use strict';\n${script}`, vm.createContext({})),
  njs: (script) => {
    const at = script.lastIndexOf('\n');
    // njs prints at most 2,048 bytes per line. JSON contains no line feeds.
    const lines = `(${script.slice(at + 1)}).match(/.{1,400}/g).forEach(function (part) { print(part); });`;
    const input = `${script.slice(0, at)}\n${lines}\n`;
    const printed = execFileSync(NJS, ['-s', '-'], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
    return printed.replaceAll('\n', '');
  },
};

const AUTO = '/files/variants/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.auto';

const asking = (uri, method = 'GET', headers = {}) => ({ request: { uri, method, querystring: {}, headers } });
const answering = (uri, querystring, statusCode = 200, headers = {}) =>
  ({ request: { uri, querystring, headers }, response: { statusCode, headers: {} } });

for (const [engine, evaluate] of Object.entries(ENGINES)) {
  /** Runs a function on each event and returns its results as plain data. */
  const run = (name, events) => {
    const source = code(name);
    assert.ok(Buffer.byteLength(source) <= 10240, 'CloudFront takes 10 KB of code');
    const answers = `${JSON.stringify(events)}.map(function (event) { return handler(event); })`;
    return JSON.parse(evaluate(`${source}\nconst ANSWERS = ${answers};\nJSON.stringify(ANSWERS)`));
  };
  const ask = (events) => run('ViewerRequest', events);
  const answer = (events) => run('ViewerResponse', events);

  test(`${engine}: a valid path is not changed`, () => {
    const asked = ask(vectors.served.map((path) => asking(path)));
    assert.deepEqual(asked.map((request) => request.uri), vectors.served);
  });

  test(`${engine}: every other path is refused without contacting an origin`, () => {
    for (const method of ['GET', 'OPTIONS']) {
      ask(vectors.refused.map((path) => asking(path, method))).forEach((refused, i) => {
        assert.equal(refused.statusCode, 404, vectors.refused[i]);
        assert.equal(refused.headers['x-content-type-options'].value, 'nosniff');
        assert.match(refused.headers['content-security-policy'].value, /sandbox/);
      });
    }
  });

  test(`${engine}: a preflight is answered for every origin`, () => {
    const [{ statusCode, headers }] = ask([asking(vectors.served[0], 'OPTIONS')]);
    assert.equal(statusCode, 204);
    assert.equal(headers['access-control-allow-origin'].value, '*');
    assert.equal(headers['access-control-allow-methods'].value, 'GET, HEAD');
  });

  test(`${engine}: .auto selects the same format as the Rust code`, () => {
    const headers = choices.map(({ accept }) => (accept === null ? {} : { accept: { value: accept } }));
    const asked = ask(headers.map((headers) => asking(AUTO, 'GET', headers)));
    const given = answer(asked.map((request) => answering(request.uri, {}, 200, request.headers)));
    choices.forEach(({ accept, expected }, i) => {
      assert.equal(asked[i].uri, AUTO.replace(/auto$/, expected), accept);
      assert.equal(given[i].headers.vary.value, 'Accept');
    });
    const multiValue = [{ value: 'image/webp;q=0.5' }, { value: 'image/avif;q=0.6' }];
    const [several] = ask([asking(AUTO, 'GET', { accept: { value: multiValue[1].value, multiValue } })]);
    assert.match(several.uri, /\.avif$/);
  });

  test(`${engine}: no other path depends on the viewer`, () => {
    const original = '/files/originals/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.auto';
    const paths = vectors.served.filter((path) => !path.endsWith('.auto'));
    const asked = ask([...paths, original].map((path) => asking(path, 'GET', { accept: { value: 'image/avif' } })));
    assert.deepEqual(asked.map((request) => request.uri), [...paths, original]);
    const given = answer(asked.slice(0, -1).map((request) => answering(request.uri, {}, 200, request.headers)));
    given.forEach((response) => assert.equal(response.headers.vary, undefined));
  });

  test(`${engine}: a save-as name gets the same header as from the Rust code`, () => {
    const events = vectors.downloads.map(({ path, download }) => answering(path, { download: { value: download } }));
    answer(events).forEach((response, i) => {
      const { download, disposition } = vectors.downloads[i];
      assert.equal(response.headers['content-disposition']?.value ?? null, disposition, download);
    });
  });

  test(`${engine}: a variant too large for a response redirects to the requested URL with its query`, () => {
    const path = '/files/variants/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.avif';
    const auto = path.replace('avif', 'auto');
    const signed = { Expires: { value: '17' }, Signature: { value: 'a-b~c_' }, 'Key-Pair-Id': { value: 'K' } };
    const several = { a: { value: '1', multiValue: [{ value: '1' }, { value: '%202' }] }, b: { value: '' } };
    const negotiated = { 'x-negotiated': { value: 'true' } };
    const moved = (headers, querystring) => {
      const event = answering(path, querystring, 302, headers);
      event.response.headers.location = { value: path };
      return event;
    };
    const events = [moved({}, {}), moved({}, signed), moved(negotiated, signed), moved({}, several)];
    const unmoved = answering(path, signed, 302);
    const given = answer([...events, unmoved]).map((response) => response.headers.location?.value);
    const query = '?Expires=17&Signature=a-b~c_&Key-Pair-Id=K';
    assert.deepEqual(given, [path, path + query, auto + query, `${path}?a=1&a=%202&b=`, undefined]);
  });

  test(`${engine}: the first of several names is used`, () => {
    const download = { value: 'b.pdf', multiValue: [{ value: 'a.pdf' }, { value: 'b.pdf' }] };
    const [named] = answer([answering(vectors.downloads[0].path, { download })]);
    assert.match(named.headers['content-disposition'].value, /"a\.pdf"/);
  });

  test(`${engine}: without a name or a successful response, nothing is added`, () => {
    const path = vectors.downloads[0].path;
    const given = answer([answering(path, {}), answering(path, { download: { value: 'a.pdf' } }, 404)]);
    given.forEach((response) => assert.deepEqual(response.headers, {}));
  });
}
