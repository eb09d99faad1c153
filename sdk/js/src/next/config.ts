/**
 * The `images` of next.config: the widths that XFiles has, so that no entry of a srcset repeats another. Other fields are
 * kept: `images: xfilesImages({ unoptimized: false })`.
 */
export function xfilesImages<T extends object>(more?: T) {
  return { deviceSizes: [600, 800, 1000, 1200], imageSizes: [100, 300, 400], ...(more as T) };
}
