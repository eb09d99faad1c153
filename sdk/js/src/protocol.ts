import type { FieldError, StoredFile } from "./generated.js";

/** What the browser knows of a route before it uploads. */
export interface RouteLimits {
  accept: string[];
  /** Bytes of one file. */
  maxBytes: number;
  maxFiles: number;
}

/** A file that is to be uploaded. */
export interface FileToUpload {
  name: string;
  type: string;
  /** Bytes. */
  size: number;
  checksumSha256?: string | undefined;
}

/** Why something failed; the fields of a problem document. */
export interface Problem {
  status: number;
  code: string;
  detail: string;
  hint?: string | undefined;
  errors?: FieldError[] | undefined;
  requestId?: string | undefined;
}

export interface Refused {
  error: Problem;
}

/** Where the bytes of one file go, and the claim that stands for it. */
export interface Begun {
  claim: string;
  url: string;
  headers: Record<string, string>;
  /** When the URL ends. */
  expiresAt: string;
}

/** A published file and what the route's `onConfirmed` returned. */
export interface Confirmed<D = unknown> {
  file: StoredFile;
  data: D;
}

export type Message =
  | { action: "begin"; route: string; input?: unknown; attempt: string; files: FileToUpload[] }
  | { action: "confirm"; claims: string[] }
  | { action: "renew"; claim: string }
  | { action: "cancel"; claims: string[] };

/** The longest body of a message; larger ones are refused before they are read. */
export const MAX_MESSAGE_BYTES = 65_536;
/** Files or claims in one message. */
export const MAX_ITEMS = 100;
