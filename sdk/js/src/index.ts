export {
  XFiles,
  type FileList,
  type Files,
  type Keys,
  type ListOptions,
  type Projects,
  type UploadBody,
  type UploadOptions,
  type Webhooks,
  type XFilesOptions,
} from "./client.js";
export { XFilesError, type ErrorCode, type ProblemFields } from "./errors.js";
export { verifyWebhook, WebhookError, type XFilesEvent } from "./webhooks.js";
export type { CallOptions, PostOptions } from "./transport.js";
export type * from "./generated.js";
