// The files of a project: a windowed grid or table over cursor pages, with filters in the address.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, may } from "../api.ts";
import { type Filters, NONE, anySet, fromQuery, toApi, toQuery } from "../filters.ts";
import { bytes, count, moment, plural } from "../format.ts";
import { Icon } from "../icons.tsx";
import { FAMILIES } from "../media.ts";
import { Cover } from "../pictures.tsx";
import { BASE, go, href, place, setQuery } from "../route.ts";
import { useStore } from "../store.ts";
import { arrivals, settings } from "../tray.ts";
import type { XFile } from "../types.ts";
import { Button, Check, CopyButton, Denied, Dialog, Failure, LossDialog, MidCut, Say, Segmented, Select, Text, announce, asApiError, cx, useAction, useLater, useMedia, useNarrow } from "../ui.tsx";
import { columnsIn, moved, rowsOf, visible } from "../window.ts";
import { FileDrawer } from "./file.tsx";

const PAGE = 100;
interface Page { files: XFile[]; nextCursor: string | null }
interface List { key: string; files: XFile[]; cursor: string | null; total: number | null; exact: boolean; loading: boolean; error: ApiError | null }
const EMPTY: Omit<List, "key"> = { files: [], cursor: "", total: null, exact: true, loading: false, error: null };

/** The list of one filter, page after page. */
function useFiles(project: string, filters: Filters) {
  const key = JSON.stringify([project, filters]);
  const [list, setList] = useState<List>({ key, ...EMPTY });
  const state = useRef(list);
  const stop = useRef(new AbortController());
  const update = (to: Partial<List>) => { state.current = { ...state.current, ...to }; setList(state.current); };

  const more = async () => {
    const now = state.current;
    if (now.loading || now.cursor === null) return;
    const { signal } = stop.current;
    update({ loading: true, error: null });
    try {
      const page = await call<Page>("GET", "files", { project, signal, query: { ...toApi(filters), limit: PAGE, include: "urls", format: "auto", cursor: now.cursor } });
      if (signal.aborted) return;
      const known = new Set(state.current.files.map((f) => f.id));
      update({ files: [...state.current.files, ...page.files.filter((f) => !known.has(f.id))], cursor: page.nextCursor, loading: false });
    } catch (error) {
      if (!signal.aborted) update({ loading: false, error: asApiError(error) });
    }
  };
  const begin = (keep: boolean) => {
    stop.current.abort();
    stop.current = new AbortController();
    const { signal } = stop.current;
    state.current = { key, ...EMPTY, ...(keep ? { total: state.current.total } : {}) };
    setList(state.current);
    void more();
    call<{ total: number; totalIsExact: boolean }>("GET", "files", { project, signal, query: { ...toApi(filters), limit: 1, page: 1 } })
      .then((page) => update({ total: page.total, exact: page.totalIsExact }), () => null);
  };
  useEffect(() => { begin(false); return () => stop.current.abort(); }, [key]);
  return {
    list: list.key === key ? list : { key, ...EMPTY, loading: true }, more, again: () => begin(true),
    patch: (ids: Set<string>, change: (file: XFile) => XFile | null) => {
      const files = state.current.files.flatMap((f) => { const next = ids.has(f.id) ? change(f) : f; return next ? [next] : []; });
      const gone = state.current.files.length - files.length;
      update({ files, total: state.current.total === null ? null : Math.max(0, state.current.total - gone) });
    },
  };
}

export function Files({ project, choose }: { project: string; choose: () => void }) {
  const { query } = useStore(place);
  const filters = useMemo(() => fromQuery(query), [query.toString()]);
  const view = query.get("view") === "table" ? "table" : "grid";
  const opened = query.get("file");
  const { list, more, again, patch } = useFiles(project, filters);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [dialog, setDialog] = useState<"filters" | "visibility" | "variants" | "delete" | null>(null);
  const narrow = useNarrow();
  const arrived = useStore(arrivals);
  const first = useRef(arrived);
  const filtered = anySet(filters);

  useEffect(() => { document.title = "Files · XFiles"; }, []);
  useEffect(() => setPicked(new Set()), [list.key]);
  useEffect(() => { if (arrived !== first.current) { first.current = arrived; again(); } }, [arrived]);
  useEffect(() => { document.body.classList.toggle("with-drawer", opened !== null); return () => document.body.classList.remove("with-drawer"); }, [opened !== null]);

  const set = (change: Partial<Filters>) => go(`${location.pathname}${ask(toQuery({ ...filters, ...change }, query))}`, { replace: true });
  const clear = () => set(NONE);
  const open = (id: string | null) => setQuery((q) => (id ? q.set("file", id) : q.delete("file")));
  const writing = !may("write", project) && "Your sign-in lacks the scope write";
  const deleting = !may("delete", project) && "Your sign-in lacks the scope delete";
  const chosen = list.files.filter((f) => picked.has(f.id));

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.metaKey || e.ctrlKey || e.altKey || document.querySelector("dialog[open]")) return;
      if ((e.target as HTMLElement).closest?.("input, select, textarea")) return;
      if (e.key === "Delete" && picked.size && !deleting) { e.preventDefault(); setDialog("delete"); }
      if (e.key === "Escape") { if (opened) { open(null); } else if (picked.size) setPicked(new Set()); }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const denied = list.error?.status === 403 && list.files.length === 0;
  const bare = !filtered && !list.loading && !list.error && list.files.length === 0 && list.cursor === null;
  const viewSwitch = <Segmented label="View" value={view} options={[["grid", "Grid", "grid"], ["table", "Table", "rows"]] as const} set={(v) => setQuery((q) => (v === "table" ? q.set("view", v) : q.delete("view")))} />;
  return <>
    <header class="head">
      <nav class="crumbs" aria-label="Folder"><h1 tabIndex={-1}>Files</h1></nav><span class="sp" />
      {!denied && viewSwitch}
      {!bare && <span class="p2"><Button kind="pri" icon="upload" refused={writing} onClick={choose}>Upload</Button></span>}
    </header>
    {!denied && !bare && <FilterBar filters={filters} set={set} list={list} more={() => setDialog("filters")} narrow={narrow} />}
    <div class="body filesbody">
      {denied && <Denied need="read" what="list files" still="Sending files still works where the scope write is there, and a file opens if you have its address." />}
      {bare && (
        <div class="drop full">
          <Say icon="upload" title="Drop files here" actions={<Button kind="pri" refused={writing} onClick={choose}>Choose files</Button>}
            command="xf upload photo.jpg" commandLabel="From a terminal:">
            They go straight to the store: pictures, video, audio, documents, archives and fonts, up to {bytes(104_857_600)} each.
          </Say>
        </div>
      )}
      {!bare && filtered && !list.loading && !list.error && list.files.length === 0 && list.cursor === null && (
        <Say icon="search" title="Nothing matches" actions={<Button onClick={clear}>Clear filters</Button>}>No file of this project is {describe(filters)}.</Say>
      )}
      {list.files.length === 0 && list.loading && <Skeleton table={view === "table"} />}
      {list.files.length > 0 && (
        <Windowed key={list.key} list={list} table={view === "table"} narrow={narrow} picked={picked} setPicked={setPicked} open={open} openPage={(id) => go(href("p", project, "files", id))} opened={opened} more={more} />
      )}
      {!denied && list.error && <Failure error={list.error} retry={() => void more()} />}
    </div>
    {picked.size > 0 && (
      <div class="fix"><div class="actbar" role="toolbar" aria-label="Picked files">
        <span class="cnt">{count(picked.size)} selected <span class="t3 p2">{bytes(chosen.reduce((n, f) => n + f.size, 0))}</span></span>
        <CopyButton small={false} label="Copy URLs" text={() => chosen.map((f) => f.url ?? "").join("\n")}><span class="p2">Copy URLs</span></CopyButton>
        <Button kind="gho" icon="globe" label="Visibility" refused={writing} onClick={() => setDialog("visibility")}><span class="p2">Visibility</span></Button>
        <Button kind="gho" icon="image" label="Variants" refused={writing} onClick={() => setDialog("variants")}><span class="p2">Variants</span></Button>
        <Button kind="gho" icon="trash" label="Delete" refused={deleting} onClick={() => setDialog("delete")}><span class={deleting ? "p2" : "p2 bad"}>Delete</span></Button>
        <Button kind="gho" icon="x" label="Clear the selection" onClick={() => setPicked(new Set())} />
      </div></div>
    )}
    {opened && <FileDrawer project={project} id={opened} close={() => open(null)} changed={(file) => patch(new Set([file.id]), (old) => ({ ...old, ...file }))}
      removed={(id) => { patch(new Set([id]), () => null); open(null); }}
      step={(by) => { const i = list.files.findIndex((f) => f.id === opened), next = list.files[i + by]; if (next) open(next.id); }}
      at={list.files.findIndex((f) => f.id === opened)} of={list.files.length} />}
    {dialog === "filters" && <FilterDialog filters={filters} set={set} close={() => setDialog(null)} />}
    {dialog === "delete" && <DeleteDialog project={project} files={chosen} close={() => setDialog(null)} gone={(ids) => { patch(ids, () => null); setPicked(new Set()); if (opened && ids.has(opened)) open(null); }} />}
    {(dialog === "visibility" || dialog === "variants") && (
      <ChangeDialog project={project} files={chosen} what={dialog} close={() => setDialog(null)} changed={(file) => patch(new Set([file.id]), (old) => ({ ...old, ...file }))} done={() => { setPicked(new Set()); again(); }} />
    )}
  </>;
}

const ask = (query: URLSearchParams) => { const text = query.toString(); return text ? `?${text}` : ""; };

function describe(f: Filters): string {
  const parts = [
    f.q && `named ${f.q}…`, f.type && `of the type ${FAMILIES.find(([t]) => t === f.type)?.[1] ?? f.type}`, f.visibility, f.owner && `owned by ${f.owner}`,
    f.entityType && `attached to ${f.entityType} ${f.entityId}`, f.role && `in the role ${f.role}`, f.after && `from ${f.after} on`, f.before && `up to ${f.before}`,
  ].filter(Boolean);
  return parts.join(", and ");
}

function FilterBar({ filters, set, list, more, narrow }: { filters: Filters; set: (change: Partial<Filters>) => void; list: List; more: () => void; narrow: boolean }) {
  const [text, setText] = useState(filters.q);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => setText(filters.q), [filters.q]);
  useEffect(() => {
    if (text === filters.q) return;
    const timer = setTimeout(() => set({ q: text.trim() }), 250);
    return () => clearTimeout(timer);
  }, [text]);
  const chip = (name: string, value: string, off: Partial<Filters>) => value && (
    <span class="chip on" key={name}><button type="button" class="chiptext" onClick={more}>{name}: <b>{value}</b></button><button type="button" class="x" aria-label={`Remove the filter ${name}`} onClick={() => set(off)}><Icon name="x" /></button></span>
  );
  const chips = [
    chip("Type", FAMILIES.find(([t]) => t === filters.type)?.[1] ?? filters.type, { type: "" }),
    chip("Visibility", filters.visibility, { visibility: "" }), chip("Owner", filters.owner, { owner: "" }),
    chip("Entity", [filters.entityType, filters.entityId].filter(Boolean).join(" / "), { entityType: "", entityId: "" }),
    chip("Role", filters.role, { role: "" }), chip("From", filters.after, { after: "" }), chip("Up to", filters.before, { before: "" }),
  ].filter(Boolean);
  const total = list.total === null ? "" : `${list.exact ? "" : "about "}${plural(list.total, "file")}`;
  return (
    <div class="bar2">
      <label class="in search"><Icon name="search" /><span class="vh">Name starts with</span>
        <input ref={input} id="filter" placeholder="Name starts with" maxLength={64} value={text} onInput={(e) => setText(e.currentTarget.value)} spellcheck={false} />{!narrow && <span class="kbd" aria-hidden="true">/</span>}</label>
      {chips.length > 0 ? chips : !narrow && <Select label="Type" hidden small value={filters.type} set={(type) => set({ type })} options={[["", "Any type"], ...FAMILIES]} />}
      {chips.length === 0 && !narrow && <Select label="Visibility" hidden small value={filters.visibility} set={(visibility) => set({ visibility })} options={[["", "Any visibility"], ["private", "Private"], ["public", "Public"]]} />}
      <button type="button" class="chip" onClick={more}><Icon name="filter" />Filters</button>
      <span class="sp" /><span class="t3 nw all" aria-live="polite">{total}</span>
    </div>
  );
}

function FilterDialog({ filters, set, close }: { filters: Filters; set: (change: Partial<Filters>) => void; close: () => void }) {
  const [f, setF] = useState(filters);
  const field = (name: keyof Filters) => ({ value: f[name], set: (value: string) => setF({ ...f, [name]: value }) });
  return (
    <Dialog title="Filters" sub="They are kept in the address, so a filtered list can be sent as a link." onClose={close} onSubmit={() => { set({ ...f, q: filters.q }); close(); }}
      footer={<><Button kind="gho" onClick={() => { set({ ...NONE, q: filters.q }); close(); }}>Clear all</Button><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit">Apply</Button></>}>
      <div class="fieldgrid">
        <div class="field"><Select label="Type" value={f.type} set={(type) => setF({ ...f, type })} options={[["", "Any"], ...FAMILIES]} /></div>
        <div class="field"><Select label="Visibility" value={f.visibility} set={(visibility) => setF({ ...f, visibility })} options={[["", "Any"], ["private", "Private"], ["public", "Public"]]} /></div>
        <Text label="Entity type" {...field("entityType")} maxLength={256} /><Text label="Entity id" {...field("entityId")} maxLength={256} />
        <Text label="Role" {...field("role")} maxLength={256} /><Text label="Owner" {...field("owner")} maxLength={256} />
        <Text label="From" type="date" {...field("after")} /><Text label="Up to" type="date" {...field("before")} />
      </div>
    </Dialog>
  );
}

function DeleteDialog({ project, files, close, gone }: { project: string; files: XFile[]; close: () => void; gone: (ids: Set<string>) => void }) {
  const size = files.reduce((n, f) => n + f.size, 0);
  const work = async () => {
    const done = new Set<string>();
    let refused: string | null = null;
    for (let i = 0; i < files.length; i += PAGE) {
      const ids = files.slice(i, i + PAGE).map((f) => f.id);
      const { results } = await call<{ results: ({ success: boolean } | { error: { detail: string } })[] }>("POST", "files/delete", { project, body: { fileIds: ids } });
      results.forEach((r, j) => { if ("error" in r) refused ??= r.error.detail; else done.add(ids[j]!); });
    }
    gone(done);
    announce(`${plural(done.size, "file")} deleted`);
    if (refused) throw new ApiError({ status: 409, code: "partly_refused", detail: `${plural(files.length - done.size, "file")} of ${files.length} stayed: ${refused}` });
  };
  const what = files.length === 1 ? files[0]!.originalFilename : plural(files.length, "file");
  return <LossDialog title={`Delete ${what}?`} button={`Delete ${plural(files.length, "file")}`} onClose={close} work={work}>The originals, their variants and their URLs go, {bytes(size)} in all. This cannot be undone.</LossDialog>;
}

function ChangeDialog({ project, files, what, close, changed, done }: { project: string; files: XFile[]; what: "visibility" | "variants"; close: () => void; changed: (file: XFile) => void; done: () => void }) {
  const [visibility, setVisibility] = useState<"private" | "public">("private");
  const [enabled, setEnabled] = useState(true);
  const { busy, error, run } = useAction();
  const [at, setAt] = useState(0);
  const body = what === "visibility" ? { visibility } : { transformations: { image: { enabled, ...(enabled ? { visibility } : {}) } } };
  const submit = async () => {
    const ok = await run(async () => {
      for (const [i, file] of files.entries()) {
        setAt(i + 1);
        changed((await call<{ file: XFile }>("PATCH", `files/${file.id}`, { project, body })).file);
      }
    });
    if (ok) { announce(`${plural(files.length, "file")} changed`); close(); done(); }
  };
  return (
    <Dialog title={what === "visibility" ? `Who may read ${plural(files.length, "file")}` : `Variants of ${plural(files.length, "file")}`} onClose={close} onSubmit={() => void submit()}
      footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy} busyText={`Changing ${at} of ${files.length}`}>Change</Button></>}>
      <div class="stack">
        {what === "variants" && <Check checked={enabled} set={setEnabled} help="Smaller copies of pictures, made when they are first asked for.">Variants on</Check>}
        {(what === "visibility" || enabled) && <div class="field"><span class="lab">{what === "visibility" ? "Readable by" : "Variants readable by"}</span>
          <Segmented label="Readable by" value={visibility} set={setVisibility} options={[["private", "Signed URLs only"], ["public", "Everybody"]]} /></div>}
        <p class="help">{what === "visibility" ? "The files move to another path, so URLs that were given out stop working." : "Switching variants off, or changing who may read them, removes those that were made."}</p>
        {error && <Failure error={error} />}
      </div>
    </Dialog>
  );
}

function Skeleton({ table }: { table: boolean }) {
  const late = useLater(true);
  return (
    <div aria-busy="true"><span class="vh">Loading files</span>
      {late && (table ? <div class="skelrows">{Array.from({ length: 12 }, (_, i) => <div key={i} class="skelrow"><span class="skel sq32" /><span class="skel w30" /></div>)}</div>
        : <div class="grid">{Array.from({ length: 12 }, (_, i) => <div key={i} class="tile"><span class="pic" /><span class="skel name w60" /><span class="skel meta w40" /></div>)}</div>)}
    </div>
  );
}

interface WindowedProps {
  list: List; table: boolean; narrow: boolean; picked: ReadonlySet<string>; setPicked: (ids: ReadonlySet<string>) => void;
  open: (id: string | null) => void; openPage: (id: string) => void; opened: string | null; more: () => Promise<void>;
}

/** Rows in view and a few beyond them are in the document; the rest is height. One cell takes Tab, the arrows move it. */
function Windowed({ list, table, narrow, picked, setPicked, open, openPage, opened, more }: WindowedProps) {
  const root = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [view, setView] = useState<[number, number]>([0, 1200]);
  const [active, setActive] = useState(0);
  const [toEnd, setToEnd] = useState(false);
  const anchor = useRef(0);
  const focusing = useRef(false);
  const medium = useMedia("(max-width: 1100px)");
  const slim = medium || opened !== null;
  const files = list.files;
  const columns = table ? 1 : width ? columnsIn(width, narrow) : 6;
  const gap = narrow ? 12 : 16;
  const tile = (width - gap * (columns - 1)) / columns;
  const rowHeight = table ? (narrow ? 60 : 44) : Math.round(tile * 0.75 + 8 + 18 + 1 + 16 + (narrow ? 16 : 20));
  const shape = { count: files.length, columns, rowHeight };
  const [from, to] = visible(shape, view[0], view[1]);
  const rows = rowsOf(shape);

  useLayoutEffect(() => {
    const el = root.current!;
    const look = () => {
      const top = el.getBoundingClientRect().top;
      setWidth(el.clientWidth);
      setView(([a, b]) => { const next: [number, number] = [-top, innerHeight - top]; return a === next[0] && b === next[1] ? [a, b] : next; });
    };
    const observer = new ResizeObserver(look);
    observer.observe(el);
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    look();
    return () => { observer.disconnect(); removeEventListener("scroll", look); removeEventListener("resize", look); };
  }, []);

  const nearEnd = to >= rows - 4;
  useEffect(() => { if ((nearEnd || toEnd) && !list.loading && !list.error && list.cursor !== null) void more(); }, [nearEnd, toEnd, list.loading, list.cursor, list.error]);
  useEffect(() => {
    if (!toEnd) return;
    if (list.cursor === null || list.error) { setToEnd(false); focus(files.length - 1); }
  }, [toEnd, list.cursor, list.error, files.length]);
  useEffect(() => { if (active >= files.length) setActive(Math.max(0, files.length - 1)); }, [files.length]);

  const focus = (index: number) => {
    setActive(index);
    focusing.current = true;
    const el = root.current!, top = el.getBoundingClientRect().top + scrollY, row = Math.floor(index / columns);
    const head = 120, y = top + row * rowHeight;
    if (y < scrollY + head) scrollTo(0, Math.max(0, y - head));
    else if (y + rowHeight > scrollY + innerHeight - 90) scrollTo(0, y + rowHeight - innerHeight + 90);
  };
  useLayoutEffect(() => {
    if (!focusing.current) return;
    const cell = root.current?.querySelector<HTMLElement>(`[data-index="${active}"]`);
    if (cell) { focusing.current = false; cell.focus({ preventScroll: true }); }
  });

  const toggle = (index: number, extend: boolean) => {
    const next = new Set(picked);
    if (extend) {
      const [a, b] = [Math.min(anchor.current, index), Math.max(anchor.current, index)];
      for (let i = a; i <= b; i++) next.add(files[i]!.id);
    } else {
      const { id } = files[index]!;
      if (next.has(id)) next.delete(id); else next.add(id);
      anchor.current = index;
    }
    setPicked(next);
  };
  const onKey = (e: KeyboardEvent) => {
    if (e.metaKey || e.altKey) return;
    if ((e.target as HTMLElement).closest("button, input")) return;
    if (e.key === "Escape" && toEnd) { e.stopPropagation(); setToEnd(false); return; }
    if (e.ctrlKey && e.key.toLowerCase() === "a") { e.preventDefault(); setPicked(new Set(files.map((f) => f.id))); return; }
    if (e.key === " ") { e.preventDefault(); toggle(active, e.shiftKey); return; }
    if (e.key === "Enter") { e.preventDefault(); const { id } = files[active]!; if (narrow || opened === id) openPage(id); else open(id); return; }
    const page = Math.max(1, Math.floor((innerHeight - 160) / rowHeight));
    const next = moved(e.key, active, shape, page);
    if (next === null) return;
    e.preventDefault();
    if (e.key === "End" && list.cursor !== null) { setToEnd(true); return; }
    if (e.shiftKey) { anchor.current = picked.size ? anchor.current : active; const all = new Set(picked); for (let i = Math.min(anchor.current, next); i <= Math.max(anchor.current, next); i++) all.add(files[i]!.id); setPicked(all); }
    focus(next);
    if (opened) open(files[next]!.id);
  };
  const press = (index: number) => (e: MouseEvent) => {
    if ((e.target as HTMLElement).closest(".tick, input, a, button")) return;
    setActive(index);
    if (e.shiftKey) toggle(index, true);
    else if (e.metaKey || e.ctrlKey) toggle(index, false);
    else if (narrow) openPage(files[index]!.id);
    else open(files[index]!.id);
  };
  const cell = (index: number) => ({ "data-index": index, tabIndex: index === active ? 0 : -1, onClick: press(index), onFocus: () => setActive(index) });
  const tick = (file: XFile, index: number) => (
    <label class="hit tick" onClick={(e) => e.stopPropagation()}><input type="checkbox" class="chk" tabIndex={-1} aria-label={`Pick ${file.originalFilename}`} checked={picked.has(file.id)}
      onClick={(e) => { if (e.shiftKey) { e.preventDefault(); toggle(index, true); } }} onChange={() => toggle(index, false)} /></label>
  );
  const lock = (file: XFile) => file.visibility === "private" ? <><Icon name="lock" /><span class="vh">Private</span></> : <><Icon name="globe" /><span class="vh">Public</span></>;
  const indices = Array.from({ length: to - from }, (_, i) => from + i);
  const top = { height: `${from * rowHeight}px` }, bottom = { height: `${Math.max(0, rows - to) * rowHeight}px` };
  const rowCount = list.cursor === null ? rows : -1;

  const status = <p class="more">{list.loading ? `Loading ${count(files.length + 1)} to ${count(list.total === null ? files.length + PAGE : Math.min(list.total, files.length + PAGE))}${list.total === null ? "" : ` of ${count(list.total)}`}` : list.cursor === null ? `${plural(files.length, "file")}, all of them` : ""}{toEnd && <Button small kind="gho" onClick={() => setToEnd(false)}>Stop</Button>}</p>;

  if (table) {
    const detail = !slim && !narrow;
    const cols = narrow ? "tcols n" : slim ? "tcols s" : "tcols";
    return <>
      <div class="bleed" role="grid" aria-label="Files" aria-multiselectable="true" aria-rowcount={rowCount < 0 ? -1 : rowCount + 1} onKeyDown={onKey as never}>
        <div role="row" aria-rowindex={1} class={cx(cols, "thead")}><span role="columnheader"><input type="checkbox" class="chk" aria-label="Pick all that are loaded" checked={picked.size > 0 && picked.size === files.length} onChange={(e) => setPicked(e.currentTarget.checked ? new Set(files.map((f) => f.id)) : new Set())} /></span>
          <span role="columnheader">Name</span>{!narrow && <><span role="columnheader" class="num">Size</span>{detail && <><span role="columnheader" class="num">Dimensions</span><span role="columnheader">Type</span></>}<span role="columnheader">Visibility</span>{detail && <span role="columnheader">Entity</span>}<span role="columnheader">Created</span></>}</div>
        <div ref={root} role="presentation">
          <div style={top} role="presentation" />
          {indices.map((i) => { const f = files[i]!; return (
            <div key={f.id} role="row" aria-rowindex={i + 2} aria-selected={picked.has(f.id) || opened === f.id} class={cx(cols, "trow", (picked.has(f.id) || opened === f.id) && "on")} {...cell(i)}>
              <span role="gridcell">{tick(f, i)}</span>
              <span role="gridcell" class="namecell"><Cover file={f} small /><span class="cut"><span class="b"><MidCut text={f.originalFilename} /></span>{narrow && <span class="row g1 t3 sm nw">{lock(f)}{bytes(f.size)}, {moment(f.createdAt)}</span>}</span></span>
              {!narrow && <><span role="gridcell" class="num">{bytes(f.size)}</span>{detail && <><span role="gridcell" class="num t2">{f.width ? `${f.width} × ${f.height}` : ""}</span><span role="gridcell" class="t2 cut">{f.contentType}</span></>}
                <span role="gridcell" class="row">{f.visibility === "private" ? <><Icon name="lock" />Private</> : <><Icon name="globe" />Public</>}</span>
                {detail && <span role="gridcell" class="t2 cut">{f.entity ? `${f.entity.id}, ${f.entity.role ?? f.entity.type} ${f.entity.position}` : ""}</span>}<span role="gridcell" class="t2 nw">{moment(f.createdAt)}</span></>}
            </div>); })}
          <div style={bottom} role="presentation" />
        </div>
      </div>{status}</>;
  }
  return <>
    <div ref={root} role="grid" aria-label="Files" aria-multiselectable="true" aria-rowcount={rowCount} aria-colcount={columns} class={picked.size ? "picking" : undefined} onKeyDown={onKey as never}>
      <div style={top} role="presentation" />
      {width > 0 && indices.map((row) => (
        <div key={row} role="row" aria-rowindex={row + 1} class="gridrow" style={{ height: `${rowHeight}px`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
          {files.slice(row * columns, (row + 1) * columns).map((f, c) => { const i = row * columns + c; return (
            <div key={f.id} role="gridcell" aria-selected={picked.has(f.id)} class={cx("tile", picked.has(f.id) && "picked", opened === f.id && "opened")} {...cell(i)}>
              {tick(f, i)}<Cover file={f} />
              <div class="name"><MidCut text={f.originalFilename} /></div>
              <div class="meta">{lock(f)}<span>{f.width ? `${f.width} × ${f.height}, ` : ""}{bytes(f.size)}</span></div>
            </div>); })}
        </div>
      ))}
      <div style={bottom} role="presentation" />
    </div>{status}</>;
}

/** What new uploads are, as one sentence; the tray shows it. */
export function useUploadWords(): string {
  const s = useStore(settings);
  return `${s.visibility}, ${s.variants ? `${s.variantVisibility} variants` : "no variants"}${s.entityId ? `, ${s.entityType} ${s.entityId}` : ""}`;
}
export const filesLink = (project: string, query = "") => `${BASE}/p/${project}/files${query}`;
