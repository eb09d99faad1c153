// The address: paths below /dashboard/, and the query as the state of a screen.
import { Store } from "./store.ts";

export const BASE = "/dashboard";
export interface Place { path: string[]; query: URLSearchParams }

function read(): Place {
  const path = location.pathname.slice(BASE.length).split("/").filter(Boolean).map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  });
  return { path, query: new URLSearchParams(location.search) };
}

export const place = new Store<Place>(read());

export const href = (...path: string[]) => `${BASE}/${path.map(encodeURIComponent).join("/")}`;

export function go(to: string, how: { replace?: boolean; keepScroll?: boolean } = {}) {
  if (to === location.pathname + location.search) return;
  if (how.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  place.set(read());
  if (!how.replace && !how.keepScroll) scrollTo(0, 0);
}

export function setQuery(change: (query: URLSearchParams) => void, how: { replace?: boolean } = { replace: true }) {
  const query = new URLSearchParams(location.search);
  change(query);
  const text = query.toString();
  go(location.pathname + (text ? `?${text}` : ""), { ...how, keepScroll: true });
}

addEventListener("popstate", () => place.set(read()));

/** Links inside the console change the page without loading it; the browser keeps its own ways of opening a link. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest?.("a[href]") as HTMLAnchorElement | null;
  if (!link || link.target || link.download || link.origin !== location.origin || !link.pathname.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
