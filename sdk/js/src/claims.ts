import { fromBase64, hmac, sameBytes, toBase64Url, utf8 } from "./bytes.js";

/** What a claim says. The holder can read it and cannot change it. */
export interface Claim {
  fileId: string;
  route: string;
  context: unknown;
  /** Seconds since 1970. */
  exp: number;
}

const VERSION = "xfc1";
const INFO = "xfiles upload claim v1";

// HKDF-SHA256 without salt, for 32 bytes: one block of its expansion.
async function derive(apiKey: string): Promise<Uint8Array<ArrayBuffer>> {
  const extracted = await hmac(new Uint8Array(32), utf8(apiKey));
  return hmac(extracted, utf8(`${INFO}\x01`));
}

const mac = async (apiKey: string, signed: string) => hmac(await derive(apiKey), utf8(signed));

/** Signs a claim with a key that is derived from the API key. */
export async function signClaim(apiKey: string, claim: Claim): Promise<string> {
  const payload = { f: claim.fileId, r: claim.route, c: claim.context ?? null, e: claim.exp };
  const signed = `${VERSION}.${toBase64Url(utf8(JSON.stringify(payload)))}`;
  return `${signed}.${toBase64Url(await mac(apiKey, signed))}`;
}

/** The claim that `token` says, or null if no key signed it or its time is over. `now` is in seconds. */
export async function readClaim(apiKeys: readonly string[], token: string, now: number): Promise<Claim | null> {
  const [version, payload, signature, ...rest] = token.split(".");
  if (version !== VERSION || !payload || !signature || rest.length) return null;
  try {
    const given = fromBase64(signature);
    for (const apiKey of apiKeys) {
      if (!sameBytes(given, await mac(apiKey, `${version}.${payload}`))) continue;
      const { f, r, c, e } = JSON.parse(new TextDecoder().decode(fromBase64(payload)));
      return e > now ? { fileId: f, route: r, context: c, exp: e } : null;
    }
  } catch {
    // Not base64: signed by nobody.
  }
  return null;
}
