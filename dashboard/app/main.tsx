// The shell: who is signed in, which screen the address names, and what is on every screen.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "./app.css";
import { type ApiError, call, may, online, session, settled, signOut, start } from "./api.ts";
import { bytes } from "./format.ts";
import { Icon, type IconName, Mark } from "./icons.tsx";
import { BASE, go, href, place } from "./route.ts";
import { FilePage } from "./screens/file.tsx";
import { Files } from "./screens/files.tsx";
import { Keys } from "./screens/keys.tsx";
import { Cleanup, Deployment, Projects, Settings } from "./screens/operate.tsx";
import { Overview, Uploads } from "./screens/overview.tsx";
import { Audit, Members, People, Sessions } from "./screens/people.tsx";
import { Playground } from "./screens/playground.tsx";
import { SignIn } from "./screens/signin.tsx";
import { Webhooks } from "./screens/webhooks.tsx";
import { useStore } from "./store.ts";
import { add, arrivals, items, running } from "./tray.ts";
import { Tray, UploadOptions } from "./trayview.tsx";
import type { Project, Usage } from "./types.ts";
import { Bar, Button, Check, Dialog, LiveRegion, Menu, Say, cx, useLoad, useNarrow } from "./ui.tsx";

const PROJECT_PAGES: [string, string, IconName][] = [["", "Overview", "overview"], ["files", "Files", "folder"], ["playground", "Playground", "playground"], ["uploads", "Uploads", "upload"]];
const MANAGE_PAGES: [string, string, IconName][] = [["keys", "Keys", "key"], ["webhooks", "Webhooks", "bolt"], ["members", "Members", "people"], ["audit", "Audit", "list"], ["settings", "Settings", "sliders"]];
const SERVER_PAGES: [string, string, IconName][] = [["projects", "Projects", "grid"], ["people", "People", "people"], ["cleanup", "Cleanup", "broom"], ["deployment", "Deployment", "server"]];

function App({ codeError }: { codeError: ApiError | null }) {
  const me = useStore(session);
  const ready = useStore(settled);
  const { path } = useStore(place);
  const root = path.length === 0;
  const home = me && (me.carrier === "key" ? href("p", me.home ?? "-") : me.admin ? href("projects") : me.memberships.length === 1 ? href("p", me.memberships[0]!.id) : href("projects"));
  useEffect(() => { if (me && root && home) go(home, { replace: true }); }, [me, root, home]);
  if (!ready) return null;
  if (!me) return <><SignIn codeError={codeError} /><LiveRegion /></>;
  if (root) return null;
  return <Shell path={path} />;
}

function Shell({ path }: { path: string[] }) {
  const project = path[0] === "p" ? path[1] ?? "-" : null;
  const page = project === null ? path[0]! : path[2] ?? "";
  const connected = useStore(online);
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const [options, setOptions] = useState(false);
  const [shortcuts, setShortcuts] = useState(true);
  const input = useRef<HTMLInputElement>(null);
  const [dropping, setDropping] = useState(false);
  const canDrop = project !== null && may("write", project);
  const choose = () => input.current?.click();
  const take = (files: Iterable<File>) => { if (canDrop) add(files, project!); };

  useEffect(() => setMenu(false), [path.join("/")]);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) { first.current = false; return; }
    // A new page is announced by its heading.
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true }));
  }, [project, page, path[3]]);

  useEffect(() => {
    let depth = 0;
    const files = (e: DragEvent) => e.dataTransfer?.types.includes("Files") ?? false;
    const enter = (e: DragEvent) => { if (files(e)) { depth++; setDropping(true); e.preventDefault(); } };
    const leave = (e: DragEvent) => { if (files(e) && --depth <= 0) { depth = 0; setDropping(false); } };
    const over = (e: DragEvent) => { if (files(e)) e.preventDefault(); };
    const drop = (e: DragEvent) => { if (!files(e)) return; e.preventDefault(); depth = 0; setDropping(false); take([...e.dataTransfer!.files]); };
    addEventListener("dragenter", enter); addEventListener("dragleave", leave); addEventListener("dragover", over); addEventListener("drop", drop);
    return () => { removeEventListener("dragenter", enter); removeEventListener("dragleave", leave); removeEventListener("dragover", over); removeEventListener("drop", drop); };
  }, [project, canDrop]);

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (!shortcuts || e.metaKey || e.ctrlKey || e.altKey || document.querySelector("dialog[open]")) return;
      if ((e.target as HTMLElement).closest?.("input, select, textarea, [role=menu]")) return;
      if (e.key === "/") { const box = document.getElementById("filter"); if (box) { e.preventDefault(); box.focus(); } }
      else if (e.key === "u" && canDrop) { e.preventDefault(); choose(); }
      else if (e.key === "?") { e.preventDefault(); setHelp(true); }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [shortcuts, canDrop]);

  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>("main h1")?.focus(); }}>To the content</a>
      <div class="app">
        <Side project={project} page={page} open={menu} close={() => setMenu(false)} help={() => setHelp(true)} options={() => setOptions(true)} />
        <header class="topbar"><Button kind="gho" icon="menu" label="Menu" expanded={menu} onClick={() => setMenu(true)} /><span class="b cut sp">{project === null ? "XFiles" : <ProjectName id={project} />}</span>{canDrop && <Button kind="gho" icon="upload" label="Upload" onClick={choose} />}</header>
        <main class="main" id="main">
          {!connected && <div class="line warn" role="status"><Icon name="offline" /><span><b class="b">Offline.</b> What is shown was loaded before. Uploads go on when the connection is back.</span></div>}
          <Screen project={project} page={page} path={path} choose={choose} />
          <input ref={input} type="file" multiple class="vh" tabIndex={-1} aria-label="Files to upload" id="chooser" onChange={(e) => { take([...(e.currentTarget.files ?? [])]); e.currentTarget.value = ""; }} />
        </main>
      </div>
      {dropping && <div class="dropveil" aria-hidden="true"><div class="drop"><Icon name="upload" large /><b class="b">{canDrop ? "Drop to upload" : project === null ? "Open a project to upload" : "Your sign-in lacks the scope write"}</b></div></div>}
      <Tray />
      <LiveRegion />
      {help && <Shortcuts on={shortcuts} set={setShortcuts} close={() => setHelp(false)} />}
      {options && <UploadOptions close={() => setOptions(false)} />}
    </>
  );
}

function Screen({ project, page, path, choose }: { project: string | null; page: string; path: string[]; choose: () => void }) {
  const me = useStore(session)!;
  const key = `${project}/${page}`;
  if (project === null) {
    switch (page) {
      case "projects": return <Projects />;
      case "people": return <People />;
      case "cleanup": return <Cleanup />;
      case "deployment": return <Deployment />;
      case "sessions": return <Sessions />;
    }
  } else {
    // The files of another project than the key's cannot be read with it, whatever its scopes.
    const foreign = me.carrier === "key" && me.home !== "-" && project !== me.home && project !== "-" && ["", "files", "playground", "uploads"].includes(page);
    if (foreign) return <Foreign project={project} />;
    switch (page) {
      case "": return <Overview key={key} project={project} choose={choose} />;
      case "files": return path[3] ? <FilePage key={path[3]} project={project} id={path[3]} /> : <Files key={key} project={project} choose={choose} />;
      case "playground": return <Playground key={key} project={project} choose={choose} />;
      case "uploads": return <Uploads key={key} project={project} />;
      case "keys": return <Keys key={key} project={project} />;
      case "webhooks": return <Webhooks key={key} project={project} />;
      case "members": return <Members key={key} project={project} />;
      case "audit": return <Audit key={key} project={project} />;
      case "settings": return <Settings key={key} project={project} />;
    }
  }
  return <><header class="head"><h1 class="crumbh1" tabIndex={-1}>Not found</h1></header><div class="body"><Say icon="search" title="No such page" actions={<Button onClick={() => go(BASE + "/")}>To the start</Button>}>The console has no page at <span class="mono">{location.pathname}</span>.</Say></div></>;
}

function Foreign({ project }: { project: string }) {
  const me = useStore(session)!;
  return <><header class="head"><h1 class="crumbh1" tabIndex={-1}><ProjectName id={project} /></h1></header><div class="body">
    <Say icon="lock" title="Your key belongs to another project" actions={<><Button icon="key" onClick={() => go(href("p", project, "keys"))}>Keys of this project</Button><Button icon="folder" onClick={() => go(href("p", me.home ?? "-", "files"))}>Files of your project</Button></>}>
      A key reads and writes the files of its own project only. Make a key in this project and sign in with it; quota, keys and webhooks can be managed from here.</Say></div></>;
}

const projectsOnce = (signal: AbortSignal) => call<{ projects: Project[] }>("GET", "projects", { signal });
function useProjects() {
  const me = useStore(session);
  const { path } = useStore(place);
  const list = useLoad(me?.admin ? `side/${path[0]}/${path[1]}` : null, projectsOnce);
  const kept = useRef<Project[]>([]);
  if (list.data) kept.current = list.data.projects;
  return kept.current;
}
let names: Record<string, string> = {};
function ProjectName({ id }: { id: string }) {
  const me = useStore(session);
  return <>{names[id] ?? me?.memberships.find((m) => m.id === id)?.name ?? (id === "-" ? "This project" : id)}</>;
}

function Side({ project, page, open, close, help, options }: { project: string | null; page: string; open: boolean; close: () => void; help: () => void; options: () => void }) {
  const me = useStore(session)!;
  const projects = useProjects();
  const narrow = useNarrow();
  const arrived = useStore(arrivals);
  const list = useStore(items);
  for (const p of projects) names[p.id] = p.name;
  const usage = useLoad(project && (may("read", project)) ? `sideusage/${project}/${page}/${arrived}` : null, (signal) => call<Usage>("GET", "usage", { project: project!, signal }));
  const kept = useRef<Usage | null>(null);
  if (usage.data) kept.current = usage.data;
  const shown = usage.data ?? (project ? kept.current : null);
  const name = project === null ? "XFiles" : names[project] ?? me.memberships.find((m) => m.id === project)?.name ?? (project === "-" ? "This project" : project);
  const link = ([to, text, icon]: [string, string, IconName], base: string[]) => {
    const target = to ? href(...base, to) : href(...base), current = to === page;
    const extra = to === "uploads" ? running(list).length : 0;
    return <a key={text} href={target} aria-current={current ? "page" : undefined} title={text}><Icon name={icon} /><span class="lbl">{text}</span>{extra > 0 && <span>{extra}<span class="vh"> running</span></span>}</a>;
  };
  const others = (me.admin ? projects.map((p) => ({ id: p.id, name: p.name })) : me.memberships.map((m) => ({ id: m.id, name: m.name ?? m.id }))).slice(0, 12);
  const ref = useRef<HTMLElement>(null);
  useEffect(() => {
    if (!open || !narrow) return;
    ref.current?.querySelector<HTMLElement>("button, a")?.focus();
    const onKey = (e: KeyboardEvent) => { if (e.key === "Escape") close(); };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [open, narrow]);
  const storage = shown && <div class="quota"><div class="row"><span>Storage</span><span class="sp" /><span>{bytes(shown.usedBytes)} of {bytes(shown.quotaBytes)}</span></div><Bar parts={[[shown.usedBytes, shown.quotaBytes && (shown.usedBytes + shown.reservedBytes) / shown.quotaBytes >= 0.95 ? "warn" : ""], [shown.reservedBytes, "held"]]} of={shown.quotaBytes} /></div>;
  return <>
    {open && narrow && <div class="sidescrim" onClick={close} />}
    <aside class={cx("side", open && "open")} ref={ref} aria-label="Console">
      <Menu label={project === null ? "Projects" : `Project ${name}`} items={[
        ...others.map((p) => ({ label: p.name, icon: "folder" as const, onClick: () => go(href("p", p.id, ...(["files", "keys", "webhooks", "settings", "uploads", "members", "audit", "playground"].includes(page) ? [page] : []))) })),
        ...(others.length ? ["-" as const] : []), { label: "All projects", icon: "grid" as const, onClick: () => go(href("projects")) },
      ]} button={<>{project === null ? <Mark /> : <span class="av sq" aria-hidden="true">{name.slice(0, 1).toUpperCase()}</span>}<span class="sp cut lbl">{name}</span><Icon name="updown" /></>} />
      {project !== null ? <><nav class="nav" aria-label="Project">{PROJECT_PAGES.map((p) => link(p, ["p", project]))}</nav><nav class="nav" aria-label="Manage"><p>Manage</p>{MANAGE_PAGES.map((p) => link(p, ["p", project]))}</nav></> : <nav class="nav" aria-label="Server">{SERVER_PAGES.map((p) => link(p, []))}</nav>}
      <div class="foot">{storage}
        <div class="me"><Menu up label={`Signed in as ${me.label}`} items={[
          { label: "My sessions", icon: "screen", onClick: () => go(href("sessions")) }, { label: "New files", icon: "upload", onClick: options }, { label: "Deployment", icon: "server", onClick: () => go(href("deployment")) }, { label: "Keyboard", icon: "info", onClick: help }, "-",
          { label: "Sign out", icon: "leave", onClick: () => void signOut() },
        ]} button={<><span class="av"><Icon name={me.carrier === "key" ? "key" : "person"} /></span><span class={cx("sp cut lbl", me.carrier === "key" && "mono")}>{me.label}</span><Icon name="updown" /></>} /></div></div>
    </aside>
  </>;
}

function Shortcuts({ on, set, close }: { on: boolean; set: (on: boolean) => void; close: () => void }) {
  const rows: [string, string][] = [["Arrows, Home, End, Page up, Page down", "Move through files"], ["Space", "Pick the file; with Shift, all between"], ["Enter", "Open beside the list; again, as a page"], ["Delete", "Delete what is picked"], ["Escape", "Close, or clear the selection"], ["/", "Filter"], ["u", "Upload"], ["?", "This list"]];
  return <Dialog title="Keyboard" onClose={close} footer={<><span class="sp" /><Button kind="pri" onClick={close} autofocus>Close</Button></>}><dl class="facts keys">{rows.map(([k, v]) => <><dt key={k}>{v}</dt><dd key={v}>{k.split(", ").map((one) => <span class="kbd" key={one}>{one}</span>)}</dd></>)}</dl><Check checked={on} set={set} help="/, u and ?. Switch them off if you speak to your computer.">Single-letter keys</Check></Dialog>;
}

void start().then((codeError) => render(<App codeError={codeError} />, document.getElementById("app")!));
