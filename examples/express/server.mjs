// Express as the back end of the page in examples/static: `npm start`, with XFILES_URL and XFILES_API_KEY.
import { fileURLToPath } from "node:url";
import { XFiles } from "@xfiles/sdk";
import { createUploads, route, toNodeHandler } from "@xfiles/sdk/server";
import express from "express";

const client = new XFiles();
const uploads = createUploads({
  client,
  routes: {
    photo: route({
      accept: ["image/*", "text/plain"],
      maxBytes: "20MB",
      maxFiles: 20,
      // A real application looks at the request's cookies.
      authorize: () => ({ visibility: "public", ownerUserId: "demo" }),
      onConfirmed: async ({ file }) => ({ url: (await client.files.urls(file.id)).url }),
    }),
  },
});

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
express()
  .use("/api/upload", toNodeHandler(uploads))
  .use("/sdk", express.static(here("node_modules/@xfiles/sdk/dist")))
  .use(express.static(here("../static")))
  .listen(Number(process.env.PORT ?? 3000), "127.0.0.1", function () {
    console.log(`http://localhost:${this.address().port}`);
  });
