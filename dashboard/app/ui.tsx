// The components that more than one screen uses.
import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError, session, signOut } from "./api.ts";
import { duration, ends } from "./format.ts";
import { Icon, type IconName } from "./icons.tsx";
import { Store, useStore } from "./store.ts";
import type { FieldError, Scope } from "./types.ts";

type Kids = { children?: ComponentChildren };
export const cx = (...names: (string | false | null | undefined)[]) => names.filter(Boolean).join(" ");

// ---- Loading

export interface Loaded<T> { data: T | null; error: ApiError | null; loading: boolean; reload: () => void; set: (data: T) => void }

/** Loads when the key changes. What was loaded stays while it is loaded again, and when that fails. */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; error: ApiError | null; loading: boolean }>({ key, data: null, error: null, loading: key !== null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    setState((old) => ({ key, data: old.key === key ? old.data : null, error: null, loading: true }));
    load(stop.signal).then(
      (data) => !stop.signal.aborted && setState({ key, data, error: null, loading: false }),
      (error) => {
        if (!stop.signal.aborted) setState((old) => ({ key, data: old.key === key ? old.data : null, error: asApiError(error), loading: false }));
      },
    );
    return () => stop.abort();
  }, [key, turn]);
  const mine = state.key === key;
  return {
    data: mine ? state.data : null, error: mine ? state.error : null, loading: mine ? state.loading : key !== null,
    reload: () => setTurn((n) => n + 1), set: (data) => setState({ key, data, error: null, loading: false }),
  };
}

export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError({ status: 0, code: "page_error", detail: error instanceof Error ? error.message : String(error) });

/** A change that a button makes: one at a time, its error kept. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const run = async (work: () => Promise<unknown>): Promise<boolean> => {
    if (busy) return false;
    setBusy(true); setError(null);
    try { await work(); return true; } catch (e) { setError(asApiError(e)); return false; } finally { setBusy(false); }
  };
  return { busy, error, run, setError };
}

/** True once something has lasted so long that a skeleton helps. */
export function useLater(on: boolean, ms = 150): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!on) { setLate(false); return; }
    const timer = setTimeout(() => setLate(true), ms);
    return () => clearTimeout(timer);
  }, [on, ms]);
  return on && late;
}

export function useMedia(query: string): boolean {
  const [matches, set] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query), change = () => set(list.matches);
    change();
    list.addEventListener("change", change);
    return () => list.removeEventListener("change", change);
  }, [query]);
  return matches;
}
export const useNarrow = () => useMedia("(max-width: 720px)");

/** The time, again each `ms` while the page is visible. */
export function useNow(ms: number): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || set(Date.now()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}

/** Calls again after each pause while the page is visible. */
export function usePoll(on: boolean, seconds: number, again: () => void) {
  const latest = useRef(again);
  latest.current = again;
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => document.hidden || latest.current(), seconds * 1000);
    return () => clearInterval(timer);
  }, [on, seconds]);
}

// ---- Buttons

interface ButtonProps extends Kids {
  icon?: IconName; kind?: "pri" | "gho" | "bad" | "kill"; small?: boolean; large?: boolean; wide?: boolean; busy?: boolean; busyText?: string;
  /** Why it cannot be pressed. The button stays focusable and tells the reason. */
  refused?: string | false | null; onClick?: (event: MouseEvent) => void; type?: "button" | "submit"; label?: string; expanded?: boolean; id?: string; autofocus?: boolean;
}
export function Button(p: ButtonProps) {
  const off = Boolean(p.refused) || p.busy;
  return (
    <button type={p.type ?? "button"} id={p.id} class={cx("btn", p.kind, p.small && "s", p.large && "l", p.wide && "wide", !p.children && "ic")}
      aria-disabled={off ? "true" : undefined} aria-busy={p.busy ? "true" : undefined} aria-label={p.label} aria-expanded={p.expanded}
      title={p.refused || (p.children ? undefined : p.label)} autofocus={p.autofocus}
      onClick={(e) => { if (off) { e.preventDefault(); e.stopPropagation(); } else p.onClick?.(e as unknown as MouseEvent); }}>
      {p.busy ? <span class="spin" /> : p.icon && <Icon name={p.icon} />}
      {p.children && <span>{p.busy && p.busyText ? p.busyText : p.children}</span>}
    </button>
  );
}

export function useCopy(): [boolean, (text: string) => void] {
  const [done, setDone] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return [done, (text) => {
    void copyText(text).then((ok) => {
      if (!ok) return;
      setDone(true);
      announce("Copied");
      clearTimeout(timer.current);
      timer.current = setTimeout(() => setDone(false), 2000) as unknown as number;
    });
  }];
}

/** The clipboard needs a secure context; over plain http in a network the older way still works. */
async function copyText(text: string): Promise<boolean> {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* Not allowed here. */ }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "vh";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const ok = document.execCommand("copy");
  area.remove();
  return ok;
}

export function CopyButton({ text, label, children, kind = "gho", small = true }: { text: string | (() => string); label?: string; children?: ComponentChildren; kind?: ButtonProps["kind"]; small?: boolean }) {
  const [done, copy] = useCopy();
  return (
    <Button icon={done ? "check" : "copy"} kind={kind} small={small} label={children && done ? undefined : label ?? (children ? undefined : "Copy")} onClick={() => copy(typeof text === "string" ? text : text())}>
      {children && (done ? "Copied" : children)}
    </Button>
  );
}

export const Line = ({ text }: { text: string }) => (
  <div class="inl"><span class="mono cut" tabIndex={0}>{text}</span><CopyButton text={text} label={`Copy ${text.length < 30 ? text : "the text"}`} /></div>
);

// ---- Text

export const MidCut = ({ text }: { text: string }) => {
  const [head, tail] = ends(text);
  return <span class="mid" title={text}><span>{head}</span>{tail && <span>{tail}</span>}</span>;
};

export const Badge = ({ tone, mono, children }: Kids & { tone?: string; mono?: boolean }) => <span class={cx("bdg", tone, mono && "mono")}>{children}</span>;
export const Status = ({ tone, children }: Kids & { tone: "ok" | "warn" | "bad" | "acc" | "off" }) => <span class={cx("st", tone)}><span>{children}</span></span>;
export const Scopes = ({ list }: { list: Iterable<string> }) => (
  <span class="row g1 wrap">{[...list].map((s) => <Badge key={s} tone={s === "admin" || s === "manage" ? "warn" : undefined}>{s}</Badge>)}</span>
);

export function Bar({ parts, of, large, label }: { parts: [number, string][]; of: number; large?: boolean; label?: string }) {
  return (
    <span class={cx("bar", large && "large")} role={label ? "img" : undefined} aria-label={label}>
      {parts.map(([n, tone], i) => <i key={i} class={tone} style={{ width: `${of > 0 ? Math.min(100, (100 * n) / of) : 0}%` }} />)}
    </span>
  );
}

export const Skel = ({ w, h = 14 }: { w: number | string; h?: number }) => <span class="skel" style={{ width: typeof w === "number" ? `${w}px` : w, height: `${h}px` }} />;

/** The rows of a table before its data. */
export function SkelRows({ rows = 5, tall }: { rows?: number; tall?: boolean }) {
  const late = useLater(true);
  return (
    <div aria-busy="true" class={cx("skelrows", tall && "tall")}>
      <span class="vh">Loading</span>
      {late && Array.from({ length: rows }, (_, i) => <div key={i} class="skelrow"><Skel w={`${30 - (i % 3) * 6}%`} /><Skel w="12%" /><Skel w="10%" /></div>)}
    </div>
  );
}

// ---- Page parts

export function Head({ title, sub, children }: Kids & { title: string; sub?: ComponentChildren }) {
  useEffect(() => { document.title = `${title} · XFiles`; }, [title]);
  return (
    <header class="head tall"><div class="sp"><h1 tabIndex={-1}>{title}</h1>{sub && <p>{sub}</p>}</div>{children && <div class="row">{children}</div>}</header>
  );
}

export function Say({ icon, title, children, actions, command, commandLabel }: Kids & { icon: IconName; title: string; actions?: ComponentChildren; command?: string; commandLabel?: string }) {
  return (
    <div class="say">
      <div class="glyph"><Icon name={icon} large /></div>
      <h2>{title}</h2>
      <p>{children}</p>
      {actions && <div class="row wrap">{actions}</div>}
      {command && <div class="hintbox near"><p class="t2">{commandLabel ?? "From a terminal:"}</p><Line text={command} /></div>}
    </div>
  );
}

/** What went wrong, where the content stops. What was loaded above stays. */
export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  const [left, setLeft] = useState(error.retryAfter);
  useEffect(() => {
    setLeft(error.retryAfter);
    if (!error.retryAfter) return;
    const timer = setInterval(() => setLeft((n) => Math.max(0, n - 1)), 1000);
    return () => clearInterval(timer);
  }, [error]);
  const { code, requestId, hint, detail } = error.problem;
  return (
    <div class="panel errp" role="alert">
      <span class="bad"><Icon name="warn" /></span>
      <div class="sp">
        <p class="b">{sentence(detail)}</p>
        {hint && <p class="t2">{hint}</p>}
        <p class="row g1 wrap t3 sm"><span class="mono">{code}</span>{requestId && <>, request <span class="mono">{requestId}</span><CopyButton text={`${code} ${requestId}`} label="Copy code and request id" /></>}</p>
      </div>
      {retry && <Button small icon="again" onClick={retry} refused={left > 0 && `The server asked to wait ${duration(left)}`}>{left > 0 ? `Try again in ${left} s` : "Try again"}</Button>}
    </div>
  );
}
export const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** A refusal for a missing scope: who you are, what you may, what is needed. */
export function Denied({ need, what, still }: { need: Scope; what: string; still?: string }) {
  const now = useStore(session);
  if (!now) return null;
  const byKey = now.carrier === "key";
  return (
    <div class="say">
      <div class="glyph"><Icon name="lock" large /></div>
      <h2>{byKey ? `Your key may not ${what}` : `You may not ${what}`}</h2>
      <p>{byKey ? "You signed in with a key that lacks the scope " : "Your role does not include "}<code>{need}</code>.{still && ` ${still}`}</p>
      <dl class="facts lined">
        <dt>Signed in as</dt><dd class="mono">{now.label}</dd>
        <dt>May</dt><dd><Scopes list={now.scopes} /></dd>
        <dt>Needed</dt><dd><Badge>{need}</Badge></dd>
      </dl>
      <div class="row wrap"><Button icon="leave" onClick={() => void signOut()}>{byKey ? "Sign in with another key" : "Sign in as another person"}</Button></div>
    </div>
  );
}

/** A part that this server does not have. */
export const Absent = ({ what, children }: Kids & { what: string }) => (
  <Say icon="server" title={`${what} are not available on this server`}>{children} The version that runs here has no such route.</Say>
);

/** The states of a screen that loads one thing: skeleton, refusal, absence, error, content. */
export function States<T>({ of, need, what, absent, skeleton, children }: {
  of: Loaded<T>; need: Scope; what: string; absent?: ComponentChildren; skeleton?: ComponentChildren; children: (data: T) => ComponentChildren;
}) {
  const { data, error } = of;
  if (error?.absent && absent) return <>{absent}</>;
  // A key of an unknown project names none, which is a 404 before the scope is looked at.
  const lacks = !session.value?.admin && !session.value?.scopes.has(need);
  if ((error?.status === 403 || (error?.status === 404 && lacks)) && !data) return <Denied need={need} what={what} />;
  return <>
    {data !== null ? <div aria-busy={of.loading}>{children(data)}</div> : !error && (skeleton ?? <SkelRows />)}
    {error && <Failure error={error} retry={of.reload} />}
  </>;
}

// ---- Forms

interface FieldProps { label: string; help?: ComponentChildren; error?: string | null; children: (ids: { id: string; "aria-describedby"?: string; "aria-invalid"?: "true" }) => ComponentChildren }
export function Field({ label, help, error, children }: FieldProps) {
  const id = useId();
  const describedBy = [help && `${id}-h`, error && `${id}-e`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label class="lab" for={id}>{label}</label>
      {children({ id, ...(describedBy ? { "aria-describedby": describedBy } : {}), ...(error ? { "aria-invalid": "true" as const } : {}) })}
      {error && <p class="msg-err" id={`${id}-e`}><Icon name="warn" /><span>{error}</span></p>}
      {help && <p class="help" id={`${id}-h`}>{help}</p>}
    </div>
  );
}

interface TextProps {
  label: string; help?: ComponentChildren; error?: string | null; value: string; set: (value: string) => void; unit?: string; large?: boolean;
  type?: "text" | "password" | "email" | "number" | "date" | "url"; autocomplete?: string; autofocus?: boolean; class?: string; maxLength?: number; placeholder?: string;
}
export function Text({ label, help, error, value, set, unit, large, type = "text", class: extra, ...rest }: TextProps) {
  return (
    <Field label={label} help={help} error={error ?? null}>
      {(ids) => <span class={cx("inrow", unit && "row")}><input {...(rest as object)} {...ids} type={type as "text"} class={cx("in", error && "err", large && "l", extra)} value={value} onInput={(e) => set(e.currentTarget.value)} spellcheck={false} />{unit && <span class="t2 nw">{unit}</span>}</span>}
    </Field>
  );
}

export function Select<T extends string>({ value, set, options, label, small, hidden, disabled }: { value: T; set: (value: T) => void; options: readonly (readonly [T, string])[]; label: string; small?: boolean; hidden?: boolean; disabled?: boolean }) {
  const id = useId();
  return <>
    <label for={id} class={hidden ? "vh" : "lab"}>{label}</label>
    <select id={id} class={cx("in", small && "s")} value={value} disabled={disabled} onChange={(e) => set(e.currentTarget.value as T)}>
      {options.map(([v, text]) => <option key={v} value={v}>{text}</option>)}
    </select>
  </>;
}

export function Check({ checked, set, children, help, disabled }: Kids & { checked: boolean; set: (on: boolean) => void; help?: string; disabled?: boolean }) {
  return <label class="checkline"><input type="checkbox" class="chk" checked={checked} disabled={disabled} onChange={(e) => set(e.currentTarget.checked)} /><span><span>{children}</span>{help && <span class="help blk">{help}</span>}</span></label>;
}

export function Segmented<T extends string>({ value, set, options, label, small }: { value: T; set: (value: T) => void; options: readonly (readonly [T, string, IconName?])[]; label: string; small?: boolean }) {
  const iconOnly = options.every((o) => o[2]) && !options.some((o) => o[1].length > 12);
  return (
    <div class={cx("seg", small && "s", iconOnly && "ic")} role="group" aria-label={label}>
      {options.map(([v, text, icon]) => <button key={v} type="button" aria-pressed={v === value} aria-label={icon ? text : undefined} title={icon ? text : undefined} onClick={() => set(v)}>{icon ? <Icon name={icon} /> : text}</button>)}
    </div>
  );
}

/** The first field error that names this pointer. */
export const faultOf = (error: ApiError | null, pointer: string): string | null =>
  error?.problem.errors?.find((e: FieldError) => e.pointer === pointer || e.pointer.startsWith(`${pointer}/`))?.detail ?? null;

// ---- Tabs and code

export function Tabs<T extends string>({ value, set, options, label, panel }: { value: T; set: (value: T) => void; options: readonly (readonly [T, string])[]; label: string; panel: string }) {
  const onKey = (event: KeyboardEvent) => {
    const i = options.findIndex(([v]) => v === value);
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const next = options[(i + step + options.length) % options.length]!;
    set(next[0]);
    const list = event.currentTarget as HTMLElement;
    requestAnimationFrame(() => list.querySelector<HTMLElement>("[aria-selected=true]")?.focus());
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={onKey as never}>
      {options.map(([v, text]) => <button key={v} type="button" role="tab" id={`${panel}-${v}`} aria-controls={panel} aria-selected={v === value} tabIndex={v === value ? 0 : -1} onClick={() => set(v)}>{text}</button>)}
    </div>
  );
}

/** Code with tabs and Copy. Values that were filled in are marked by «guillemets» in the text and shown in the accent. */
export function Code({ tabs, label, wrap }: { tabs: readonly (readonly [string, string])[]; label: string; wrap?: boolean }) {
  const [tab, setTab] = useState(tabs[0]![0]);
  const id = useId();
  const text = (tabs.find(([name]) => name === tab) ?? tabs[0]!)[1];
  return (
    <div class="code">
      <header><Tabs value={tab} set={setTab} options={tabs.map(([name]) => [name, name] as const)} label={label} panel={id} /><span class="sp" /><CopyButton text={plain(text)} label={`Copy ${tab}`}>Copy</CopyButton></header>
      <pre class={wrap ? "wrap" : undefined} id={id} role="tabpanel" aria-labelledby={`${id}-${tab}`} tabIndex={0}>{marked(text)}</pre>
    </div>
  );
}
const plain = (text: string) => text.replace(/[«»]/g, "");
const marked = (text: string) => text.split(/(«[^»]*»|^#.*$|^\/\/.*$)/m).map((part, i) =>
  part.startsWith("«") ? <span class="v" key={i}>{part.slice(1, -1)}</span> : part.startsWith("#") || part.startsWith("//") ? <span class="c" key={i}>{part}</span> : part);

// ---- Dialog, menu, live region

interface DialogProps extends Kids { title: string; sub?: ComponentChildren; onClose: () => void; footer: ComponentChildren; stubborn?: boolean; onSubmit?: () => void }
const InDialog = createContext(false);

/** A native dialog. Focus goes back to where it was; Esc closes unless the dialog is stubborn. */
export function Dialog({ title, sub, onClose, footer, children, stubborn, onSubmit }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const opener = document.activeElement as HTMLElement | null;
    const dialog = ref.current!;
    dialog.showModal();
    dialog.querySelector<HTMLElement>("[autofocus]")?.focus();
    return () => { dialog.close(); if (opener?.isConnected) opener.focus(); };
  }, []);
  const body = <><div class="top"><h2 id={id}>{title}</h2>{sub && <p>{sub}</p>}</div><div class="pad">{children}</div><footer>{footer}</footer></>;
  return (
    <dialog ref={ref} class="dlg" aria-labelledby={id} onCancel={(e) => { e.preventDefault(); onClose(); }}
      onMouseDown={(e) => { if (e.target === ref.current && !stubborn) onClose(); }}>
      <InDialog.Provider value={true}>
        {onSubmit ? <form noValidate onSubmit={(e) => { e.preventDefault(); onSubmit(); }}>{body}</form> : <div>{body}</div>}
      </InDialog.Provider>
    </dialog>
  );
}
export const useInDialog = () => useContext(InDialog);

/** Asks before something is lost; the name is typed where that is asked for. */
export function LossDialog({ title, children, name, button, onClose, work }: Kids & { title: string; name?: string; button: string; onClose: () => void; work: () => Promise<unknown> }) {
  const [typed, setTyped] = useState("");
  const [tried, setTried] = useState(false);
  const { busy, error, run } = useAction();
  const wrong = name !== undefined && typed.trim() !== name.trim();
  const submit = async () => { setTried(true); if (!wrong && (await run(work))) onClose(); };
  return (
    <Dialog title={title} onClose={onClose} onSubmit={() => void submit()} footer={<>
      <span class="sp" /><Button onClick={onClose} autofocus={name === undefined}>Keep it</Button><Button kind="kill" type="submit" busy={busy}>{button}</Button>
    </>}>
      <div class="stack"><div class="t2">{children}</div>
        {name !== undefined && <Text label={`Type ${name} to go on`} value={typed} set={setTyped} autocomplete="off" autofocus error={tried && wrong ? `This is not ${name}` : null} />}
        {error && <Failure error={error} />}
      </div>
    </Dialog>
  );
}

export type MenuItem = { label: string; icon?: IconName; onClick: () => void; bad?: boolean; refused?: string | false } | "-";
export function Menu({ label, items, button, up }: { label: string; items: MenuItem[]; button?: ComponentChildren; up?: boolean }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const close = (focus: boolean) => { setOpen(false); if (focus) root.current?.querySelector<HTMLElement>("button")?.focus(); };
  useLayoutEffect(() => {
    if (!open) return;
    const menu = list.current!, box = root.current!.getBoundingClientRect();
    // The menu is fixed, so that no table cuts it; the position goes through CSSOM, which the policy permits.
    const height = menu.offsetHeight, width = Math.max(menu.offsetWidth, button ? box.width : 0);
    const below = !up && box.bottom + height + 12 < innerHeight;
    menu.style.top = `${Math.max(8, below ? box.bottom + 4 : box.top - height - 4)}px`;
    menu.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, button ? box.left : box.right - width))}px`;
    if (button) menu.style.minWidth = `${box.width}px`;
    menu.querySelector<HTMLElement>("button")?.focus();
    const outside = (e: Event) => { if (!root.current?.contains(e.target as Node)) setOpen(false); };
    const scrolled = () => setOpen(false);
    addEventListener("pointerdown", outside);
    addEventListener("scroll", scrolled, { passive: true });
    return () => { removeEventListener("pointerdown", outside); removeEventListener("scroll", scrolled); };
  }, [open]);
  const onKey = (e: KeyboardEvent) => {
    if (!open) return;
    const all = [...(list.current?.querySelectorAll<HTMLElement>("button") ?? [])], i = all.indexOf(document.activeElement as HTMLElement);
    if (e.key === "Escape") { e.stopPropagation(); e.preventDefault(); close(true); }
    else if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); e.stopPropagation(); all[(i + (e.key === "ArrowDown" ? 1 : -1) + all.length) % all.length]?.focus(); }
    else if (e.key === "Tab") setOpen(false);
  };
  return (
    <div class={button ? "menuroot full" : "menuroot"} ref={root} onKeyDown={onKey as never}>
      {button
        ? <button type="button" class="switch" aria-haspopup="menu" aria-expanded={open} title={label} onClick={() => setOpen(!open)}>{button}</button>
        : <button type="button" class="btn gho ic s" aria-haspopup="menu" aria-expanded={open} aria-label={label} title={label} onClick={(e) => { e.stopPropagation(); setOpen(!open); }}><Icon name="more" /></button>}
      {open && <div class="menu" role="menu" aria-label={label} ref={list}>
        {items.map((item, i) => item === "-" ? <hr key={i} /> : (
          <button key={i} type="button" role="menuitem" class={item.bad ? "bad" : undefined} aria-disabled={item.refused ? "true" : undefined} title={item.refused || undefined}
            onClick={(e) => { e.stopPropagation(); if (item.refused) return; close(true); item.onClick(); }}>
            {item.icon && <Icon name={item.icon} />}<span>{item.label}{item.refused && <span class="help blk">{item.refused}</span>}</span>
          </button>
        ))}
      </div>}
    </div>
  );
}

/** One polite live region for the whole console. */
export const spoken = new Store("");
export const announce = (text: string) => { spoken.set(""); setTimeout(() => spoken.set(text), 30); };
export const LiveRegion = () => <div class="vh" role="status" aria-live="polite">{useStore(spoken)}</div>;
