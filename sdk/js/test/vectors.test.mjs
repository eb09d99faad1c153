import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { verifyWebhook, WebhookError } from "@xfiles/sdk";
import { decodeThumbhash, placeholder, resize, snap } from "@xfiles/sdk/image";
import { readClaim, signClaim } from "../dist/claims.js";
import { errorOf } from "../dist/errors.js";
import { retryDelay } from "../dist/retry.js";
import { vectors } from "./support.mjs";

describe("claims", () => {
  const { sign, read } = vectors("claims");
  for (const { key, claim, token } of sign) {
    it(`signs for ${claim.route}`, async () => assert.equal(await signClaim(key, claim), token));
  }
  for (const { name, keys, now, token, claim } of read) {
    it(name, async () => assert.deepEqual(await readClaim(keys, token, now), claim));
  }
});

describe("retries", () => {
  for (const { name, failure, attempt, random, delayMs } of vectors("retry")) {
    it(name, () => assert.equal(retryDelay(failure, attempt, random), delayMs));
  }
});

describe("errors", () => {
  for (const { name, now, status, headers, body, error } of vectors("errors")) {
    it(name, () => {
      const found = errorOf(status, new Headers(headers), body, now);
      const fields = Object.fromEntries(Object.keys(error).map((field) => [field, found[field] ?? null]));
      assert.deepEqual(fields, error);
    });
  }
});

describe("webhooks", () => {
  for (const { name, now, secrets, headers, body, valid } of vectors("webhooks")) {
    it(name, async () => {
      const verify = (form) => verifyWebhook(form, headers, secrets, { now: now * 1000 });
      if (valid) {
        assert.deepEqual(await verify(body), JSON.parse(body));
        assert.deepEqual(await verify(new TextEncoder().encode(body)), JSON.parse(body));
      } else await assert.rejects(verify(body), WebhookError);
    });
  }
});

describe("widths", () => {
  const cases = vectors("snap");
  for (const [width, original, expected] of cases.snap) {
    it(`${width} of ${original ?? "any"} is ${expected}`, () => assert.equal(snap(width, original ?? undefined), expected));
  }
  for (const [url, width, original, expected] of cases.resize) {
    it(`resizes ${url}`, () => assert.equal(resize(url, width, original ?? undefined), expected));
  }
});

describe("placeholders", () => {
  for (const { hash, side, width, height, samples } of vectors("thumbhash")) {
    it(`decodes ${hash}`, () => {
      const picture = decodeThumbhash(hash, side);
      assert.deepEqual([picture.width, picture.height], [width, height]);
      for (const { x, y, rgba } of samples) {
        const found = picture.rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + 4);
        // The order of the sums differs from the reference decoder's, by less than one step.
        rgba.forEach((value, channel) => assert.ok(Math.abs(found[channel] - value) <= 1, `${found} at ${x},${y} is not ${rgba}`));
      }
    });
    it(`makes a small PNG of ${hash}`, () => {
      const url = placeholder(hash);
      assert.match(url, /^data:image\/png;base64,iVBORw0KGgo/);
      assert.ok(url.length < 480, `${url.length} characters`);
    });
  }
});
