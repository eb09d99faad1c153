// The one place that talks to the API and that knows how the person is signed in.
//
// Two carriers. A key lives in the variable below and nowhere else: a reload forgets it. A session is a cookie that no
// script can read; its requests carry `XFiles-Project`, without which the server ignores the cookie.
import { Store } from "./store.ts";
import type { Membership, Problem, Project, Scope, Usage, User, XFile } from "./types.ts";

export interface Session {
  carrier: "key" | "cookie";
  /** How the person is named in the corner: an e-mail address, or the key with its middle left out. */
  label: string;
  scopes: Set<Scope>;
  admin: boolean;
  /** The project that a key belongs to; null where the carrier is not bound to one. */
  home: string | null;
  user: User | null;
  memberships: Membership[];
}

export class ApiError extends Error {
  constructor(readonly problem: Problem, readonly retryAfter = 0) {
    super(problem.detail);
  }
  get status() { return this.problem.status; }
  get code() { return this.problem.code; }
  /** The server has no such route: an older version, or a part that is switched off. */
  get absent() { return this.status === 405 || (this.status === 404 && this.code === "route_not_found"); }
}

export const session = new Store<Session | null>(null);
/** False until the first look for a session has been answered. */
export const settled = new Store(false);
export const online = new Store(navigator.onLine);
addEventListener("online", () => online.set(true));
addEventListener("offline", () => online.set(false));

const API = "/api/v1";
let key: string | null = null;
let refreshing: Promise<boolean> | null = null;

export interface Options {
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** The project that a session works in; `-` for routes of no project. */
  project?: string;
  /** Another key than the session's, to try it. */
  as?: string;
  /** Leaves the session alone on a 401. */
  quiet?: boolean;
}

export async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  if (response.status === 401 && !options.quiet && !options.as && session.value) {
    const renewed = session.value.carrier === "cookie" && (await refresh());
    if (renewed) return read<T>(await send(method, path, options));
    end();
  }
  return read<T>(response);
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  const url = new URL(path.startsWith("/") ? path : `${API}/${path}`, location.origin);
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  const headers: Record<string, string> = { accept: "application/json", ...options.headers };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const bearer = options.as ?? key;
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  else headers["xfiles-project"] = options.project ?? "-";
  try {
    return await fetch(url, {
      method, headers, signal: options.signal ?? null, cache: "no-store",
      credentials: bearer ? "omit" : "same-origin",
      body: options.body === undefined ? null : JSON.stringify(options.body),
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError({ status: 0, code: "unreachable", detail: `${location.host} does not answer`, hint: "Check the connection, and whether the server runs." });
  }
}

async function read<T>(response: Response): Promise<T> {
  const text = await response.text().catch(() => "");
  let body: unknown = null;
  try { body = text ? JSON.parse(text) : null; } catch { /* Not JSON: a proxy answered. */ }
  if (response.ok) return body as T;
  const requestId = response.headers.get("request-id") ?? "";
  const known = body as Partial<Problem> | null;
  throw new ApiError(
    { detail: `The server answered ${response.status}`, code: "unexpected_answer", requestId, ...known, status: response.status },
    Number(response.headers.get("retry-after")) || 0,
  );
}

/** One renewal at a time, whoever asks. */
function refresh(): Promise<boolean> {
  refreshing ??= send("POST", "auth/refresh", { body: {} })
    .then((response) => response.ok, () => false)
    .finally(() => { refreshing = null; });
  return refreshing;
}

function end() {
  key = null;
  session.set(null);
}

export const shortKey = (raw: string) => `${raw.slice(0, 7)}…${raw.slice(-4)}`;

interface Me { user?: User; scopes?: Scope[]; admin?: boolean; projectId?: string | null; projects?: Membership[]; memberships?: Membership[] }

function ofMe(me: Me): Session {
  const memberships = (me.memberships ?? me.projects ?? []).map((m) => ({ ...m, id: m.id ?? (m as unknown as { projectId: string }).projectId }));
  const admin = me.admin ?? me.user?.admin ?? me.user?.role === "admin";
  const scopes = new Set<Scope>(me.scopes ?? (admin ? ["read", "write", "delete", "manage", "admin"] : memberships.flatMap(ofRole)));
  return { carrier: "cookie", label: me.user?.email ?? "Signed in by code", scopes, admin, home: me.projectId ?? null, user: me.user ?? null, memberships };
}

/** The scopes of a role in a project. */
export function ofRole(member: Membership): Scope[] {
  if (member.scopes) return member.scopes;
  const roles: Record<string, Scope[]> = {
    viewer: ["read"], contributor: ["read", "write"], editor: ["read", "write", "delete"], owner: ["read", "write", "delete", "manage"],
  };
  return roles[member.role ?? ""] ?? [];
}

/** Signs in by the code in the fragment, or by the cookie that is there. */
export async function start(): Promise<ApiError | null> {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  try {
    if (code) await call("POST", "auth/code", { body: { code, cookie: true }, quiet: true });
    session.set(ofMe(await call<Me>("GET", "me", { quiet: true })));
    return null;
  } catch (error) {
    return code && error instanceof ApiError ? error : null;
  } finally {
    settled.set(true);
  }
}

export async function signInWithPassword(email: string, password: string) {
  await call("POST", "auth/login", { body: { email, password, cookie: true }, quiet: true });
  session.set(ofMe(await call<Me>("GET", "me", { quiet: true })));
}

/**
 * Finds out what a key may do, and only then keeps it. No route tells the scopes of a key, so each is asked for
 * something that is refused for its empty body once the scope is there.
 */
export async function signInWithKey(raw: string) {
  const allowed = (method: string, path: string, body?: unknown) =>
    call<unknown>(method, path, { as: raw, ...(body === undefined ? {} : { body }) }).then(
      (answer) => ({ ok: true, answer }),
      (error: ApiError) => {
        if (error.status === 403) return { ok: false, answer: null };
        if (error.status === 400 || error.status === 422) return { ok: true, answer: null };
        throw error;
      },
    );
  const usage = await allowed("GET", "usage");
  const [write, remove, projects] = await Promise.all([
    allowed("POST", "files/upload-intents", { files: [] }),
    allowed("POST", "files/delete", { fileIds: [] }),
    allowed("GET", "projects"),
  ]);
  const scopes = new Set<Scope>();
  if (usage.ok) scopes.add("read");
  if (write.ok) scopes.add("write");
  if (remove.ok) scopes.add("delete");
  if (projects.ok) scopes.add("admin").add("manage");
  const list = (projects.answer as { projects: Project[] } | null)?.projects ?? [];
  const home = await homeOf(raw, list, usage.answer as Usage | null);
  key = raw;
  session.set({ carrier: "key", label: shortKey(raw), scopes, admin: projects.ok, home, user: null, memberships: [] });
}

/** The project of a key: the addresses of its files name it, and an admin finds the key in a project's list. */
async function homeOf(raw: string, projects: Project[], usage: Usage | null): Promise<string> {
  if (projects.length === 1) return projects[0]!.id;
  if (usage && usage.files > 0) {
    const { files } = await call<{ files: XFile[] }>("GET", "files", { as: raw, query: { limit: 1, include: "urls" } });
    const found = files[0]?.url && /\/files\/originals\/(?:public|private)\/([a-z0-9]{12})\//.exec(files[0].url);
    if (found) return found[1]!;
  }
  for (const { id } of projects) {
    const { keys } = await call<{ keys: { prefix: string; lastFour: string; revokedAt: string | null }[] }>("GET", `projects/${id}/keys`, { as: raw });
    if (keys.some((k) => !k.revokedAt && raw.startsWith(k.prefix) && raw.endsWith(k.lastFour))) return id;
  }
  return "-";
}

export async function signOut() {
  if (session.value?.carrier === "cookie") await call("POST", "auth/logout", { body: {}, quiet: true }).catch(() => null);
  end();
}

/** What the person may do in a project. */
export function may(scope: Scope, project: string): boolean {
  const now = session.value;
  if (!now) return false;
  if (now.carrier === "key") return now.scopes.has(scope) && (inProject(scope) ? project === now.home || now.home === "-" : true);
  if (now.admin) return true;
  return now.memberships.some((m) => m.id === project && ofRole(m).includes(scope));
}
const inProject = (scope: Scope) => scope === "read" || scope === "write" || scope === "delete";
