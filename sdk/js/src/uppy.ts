import { channel, type ChannelOptions } from "./channel.js";
import { mediaType } from "./media.js";
import type { Begun, Confirmed, Refused } from "./protocol.js";

/** The options of {@link xfilesUppy}. */
export interface XFilesUppyOptions extends ChannelOptions {
  route: string;
  /** What the route's `input` takes. */
  input?: unknown;
}

interface UppyFileLike {
  id: string;
  name?: string | undefined;
  type?: string | undefined;
  size: number | null;
}

/** The part of Uppy 6 that this adapter uses. */
interface UppyLike {
  use(plugin: any, options: any): unknown;
  getFile(id: string): any;
  setFileState(id: string, state: any): void;
  addPreProcessor(run: (ids: string[]) => Promise<void>): void;
  addPostProcessor(run: (ids: string[]) => Promise<void>): void;
  emit(event: any, ...data: any[]): unknown;
  on(event: any, run: (file: any) => void): unknown;
}

/**
 * Makes an Uppy 6 instance upload through an upload handler: pass `AwsS3` of `@uppy/aws-s3`. A file counts as complete
 * only once XFiles has published it; `file.response.body` then has `file` and `data`.
 */
export function xfilesUppy(uppy: UppyLike, AwsS3: unknown, { route, input, ...options }: XFilesUppyOptions): void {
  const send = channel(options);
  const claims = new Map<string, string>();

  uppy.use(AwsS3, {
    // Uppy would begin multipart uploads by itself where XFiles ends.
    shouldUseMultipart: false,
    generateObjectKey: (file: UppyFileLike) => file.id,
    async signRequest({ key }: { key: string }) {
      const { name = "file", type, size } = uppy.getFile(key) as UppyFileLike;
      const claim = claims.get(key);
      if (claim) {
        // A repeated upload keeps its reservation.
        const again = await send<{ upload: Begun }>({ action: "renew", claim }).catch(() => null);
        if (again) return { url: again.upload.url, key, headers: again.upload.headers };
      }
      const files = [{ name, type: mediaType(name, type), size: size ?? 0 }];
      const { uploads } = await send<{ uploads: (Begun | Refused)[] }>({ action: "begin", route, input, attempt: crypto.randomUUID(), files });
      const begun = uploads[0]!;
      if ("error" in begun) throw new Error(begun.error.detail);
      claims.set(key, begun.claim);
      return { url: begun.url, key, headers: begun.headers };
    },
  });
  // The store is strict about the type; Uppy reports unknown ones as application/octet-stream.
  uppy.addPreProcessor(async (ids) => {
    for (const id of ids) {
      const { name, type } = uppy.getFile(id);
      uppy.setFileState(id, { type: mediaType(name, type) || type });
    }
  });
  uppy.addPostProcessor(async (ids) => {
    // The ids of failed files are among them.
    const stored = ids.filter((id) => claims.has(id) && !uppy.getFile(id)?.error);
    for (let from = 0; from < stored.length; from += 20) {
      const part = stored.slice(from, from + 20);
      let files: (Confirmed | Refused)[];
      try {
        files = (await send<{ files: (Confirmed | Refused)[] }>({ action: "confirm", claims: part.map((id) => claims.get(id)!) })).files;
      } catch (error) {
        files = part.map(() => ({ error: { status: 0, code: "", detail: (error as Error).message } }));
      }
      part.forEach((id, index) => {
        const result = files[index]!;
        const file = uppy.getFile(id);
        if ("error" in result) {
          uppy.emit("upload-error", file, Object.assign(new Error(result.error.detail), result.error));
        } else {
          claims.delete(id);
          uppy.setFileState(id, { response: { ...file.response, body: { ...file.response?.body, ...result } } });
        }
      });
    }
  });
  uppy.on("file-removed", ({ id }: UppyFileLike) => {
    const claim = claims.get(id);
    claims.delete(id);
    if (claim) send({ action: "cancel", claims: [claim] }, true).catch(() => {});
  });
}
