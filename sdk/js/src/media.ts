// The first extensions of the types that browsers most often leave without a type; the API knows many more, and
// its refusal names what it takes.
const TABLE =
  "avif:image/avif heic:image/heic heif:image/heif jxl:image/jxl jpg:image/jpeg jpeg:image/jpeg png:image/png " +
  "gif:image/gif webp:image/webp svg:image/svg+xml tif:image/tiff tiff:image/tiff bmp:image/bmp ico:image/x-icon " +
  "pdf:application/pdf txt:text/plain log:text/plain md:text/markdown csv:text/csv tsv:text/tab-separated-values " +
  "html:text/html css:text/css js:text/javascript mjs:text/javascript json:application/json xml:application/xml " +
  "yaml:application/yaml yml:application/yaml toml:application/toml ics:text/calendar vcf:text/vcard vtt:text/vtt " +
  "srt:application/x-subrip gpx:application/gpx+xml zip:application/zip gz:application/gzip tar:application/x-tar " +
  "7z:application/x-7z-compressed rar:application/vnd.rar zst:application/zstd wasm:application/wasm mp3:audio/mpeg " +
  "wav:audio/wav oga:audio/ogg m4a:audio/mp4 aac:audio/aac flac:audio/flac mp4:video/mp4 mov:video/quicktime " +
  "webm:video/webm mkv:video/matroska avi:video/x-msvideo glb:model/gltf-binary woff:font/woff woff2:font/woff2 " +
  "ttf:font/ttf otf:font/otf";

/** The media type of a file: its own, or by the extension of its name, or "" if neither is known. */
export function mediaType(name: string, own = ""): string {
  const bare = own.split(";")[0]?.trim().toLowerCase() ?? "";
  // Systems that do not know a type report one of the first two.
  if (bare && bare !== "application/octet-stream") return bare;
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase();
  return (extension && new RegExp(`(?:^| )${extension}:(\\S+)`).exec(TABLE)?.[1]) || "";
}

/** Returns true if `type` is one of `accept`: exact types, families such as `image/*`, or extensions such as `.pdf`. */
export function accepts(accept: readonly string[] | undefined, name: string, type: string): boolean {
  if (!accept?.length) return true;
  return accept.some((wanted) => {
    const one = wanted.trim().toLowerCase();
    if (one.startsWith(".")) return name.toLowerCase().endsWith(one);
    return one === "*/*" || one === type || (one.endsWith("/*") && type.startsWith(one.slice(0, -1)));
  });
}
