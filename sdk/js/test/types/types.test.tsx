// Compiled, never run: the types that an application sees, under `strict` and `exactOptionalPropertyTypes`.
import { XFiles, XFilesError } from "@xfiles/sdk";
import { createUploadHook, Dropzone, Picture, UploadButton, useUpload } from "@xfiles/sdk/react";
import { createUploads, route } from "@xfiles/sdk/server";
import { XFilesImage } from "@xfiles/sdk/next";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(): T => true as T;

const uploads = createUploads({
  client: new XFiles(),
  routes: {
    photo: route({
      accept: ["image/*"],
      maxBytes: "5MB",
      input: (raw) => ({ album: Number((raw as { album: unknown }).album) }),
      authorize: ({ input }) => ({ context: { album: input.album }, variants: true }),
      onConfirmed: async ({ file, context }) => ({ id: file.id, album: context.album }),
    }),
    plain: route({ authorize: () => null }),
  },
});

export function Page() {
  const photo = useUpload<typeof uploads, "photo">("photo");
  is<Equal<NonNullable<(typeof photo.files)[number]["data"]>, { id: string; album: number }>>();
  void photo.add([], { album: 7 });
  // @ts-expect-error the route takes input
  void photo.add([]);
  // @ts-expect-error of this type
  void photo.add([], { album: "7" });
  const useOurs = createUploadHook<typeof uploads>();
  const plain = useOurs("plain");
  void plain.add([]);
  // @ts-expect-error no such route
  useOurs("nothing");
  const { url, variants = [] } = {} as { url: string; variants?: { width: number; url: string }[] };
  return (
    <>
      <UploadButton upload={photo} input={{ album: 7 }} multiple className="a" />
      <Dropzone upload={plain} accept="image/*" />
      <Picture file={{ url, variants }} alt="" sizes="50vw" />
      <XFilesImage file={{ url, variants, width: 3 }} alt="" sizes="50vw" />
    </>
  );
}

export async function calls(client: XFiles) {
  for await (const file of client.files.list({ entityType: "a", include: "urls" })) is<Equal<typeof file.size, number>>();
  await client.files.begin({ filename: "a", contentType: "image/jpeg", size: 1, ownerUserId: undefined });
  // @ts-expect-error the API has no such field
  await client.files.begin({ filename: "a", contentType: "image/jpeg", size: 1, owner: "u" });
  const error = new XFilesError({ code: "quota_exceeded", status: 413, detail: "" });
  is<Equal<typeof error.retryAfter, number | undefined>>();
}
