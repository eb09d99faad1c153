// Media types: what gets variants, what a browser shows, and the type of a file that the system does not know.
export const MAX_BYTES = 104_857_600;
export const WIDTHS = [100, 300, 400, 600, 800, 1000, 1200] as const;

const RASTER = new Set(["jpeg", "png", "gif", "webp", "avif", "tiff", "bmp", "x-icon"].map((t) => `image/${t}`));
export const isRaster = (type: string) => RASTER.has(type);
export const isVideo = (type: string) => type === "video/mp4" || type === "video/webm" || type === "video/ogg";
export const isAudio = (type: string) => type.startsWith("audio/") && !type.endsWith("midi");
/** Rasters that every current browser decodes. */
export const isShown = (type: string) => isRaster(type) && type !== "image/tiff";

const BY_EXTENSION: Record<string, string> = {
  jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", gif: "image/gif", webp: "image/webp", avif: "image/avif", svg: "image/svg+xml",
  tif: "image/tiff", tiff: "image/tiff", bmp: "image/bmp", ico: "image/x-icon", heic: "image/heic", heif: "image/heif", jxl: "image/jxl",
  psd: "image/vnd.adobe.photoshop", pdf: "application/pdf", doc: "application/msword", xls: "application/vnd.ms-excel",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  odt: "application/vnd.oasis.opendocument.text", ods: "application/vnd.oasis.opendocument.spreadsheet", rtf: "application/rtf",
  epub: "application/epub+zip", txt: "text/plain", log: "text/plain", csv: "text/csv", tsv: "text/tab-separated-values", md: "text/markdown",
  ics: "text/calendar", vcf: "text/vcard", vtt: "text/vtt", srt: "application/x-subrip", yaml: "application/yaml", yml: "application/yaml",
  toml: "application/toml", html: "text/html", htm: "text/html", css: "text/css", js: "text/javascript", mjs: "text/javascript",
  json: "application/json", geojson: "application/geo+json", xml: "application/xml", gpx: "application/gpx+xml", wasm: "application/wasm",
  zip: "application/zip", gz: "application/gzip", tgz: "application/gzip", tar: "application/x-tar", "7z": "application/x-7z-compressed",
  rar: "application/vnd.rar", bz2: "application/x-bzip2", xz: "application/x-xz", zst: "application/zstd", mp3: "audio/mpeg", wav: "audio/wav",
  ogg: "audio/ogg", oga: "audio/ogg", m4a: "audio/mp4", aac: "audio/aac", flac: "audio/flac", mid: "audio/midi", aiff: "audio/aiff",
  mp4: "video/mp4", m4v: "video/mp4", mov: "video/quicktime", webm: "video/webm", ogv: "video/ogg", mkv: "video/matroska",
  avi: "video/x-msvideo", "3gp": "video/3gpp", glb: "model/gltf-binary", woff: "font/woff", woff2: "font/woff2", ttf: "font/ttf", otf: "font/otf",
};

export const extension = (name: string) => /\.([A-Za-z0-9]{1,8})$/.exec(name)?.[1]?.toLowerCase() ?? "";
/** Null where neither the browser nor the name tells. */
export const typeOf = (file: { name: string; type: string }): string | null => (file.type !== "application/octet-stream" && file.type) || BY_EXTENSION[extension(file.name)] || null;

/** Families that the API filters by, as it writes them. */
export const FAMILIES = [
  ["image/*", "Images"], ["video/*", "Video"], ["audio/*", "Audio"], ["application/pdf", "PDF"], ["text/*", "Text"], ["application/*", "Documents and archives"], ["font/*", "Fonts"],
] as const;
