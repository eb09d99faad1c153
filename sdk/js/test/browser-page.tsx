// Bundled for test/browser.test.mjs: what the pages of the tests use.
import Uppy from "@uppy/core";
import AwsS3 from "@uppy/aws-s3";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Dropzone, Picture, UploadButton, useUpload } from "@xfiles/sdk/react";
import { createUploader } from "@xfiles/sdk/upload";
import { xfilesUppy } from "@xfiles/sdk/uppy";

function Gallery() {
  const upload = useUpload("photo");
  return (
    <>
      <UploadButton upload={upload} multiple id="choose" />
      <Dropzone upload={upload} multiple id="drop" />
      <output id="state">{upload.state}</output>
      <ul>
        {upload.files.map((file) => (
          <li key={file.id}>{`${file.name} ${file.status} ${JSON.stringify(file.data ?? null)}`}</li>
        ))}
      </ul>
      <Picture file={{ url: "/picture.png", width: 4, height: 3, thumbhash: "3OcRJYB4d3h/iIeHeEh3eIhw+j3A" }} alt="test" />
    </>
  );
}

Object.assign(globalThis, {
  createUploader,
  newUppy(options: object) {
    const uppy = new Uppy();
    xfilesUppy(uppy as any, AwsS3, { endpoint: "/api/upload", route: "photo", ...options });
    return uppy;
  },
  renderGallery() {
    createRoot(document.body.appendChild(document.createElement("main"))).render(<StrictMode><Gallery /></StrictMode>);
  },
});
