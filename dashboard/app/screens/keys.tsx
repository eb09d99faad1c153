// API keys. A key is readable in the page from its making until "I have stored it", in one component's memory.
import { useEffect, useRef, useState } from "preact/hooks";
import { call, session, shortKey } from "../api.ts";
import { day, moment, relative } from "../format.ts";
import { Icon } from "../icons.tsx";
import { useStore } from "../store.ts";
import type { Key, Scope } from "../types.ts";
import { Badge, Button, Check, Code, CopyButton, Dialog, Failure, Head, LossDialog, Menu, Say, Scopes, Select, States, Status, Text, faultOf, useAction, useCopy, useLoad, useNarrow } from "../ui.tsx";

const SCOPES: [Scope, string][] = [["read", "List files, read them and sign URLs"], ["write", "Upload and change files"], ["delete", "Delete files"], ["admin", "Operate the deployment: projects, keys, webhooks, cleanup"]];
const LIVES = [["", "Never"], ["2592000", "In 30 days"], ["7776000", "In 90 days"], ["31536000", "In a year"]] as const;

export function Keys({ project }: { project: string }) {
  const load = useLoad(`keys/${project}`, (signal) => call<{ keys: Key[] }>("GET", `projects/${project}/keys`, { project, signal }));
  const [dialog, setDialog] = useState<{ what: "new" } | { what: "rotate" | "revoke"; key: Key } | null>(null);
  const [once, setOnce] = useState<{ key: Key; secret: string } | null>(null);
  const me = useStore(session);
  const narrow = useNarrow();
  const denied = load.error?.status === 403;
  const close = () => setDialog(null);
  const mine = (key: Key) => me?.carrier === "key" && me.label.startsWith(key.prefix.slice(0, 7)) && me.label.endsWith(key.lastFour);
  return <>
    <Head title="Keys" sub="Your backend signs in with a key. Keep two, so that one can be replaced while the other works.">
      <Button kind="pri" icon="plus" refused={denied && "Your sign-in lacks the scope admin"} onClick={() => setDialog({ what: "new" })}>New key</Button>
    </Head>
    <div class="body">
      <States of={load} need="admin" what="manage keys">{({ keys }) => keys.length === 0
        ? <Say icon="key" title="No key yet" actions={<Button kind="pri" onClick={() => setDialog({ what: "new" })}>New key</Button>} command={`xf keys create --project ${project} --name backend`}>Make two, one for now and one to change to: a key that is replaced works until its grace period ends.</Say>
        : <>
          <div class="bleed"><table class="tbl tall"><thead><tr><th>Key</th>{!narrow && <><th class="w220">May</th><th class="p3 w120">Created</th><th class="w140">Last used</th><th class="w160">Expires</th></>}<th class="w48"><span class="vh">Actions</span></th></tr></thead>
            <tbody>{[...keys].sort((a, b) => Number(Boolean(a.revokedAt)) - Number(Boolean(b.revokedAt)) || b.createdAt.localeCompare(a.createdAt)).map((k) => <tr key={k.id}>
              <td><span class="two b">{k.name}{mine(k) && <> <Badge tone="acc">this sign-in</Badge></>}</span><span class="two mono">{k.prefix}…{k.lastFour}</span>{narrow && <span class="two wraprow"><Scopes list={k.scopes} /> <Ends k={k} /></span>}</td>
              {!narrow && <><td><Scopes list={k.scopes} /></td><td class="p3 t2" title={moment(k.createdAt)}>{day(k.createdAt)}</td>
                <td title={k.lastUsedAt ? moment(k.lastUsedAt) : undefined}>{k.lastUsedAt ? relative(k.lastUsedAt) : "Never"}</td><td><Ends k={k} /></td></>}
              <td class="act">{!k.revokedAt && <Menu label={`Actions for ${k.name}`} items={[
                { label: "Rotate", icon: "again", onClick: () => setDialog({ what: "rotate", key: k }) }, "-",
                { label: "Revoke", icon: "trash", bad: true, onClick: () => setDialog({ what: "revoke", key: k }) },
              ]} />}</td>
            </tr>)}</tbody></table></div>
          <p class="help">Only the hash of a key is stored. A key that is lost is replaced, never shown again. “Last used” is noted once an hour.</p>
        </>}</States>
    </div>
    {dialog?.what === "new" && <NewKey project={project} close={close} made={(key, secret) => { close(); setOnce({ key, secret }); load.reload(); }} />}
    {dialog?.what === "rotate" && <Rotate project={project} old={dialog.key} close={close} made={(key, secret) => { close(); setOnce({ key, secret }); load.reload(); }} />}
    {dialog?.what === "revoke" && <LossDialog title={`Revoke ${dialog.key.name}?`} name={dialog.key.name} button="Revoke key" onClose={close}
      work={async () => { await call("DELETE", `projects/${project}/keys/${dialog.key.id}`, { project }); load.reload(); }}>
      Whoever uses <span class="mono">{dialog.key.prefix}…{dialog.key.lastFour}</span> is refused from now on, within 30 seconds everywhere. {dialog.key.lastUsedAt ? `It was last used ${relative(dialog.key.lastUsedAt)}.` : "It was never used."}{mine(dialog.key) && " You are signed in with this key."}
    </LossDialog>}
    {once && <KeyOnce made={once.key} secret={once.secret} done={() => setOnce(null)} />}
  </>;
}

function Ends({ k }: { k: Key }) {
  if (k.revokedAt) return <Status tone="off">Revoked</Status>;
  if (!k.expiresAt) return <span class="t3">Never ends</span>;
  const left = new Date(k.expiresAt).getTime() - Date.now();
  if (left < 0) return <Status tone="off">Ended</Status>;
  return left < 7 * 86_400_000 ? <Status tone="warn">Ends {relative(k.expiresAt)}</Status> : <span title={moment(k.expiresAt)}>{day(k.expiresAt)}</span>;
}

function NewKey({ project, close, made }: { project: string; close: () => void; made: (key: Key, secret: string) => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<ReadonlySet<Scope>>(new Set<Scope>(["read", "write", "delete"]));
  const [life, setLife] = useState("");
  const [tried, setTried] = useState(false);
  // The same request again shows the same key, should the answer be lost on the way.
  const once = useRef(crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`);
  const { busy, error, run } = useAction();
  const submit = async () => {
    setTried(true);
    if (!name.trim() || scopes.size === 0) return;
    await run(async () => {
      const answer = await call<{ key: Key; apiKey: string }>("POST", `projects/${project}/keys`, {
        project, headers: { "idempotency-key": once.current }, body: { name: name.trim(), scopes: [...scopes], ...(life ? { expiresIn: Number(life) } : {}) },
      });
      made(answer.key, answer.apiKey);
    });
  };
  return (
    <Dialog title="New key" onClose={close} onSubmit={() => void submit()} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy} busyText="Making">Make key</Button></>}>
      <div class="stack">
        <Text label="Name" value={name} set={setName} maxLength={100} autofocus autocomplete="off" help="Where it is used, such as “Web backend”." error={tried && !name.trim() ? "A key needs a name" : faultOf(error, "/name")} />
        <fieldset><legend class="lab">May</legend><div class="stack1">{SCOPES.map(([s, what]) => <Check key={s} checked={scopes.has(s)} help={what} set={(on) => { const next = new Set(scopes); if (on) next.add(s); else next.delete(s); setScopes(next); }}>{s}</Check>)}</div>
          {tried && scopes.size === 0 && <p class="msg-err"><Icon name="warn" /><span>Choose at least one</span></p>}</fieldset>
        <div class="field"><Select label="Expires" value={life} set={setLife} options={LIVES} /></div>
        {error && <Failure error={error} />}
      </div>
    </Dialog>
  );
}

function Rotate({ project, old, close, made }: { project: string; old: Key; close: () => void; made: (key: Key, secret: string) => void }) {
  const [grace, setGrace] = useState("86400");
  const once = useRef(crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`);
  const { busy, error, run } = useAction();
  const submit = () => run(async () => {
    const answer = await call<{ key: Key; apiKey: string }>("POST", `projects/${project}/keys/${old.id}/rotate`, { project, headers: { "idempotency-key": once.current }, body: { gracePeriod: Number(grace) } });
    made(answer.key, answer.apiKey);
  });
  return (
    <Dialog title={`Rotate ${old.name}`} sub="A new key with the same name and scopes. The old one works until the grace period ends." onClose={close} onSubmit={() => void submit()}
      footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy} busyText="Rotating">Rotate key</Button></>}>
      <div class="stack"><div class="field"><Select label="Old key ends" value={grace} set={setGrace} options={[["0", "At once"], ["3600", "In an hour"], ["86400", "In a day"], ["604800", "In 7 days"], ["2592000", "In 30 days"]]} /></div>{error && <Failure error={error} />}</div>
    </Dialog>
  );
}

const MASK = "•".repeat(28);
export function KeyOnce({ made, secret, done }: { made: Key; secret: string; done: () => void }) {
  const [shown, setShown] = useState(false);
  const [copied, setCopied] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const [justCopied, copy] = useCopy();
  useEffect(() => {
    const warn = (e: BeforeUnloadEvent) => e.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, []);
  const value = shown ? secret : shortKey(secret), url = location.origin;
  const ready = copied || shown;
  return (
    <Dialog stubborn title="Store this key now" sub="It is shown this once. Afterwards only its hash is left, on the server." onClose={() => setLeaving(true)}
      footer={<><span class={leaving ? "bad" : "t3 sm"}>{leaving ? "Not stored yet? It cannot be shown again." : "Leaving this page loses the key."}</span><span class="sp" /><Button kind={ready ? "pri" : undefined} icon="check" onClick={done}>I have stored it</Button></>}>
      <div class="stack">
        <div class="field"><label class="lab" for="key-once">{made.name}</label><div class="row keyrow">
          <input id="key-once" class="in mono" readOnly value={shown ? secret : `${secret.slice(0, 3)}${MASK}${secret.slice(-4)}`} onFocus={(e) => shown && e.currentTarget.select()} />
          <Button icon="eye" onClick={() => setShown(!shown)}>{shown ? "Hide" : "Reveal"}</Button>
          <Button kind={ready ? undefined : "pri"} icon={justCopied ? "check" : "copy"} autofocus onClick={() => { copy(secret); setCopied(true); }}>{justCopied ? "Copied" : "Copy"}</Button></div></div>
        <SecretCode url={url} secret={secret} value={value} />
        <dl class="facts"><dt>May</dt><dd><Scopes list={made.scopes} /></dd><dt>Expires</dt><dd>{made.expiresAt ? moment(made.expiresAt) : "Never"}</dd></dl>
      </div>
    </Dialog>
  );
}

/** Shows the short form while the key is hidden. The copy button of each tab gives the whole. */
function SecretCode({ url, secret, value }: { url: string; secret: string; value: string }) {
  const tabs: [string, string][] = [
    [".env", `XFILES_URL=«${url}»\nXFILES_API_KEY=«${value}»`],
    ["curl", `curl -sS «${url}»/api/v1/usage \\\n  -H "Authorization: Bearer «${value}»"`],
    ["Next.js", `// app/api/files/route.ts, with XFILES_URL and XFILES_API_KEY from .env.local\nexport const GET = () =>\n  fetch(\`\${process.env.XFILES_URL}/api/v1/files\`, {\n    headers: { Authorization: \`Bearer \${process.env.XFILES_API_KEY}\` },\n    cache: "no-store",\n  });`],
    ["Python", `import os, httpx\n\nfiles = httpx.get(\n    os.environ["XFILES_URL"] + "/api/v1/files",\n    headers={"Authorization": "Bearer " + os.environ["XFILES_API_KEY"]},\n).json()`],
  ];
  return <><Code label="The key as" wrap tabs={tabs} />{value !== secret && <p class="row g1 t3 sm"><CopyButton text={`XFILES_URL=${url}\nXFILES_API_KEY=${secret}\n`}>Copy .env with the key</CopyButton></p>}</>;
}
export { Badge };
