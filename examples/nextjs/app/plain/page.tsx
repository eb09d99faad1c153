import { PlainUpload } from "@/components/plain-upload";
import { xfiles } from "@/lib/plain";
import { listProducts } from "@/lib/products";

export const dynamic = "force-dynamic";

interface Listed {
  id: string;
  originalFilename: string;
  variants: { width: number; url: string }[];
}

export default async function Page() {
  const products = await listProducts();
  const lists: { files: Listed[] }[] = await Promise.all(
    products.map(({ id }) => xfiles("GET", `/files?entityType=product&entityId=${id}&include=urls&limit=100`)),
  );
  return (
    <main>
      <h1>Products, without the SDK</h1>
      {products.map((product, index) => (
        <section key={product.id}>
          <h2>{product.name}</h2>
          {lists[index].files.map((file) => (
            <img key={file.id} src={file.variants[1]?.url} srcSet={file.variants.map(({ url, width }) => `${url} ${width}w`).join(", ")} sizes="300px" alt={file.originalFilename} width={300} height={200} />
          ))}
          <PlainUpload productId={product.id} />
        </section>
      ))}
    </main>
  );
}
