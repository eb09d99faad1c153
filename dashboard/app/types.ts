// What the API answers, as far as the console reads it. openapi.json is the reference.
export type Scope = "read" | "write" | "delete" | "manage" | "admin";
export type Visibility = "public" | "private";
export type Format = "auto" | "avif" | "webp" | "jpeg" | "png";

export interface Usage { quotaBytes: number; usedBytes: number; reservedBytes: number; freeBytes: number; files: number }
export interface Project { id: string; name: string; status: "active" | "emptying" | "deleting"; usage: Usage; createdAt: string }
export interface Entity { type: string; id: string; role: string | null; position: number }
export interface Variant { width: number; url: string }
export interface XFile {
  id: string; filename: string; originalFilename: string; contentType: string; size: number; visibility: Visibility;
  uploadStatus: "pending" | "confirmed"; ownerUserId: string | null; entity: Entity | null; createdAt: string; etag: string;
  transformations: { image: { enabled: boolean; visibility: Visibility } };
  width?: number; height?: number; thumbhash?: string; checksumSha256?: string; expiresAt?: string;
  url?: string; variants?: Variant[]; expiresIn?: number;
}
export interface Urls { url: string; variants: Variant[]; expiresIn?: number }
export interface Upload { fileId: string; uploadUrl: string; method: string; headers: Record<string, string>; expiresAt: string; key: string }
export interface Key {
  id: string; name: string; prefix: string; lastFour: string; scopes: Scope[]; createdAt: string;
  lastUsedAt: string | null; expiresAt: string | null; revokedAt: string | null;
}
export interface Webhook { id: string; url: string; events: string[]; enabled: boolean; createdAt: string; oldSecretUntil: string | null }
export interface Delivery {
  id: string; eventId: string; type: string; status: "pending" | "delivered" | "parked"; attempts: number; createdAt: string;
  lastAttemptAt: string | null; lastError: string | null; lastStatus: number | null; nextAttemptAt: string | null;
}
export interface FieldError { pointer: string; code: string; detail: string }
export interface Problem {
  status: number; code: string; title?: string; detail: string; hint?: string; requestId?: string; errors?: FieldError[];
}
export interface User { id: string; email: string; name?: string | null; admin?: boolean; role?: string; createdAt?: string; lastSeenAt?: string | null; disabledAt?: string | null }
export interface Membership { id: string; name?: string; role?: string; scopes?: Scope[] }
