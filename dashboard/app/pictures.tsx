// How a file is shown: its picture where it has variants, the thumbhash until then, or a sheet with the extension.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api.ts";
import { Icon, type IconName } from "./icons.tsx";
import { extension, isAudio, isRaster, isVideo } from "./media.ts";
import { decode } from "./thumbhash.ts";
import type { Urls, XFile } from "./types.ts";

export function Hash({ hash }: { hash: string }) {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const picture = decode(hash), canvas = ref.current, context = canvas?.getContext("2d");
    if (!picture || !canvas || !context) return;
    canvas.width = picture.width;
    canvas.height = picture.height;
    context.putImageData(new ImageData(picture.rgba, picture.width, picture.height), 0, 0);
  }, [hash]);
  return <canvas class="hash" ref={ref} aria-hidden="true" />;
}

export const Sheet = ({ name }: { name: string }) => (
  <span class="ty"><span class="doc"><svg viewBox="0 0 44 56" aria-hidden="true" focusable="false"><path d="M3 1h26l12 12v42H3zM29 1v12h12" /></svg><b>{extension(name).slice(0, 5).toUpperCase() || "FILE"}</b></span></span>
);

export const iconOf = (type: string): IconName => type.startsWith("image/") ? "image" : isVideo(type) || type.startsWith("video/") ? "video" : isAudio(type) ? "audio" : "file";

/** The narrowest variant that fills a tile. Each first request for a width is a run of the worker, so there is one. */
export function tileUrl(file: XFile): string | null {
  if (!file.transformations.image.enabled || !file.variants?.length) return null;
  return (file.variants.find((v) => v.width >= 300) ?? file.variants[file.variants.length - 1]!).url;
}

/** Signed URLs end; one that has is signed again for an hour, once. */
async function signAgain(file: XFile): Promise<string | null> {
  const urls = await call<Urls>("POST", `files/${file.id}/url`, { query: { format: "auto" }, body: { expiresIn: 3600 }, project: projectOf(file) });
  return tileUrl({ ...file, variants: urls.variants });
}
const projectOf = (file: XFile) => /\/files\/originals\/\w+\/([a-z0-9]{12})\//.exec(file.url ?? "")?.[1] ?? "-";

/** The picture of a tile or a row. It is loaded after it has been in the list for a moment, so that a jump loads nothing. */
export function Cover({ file, small }: { file: XFile; small?: boolean }) {
  const [url, setUrl] = useState<string | null>(null);
  const [shown, setShown] = useState(false);
  const tries = useRef(0);
  const wanted = tileUrl(file);
  useEffect(() => {
    setShown(false);
    tries.current = 0;
    if (!wanted) { setUrl(null); return; }
    const timer = setTimeout(() => setUrl(wanted), 150);
    return () => clearTimeout(timer);
  }, [file.id, wanted]);
  const failed = () => {
    if (tries.current++ > 0) { setUrl(null); return; }
    signAgain(file).then(setUrl, () => setUrl(null));
  };
  if (small) {
    return (
      <span class="thumb ty">{!file.thumbhash && !wanted && <Icon name={iconOf(file.contentType)} />}{file.thumbhash && <Hash hash={file.thumbhash} />}
        {url && <img src={url} alt="" class={shown ? "in-view" : undefined} decoding="async" onLoad={() => setShown(true)} onError={failed} />}</span>
    );
  }
  const raster = isRaster(file.contentType);
  return (
    <span class="pic">
      {file.thumbhash ? <Hash hash={file.thumbhash} /> : !wanted && <Sheet name={file.originalFilename} />}
      {url && <img src={url} alt="" class={shown ? "in-view" : undefined} decoding="async" onLoad={() => setShown(true)} onError={failed} />}
      {raster && !file.transformations.image.enabled && <span class="bdg tag">No variants</span>}
    </span>
  );
}

/** What a browser says it takes; `fetch` would say that it takes anything, and `auto` would choose for nobody. */
export const IMAGE_ACCEPT = "image/avif,image/webp,image/png,image/*;q=0.8";

export interface Measured { blob: string; bytes: number; ms: number; type: string; cache: string; age: string }
export class Unmeasured extends Error { constructor(readonly status: number, detail: string, readonly retryAfter: number) { super(detail); } }

/** Loads a picture and tells its figures. */
export async function measure(url: string, signal: AbortSignal): Promise<Measured> {
  const begun = performance.now();
  let response: Response;
  try {
    response = await fetch(url, { headers: { accept: IMAGE_ACCEPT }, cache: "no-store", credentials: "omit", signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Unmeasured(0, "The CDN does not answer this page", 0);
  }
  if (!response.ok) {
    const why: Record<number, string> = {
      403: "The signature has ended. Sign again.", 404: "There is no such variant: variants are off, or the file is gone.",
      415: "The original cannot be decoded, so it has no variants.", 503: "The worker is busy or needs more memory than it may take for this picture.",
    };
    throw new Unmeasured(response.status, why[response.status] ?? `The CDN answered ${response.status}`, Number(response.headers.get("retry-after")) || 0);
  }
  const blob = await response.blob();
  return {
    blob: URL.createObjectURL(blob), bytes: blob.size, ms: performance.now() - begun, type: response.headers.get("content-type") ?? blob.type,
    cache: response.headers.get("x-cache") ?? "", age: response.headers.get("age") ?? "",
  };
}
export const formatName = (type: string) => type.replace(/^image\//, "").replace(/;.*/, "").toUpperCase();
