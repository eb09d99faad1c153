"use client";

import { useTransition } from "react";
import { moveToFront, removePicture } from "@/app/actions";

// Not forms with bound arguments: Next writes each of those into the page several times.
export function PictureButtons({ productId, fileId }: { productId: string; fileId: string }) {
  const [busy, start] = useTransition();
  return (
    <>
      <button disabled={busy} onClick={() => start(() => moveToFront(productId, fileId))}>To the front</button>
      <button disabled={busy} onClick={() => start(() => removePicture(fileId))}>Delete</button>
    </>
  );
}
