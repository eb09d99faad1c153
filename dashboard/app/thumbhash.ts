// Draws a thumbhash (the 25 bytes of a blurred picture) into a canvas. After Evan Wallace's description of the format.
export interface Picture { width: number; height: number; rgba: Uint8ClampedArray<ArrayBuffer> }

export function decode(base64: string): Picture | null {
  let hash: Uint8Array;
  try { hash = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)); } catch { return null; }
  if (hash.length < 5) return null;
  const at = (i: number) => hash[i] ?? 0;
  const header24 = at(0) | (at(1) << 8) | (at(2) << 16);
  const header16 = at(3) | (at(4) << 8);
  const lDc = (header24 & 63) / 63, pDc = ((header24 >> 6) & 63) / 31.5 - 1, qDc = ((header24 >> 12) & 63) / 31.5 - 1;
  const lScale = ((header24 >> 18) & 31) / 31, hasAlpha = header24 >> 23 !== 0;
  const pScale = ((header16 >> 3) & 63) / 63, qScale = ((header16 >> 9) & 63) / 63, landscape = header16 >> 15 !== 0;
  const lx = Math.max(3, landscape ? (hasAlpha ? 5 : 7) : header16 & 7);
  const ly = Math.max(3, landscape ? header16 & 7 : hasAlpha ? 5 : 7);
  const aDc = hasAlpha ? (at(5) & 15) / 15 : 1, aScale = (at(5) >> 4) / 15;
  const start = hasAlpha ? 6 : 5;
  let index = 0;
  const channel = (nx: number, ny: number, scale: number) => {
    const ac: number[] = [];
    for (let cy = 0; cy < ny; cy++) {
      for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++) {
        ac.push((((at(start + (index >> 1)) >> ((index++ & 1) << 2)) & 15) / 7.5 - 1) * scale);
      }
    }
    return ac;
  };
  const lAc = channel(lx, ly, lScale), pAc = channel(3, 3, pScale * 1.25), qAc = channel(3, 3, qScale * 1.25);
  const aAc = hasAlpha ? channel(5, 5, aScale) : [];
  const ratio = (landscape ? (hasAlpha ? 5 : 7) : header16 & 7) / (landscape ? header16 & 7 || 1 : hasAlpha ? 5 : 7) || 1;
  const width = Math.max(1, Math.round(ratio > 1 ? 24 : 24 * ratio)), height = Math.max(1, Math.round(ratio > 1 ? 24 / ratio : 24));
  const rgba = new Uint8ClampedArray(width * height * 4);
  const basis = (n: number, count: number, i: number) => Array.from({ length: count }, (_, c) => Math.cos((Math.PI / n) * (i + 0.5) * c));
  for (let y = 0, i = 0; y < height; y++) {
    const fy = basis(height, Math.max(ly, hasAlpha ? 5 : 3), y);
    for (let x = 0; x < width; x++, i += 4) {
      const fx = basis(width, Math.max(lx, hasAlpha ? 5 : 3), x);
      const sum = (dc: number, nx: number, ny: number, ac: number[]) => {
        let value = dc;
        for (let cy = 0, j = 0; cy < ny; cy++) {
          const twice = fy[cy]! * 2;
          for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++, j++) value += ac[j]! * fx[cx]! * twice;
        }
        return value;
      };
      const l = sum(lDc, lx, ly, lAc), p = sum(pDc, 3, 3, pAc), q = sum(qDc, 3, 3, qAc), a = hasAlpha ? sum(aDc, 5, 5, aAc) : 1;
      const b = l - (2 / 3) * p, r = (3 * l - b + q) / 2, g = r - q;
      rgba[i] = 255 * r; rgba[i + 1] = 255 * g; rgba[i + 2] = 255 * b; rgba[i + 3] = 255 * a;
    }
  }
  return { width, height, rgba };
}
