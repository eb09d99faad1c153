// Accounts, members, audit and sessions. A server without these routes gets a sentence that says so.
import { useState } from "preact/hooks";
import { call, may, session, signOut } from "../api.ts";
import { bytes, moment, parseSize, plural, relative } from "../format.ts";
import { Icon } from "../icons.tsx";
import { useStore } from "../store.ts";
import type { User } from "../types.ts";
import { Absent, Badge, Button, Check, CopyButton, Dialog, Failure, Head, LossDialog, Menu, Say, Select, States, Status, Text, announce, asApiError, faultOf, useAction, useLoad, useNarrow } from "../ui.tsx";
import type { ApiError } from "../api.ts";

const named = (u: User) => u.name || u.email;
/** A value that is shown once: an address or a password. */
function Once({ title, label, value, done }: { title: string; label: string; value: string; done: () => void }) {
  return <Dialog stubborn title={title} sub="It is shown this once." onClose={() => null} footer={<><span class="sp" /><Button icon="check" onClick={done}>I have stored it</Button></>}><div class="row keyrow"><label class="vh" for="once">{label}</label><input id="once" class="in mono" readOnly value={value} /><CopyButton kind="pri" small={false} text={value}>Copy</CopyButton></div></Dialog>;
}

export function People() {
  const load = useLoad("users", (signal) => call<{ users: User[] }>("GET", "users", { signal }));
  const [open, setOpen] = useState<{ what: "new" } | { what: "delete"; user: User } | null>(null);
  const [once, setOnce] = useState<{ label: string; value: string } | null>(null);
  const { run, error } = useAction();
  const narrow = useNarrow();
  const patch = (user: User, body: unknown) => run(async () => { await call("PATCH", `users/${user.id}`, { body }); load.reload(); });
  const usable = load.data !== null;
  return <>
    <Head title="People" sub="Who has an account on this server."><Button kind="pri" icon="plus" refused={!usable && "Not available"} onClick={() => setOpen({ what: "new" })}>New account</Button></Head>
    <div class="body">
      {error && <Failure error={error} />}
      <States of={load} need="admin" what="manage accounts" absent={<Absent what="Accounts">People sign in with an API key.</Absent>}>{({ users }) => users.length === 0
        ? <Say icon="people" title="No account yet" actions={<Button kind="pri" onClick={() => setOpen({ what: "new" })}>New account</Button>} command="xf users create ada@example.com --admin">The first account can be an operator's; others get roles in projects.</Say>
        : <div class="bleed"><table class="tbl tall"><thead><tr><th>Person</th><th class="w120">Role</th>{!narrow && <><th class="w120">State</th><th class="w160">Last seen</th></>}<th class="w48"><span class="vh">Actions</span></th></tr></thead><tbody>{users.map((u) => { const admin = u.admin || u.role === "admin"; return <tr key={u.id}><td><span class="two b">{named(u)}</span><span class="two">{u.email}</span></td><td>{admin ? <Badge tone="warn">admin</Badge> : <Badge>user</Badge>}</td>
          {!narrow && <><td>{u.disabledAt ? <Status tone="off">Disabled</Status> : <Status tone="ok">Active</Status>}</td><td class="t2">{u.lastSeenAt ? relative(u.lastSeenAt) : "Never"}</td></>}
          <td class="act"><Menu label={`Actions for ${u.email}`} items={[{ label: admin ? "Make a user" : "Make an operator", icon: "person", onClick: () => void patch(u, { role: admin ? "user" : "admin" }) }, { label: u.disabledAt ? "Enable" : "Disable", icon: "pause", onClick: () => void patch(u, { disabled: !u.disabledAt }) }, "-", { label: "Delete", icon: "trash", bad: true, onClick: () => setOpen({ what: "delete", user: u }) }]} /></td></tr>; })}</tbody></table></div>}</States>
    </div>
    {open?.what === "new" && <NewUser close={() => setOpen(null)} made={(password) => { setOpen(null); load.reload(); if (password) setOnce({ label: "Password", value: password }); }} />}
    {open?.what === "delete" && <LossDialog title={`Delete ${open.user.email}?`} name={open.user.email} button="Delete account" onClose={() => setOpen(null)} work={async () => { await call("DELETE", `users/${open.user.id}`); load.reload(); }}>The account and its sessions end. Files that the person uploaded stay.</LossDialog>}
    {once && <Once title="Store this password now" label={once.label} value={once.value} done={() => setOnce(null)} />}
  </>;
}

function NewUser({ close, made }: { close: () => void; made: (password?: string) => void }) {
  const [email, setEmail] = useState("");
  const [name, setName] = useState("");
  const [admin, setAdmin] = useState(false);
  const { busy, error, run } = useAction();
  return <Dialog title="New account" sub="The server makes a password that is shown once and must be changed at the first sign-in." onClose={close} onSubmit={() => void run(async () => { const answer = await call<{ password?: string }>("POST", "users", { body: { email: email.trim(), ...(name.trim() ? { name: name.trim() } : {}), role: admin ? "admin" : "user" } }); made(answer.password); })} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>Make account</Button></>}>
    <div class="stack"><Text label="E-mail" type="email" value={email} set={setEmail} autofocus autocomplete="off" error={faultOf(error, "/email")} /><Text label="Name" value={name} set={setName} autocomplete="off" error={faultOf(error, "/name")} /><Check checked={admin} set={setAdmin} help="Projects, people, cleanup and every project's files.">Operator</Check>{error && <Failure error={error} />}</div>
  </Dialog>;
}

interface Member { userId?: string; id?: string; email?: string; name?: string | null; role: string; quotaBytes?: number | null; usedBytes?: number | null; expiresAt?: string | null; state?: string }
const ROLES = [["viewer", "Viewer"], ["contributor", "Contributor"], ["editor", "Editor"], ["owner", "Owner"]] as const;
const memberId = (m: Member) => m.userId ?? m.id ?? "";

export function Members({ project }: { project: string }) {
  const load = useLoad(`members/${project}`, (signal) => call<{ members: Member[] }>("GET", `projects/${project}/members`, { project, signal }));
  const [inviting, setInviting] = useState(false);
  const [removing, setRemoving] = useState<Member | null>(null);
  const [link, setLink] = useState<string | null>(null);
  const { run, error } = useAction();
  const narrow = useNarrow();
  const managing = !load.data ? "Not available" : !may("manage", project) && "Your sign-in lacks the scope manage";
  return <>
    <Head title="Members" sub="Who works in this project, and what they may do."><Button kind="pri" icon="plus" refused={managing} onClick={() => setInviting(true)}>Invite</Button></Head>
    <div class="body">
      {error && <Failure error={error} />}
      <States of={load} need="manage" what="manage members" absent={<Absent what="Members">Whoever holds a key of the project works in it.</Absent>}>{({ members }) => <>
        {members.length === 0 ? <Say icon="people" title="No member yet" actions={<Button kind="pri" refused={managing} onClick={() => setInviting(true)}>Invite the first</Button>}>An invitation is a link that works once, for 72 hours.</Say>
          : <div class="bleed"><table class="tbl tall"><thead><tr><th>Person</th><th class="w160">Role</th>{!narrow && <><th class="w200">Quota</th><th class="w160">Ends</th></>}<th class="w48"><span class="vh">Actions</span></th></tr></thead><tbody>{members.map((m) => <tr key={memberId(m)}><td><span class="two b">{m.name || m.email || memberId(m)}</span><span class="two">{m.email}</span></td>
            <td><Select label={`Role of ${m.email ?? memberId(m)}`} hidden small value={m.role} disabled={Boolean(managing)} set={(role) => void run(async () => { await call("PATCH", `projects/${project}/members/${memberId(m)}`, { project, body: { role } }); load.reload(); })} options={ROLES as readonly (readonly [string, string])[]} /></td>
            {!narrow && <><td class="t2">{m.quotaBytes ? `${bytes(m.usedBytes ?? 0)} of ${bytes(m.quotaBytes)}` : "The project's"}</td><td class="t2">{m.expiresAt ? relative(m.expiresAt) : "Never"}</td></>}
            <td class="act"><Menu label={`Actions for ${m.email ?? memberId(m)}`} items={[{ label: "Remove", icon: "trash", bad: true, refused: managing, onClick: () => setRemoving(m) }]} /></td></tr>)}</tbody></table></div>}
        <section class="gap"><h2 class="sechead">What each role may do</h2><table class="tbl roles"><thead><tr><th>May</th>{ROLES.map(([r, t]) => <th key={r}>{t}</th>)}</tr></thead><tbody>{[["See files and sign URLs", 0], ["Upload and change files", 1], ["Delete files, make links", 2], ["Keys, webhooks, members", 3]].map(([t, least]) => <tr key={t}><td>{t}</td>{ROLES.map(([r], i) => <td key={r}>{i >= (least as number) ? <><Icon name="check" /><span class="vh">yes</span></> : <span class="t3" aria-label="no">–</span>}</td>)}</tr>)}</tbody></table></section>
      </>}</States>
    </div>
    {inviting && <Invite project={project} close={() => setInviting(false)} made={(url) => { setInviting(false); setLink(url); load.reload(); }} />}
    {removing && <LossDialog title={`Remove ${removing.email ?? memberId(removing)}?`} button="Remove member" onClose={() => setRemoving(null)} work={async () => { await call("DELETE", `projects/${project}/members/${memberId(removing)}`, { project }); load.reload(); }}>The person loses access within 30 seconds. Files stay.</LossDialog>}
    {link && <Once title="Send this invitation" label="Invitation" value={link} done={() => setLink(null)} />}
  </>;
}

function Invite({ project, close, made }: { project: string; close: () => void; made: (url: string) => void }) {
  const [role, setRole] = useState("contributor");
  const [quota, setQuota] = useState("");
  const { busy, error, run } = useAction();
  const size = quota.trim() ? parseSize(quota) : null;
  const wrong = quota.trim() && size === null ? "A number with B, KiB, MiB, GiB or TiB" : null;
  return <Dialog title="Invite to this project" sub="The link works once, for 72 hours." onClose={close} onSubmit={() => { if (!wrong) void run(async () => { const answer = await call<{ url?: string; invitation?: { url: string } }>("POST", `projects/${project}/members`, { project, body: { role, ...(size === null ? {} : { quotaBytes: size }) } }); made(answer.url ?? answer.invitation?.url ?? ""); }); }} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>Make link</Button></>}>
    <div class="stack"><div class="field"><Select label="Role" value={role} set={setRole} options={ROLES as readonly (readonly [string, string])[]} /></div><Text label="Quota of this person" value={quota} set={setQuota} error={wrong ?? faultOf(error, "/quotaBytes")} help="Empty: only the project's quota counts." />{error && <Failure error={error} />}</div>
  </Dialog>;
}

interface Event { id?: string; eventId?: string; at?: string; createdAt?: string; action?: string; type?: string; actor?: unknown; target?: unknown; requestId?: string; ip?: string | null }
const text = (v: unknown): string => v === null || v === undefined ? "" : typeof v === "object" ? String((v as Record<string, unknown>).name ?? (v as Record<string, unknown>).email ?? (v as Record<string, unknown>).id ?? JSON.stringify(v)) : String(v);

export function Audit({ project }: { project: string }) {
  const first = useLoad(`audit/${project}`, (signal) => call<{ events: Event[]; nextCursor: string | null }>("GET", `projects/${project}/audit`, { project, signal }));
  const [rest, setRest] = useState<{ events: Event[]; cursor: string | null } | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const cursor = rest ? rest.cursor : first.data?.nextCursor ?? null;
  const more = async () => { try { const page = await call<{ events: Event[]; nextCursor: string | null }>("GET", `projects/${project}/audit`, { project, query: { cursor } }); setRest({ events: [...(rest?.events ?? []), ...page.events], cursor: page.nextCursor }); } catch (e) { setError(asApiError(e)); } };
  return <>
    <Head title="Audit" sub="Who did what to which file, key, member and setting." />
    <div class="body"><States of={first} need="manage" what="read the audit log" absent={<Absent what="Audit entries">Webhooks tell of changes to files meanwhile.</Absent>}>{({ events }) => { const all = [...events, ...(rest?.events ?? [])]; return all.length === 0 ? <Say icon="list" title="Nothing yet">Each change and each sign-in from now on is listed here.</Say>
      : <ul class="log">{all.map((e, i) => { const at = e.at ?? e.createdAt ?? ""; return <li key={e.id ?? e.eventId ?? i}><time class="t3 nw" title={at ? moment(at) : ""}>{at ? relative(at) : ""}</time><span class="cut b">{text(e.actor)}</span><span><span class="mono">{e.action ?? e.type}</span> <span class="t2">{text(e.target)}</span></span><span class="mono t3 cut">{e.requestId}</span></li>; })}</ul>; }}</States>
      {error && <Failure error={error} retry={() => void more()} />}{cursor && <p class="more"><Button small onClick={() => void more()}>Show more</Button></p>}</div>
  </>;
}

interface Sess { id: string; kind?: string; client?: string; userAgent?: string | null; createdAt?: string; created?: string; lastUsedAt?: string; lastSeenAt?: string; ip?: string | null; current?: boolean }
export function Sessions() {
  const me = useStore(session);
  const load = useLoad("sessions", (signal) => call<{ sessions: Sess[] }>("GET", "sessions", { signal, quiet: true }));
  const { busy, error, run } = useAction();
  const [changing, setChanging] = useState(false);
  // A key has no session; a server may say so with a refusal instead of a 404.
  const none = me?.carrier === "key" && (load.error?.absent || load.error?.status === 401 || load.error?.status === 403);
  return <>
    <Head title="My sessions" sub="Where you are signed in.">{me?.user && <Button icon="key" onClick={() => setChanging(true)}>Change password</Button>}{load.data && <Button kind="bad" busy={busy} onClick={() => void run(async () => { await call("POST", "auth/logout-all", { body: {} }); await signOut(); })}>End all</Button>}</Head>
    <div class="body">
      {error && <Failure error={error} />}
      {none ? <Say icon="key" title="You signed in with a key" actions={<Button icon="leave" onClick={() => void signOut()}>Sign out</Button>}>The key <span class="mono">{me!.label}</span> is in the memory of this page and nowhere else: loading the page again forgets it. Sessions that last are not available with a key.</Say>
        : <States of={load} need="read" what="list sessions" absent={<Absent what="Sessions">People sign in with an API key, which this page forgets when it is loaded again.</Absent>}>{({ sessions }) => <ul class="plainrows">{sessions.map((s) => <li key={s.id}><div class="row wrap"><Icon name="screen" /><span class="sp grow"><span class="two b cut">{s.client ?? s.userAgent ?? s.kind ?? "Browser"}{s.current && <> <Badge tone="acc">this one</Badge></>}</span><span class="two t3 sm">{s.ip && `${s.ip}, `}since {moment(s.createdAt ?? s.created ?? "")}, last used {relative(s.lastUsedAt ?? s.lastSeenAt ?? s.createdAt ?? s.created ?? "")}</span></span><Button small kind="bad" onClick={() => void run(async () => { if (s.current) { await signOut(); return; } await call("DELETE", `sessions/${s.id}`); announce("Session ended"); load.reload(); })}>{s.current ? "Sign out" : "End"}</Button></div></li>)}{sessions.length === 0 && <li class="t2">{plural(0, "session")}</li>}</ul>}</States>}
    </div>
    {changing && <Password close={() => setChanging(false)} />}
  </>;
}

export function Password({ close }: { close: () => void }) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const { busy, error, run } = useAction();
  const submit = async () => { if (await run(() => call("PUT", "me/password", { body: { currentPassword: current, newPassword: next } }))) { announce("Password changed"); close(); } };
  return <Dialog title="Change password" sub="Every other session ends." onClose={close} onSubmit={() => void submit()} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>Change password</Button></>}>
    <div class="stack"><Text label="Current password" type="password" value={current} set={setCurrent} autocomplete="current-password" autofocus error={error?.code === "wrong_password" ? "This is not your password" : null} /><Text label="New password" type="password" value={next} set={setNext} autocomplete="new-password" maxLength={256} help="At least 12 characters; any characters." error={faultOf(error, "/newPassword")} />{error && error.code !== "wrong_password" && <Failure error={error} />}</div>
  </Dialog>;
}
