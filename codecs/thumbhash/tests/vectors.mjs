// Makes vectors.json by the reference implementation: npm install thumbhash@0.1.1 && node vectors.mjs > vectors.json
import { rgbaToThumbHash } from "thumbhash";

const share = (part, whole) => Math.floor((part * 255) / Math.max(whole - 1, 1));
const times = (a, b) => Math.floor((a * b) / 255);

// Nothing symmetric: what should be zero would be whatever rounding leaves.
function drawn(pattern, width, height, x, y) {
  const [across, down] = [share(x, width), share(y, height)];
  const [right, bottom] = [times(across, across), times(down, down)];
  const [isLeft, isTop] = [8 * x < 3 * width, 5 * y < 3 * height];
  switch (pattern) {
    case "gradient":
      return [times(right, down), times(bottom, 255 - right), times(across, 255 - bottom), 255];
    case "parts":
      if (isLeft) return isTop ? [220, 30, 40, 255] : [250, 240, 20, 255];
      return isTop ? [10, 160, 70, 255] : [20, 40, 200, 255];
    case "grey":
      return Array(3).fill(times(right, bottom)).concat(255);
    case "faded":
      return [200, right, times(across, bottom), times(255 - right, down)];
    case "hole":
      return [times(right, down), 120, bottom, isLeft && isTop ? 0 : 255];
  }
}

const vectors = [];
for (const pattern of ["gradient", "parts", "grey", "faded", "hole"]) {
  for (const [width, height] of [[100, 75], [75, 100], [64, 64], [100, 12], [7, 5]]) {
    const rgba = [];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) rgba.push(...drawn(pattern, width, height, x, y));
    const hash = Buffer.from(rgbaToThumbHash(width, height, rgba)).toString("base64");
    vectors.push(JSON.stringify({ pattern, width, height, hash }));
  }
}
console.log(`[\n  ${vectors.join(",\n  ")}\n]`);
