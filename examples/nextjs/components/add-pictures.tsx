"use client";

import { Dropzone, useUpload } from "@xfiles/sdk/react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import type { uploads } from "@/lib/uploads";

export function AddPictures({ productId }: { productId: string }) {
  const [visibility, setVisibility] = useState<"public" | "private">("public");
  const router = useRouter();
  const upload = useUpload<typeof uploads, "picture">("picture");
  const add = async (files: Iterable<File>) => {
    await upload.add(files, { productId, visibility });
    router.refresh();
  };
  return (
    <div>
      <label>
        <input type="checkbox" onChange={(event) => setVisibility(event.target.checked ? "private" : "public")} /> private
      </label>
      <Dropzone upload={{ state: upload.state, add }} accept="image/*" multiple className="drop" />
      <ul>
        {upload.files.filter(({ status }) => status !== "done").map((file) => (
          <li key={file.id}>
            {file.name} <progress value={file.progress} /> {file.error?.message}
            {file.retryable && <button onClick={() => upload.retry(file.id)}>Retry</button>}
            {file.status === "uploading" && <button onClick={() => upload.cancel(file.id)}>Cancel</button>}
          </li>
        ))}
      </ul>
    </div>
  );
}
