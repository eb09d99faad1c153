"use client";

import NextImage, { type ImageProps } from "next/image.js";
import { useCallback } from "react";
import { resize } from "../image.js";

// Bundlers that follow Node give an ESM file the whole CommonJS module as its default.
const Image = ((NextImage as any).default ?? NextImage) as typeof import("next/image.js").default;

/** The part of `XFilesImage` that has a function as a property, and so must be a client component. */
export function ClientImage({ original, ...rest }: ImageProps & { original: number | undefined }) {
  const loader = useCallback(({ src, width }: { src: string; width: number }) => resize(src, width, original), [original]);
  const Component = Image as unknown as (props: ImageProps) => React.JSX.Element;
  return <Component {...rest} loader={loader} />;
}
