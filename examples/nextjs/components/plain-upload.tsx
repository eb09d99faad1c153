"use client";

import { useRouter } from "next/navigation";
import { useState } from "react";

async function ask(body: object) {
  const answer = await fetch("/api/plain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error);
  return json;
}

export function PlainUpload({ productId }: { productId: string }) {
  const [state, setState] = useState("");
  const router = useRouter();
  async function upload(file: File) {
    try {
      setState("uploading");
      const { fileId, uploadUrl } = await ask({ filename: file.name, contentType: file.type, size: file.size, productId });
      const put = await fetch(uploadUrl, { method: "PUT", headers: { "Content-Type": file.type }, body: file });
      if (!put.ok) throw new Error(`the store answered ${put.status}`);
      await ask({ fileId });
      setState("done");
      router.refresh();
    } catch (error) {
      setState((error as Error).message);
    }
  }
  return (
    <p>
      <input type="file" accept="image/*" aria-label="Picture" onChange={(event) => event.target.files?.[0] && upload(event.target.files[0])} />
      <output>{state}</output>
    </p>
  );
}
