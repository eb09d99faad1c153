// Webhooks of a project: endpoints, their secrets (shown once) and their deliveries.
import { useEffect, useState } from "preact/hooks";
import { call } from "../api.ts";
import { moment, plural, relative } from "../format.ts";
import { Icon } from "../icons.tsx";
import type { Delivery, Webhook } from "../types.ts";
import { Button, Check, Code, Dialog, Failure, Head, LossDialog, Menu, Say, Segmented, Select, States, Status, Text, announce, asApiError, cx, faultOf, useAction, useCopy, useLoad, useNarrow } from "../ui.tsx";
import type { ApiError } from "../api.ts";

const EVENTS = ["file.confirmed", "file.updated", "file.deleted", "file.expired", "variants.purged"];
const RECEIVER = `// The signature is over the id, the time and the body as it came: read the body as text first.
import { createHmac, timingSafeEqual } from "node:crypto";

export function verifyWebhook(headers, body, secret) {
  const id = headers["webhook-id"], time = headers["webhook-timestamp"];
  if (Math.abs(Date.now() / 1000 - Number(time)) > 300) return false;
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const sum = createHmac("sha256", key).update(\`\${id}.\${time}.\${body}\`).digest();
  return headers["webhook-signature"].split(" ").some((part) => {
    const given = Buffer.from(part.replace("v1,", ""), "base64");
    return given.length === sum.length && timingSafeEqual(given, sum);
  });
}`;

type Open = { what: "new" } | { what: "edit" | "rotate" | "delete"; hook: Webhook } | null;

export function Webhooks({ project }: { project: string }) {
  const load = useLoad(`webhooks/${project}`, (signal) => call<{ webhooks: Webhook[] }>("GET", `projects/${project}/webhooks`, { project, signal }));
  const [chosen, setChosen] = useState<string | null>(null);
  const [open, setOpen] = useState<Open>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const { run, error } = useAction();
  const denied = load.error?.status === 403;
  const close = () => setOpen(null);
  const path = (hook: Webhook) => `projects/${project}/webhooks/${hook.id}`;
  const toggle = (hook: Webhook) => run(async () => { await call("PATCH", path(hook), { project, body: { enabled: !hook.enabled } }); load.reload(); });
  return <>
    <Head title="Webhooks" sub="Your server gets a signed request for each event, at least once.">
      <Button kind="pri" icon="plus" refused={denied && "Your sign-in lacks the scope admin"} onClick={() => setOpen({ what: "new" })}>New endpoint</Button>
    </Head>
    <div class="body">
      {error && <Failure error={error} />}
      <States of={load} need="admin" what="manage webhooks">{({ webhooks }) => {
        const hook = webhooks.find((w) => w.id === chosen) ?? webhooks[0];
        if (!hook) return <><Say icon="bolt" title="No endpoint yet" actions={<Button kind="pri" onClick={() => setOpen({ what: "new" })}>New endpoint</Button>}>An endpoint is an address of your server. A receiver checks the signature like this:</Say><div class="saycode"><Code label="Receiver" tabs={[["Node", RECEIVER]]} /></div></>;
        return <>
          <div class="hooks" role="group" aria-label="Endpoints">{webhooks.map((w) => (
            <div key={w.id} class={cx("hook", w === hook && "on")}>
              <button type="button" class="hookpick" aria-pressed={w === hook} onClick={() => setChosen(w.id)}><span class="row"><span class="mono cut sp">{w.url.replace(/^https?:\/\//, "")}</span>{w.enabled ? <Status tone="ok">On</Status> : <Status tone="off">Off</Status>}</span>
                <span class="sm t3 cut">{w.events.length === EVENTS.length || w.events.length === 0 ? "All events" : w.events.join(", ")}</span></button>
              <Menu label={`Actions for ${w.url}`} items={[
                { label: "Edit", icon: "edit", onClick: () => setOpen({ what: "edit", hook: w }) }, { label: w.enabled ? "Switch off" : "Switch on", icon: "pause", onClick: () => void toggle(w) },
                { label: "Rotate the secret", icon: "again", onClick: () => setOpen({ what: "rotate", hook: w }) }, "-", { label: "Delete", icon: "trash", bad: true, onClick: () => setOpen({ what: "delete", hook: w }) },
              ]} />
            </div>))}</div>
          {hook.oldSecretUntil && <p class="help">Messages carry the old secret's signature too, until {moment(hook.oldSecretUntil)}.</p>}
          <Deliveries key={hook.id} project={project} hook={hook} />
        </>;
      }}</States>
    </div>
    {(open?.what === "new" || open?.what === "edit") && <Endpoint project={project} hook={open.what === "edit" ? open.hook : null} close={close} saved={(w, s) => { close(); setChosen(w.id); load.reload(); if (s) setSecret(s); }} />}
    {open?.what === "rotate" && <RotateSecret path={path(open.hook)} project={project} close={close} done={(s) => { close(); load.reload(); setSecret(s); }} />}
    {open?.what === "delete" && <LossDialog title="Delete this endpoint?" button="Delete endpoint" onClose={close} work={async () => { await call("DELETE", path(open.hook), { project }); setChosen(null); load.reload(); }}><span class="mono">{open.hook.url}</span> gets no more requests, and what waits for it is dropped.</LossDialog>}
    {secret && <SecretOnce secret={secret} done={() => setSecret(null)} />}
  </>;
}

function Endpoint({ project, hook, close, saved }: { project: string; hook: Webhook | null; close: () => void; saved: (hook: Webhook, secret?: string) => void }) {
  const [url, setUrl] = useState(hook?.url ?? "");
  const [events, setEvents] = useState<ReadonlySet<string>>(new Set(hook?.events.length ? hook.events : EVENTS));
  const [tried, setTried] = useState(false);
  const { busy, error, run } = useAction();
  const submit = async () => {
    setTried(true);
    if (!url.trim() || events.size === 0) return;
    await run(async () => {
      const body = { url: url.trim(), events: EVENTS.filter((e) => events.has(e)) };
      const path = `projects/${project}/webhooks`;
      const answer = hook ? await call<{ webhook: Webhook }>("PATCH", `${path}/${hook.id}`, { project, body }) : await call<{ webhook: Webhook; secret: string }>("POST", path, { project, body });
      saved(answer.webhook, "secret" in answer ? (answer.secret as string) : undefined);
    });
  };
  return (
    <Dialog title={hook ? "Edit endpoint" : "New endpoint"} onClose={close} onSubmit={() => void submit()} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>{hook ? "Save" : "Make endpoint"}</Button></>}>
      <div class="stack"><Text label="Address" value={url} set={setUrl} autofocus maxLength={1024} placeholder="https://" help="https, a public host, no user and no fragment." error={tried && !url.trim() ? "An endpoint needs an address" : faultOf(error, "/url")} />
        <fieldset><legend class="lab">Events</legend><div class="stack1">{EVENTS.map((e) => <Check key={e} checked={events.has(e)} set={(on) => { const next = new Set(events); if (on) next.add(e); else next.delete(e); setEvents(next); }}><span class="mono">{e}</span></Check>)}</div>
          {tried && events.size === 0 && <p class="msg-err"><Icon name="warn" /><span>Choose at least one</span></p>}</fieldset>
        {error && <Failure error={error} />}</div>
    </Dialog>
  );
}

function RotateSecret({ path, project, close, done }: { path: string; project: string; close: () => void; done: (secret: string) => void }) {
  const [grace, setGrace] = useState("86400");
  const { busy, error, run } = useAction();
  return (
    <Dialog title="Rotate the secret" sub="Until the grace period ends, messages carry both signatures." onClose={close} onSubmit={() => void run(async () => done((await call<{ secret: string }>("POST", `${path}/rotate`, { project, body: { gracePeriod: Number(grace) } })).secret))}
      footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>Rotate secret</Button></>}>
      <div class="stack"><div class="field"><Select label="Old secret ends" value={grace} set={setGrace} options={[["0", "At once"], ["3600", "In an hour"], ["86400", "In a day"], ["604800", "In 7 days"]]} /></div>{error && <Failure error={error} />}</div>
    </Dialog>
  );
}

function SecretOnce({ secret, done }: { secret: string; done: () => void }) {
  const [copied, copy] = useCopy();
  const [warned, setWarned] = useState(false);
  return (
    <Dialog stubborn title="Store this secret now" sub="Your receiver checks signatures with it. It is shown this once." onClose={() => setWarned(true)}
      footer={<><span class={warned ? "bad" : "t3 sm"}>{warned ? "Not stored yet? It cannot be shown again." : "Leaving this page loses the secret."}</span><span class="sp" /><Button icon="check" onClick={done}>I have stored it</Button></>}>
      <div class="stack"><div class="row keyrow"><label class="vh" for="secret-once">Secret</label><input id="secret-once" class="in mono" readOnly value={secret} /><Button kind="pri" icon={copied ? "check" : "copy"} autofocus onClick={() => copy(secret)}>{copied ? "Copied" : "Copy"}</Button></div><Code label="Receiver" tabs={[["Node", RECEIVER]]} /></div>
    </Dialog>
  );
}

const STATES = [["", "All"], ["pending", "Retrying"], ["parked", "Parked"], ["delivered", "Delivered"]] as const;

function Deliveries({ project, hook }: { project: string; hook: Webhook }) {
  const [status, setStatus] = useState("");
  const [rows, setRows] = useState<Delivery[]>([]);
  const [cursor, setCursor] = useState<string | null>("");
  const [error, setError] = useState<ApiError | null>(null);
  const [loading, setLoading] = useState(false);
  const [picked, setPicked] = useState<Delivery | null>(null);
  const replay = useAction();
  const narrow = useNarrow();
  const path = `projects/${project}/webhooks/${hook.id}`;
  const load = async (from: string, before: Delivery[]) => {
    setLoading(true); setError(null);
    try {
      const page = await call<{ deliveries: Delivery[]; nextCursor: string | null }>("GET", `${path}/deliveries`, { project, query: { status: status || undefined, cursor: from } });
      setRows([...before, ...page.deliveries]);
      setCursor(page.nextCursor);
    } catch (e) { setError(asApiError(e)); } finally { setLoading(false); }
  };
  useEffect(() => { setRows([]); setPicked(null); void load("", []); }, [status]);
  const again = (deliveryId?: string) => replay.run(async () => {
    const { replayed, more } = await call<{ replayed: number; more: boolean }>("POST", `${path}/replay`, { project, body: deliveryId ? { deliveryId } : {} });
    announce(`${plural(replayed, "delivery", "deliveries")} will be sent again${more ? "; there are more" : ""}`);
    await load("", []);
  });
  const dots = (d: Delivery) => <span class="dots" role="img" aria-label={`${d.attempts} attempts`}>{Array.from({ length: Math.min(d.attempts, 10) }, (_, i) => <i key={i} class={d.status === "delivered" && i === d.attempts - 1 ? "o" : "f"} />)}{d.status === "pending" && <i />}</span>;
  const state = (d: Delivery) => d.status === "delivered" ? <Status tone="ok">Delivered</Status> : d.status === "parked" ? <Status tone="bad">Parked</Status> : <Status tone="warn">{d.attempts ? "Retrying" : "Waiting"}</Status>;
  return (
    <section aria-busy={loading}>
      <div class="row wrap sechead"><h2>Deliveries</h2><span class="sp" /><Segmented small label="State" value={status} set={setStatus} options={STATES} /><Button small icon="again" busy={replay.busy} onClick={() => void again()}>Replay parked</Button></div>
      {replay.error && <Failure error={replay.error} />}
      {rows.length > 0 && <div class="bleed"><table class="tbl"><thead><tr><th>Event</th><th class="w140">State</th>{!narrow && <><th class="w120">Attempts</th><th class="w160 p3">Answer</th><th class="w160">When</th></>}<th class="w48"><span class="vh">Actions</span></th></tr></thead>
        <tbody>{rows.map((d) => <tr key={d.id} aria-selected={picked?.id === d.id}>
          <td><button type="button" class="linkish" onClick={() => setPicked(picked?.id === d.id ? null : d)}><span class="mono">{d.type}</span></button></td><td>{state(d)}</td>
          {!narrow && <><td>{dots(d)}</td><td class="p3 cut">{d.lastStatus ?? d.lastError ?? ""}</td><td title={moment(d.createdAt)}>{d.status === "pending" && d.nextAttemptAt ? `again ${relative(d.nextAttemptAt)}` : relative(d.lastAttemptAt ?? d.createdAt)}</td></>}
          <td class="act"><Menu label={`Actions for ${d.eventId}`} items={[{ label: "Replay", icon: "again", onClick: () => void again(d.id) }]} /></td></tr>)}</tbody></table></div>}
      {picked && <div class="panel gap"><header><span class="mono cut">{picked.eventId}</span><span class="mono">{picked.type}</span><span class="sp" /><Button small icon="again" busy={replay.busy} onClick={() => void again(picked.id)}>Replay</Button></header>
        <div class="pad"><dl class="facts"><dt>Happened</dt><dd>{moment(picked.createdAt)}</dd><dt>Attempts</dt><dd>{picked.attempts}{picked.lastAttemptAt && `, last ${moment(picked.lastAttemptAt)}`}</dd><dt>Answer</dt><dd>{picked.lastStatus ?? "none"}</dd>{picked.lastError && <><dt>Error</dt><dd>{picked.lastError}</dd></>}</dl></div></div>}
      {!loading && !error && rows.length === 0 && <p class="t2 gap">{status ? `No delivery is ${STATES.find(([s]) => s === status)![1].toLowerCase()}.` : "Nothing has been sent yet. The next upload that is confirmed makes the first delivery."}</p>}
      {error && <Failure error={error} retry={() => void load(cursor ?? "", rows)} />}
      {cursor !== null && rows.length > 0 && <p class="more"><Button small busy={loading} onClick={() => void load(cursor, rows)}>Show more</Button></p>}
    </section>
  );
}
