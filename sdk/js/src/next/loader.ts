"use client";

import { resize } from "../image.js";

/**
 * A loader of `next/image` for variants of XFiles; the width stays one that exists. Other sources get `?w=`, because Next
 * expects each width to have a URL of its own. A `quality` has no meaning: variants are stored.
 */
export default function loader({ src, width }: { src: string; width: number; quality?: number }): string {
  const url = resize(src, width);
  if (/_w\d+\.[a-z]+(?=$|\?)/.test(src)) return url;
  return `${src}${src.includes("?") ? "&" : "?"}w=${width}`;
}
