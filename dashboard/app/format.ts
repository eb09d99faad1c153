// Numbers, bytes and times as the console writes them.
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** IEC units, as the command line writes them and the API counts its limits; at most one decimal. */
export function bytes(n: number): string {
  let unit = 0, value = n;
  while (value >= 1023.5 && unit < UNITS.length - 1) { value /= 1024; unit++; }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits).replace(/\.0$/, "")} ${UNITS[unit]}`;
}

export const count = (n: number) => n.toLocaleString("en-GB");
export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n: number) => String(n).padStart(2, "0");

/** `26 Nov, 17:04`, with the year where it is another one. */
export function moment(text: string, now = new Date()): string {
  const t = new Date(text);
  const year = t.getFullYear() === now.getFullYear() ? "" : ` ${t.getFullYear()}`;
  return `${t.getDate()} ${MONTHS[t.getMonth()]}${year}, ${two(t.getHours())}:${two(t.getMinutes())}`;
}

export function day(text: string): string {
  const t = new Date(text);
  return `${t.getDate()} ${MONTHS[t.getMonth()]} ${t.getFullYear()}`;
}

/** `2 min ago` and `in 12 min` under a day; a date beyond. */
export function relative(text: string, now = Date.now()): string {
  const seconds = Math.round((new Date(text).getTime() - now) / 1000);
  const away = Math.abs(seconds);
  if (away < 45) return seconds > 0 ? `in ${away} s` : "just now";
  if (away >= 86_400) return moment(text, new Date(now));
  const words = away < 3570 ? `${Math.round(away / 60)} min` : `${Math.round(away / 3600)} h`;
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

/** `41 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  const h = Math.floor(s / 3600), m = Math.round((s % 3600) / 60);
  return m ? `${h} h ${m} min` : `${h} h`;
}

/** `59:41`, with hours and days where there are some. */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds)), d = Math.floor(s / 86_400), h = Math.floor((s % 86_400) / 3600);
  const rest = `${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
  return d ? `${d} d ${h}:${rest}` : h ? `${h}:${rest}` : rest;
}

/** A share in percent, with a decimal where it matters. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return "0 %";
  const p = (100 * part) / whole;
  return `${p > 0 && p < 10 ? p.toFixed(1) : Math.round(p)} %`;
}

/** A size as a person types it: `500 MiB`, `10GB` (read as GiB), `1048576`. Null if it is none. */
export function parseSize(text: string): number | null {
  const found = /^\s*(\d+(?:[.,]\d+)?)\s*(?:([KMGT])i?)?B?\s*$/i.exec(text);
  if (!found) return null;
  const unit = found[2] ? "KMGT".indexOf(found[2].toUpperCase()) + 1 : 0;
  const n = Math.round(Number(found[1]!.replace(",", ".")) * 1024 ** unit);
  return n <= 9_007_199_254_740_992 ? n : null;
}

/** Cuts a name so that its last 11 characters stay: they tell the extension and the number before it. */
export const ends = (name: string): [string, string] => name.length <= 14 ? [name, ""] : [name.slice(0, -11), name.slice(-11)];
