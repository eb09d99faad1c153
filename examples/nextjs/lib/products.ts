import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export interface Product {
  id: string;
  name: string;
}

// The database of this example: a file.
const PATH = process.env.PRODUCTS_FILE ?? "data/products.json";

export async function listProducts(): Promise<Product[]> {
  try {
    return JSON.parse(await readFile(/*turbopackIgnore: true*/ PATH, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function save(products: Product[]): Promise<void> {
  await mkdir(/*turbopackIgnore: true*/ dirname(PATH), { recursive: true });
  await writeFile(/*turbopackIgnore: true*/ `${PATH}.new`, JSON.stringify(products, null, 2));
  await rename(/*turbopackIgnore: true*/ `${PATH}.new`, PATH);
}

export async function createProduct(name: string): Promise<Product> {
  const product = { id: crypto.randomUUID(), name };
  await save([...(await listProducts()), product]);
  return product;
}

export async function deleteProduct(id: string): Promise<void> {
  await save((await listProducts()).filter((product) => product.id !== id));
}
