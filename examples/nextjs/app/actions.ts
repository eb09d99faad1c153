"use server";

import { revalidatePath } from "next/cache";
import { createProduct, deleteProduct } from "@/lib/products";
import { client } from "@/lib/uploads";

export async function addProduct(form: FormData) {
  await createProduct(String(form.get("name")));
  revalidatePath("/");
}

export async function removeProduct(id: string) {
  await client.files.deleteWhere({ entityType: "product", entityId: id });
  await deleteProduct(id);
  revalidatePath("/");
}

export async function removePicture(id: string) {
  await client.files.delete(id);
  revalidatePath("/");
}

export async function moveToFront(productId: string, id: string) {
  const ids: string[] = [];
  for await (const file of client.files.list({ entityType: "product", entityId: productId })) ids.push(file.id);
  await client.files.reorder({ type: "product", id: productId }, [id, ...ids.filter((other) => other !== id)]);
  revalidatePath("/");
}
