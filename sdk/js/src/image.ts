import { fromBase64, toBase64 } from "./bytes.js";

/** The widths of variants, in pixels; docs/variants.md. */
export const WIDTHS = [100, 300, 400, 600, 800, 1000, 1200] as const;

/** What a picture needs of a listed file. */
export interface PictureFile {
  url?: string | undefined;
  width?: number | undefined;
  height?: number | undefined;
  thumbhash?: string | undefined;
  variants?: readonly { width: number; url: string }[] | undefined;
}

/**
 * The smallest variant width that is at least `width` pixels. With the width of the original, not wider than the smallest
 * variant that shows all of it: variants are never enlarged.
 */
export function snap(width: number, original?: number): number {
  const wanted = original === undefined ? width : Math.min(width, original);
  return WIDTHS.find((one) => one >= wanted) ?? WIDTHS[WIDTHS.length - 1]!;
}

const VARIANT = /_w\d+(\.[a-z]+)(?=$|\?)/;

/** The URL of another width of a variant. The signature of a private one covers all widths. Other URLs return as they are. */
export function resize(url: string, width: number, original?: number): string {
  return url.replace(VARIANT, `_w${snap(width, original)}$1`);
}

/** The `srcset` of a listed file, without widths that the original does not fill; "" if it has no variants. */
export function srcset(file: PictureFile): string {
  const widest = snap(Infinity, file.width);
  return (file.variants ?? [])
    .filter(({ width }) => width <= widest)
    .map(({ width, url }) => `${url} ${Math.min(width, file.width ?? width)}w`)
    .join(", ");
}

/** Decodes a ThumbHash (base64) into RGBA pixels whose longer side is `side`. */
export function decodeThumbhash(hash: string, side: number): { width: number; height: number; rgba: Uint8Array } {
  const bytes = fromBase64(hash);
  const at = (index: number) => bytes[index] ?? 0;
  // The header has the averages of L, P and Q, the scales of their AC terms and the number of L's along the shorter side.
  const dc = at(0) | (at(1) << 8) | (at(2) << 16);
  const ac = at(3) | (at(4) << 8);
  const alpha = dc >> 23 === 1;
  const landscape = ac >> 15 === 1;
  const longer = alpha ? 5 : 7;
  const columns = landscape ? longer : ac & 7;
  const rows = landscape ? ac & 7 : longer;
  let nibble = alpha ? 12 : 10;
  const terms = (nx: number, ny: number, scale: number) => {
    const list: [number, number, number][] = [];
    for (let y = 0; y < ny; y++) {
      for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x++, nibble++) {
        const value = ((at(nibble >> 1) >> ((nibble & 1) << 2)) & 15) / 7.5 - 1;
        list.push([x, y, value * scale]);
      }
    }
    return list;
  };
  const l = { dc: (dc & 63) / 63, ac: terms(Math.max(3, columns), Math.max(3, rows), ((dc >> 18) & 31) / 31) };
  const p = { dc: ((dc >> 6) & 63) / 31.5 - 1, ac: terms(3, 3, (((ac >> 3) & 63) / 63) * 1.25) };
  const q = { dc: ((dc >> 12) & 63) / 31.5 - 1, ac: terms(3, 3, (((ac >> 9) & 63) / 63) * 1.25) };
  const a = alpha ? { dc: (at(5) & 15) / 15, ac: terms(5, 5, (at(5) >> 4) / 15) } : { dc: 1, ac: [] };

  const ratio = columns / rows || 1;
  const width = Math.max(1, Math.round(ratio > 1 ? side : side * ratio));
  const height = Math.max(1, Math.round(ratio > 1 ? side / ratio : side));
  const wave = (place: number, frequency: number, length: number) => Math.cos((Math.PI / length) * (place + 0.5) * frequency);
  const rgba = new Uint8Array(width * height * 4);
  for (let y = 0, index = 0; y < height; y++) {
    for (let x = 0; x < width; x++, index += 4) {
      const level = ({ dc, ac }: typeof l) =>
        ac.reduce((sum, [cx, cy, value]) => sum + 2 * value * wave(x, cx, width) * wave(y, cy, height), dc);
      const [light, yellow, red] = [level(l), level(p), level(q)];
      const b = light - (2 / 3) * yellow;
      const r = (3 * light - b + red) / 2;
      const channels = [r, r - red, b, alpha ? level(a) : 1];
      channels.forEach((value, channel) => (rgba[index + channel] = Math.max(0, 255 * Math.min(1, value))));
    }
  }
  return { width, height, rgba };
}

/** The longer side of a placeholder. The browser blurs it by stretching; more pixels only cost HTML. */
const PLACEHOLDER_SIDE = 8;

/** A PNG as data URL, some 300 characters, to be shown until the picture is there; undefined without a hash. */
export function placeholder(hash: string | null | undefined): string | undefined {
  if (!hash) return undefined;
  const { width, height, rgba } = decodeThumbhash(hash, PLACEHOLDER_SIDE);
  const opaque = rgba.every((value, index) => index % 4 !== 3 || value === 255);
  const depth = opaque ? 3 : 4;
  const rows: number[] = [];
  for (let y = 0; y < height; y++) {
    rows.push(0);
    for (let x = 0; x < width; x++) rows.push(...rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + depth));
  }
  let [one, two] = [1, 0];
  for (const byte of rows) {
    one = (one + byte) % 65521;
    two = (two + one) % 65521;
  }
  const size = rows.length;
  // One stored block of deflate in a zlib stream.
  const data = [0x78, 1, 1, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255, ...rows, two >> 8, two & 255, one >> 8, one & 255];
  const png = [
    137, 80, 78, 71, 13, 10, 26, 10,
    ...chunk("IHDR", [0, 0, 0, width, 0, 0, 0, height, 8, opaque ? 2 : 6, 0, 0, 0]),
    ...chunk("IDAT", data),
    ...chunk("IEND", []),
  ];
  return `data:image/png;base64,${toBase64(Uint8Array.from(png))}`;
}

function chunk(type: string, data: number[]): number[] {
  const typed = [...type].map((character) => character.charCodeAt(0)).concat(data);
  let crc = ~0;
  for (const byte of typed) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const word = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
  return [...word(data.length), ...typed, ...word(~crc)];
}
