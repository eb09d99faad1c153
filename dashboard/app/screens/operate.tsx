// What the operator sees: projects, cleanup, and what runs.
import { useEffect, useState } from "preact/hooks";
import { call, may, session } from "../api.ts";
import { bytes, count, day, moment, parseSize, plural, relative } from "../format.ts";
import { Icon } from "../icons.tsx";
import { go, href } from "../route.ts";
import { useStore } from "../store.ts";
import type { Project } from "../types.ts";
import { Bar, Button, CopyButton, Dialog, Failure, Head, LossDialog, Menu, Say, Segmented, States, Status, Text, faultOf, useAction, useLoad, useNarrow, usePoll } from "../ui.tsx";

type Open = { what: "new" } | { what: "edit" | "empty" | "delete"; project: Project } | null;

export function Projects() {
  const load = useLoad("projects", (signal) => call<{ projects: Project[] }>("GET", "projects", { signal }));
  const [open, setOpen] = useState<Open>(null);
  const [filter, setFilter] = useState("");
  const narrow = useNarrow();
  const me = useStore(session);
  const moving = load.data?.projects.some((p) => p.status !== "active") ?? false;
  const [turns, setTurns] = useState(0);
  useEffect(() => setTurns(0), [moving]);
  // The counters of a project that is emptied are looked at often, then less.
  usePoll(moving, Math.min(30, 2 * 1.5 ** turns), () => { setTurns((n) => n + 1); load.reload(); });
  const denied = load.error?.status === 403;
  const close = () => setOpen(null);
  return <>
    <Head title="Projects" sub="A project has its own files, quota, keys and members."><Button kind="pri" icon="plus" refused={denied && "Your sign-in lacks the scope admin"} onClick={() => setOpen({ what: "new" })}>New project</Button></Head>
    <div class="body">
      <States of={load} need="admin" what="list projects">{({ projects }) => {
        const used = projects.reduce((n, p) => n + p.usage.usedBytes, 0), given = projects.reduce((n, p) => n + p.usage.quotaBytes, 0);
        const shown = projects.filter((p) => `${p.name} ${p.id}`.toLowerCase().includes(filter.toLowerCase()));
        if (projects.length === 0) return <Say icon="grid" title="No project yet" actions={<Button kind="pri" onClick={() => setOpen({ what: "new" })}>New project</Button>} command="xf projects create website --quota 10GiB">A project holds files up to its quota, and has keys of its own.</Say>;
        return <>
          <div class="row wrap gapb"><label class="in search"><Icon name="search" /><span class="vh">Filter projects</span><input id="filter" placeholder="Filter projects" value={filter} onInput={(e) => setFilter(e.currentTarget.value)} />{!narrow && <span class="kbd" aria-hidden="true">/</span>}</label><span class="sp" /><span class="t3">{plural(projects.length, "project")}, {bytes(used)} used of {bytes(given)} given out</span></div>
          <div class="bleed"><table class="tbl tall"><thead><tr><th>Project</th>{!narrow && <><th class="w300">Storage</th><th class="num w100">Files</th><th class="w200 gapl">Status</th><th class="w120 p3">Created</th></>}<th class="w48"><span class="vh">Actions</span></th></tr></thead>
            <tbody>{shown.map((p) => { const held = p.usage.usedBytes + p.usage.reservedBytes, near = p.usage.quotaBytes > 0 && held / p.usage.quotaBytes >= 0.95; return (
              <tr key={p.id}><td><a class="two b ink" href={href("p", p.id)}>{p.name}</a><span class="two mono">{p.id}</span>{narrow && <span class="two">{bytes(p.usage.usedBytes)} of {bytes(p.usage.quotaBytes)}, {plural(p.usage.files, "file")}</span>}</td>
                {!narrow && <><td><span class="row g3"><span class="w120"><Bar parts={[[p.usage.usedBytes, near ? "warn" : ""], [p.usage.reservedBytes, "held"]]} of={p.usage.quotaBytes} /></span>{bytes(p.usage.usedBytes)} of {bytes(p.usage.quotaBytes)}</span></td><td class="num">{count(p.usage.files)}</td>
                  <td class="gapl"><ProjectState p={p} near={near} /></td><td class="p3 t2" title={moment(p.createdAt)}>{day(p.createdAt)}</td></>}
                <td class="act"><Menu label={`Actions for ${p.name}`} items={[
                  { label: "Open", icon: "folder", onClick: () => go(href("p", p.id)) }, { label: "Name and quota", icon: "edit", onClick: () => setOpen({ what: "edit", project: p }) }, { label: "Keys", icon: "key", onClick: () => go(href("p", p.id, "keys")) }, "-",
                  { label: "Empty", icon: "broom", bad: true, refused: p.status !== "active" && "It is being emptied", onClick: () => setOpen({ what: "empty", project: p }) }, { label: "Delete", icon: "trash", bad: true, refused: p.status === "deleting" && "It is being deleted", onClick: () => setOpen({ what: "delete", project: p }) },
                ]} /></td></tr>); })}</tbody></table></div>
          {shown.length === 0 && <p class="t2 gap">No project is called {filter}.</p>}
          {me?.carrier === "key" && projects.length > 1 && <p class="help gap">You signed in with a key. A key opens the files of its own project; of the others it manages quota, keys and webhooks.</p>}
        </>;
      }}</States>
    </div>
    {open?.what === "new" && <ProjectDialog close={close} saved={(p) => { close(); load.reload(); go(href("p", p.id, "keys")); }} />}
    {open?.what === "edit" && <ProjectDialog project={open.project} close={close} saved={() => { close(); load.reload(); }} />}
    {(open?.what === "empty" || open?.what === "delete") && <ProjectLoss what={open.what} project={open.project} close={close} done={load.reload} />}
  </>;
}

function ProjectState({ p, near }: { p: Project; near: boolean }) {
  if (p.status === "emptying") return <><Status tone="acc">Emptying</Status><span class="blk sm t3">{plural(p.usage.files, "file")} left</span></>;
  if (p.status === "deleting") return <><Status tone="bad">Deleting</Status><span class="blk sm t3">{plural(p.usage.files, "file")} left</span></>;
  return near ? <><Status tone="warn">Nearly full</Status><span class="blk sm t3">{bytes(p.usage.freeBytes)} free</span></> : <Status tone="ok">Active</Status>;
}

function ProjectLoss({ what, project: p, close, done }: { what: "empty" | "delete"; project: Project; close: () => void; done: () => void }) {
  const path = `projects/${p.id}`;
  return <LossDialog title={what === "empty" ? `Empty ${p.name}?` : `Delete ${p.name}?`} name={p.name} button={what === "empty" ? "Empty project" : "Delete project"} onClose={close}
    work={async () => { await (what === "empty" ? call("POST", `${path}/empty`, { project: p.id }) : call("DELETE", path, { project: p.id })); done(); }}>
    {plural(p.usage.files, "file")} with {bytes(p.usage.usedBytes)} and all their variants go{what === "delete" && ", and every key and webhook of the project with them"}. This cannot be undone, and works on in the background.</LossDialog>;
}

function ProjectDialog({ project, close, saved }: { project?: Project; close: () => void; saved: (project: Project) => void }) {
  const [name, setName] = useState(project?.name ?? "");
  const [quota, setQuota] = useState(project ? bytes(project.usage.quotaBytes) : "10 GiB");
  const [tried, setTried] = useState(false);
  const { busy, error, run } = useAction();
  // A quota that was not touched is not sent: what is shown is rounded.
  const size = project && quota === bytes(project.usage.quotaBytes) ? project.usage.quotaBytes : parseSize(quota);
  const submit = async () => {
    setTried(true);
    if (!name.trim() || size === null) return;
    const body = { name: name.trim(), quotaBytes: size };
    await run(async () => saved((project ? await call<{ project: Project }>("PATCH", `projects/${project.id}`, { project: project.id, body }) : await call<{ project: Project }>("POST", "projects", { body })).project));
  };
  return (
    <Dialog title={project ? project.name : "New project"} onClose={close} onSubmit={() => void submit()} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>{project ? "Save" : "Make project"}</Button></>}>
      <div class="stack"><Text label="Name" value={name} set={setName} autofocus maxLength={100} autocomplete="off" error={tried && !name.trim() ? "A project needs a name" : faultOf(error, "/name")} />
        <Text label="Quota" value={quota} set={setQuota} autocomplete="off" help="Such as 500 MiB or 10 GiB." error={tried && size === null ? "A number with B, KiB, MiB, GiB or TiB" : faultOf(error, "/quotaBytes")} />{error && <Failure error={error} />}</div>
    </Dialog>
  );
}

/** Name, quota and loss of one project; what else can be set comes with the server's settings. */
export function Settings({ project }: { project: string }) {
  const load = useLoad(`project/${project}`, (signal) => call<{ project: Project }>("GET", `projects/${project}`, { project, signal }));
  const more = useLoad(`settings/${project}`, (signal) => call<Record<string, unknown>>("GET", `projects/${project}/settings`, { project, signal }));
  const [name, setName] = useState<string | null>(null);
  const [quota, setQuota] = useState<string | null>(null);
  const [loss, setLoss] = useState<"empty" | "delete" | null>(null);
  const { busy, error, run } = useAction();
  const changes = Number(name !== null) + Number(quota !== null);
  return <>
    <Head title="Settings" sub="What you save takes effect within 30 seconds." />
    <div class="body narrow">
      <States of={load} need="admin" what="change settings">{({ project: p }) => {
        const size = quota === null ? p.usage.quotaBytes : parseSize(quota);
        const save = () => { if (size === null || name === "") return; void run(async () => { await call("PATCH", `projects/${p.id}`, { project, body: { ...(name === null ? {} : { name: name.trim() }), ...(quota === null ? {} : { quotaBytes: size }) } }); setName(null); setQuota(null); load.reload(); }); };
        return <form noValidate onSubmit={(e) => { e.preventDefault(); save(); }}>
          <section class="set"><div><h2>Project</h2><p>Name and id. The id never changes.</p></div><div class="fields"><Text label="Name" value={name ?? p.name} set={(v) => setName(v === p.name ? null : v)} maxLength={100} error={name === "" ? "A project needs a name" : faultOf(error, "/name")} /><div class="field"><span class="lab">Project id</span><div class="inl w240"><span class="mono">{p.id}</span><CopyButton text={p.id} label="Copy the project id" /></div></div></div></section>
          <section class="set"><div><h2>Quota</h2><p>{bytes(p.usage.usedBytes)} used, {bytes(p.usage.reservedBytes)} reserved.</p></div><div class="fields"><Text label="Quota" value={quota ?? bytes(p.usage.quotaBytes)} set={(v) => setQuota(v === bytes(p.usage.quotaBytes) ? null : v)} error={size === null ? "A number with B, KiB, MiB, GiB or TiB" : faultOf(error, "/quotaBytes")} help="Not below what the files hold and uploads have reserved." /></div></section>
          <section class="set"><div><h2>New files, keeping, links</h2><p>Allowed types, largest file, default visibility, retention.</p></div><div class="fields">{more.error?.absent ? <p class="t2">Not available on this server: the version that runs here has no settings of a project beyond name and quota.</p> : more.error ? <Failure error={more.error} retry={more.reload} /> : more.data ? <ServerSettings project={project} value={more.data} reload={more.reload} /> : <span class="skel w60" />}</div></section>
          <section class="set"><div><h2>Empty or delete</h2><p>{plural(p.usage.files, "file")}, {bytes(p.usage.usedBytes)}.</p></div><div class="row wrap"><Button kind="bad" icon="broom" onClick={() => setLoss("empty")}>Empty project</Button><Button kind="bad" icon="trash" onClick={() => setLoss("delete")}>Delete project</Button></div></section>
          {error && <Failure error={error} />}
          {changes > 0 && <div class="savebar"><span><b class="b">{plural(changes, "change")}</b> <span class="t2">not saved</span></span><span class="sp" /><Button kind="gho" onClick={() => { setName(null); setQuota(null); }}>Discard</Button><Button kind="pri" type="submit" busy={busy} busyText="Saving">Save</Button></div>}
          {loss && <ProjectLoss what={loss} project={p} close={() => setLoss(null)} done={() => go(href("projects"))} />}
        </form>;
      }}</States>
    </div>
  </>;
}

/** The settings that the server has, whatever they are: text, numbers and switches, saved together under their version. */
function ServerSettings({ project, value, reload }: { project: string; value: Record<string, unknown>; reload: () => void }) {
  const settings = (value.settings ?? value) as Record<string, unknown>;
  const [edited, setEdited] = useState<Record<string, unknown>>({});
  const { busy, error, run } = useAction();
  const label = (name: string) => name.replace(/([A-Z])/g, " $1").toLowerCase().replace(/^./, (c) => c.toUpperCase());
  const names = Object.keys(settings).filter((n) => n !== "version" && n !== "etag" && (settings[n] === null || typeof settings[n] !== "object" || Array.isArray(settings[n])));
  const save = () => run(async () => { await call("PATCH", `projects/${project}/settings`, { project, body: edited, headers: typeof settings.etag === "string" ? { "if-match": settings.etag } : {} }); setEdited({}); reload(); });
  return <>
    {names.map((n) => { const now = n in edited ? edited[n] : settings[n]; return typeof settings[n] === "boolean"
      ? <label key={n} class="checkline"><input type="checkbox" class="sw" role="switch" checked={Boolean(now)} onChange={(e) => setEdited({ ...edited, [n]: e.currentTarget.checked })} /><span>{label(n)}</span></label>
      : <Text key={n} label={label(n)} value={Array.isArray(now) ? now.join(", ") : String(now ?? "")} error={faultOf(error, `/${n}`)} set={(v) => setEdited({ ...edited, [n]: Array.isArray(settings[n]) ? v.split(",").map((s) => s.trim()).filter(Boolean) : typeof settings[n] === "number" && /^\d+$/.test(v) ? Number(v) : v || null })} />; })}
    {error && <Failure error={error} />}
    {Object.keys(edited).length > 0 && <div class="row"><Button busy={busy} onClick={() => void save()}>Save these</Button></div>}
  </>;
}

interface Overdue { id: string; state: string; size: number; createdAt: string }
interface Report { damaged: string[]; drifts: { projectId: string; missingBytes: number }[]; foreign: number; missing: string[]; more: boolean; objects: number; orphans: { key: string; since?: string | null }[]; records: number }
const OWES: Record<string, string> = { pending: "upload that was not confirmed", confirming: "confirmation that was interrupted", moving: "change of visibility that was interrupted", expiring: "upload that is over", deleting: "deletion that was interrupted", removed: "deleted file whose copies must be dropped", clearing: "project that is being emptied", confirmed: "variants that must be removed" };

export function Cleanup() {
  const load = useLoad("overdue", (signal) => call<{ overdue: Overdue[]; more: boolean }>("POST", "cleanup", { signal, body: { dryRun: true } }));
  const [ran, setRan] = useState<{ settled: number; failed: string[]; more: boolean } | null>(null);
  const [report, setReport] = useState<Report | null>(null);
  const running = useAction(), comparing = useAction();
  const narrow = useNarrow();
  const denied = load.error?.status === 403;
  const run = () => running.run(async () => { setRan(await call("POST", "cleanup", { body: {} })); load.reload(); });
  const reason = denied && "Your sign-in lacks the scope admin";
  return <>
    <Head title="Cleanup" sub="Finishes what was interrupted and removes what is over. It runs by itself; here it can be watched and begun."><Button icon="search" busy={comparing.busy} busyText="Comparing" refused={reason} onClick={() => void comparing.run(async () => setReport((await call<{ report: Report }>("POST", "cleanup", { body: { report: true } })).report))}>Compare</Button><Button kind="pri" icon="broom" busy={running.busy} busyText="Running" refused={reason} onClick={() => void run()}>{ran?.more ? "Run again" : "Run cleanup"}</Button></Head>
    <div class="body">
      {running.error && <Failure error={running.error} retry={() => void run()} />}
      {comparing.error && <Failure error={comparing.error} />}
      {ran && <div class={ran.failed.length ? "waitline" : "waitline done"}><span class={ran.failed.length ? "warn" : "ok"}><Icon name={ran.failed.length ? "warn" : "check"} /></span><span><b class="b">{plural(ran.settled, "record")} settled</b>{ran.failed.length > 0 && `, ${ran.failed.length} failed and will be tried again`}{ran.more && ". It stopped at its bounds; run it again."}</span></div>}
      {report && <ReportPanel r={report} />}
      <States of={load} need="admin" what="run the cleanup">{({ overdue, more }) => overdue.length === 0
        ? <Say icon="check" title="Nothing is owed" command="xf cleanup --dry-run">No record waits for work. Compare looks deeper: it holds the store against the records and the quota, which takes longer.</Say>
        : <section><h2 class="sechead">Waiting for work</h2><div class="bleed"><table class="tbl"><thead><tr><th>What</th><th class="w200">Id</th>{!narrow && <><th class="num w100">Size</th><th class="w160 gapl">Since</th></>}</tr></thead>
          <tbody>{overdue.map((o) => <tr key={o.id}><td>{OWES[o.state] ?? o.state}</td><td class="mono">{o.id}</td>{!narrow && <><td class="num">{bytes(o.size)}</td><td class="t2 gapl" title={moment(o.createdAt)}>{relative(o.createdAt)}</td></>}</tr>)}</tbody></table></div>{more && <p class="more">There are more.</p>}</section>}</States>
    </div>
  </>;
}

function ReportPanel({ r }: { r: Report }) {
  const clean = !r.damaged.length && !r.drifts.length && !r.missing.length && !r.orphans.length && !r.foreign;
  const line = (n: number, text: string) => n > 0 && <li><b class="b">{count(n)}</b> {text}</li>;
  return (
    <div class="panel gapb"><header><h2>Comparison</h2><span class="sp" /><span class="t3 sm">{plural(r.objects, "object")}, {plural(r.records, "record")}</span></header><div class="pad stack">
      <p>{clean ? "Store, records and quota agree." : "These do not agree:"}</p>
      <ul class="bullets">{line(r.missing.length, "records whose bytes are gone from the store")}{line(r.damaged.length, "objects whose bytes are not those that were sent")}{line(r.orphans.length, "objects that no record names")}{line(r.foreign, "objects at paths that are not XFiles'")}{line(r.drifts.length, "projects whose counters differ from their files")}</ul>
      {r.drifts.map((d) => <p key={d.projectId} class="sm t2"><span class="mono">{d.projectId}</span>: {bytes(Math.abs(d.missingBytes))} {d.missingBytes > 0 ? "missing from" : "too many in"} the quota</p>)}
      {[...r.missing, ...r.damaged, ...r.orphans.map((o) => o.key)].slice(0, 20).map((k) => <p key={k} class="mono sm cut">{k}</p>)}
      {r.more && <p class="help">It stopped at its bounds, so there may be more.</p>}
    </div></div>
  );
}

export function Deployment() {
  const load = useLoad("version", async (signal) => {
    const [version, ready, limits] = await Promise.all([call<{ name: string; version: string }>("GET", "/version", { signal }), call<{ status: string }>("GET", "/readyz", { signal, quiet: true }).catch(() => ({ status: "not ready" })), call<Record<string, unknown>>("GET", "limits", { signal }).catch(() => null)]);
    return { version, ready, limits };
  });
  const scheme = document.documentElement.dataset.scheme ?? "";
  const [look, setLook] = useState(scheme);
  const pick = (v: string) => { setLook(v); if (v) document.documentElement.dataset.scheme = v; else delete document.documentElement.dataset.scheme; };
  return <>
    <Head title="Deployment" sub="What runs here. Each value is changed by its flag or parameter, not in the console." />
    <div class="body narrow"><States of={load} need="read" what="read the deployment">{({ version, ready, limits }) => <>
      <section class="set"><div><h2>Program</h2></div><dl class="facts"><dt>Version</dt><dd>{version.name} {version.version}</dd><dt>State</dt><dd><Status tone={ready.status === "ok" || ready.status === "ready" ? "ok" : "warn"}>{ready.status}</Status></dd><dt>API</dt><dd><span class="mono cut">{location.origin}</span><CopyButton text={location.origin} label="Copy the address" /></dd><dt>Reference</dt><dd><a href="/docs" target="_blank" rel="noopener">API reference</a></dd></dl></section>
      <section class="set"><div><h2>Limits</h2><p>Changed by flags of <code>xf serve</code> or parameters of the stack.</p></div>{limits ? <dl class="facts">{Object.entries(limits).map(([k, v]) => <><dt key={k}>{k}</dt><dd key={`${k}v`}><span class="cut">{Array.isArray(v) ? v.join(", ") : typeof v === "object" ? JSON.stringify(v) : String(v)}</span></dd></>)}</dl> : <p class="t2">This server does not tell its limits: it has no <span class="mono">GET /api/v1/limits</span>.</p>}</section>
      <section class="set"><div><h2>This page</h2><p>Kept until it is loaded again.</p></div><div><span class="lab">Colours</span><Segmented label="Colours" value={look} set={pick} options={[["", "As the system"], ["light", "Light"], ["dark", "Dark"]]} /></div></section>
    </>}</States></div>
  </>;
}
export { may };
