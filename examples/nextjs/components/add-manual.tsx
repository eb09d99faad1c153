"use client";

import { UploadButton, useUpload } from "@xfiles/sdk/react";
import type { uploads } from "@/lib/uploads";

export function AddManual() {
  const upload = useUpload<typeof uploads, "manual">("manual");
  return (
    <p>
      <UploadButton upload={upload} accept=".txt,.pdf" id="manual">Upload a manual</UploadButton>{" "}
      <progress value={upload.progress} /> <output id="manual-state">{upload.state}</output>
    </p>
  );
}
