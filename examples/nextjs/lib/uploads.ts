import { XFiles } from "@xfiles/sdk";
import { createUploads, route } from "@xfiles/sdk/server";
import { revalidatePath } from "next/cache";
import { listProducts } from "./products";

export const client = new XFiles(); // XFILES_URL and XFILES_API_KEY

export const uploads = createUploads({
  client,
  routes: {
    picture: route({
      accept: ["image/*"],
      maxBytes: "20MB",
      maxFiles: 20,
      input: (raw) => {
        const { productId, visibility } = raw as Record<string, unknown>;
        if (typeof productId !== "string") throw new Error("`productId` must be a text");
        return { productId, visibility: visibility === "public" ? ("public" as const) : ("private" as const) };
      },
      authorize: async ({ input }) => {
        if (!(await listProducts()).some(({ id }) => id === input.productId)) return null;
        return {
          visibility: input.visibility,
          variants: true,
          entity: { type: "product", id: input.productId, role: "picture" },
          context: { productId: input.productId },
        };
      },
      onConfirmed: ({ file, context }) => {
        revalidatePath("/");
        return { fileId: file.id, productId: context.productId };
      },
    }),
    manual: route({ accept: ["text/plain", "application/pdf"], maxBytes: "100MB", authorize: () => ({}) }),
  },
});
