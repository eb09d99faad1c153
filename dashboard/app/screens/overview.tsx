// The first screen of a project: how much it holds, its last files, and until there is one, how to send it.
import { useEffect, useRef, useState } from "preact/hooks";
import { call, may, session } from "../api.ts";
import { bytes, clock, count, plural, relative } from "../format.ts";
import { Icon } from "../icons.tsx";
import { Cover } from "../pictures.tsx";
import { href } from "../route.ts";
import { useStore } from "../store.ts";
import { arrivals } from "../tray.ts";
import type { Usage, XFile } from "../types.ts";
import { Bar, Button, Code, CopyButton, Denied, Failure, Head, MidCut, announce, useLoad, useNow, usePoll } from "../ui.tsx";
import { filesLink } from "./files.tsx";

interface Recent { files: XFile[]; total: number }
const recent = (project: string) => (signal: AbortSignal) => call<Recent>("GET", "files", { project, signal, query: { limit: 12, page: 1, include: "urls", format: "auto" } });

export function Overview({ project, choose }: { project: string; choose: () => void }) {
  const usage = useLoad(`usage/${project}`, (signal) => call<Usage>("GET", "usage", { project, signal }));
  const files = useLoad(`recent/${project}`, recent(project));
  const arrived = useStore(arrivals);
  useEffect(() => { if (arrived) { files.reload(); usage.reload(); } }, [arrived]);
  const first = files.data !== null && files.data.files.length === 0;
  const sawNone = useRef(false);
  if (first) sawNone.current = true;
  usePoll(first, 3, files.reload);
  const arrivedNow = sawNone.current && !first && files.data !== null;
  useEffect(() => { if (arrivedNow) { announce("The first file is confirmed"); usage.reload(); } }, [arrivedNow]);
  const writing = !may("write", project) && "Your sign-in lacks the scope write";
  const upload = <Button kind="pri" icon="upload" refused={writing} onClick={choose}>Upload</Button>;
  const denied = files.error?.status === 403 && !files.data;

  if (first) return <First project={project} usage={usage.data} choose={choose} writing={writing} />;
  return <>
    <Head title="Overview">{upload}</Head>
    <div class="body">
      {denied && <Denied need="read" what="read files" still="Usage and files stay hidden; sending files still works where the scope write is there." />}
      {arrivedNow && <div class="waitline done gapb"><span class="ok"><Icon name="check" /></span><b class="b">The first file is confirmed</b><span class="t2">It is published and has its URLs.</span></div>}
      {!denied && <UsagePanel usage={usage.data} />}
      {usage.error && !denied && <Failure error={usage.error} retry={usage.reload} />}
      {!denied && <section>
        <div class="row sechead"><h2>Latest files</h2><span class="sp" /><a href={filesLink(project)}>All files</a></div>
        {files.error && <Failure error={files.error} retry={files.reload} />}
        {files.data ? <ul class="grid">{files.data.files.map((f) => <li key={f.id}><a class="tile link" href={href("p", project, "files", f.id)}><Cover file={f} /><span class="name blk"><MidCut text={f.originalFilename} /></span><span class="meta">{relative(f.createdAt)}</span></a></li>)}</ul>
          : !files.error && <div class="grid" aria-busy="true">{Array.from({ length: 6 }, (_, i) => <div key={i} class="tile"><span class="pic" /></div>)}</div>}
      </section>}
    </div>
  </>;
}

function UsagePanel({ usage }: { usage: Usage | null }) {
  if (!usage) return <div class="stats" aria-busy="true">{[1, 2, 3].map((i) => <div key={i} class={i === 1 ? "stat wide" : "stat"}><span class="skel w60" /></div>)}</div>;
  const full = usage.quotaBytes > 0 && (usage.usedBytes + usage.reservedBytes) / usage.quotaBytes >= 0.95;
  return (
    <div class="stats three">
      <div class="stat wide"><p class="t2">Storage</p><p class="big">{bytes(usage.usedBytes)} <small>of {bytes(usage.quotaBytes)}</small></p>
        <Bar large parts={[[usage.usedBytes, full ? "warn" : "tone1"], [usage.reservedBytes, "tone3"]]} of={usage.quotaBytes} />
        <p class="leg"><span><i class="tone1" />Files {bytes(usage.usedBytes)}</span><span><i class="tone3" />Reserved {bytes(usage.reservedBytes)}</span><span>Free {bytes(usage.freeBytes)}</span></p></div>
      <div class="stat"><p class="t2">Files</p><p class="big">{count(usage.files)}</p><p class="t3 sm">confirmed</p></div>
      <div class="stat"><p class="t2">Free</p><p class="big">{bytes(usage.freeBytes)}</p><p class={full ? "warn sm" : "t3 sm"}>{full ? "Nearly full" : "for new uploads"}</p></div>
    </div>
  );
}

function First({ project, usage, choose, writing }: { project: string; usage: Usage | null; choose: () => void; writing: string | false }) {
  const [begun] = useState(Date.now());
  const now = useNow(1000);
  const me = useStore(session);
  const url = location.origin;
  return <>
    <Head title="Send your first file" sub="Three requests from your backend. The bytes go from the client to the store and never through this server." />
    <div class="body">
      <div class="waitline"><span class="pulse" /><b class="b">Waiting for the first confirmed file</b><span class="t2 p2">This page looks every 3 seconds while it is visible.</span><span class="sp" /><span class="t3">{clock((now - begun) / 1000)}</span></div>
      <div class="split gap">
        <div class="stack2">
          <Code label="Language" tabs={[["curl", `# 1  ask for an upload URL\ncurl -sS «${url}»/api/v1/files/upload-intent \\\n  -H "Authorization: Bearer $XFILES_API_KEY" -H "Content-Type: application/json" \\\n  -d '{"filename":"photo.jpg","contentType":"image/jpeg","size":632699}'\n\n# 2  send the bytes straight to the store\ncurl -sS -X PUT "$uploadUrl" -H "Content-Type: image/jpeg" --data-binary @photo.jpg\n\n# 3  publish it\ncurl -sS «${url}»/api/v1/files/confirm \\\n  -H "Authorization: Bearer $XFILES_API_KEY" -H "Content-Type: application/json" \\\n  -d "{\\"fileId\\":\\"$fileId\\"}"`],
            ["Next.js", `// On your server; the browser gets uploadUrl and sends the bytes itself.\nconst api = (path, body) => fetch("«${url}»/api/v1/" + path, {\n  method: "POST",\n  headers: { Authorization: \`Bearer \${process.env.XFILES_API_KEY}\`, "Content-Type": "application/json" },\n  body: JSON.stringify(body),\n}).then((answer) => answer.json());\n\nexport const begin = (file) =>\n  api("files/upload-intent", { filename: file.name, contentType: file.type, size: file.size });\nexport const finish = (fileId) => api("files/confirm", { fileId });\n\n// In the browser, between the two:\n// await fetch(uploadUrl, { method: "PUT", headers, body: file });`],
            ["Python", `import os, httpx\n\napi = httpx.Client(base_url="«${url}»/api/v1/",\n    headers={"Authorization": "Bearer " + os.environ["XFILES_API_KEY"]})\nphoto = open("photo.jpg", "rb").read()\n\nintent = api.post("files/upload-intent", json={\n    "filename": "photo.jpg", "contentType": "image/jpeg", "size": len(photo)}).json()\nhttpx.put(intent["uploadUrl"], content=photo, headers=intent["headers"]).raise_for_status()\nprint(api.post("files/confirm", json={"fileId": intent["fileId"]}).json())`]]} />
          <div class="drop dropline"><Icon name="upload" /><span>Or drop a file anywhere on this page</span><span class="sp" /><Button refused={writing} onClick={choose}>Choose files</Button></div>
        </div>
        <aside aria-label="Steps"><h2 class="factshead first">What you will see</h2>
          <ol class="steps"><li><span class="stepn now">1</span><span><b class="b">Upload intent</b><span class="blk t2">Quota is reserved, an upload URL is answered. It is good for 15 minutes.</span></span></li><li><span class="stepn">2</span><span><b class="b">Bytes in the store</b><span class="blk t2">Exactly the announced type and length, or the store refuses.</span></span></li><li><span class="stepn">3</span><span><b class="b">Confirmed</b><span class="blk t2">The file is published and has its URLs.</span></span></li></ol>
          <h2 class="factshead">This project</h2><dl class="facts"><dt>API</dt><dd><span class="mono cut">{url}</span><CopyButton text={url} label="Copy the address" /></dd>
            {project !== "-" && <><dt>Project</dt><dd><span class="mono">{project}</span><CopyButton text={project} label="Copy the project id" /></dd></>}<dt>Signed in as</dt><dd class="mono">{me?.label}</dd>{usage && <><dt>Quota</dt><dd>{bytes(usage.usedBytes)} of {bytes(usage.quotaBytes)}</dd></>}</dl></aside>
      </div>
    </div>
  </>;
}

/** Uploads that were begun and not confirmed. */
export function Uploads({ project }: { project: string }) {
  const load = useLoad(`pending/${project}`, async (signal) => {
    const files: XFile[] = [];
    let cursor: string | null = "";
    // A thousand at the most: a longer list is the cleanup's work.
    while (cursor !== null && files.length < 1000) {
      const page: { files: XFile[]; nextCursor: string | null } = await call("GET", "files", { project, signal, query: { uploadStatus: "pending", limit: 100, cursor } });
      files.push(...page.files);
      cursor = page.nextCursor;
    }
    return { files, more: cursor !== null };
  });
  const [busy, setBusy] = useState<string | null>(null);
  const [failed, setFailed] = useState<{ id: string; error: import("../api.ts").ApiError } | null>(null);
  const now = useNow(15_000);
  const act = async (file: XFile, work: () => Promise<unknown>, said: string) => {
    setBusy(file.id); setFailed(null);
    try { await work(); announce(said); load.reload(); } catch (e) { setFailed({ id: file.id, error: e as import("../api.ts").ApiError }); } finally { setBusy(null); }
  };
  const data = load.data;
  return <>
    <Head title="Uploads" sub="Begun and not confirmed. Each holds its size of the quota until it is confirmed, cancelled or over."><Button icon="again" busy={load.loading && data !== null} onClick={load.reload}>Look again</Button></Head>
    <div class="body">
      {load.error?.status === 403 && !data ? <Denied need="read" what="list uploads" /> : load.error && <Failure error={load.error} retry={load.reload} />}
      {!data && !load.error && <div class="skelrows" aria-busy="true"><div class="skelrow"><span class="skel w40" /></div><div class="skelrow"><span class="skel w30" /></div></div>}
      {data && data.files.length === 0 && <div class="say"><div class="glyph"><Icon name="check" large /></div><h2>Nothing is waiting</h2><p>Every upload that was begun is confirmed or over.</p></div>}
      {data && data.files.length > 0 && <>
        <p class="t2 gapb">{data.more ? "The first " : ""}{plural(data.files.length, "upload")}, {bytes(data.files.reduce((n, f) => n + f.size, 0))} reserved.</p>
        <ul class="plainrows">{data.files.map((f) => { const over = f.expiresAt ? new Date(f.expiresAt).getTime() < now : false; return (
          <li key={f.id}><div class="row wrap"><span class="sp grow"><span class="two b cut">{f.originalFilename}</span><span class="two t3 sm">{bytes(f.size)}, {f.contentType}, begun {relative(f.createdAt, now)}{f.expiresAt && (over ? ", over" : `, ends ${relative(f.expiresAt, now)}`)}</span></span>
            <Button small busy={busy === f.id} refused={!may("write", project) && "Your sign-in lacks the scope write"} onClick={() => void act(f, () => call("POST", "files/confirm", { project, body: { fileId: f.id } }), "Confirmed")}>Confirm</Button>
            <Button small kind="bad" refused={!may("delete", project) && "Your sign-in lacks the scope delete"} onClick={() => void act(f, () => call("DELETE", `files/${f.id}`, { project }), "Cancelled")}>Cancel</Button></div>
            {failed?.id === f.id && <Failure error={failed.error} />}</li>); })}</ul></>}
    </div>
  </>;
}
