import { xfiles } from "@/lib/plain";

// Each call of the browser carries a few hundred bytes; the picture goes to `uploadUrl`.
export async function POST(request: Request) {
  const body = await request.json();
  try {
    if (body.fileId) return Response.json(await xfiles("POST", "/files/confirm", { fileId: body.fileId }));
    const { filename, contentType, size, productId } = body;
    const intent = {
      filename, contentType, size, visibility: "public",
      entity: { type: "product", id: productId, role: "picture" },
      transformations: { image: { enabled: true, visibility: "public" } },
    };
    return Response.json(await xfiles("POST", "/files/upload-intent", intent));
  } catch (error) {
    return Response.json({ error: (error as Error).message }, { status: 400 });
  }
}

export async function DELETE(request: Request) {
  const { fileId } = await request.json();
  return Response.json(await xfiles("DELETE", `/files/${encodeURIComponent(fileId)}`));
}
