import { XFilesImage } from "@xfiles/sdk/next";
import { AddManual } from "@/components/add-manual";
import { AddPictures } from "@/components/add-pictures";
import { PictureButtons } from "@/components/picture-buttons";
import { listProducts } from "@/lib/products";
import { client } from "@/lib/uploads";
import { addProduct, removeProduct } from "./actions";

// Signed URLs end, so the page is made for each request.
export const dynamic = "force-dynamic";

async function picturesOf(productId: string) {
  const files = [];
  for await (const file of client.files.list({ entityType: "product", entityId: productId, include: "urls", format: "auto" })) files.push(file);
  return files;
}

export default async function Page() {
  const products = await listProducts();
  const pictures = await Promise.all(products.map(({ id }) => picturesOf(id)));
  return (
    <main>
      <h1>Products</h1>
      <form action={addProduct}>
        <input name="name" required aria-label="Name" /> <button>Add a product</button>
      </form>
      <AddManual />
      {products.map((product, index) => (
        <section key={product.id} data-product={product.id}>
          <h2>{product.name}</h2>
          <form action={removeProduct.bind(null, product.id)}><button>Delete the product</button></form>
          {pictures[index].map((file) => (
            <figure key={file.id}>
              <XFilesImage file={file} alt={file.originalFilename} width={300} height={200} style={{ objectFit: "cover" }} />
              <PictureButtons productId={product.id} fileId={file.id} />
            </figure>
          ))}
          <AddPictures productId={product.id} />
        </section>
      ))}
    </main>
  );
}
