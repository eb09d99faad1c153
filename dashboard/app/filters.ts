// The filters of the file list, and their place in the address.
export interface Filters {
  q: string; type: string; visibility: string; owner: string; entityType: string; entityId: string; role: string; after: string; before: string;
}
export const NONE: Filters = { q: "", type: "", visibility: "", owner: "", entityType: "", entityId: "", role: "", after: "", before: "" };
const NAMES = Object.keys(NONE) as (keyof Filters)[];
const DAY = /^\d{4}-\d{2}-\d{2}$/;

export function fromQuery(query: URLSearchParams): Filters {
  const filters = { ...NONE };
  for (const name of NAMES) filters[name] = query.get(name) ?? "";
  if (filters.visibility !== "public" && filters.visibility !== "private") filters.visibility = "";
  if (!DAY.test(filters.after)) filters.after = "";
  if (!DAY.test(filters.before)) filters.before = "";
  return filters;
}

/** Keeps what else is in the query; what is empty is left out. */
export function toQuery(filters: Filters, query = new URLSearchParams()): URLSearchParams {
  const result = new URLSearchParams(query);
  for (const name of NAMES) {
    if (filters[name]) result.set(name, filters[name]);
    else result.delete(name);
  }
  return result;
}

export const anySet = (filters: Filters) => NAMES.some((name) => filters[name] !== "");

/** The query of `GET /files`. A day is one of the person's own time zone; `before` includes it. */
export function toApi(filters: Filters): Record<string, string | undefined> {
  const midnight = (text: string, days: number) => {
    if (!text) return undefined;
    const [y, m, d] = text.split("-").map(Number) as [number, number, number];
    return new Date(y, m - 1, d + days).toISOString();
  };
  return {
    q: filters.q || undefined, contentType: filters.type || undefined, visibility: filters.visibility || undefined,
    ownerUserId: filters.owner || undefined, entityType: filters.entityType || undefined, entityId: filters.entityId || undefined,
    role: filters.role || undefined, createdAfter: midnight(filters.after, 0), createdBefore: midnight(filters.before, 1),
  };
}
