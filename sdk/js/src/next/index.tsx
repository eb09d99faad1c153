import type { ImageProps } from "next/image.js";
import { type PictureFile, placeholder } from "../image.js";
import { ClientImage } from "./client.js";

/** The properties of {@link XFilesImage}. */
export type XFilesImageProps = Omit<ImageProps, "src" | "loader" | "placeholder" | "blurDataURL" | "quality" | "unoptimized"> & {
  /** A file as listed with `include: "urls"`, or a `file` with the `url` and `variants` beside it. */
  file: PictureFile;
};

/**
 * `next/image` for a file with variants: every width from one signature, none beyond the original, and its placeholder.
 * A server component, so that only one URL of the file reaches the page's data; it works in client components too.
 *
 * Private URLs end: list them with `cache: "no-store"`, or revalidate before `expiresIn`.
 */
export function XFilesImage({ file, ...rest }: XFilesImageProps) {
  const src = file.variants?.[0]?.url;
  if (!src) throw new TypeError("XFilesImage needs `variants`: list the file with include: \"urls\", and upload it with variants enabled");
  const preview = placeholder(file.thumbhash);
  const size = rest.fill || rest.width !== undefined ? {} : { width: file.width, height: file.height };
  const properties = {
    ...size,
    ...rest,
    src,
    original: file.width,
    ...(preview ? { placeholder: preview as `data:image/${string}` } : {}),
  };
  return <ClientImage {...(properties as ImageProps & { original: number | undefined })} />;
}
