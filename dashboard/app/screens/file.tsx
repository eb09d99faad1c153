// One file: beside the list as a drawer, and as a page of its own with the maker of URLs.
import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, call, may } from "../api.ts";
import { bytes, clock, count, moment, percent } from "../format.ts";
import { Icon } from "../icons.tsx";
import { isAudio, isRaster, isShown, isVideo } from "../media.ts";
import { Hash, type Measured, Sheet, Unmeasured, formatName, measure } from "../pictures.tsx";
import { filesLink } from "./files.tsx";
import { go, href } from "../route.ts";
import type { Format, Urls, Visibility, XFile } from "../types.ts";
import { Badge, Bar, Button, Code, CopyButton, Denied, Dialog, Failure, LossDialog, Menu, MidCut, Segmented, Select, Text, asApiError, announce, cx, useAction, useLoad, useNow } from "../ui.tsx";

export interface WithUrls extends Urls { file: XFile }
const loadFile = (project: string, id: string, format: Format) => (signal: AbortSignal) => call<WithUrls>("GET", `files/${id}`, { project, signal, query: { format } });

async function download(project: string, file: XFile) {
  const { url } = await call<Urls>("POST", `files/${file.id}/url`, { project, body: { download: true } });
  const link = document.createElement("a");
  link.href = url;
  link.rel = "noopener";
  link.download = file.originalFilename;
  link.target = "_blank";
  link.click();
}

function DeleteFile({ project, file, close, removed }: { project: string; file: XFile; close: () => void; removed: () => void }) {
  return (
    <LossDialog title={`Delete ${file.originalFilename}?`} button="Delete file" onClose={close}
      work={async () => { await call("DELETE", `files/${file.id}`, { project }); announce("File deleted"); removed(); }}>
      The original, its variants and its URLs go, {bytes(file.size)} in all. This cannot be undone.
    </LossDialog>
  );
}

/** Erasure proves what it removed; the CDN's copies may outlive the first answer. */
function EraseDialog({ project, file, close, removed }: { project: string; file: XFile; close: () => void; removed: () => void }) {
  const [report, setReport] = useState<{ objects?: string[]; paths?: string[]; unverifiedPaths?: string[]; againAt?: string } | null>(null);
  const { busy, error, run } = useAction();
  const erase = () => run(async () => setReport(await call("DELETE", `files/${file.id}`, { project, query: { erase: true } })));
  return (
    <Dialog title={report ? "Erased" : `Erase ${file.originalFilename}?`} onClose={() => (report ? removed() : close())}
      sub={report ? undefined : "Deletes the file, waits until the CDN has dropped its copies, and reports each path."}
      footer={<><span class="sp" />{report ? <Button kind="pri" onClick={removed}>Close</Button> : <><Button onClick={close} autofocus>Keep it</Button><Button kind="kill" busy={busy} busyText="Erasing" onClick={() => void erase()}>Erase file</Button></>}</>}>
      {report ? <dl class="facts">
        <dt>Objects</dt><dd>{count(report.objects?.length ?? 0)} removed from the store</dd>
        <dt>Paths</dt><dd>{count(report.paths?.length ?? 0)} dropped by the CDN</dd>
        {report.unverifiedPaths?.length ? <><dt>Unverified</dt><dd>{report.unverifiedPaths.join(", ")}</dd></> : null}
        {report.againAt && <><dt>Look again</dt><dd>{moment(report.againAt)}</dd></>}
      </dl> : <p class="t2">{bytes(file.size)}. This cannot be undone.</p>}
      {error && <Failure error={error} />}
    </Dialog>
  );
}

/** The editable facts. A change carries the version that is shown, so that nobody else's change is overwritten unseen. */
function Facts({ project, file, changed, reload, page }: { project: string; file: XFile; changed: (file: XFile) => void; reload: () => void; page?: boolean }) {
  const { busy, error, run } = useAction();
  const [dialog, setDialog] = useState<"owner" | "position" | null>(null);
  const readOnly = !may("write", project);
  const reason = readOnly ? "Your sign-in lacks the scope write" : undefined;
  const patch = (body: unknown) => run(async () => changed((await call<{ file: XFile }>("PATCH", `files/${file.id}`, { project, body, headers: { "if-match": file.etag } })).file));
  const image = file.transformations.image;
  const raster = isRaster(file.contentType);
  return <>
    {error?.status === 412
      ? <div class="panel errp" role="alert"><span class="warn"><Icon name="warn" /></span><div class="sp"><p class="b">Changed meanwhile</p><p class="t2">Another change came first, so yours was not made. You see version {file.etag.replaceAll('"', "")}.</p></div><Button small icon="again" onClick={reload}>Reload</Button></div>
      : error && <Failure error={error} />}
    <dl class={page ? "facts" : "facts"} aria-busy={busy}>
      <dt>File id</dt><dd><span class="mono cut">{file.id}</span><CopyButton text={file.id} label="Copy the file id" /></dd>
      <dt>Type</dt><dd><span class="cut">{file.contentType}</span></dd>
      <dt>Size</dt><dd>{bytes(file.size)} <span class="t3">{count(file.size)} bytes</span></dd>
      {file.width && <><dt>Pixels</dt><dd>{file.width} × {file.height}</dd></>}
      {file.checksumSha256 && <><dt>SHA-256</dt><dd><span class="mono cut">{file.checksumSha256}</span><CopyButton text={file.checksumSha256} label="Copy the checksum" /></dd></>}
      <dt>Added</dt><dd>{moment(file.createdAt)}</dd>
      <dt>Stored as</dt><dd><span class="cut" title={file.filename}>{file.filename}</span></dd>
      <dt>Readable by</dt><dd title={reason}><Select label="Readable by" hidden value={file.visibility} disabled={readOnly || busy} set={(visibility: Visibility) => void patch({ visibility })} options={[["private", "Private, signed URLs only"], ["public", "Public, everybody"]]} /></dd>
      {raster && <><dt>Variants</dt><dd title={reason}>
        <input type="checkbox" class="sw" role="switch" aria-label="Variants" checked={image.enabled} disabled={readOnly || busy} onChange={(e) => { const enabled = e.currentTarget.checked; e.currentTarget.checked = image.enabled; void patch({ transformations: { image: { enabled } } }); }} />
        {image.enabled ? <Select label="Variants readable by" hidden small value={image.visibility} disabled={readOnly || busy} set={(visibility: Visibility) => void patch({ transformations: { image: { visibility } } })} options={[["private", "On, private"], ["public", "On, public"]]} /> : <span>Off</span>}
      </dd></>}
    </dl>
    <h2 class="factshead">Belongs to</h2>
    <dl class="facts">
      <dt>Entity</dt><dd>{file.entity ? <span class="cut">{file.entity.type} <span class="t3">/</span> <a href={filesLink(project, `?entityType=${encodeURIComponent(file.entity.type)}&entityId=${encodeURIComponent(file.entity.id)}`)}>{file.entity.id}</a></span> : <span class="t3">Nothing</span>}</dd>
      {file.entity && <><dt>Role</dt><dd>{file.entity.role ?? <span class="t3">None</span>}</dd>
        <dt>Position</dt><dd>{file.entity.position}<Button small kind="gho" icon="edit" label="Change the position" refused={reason ?? false} onClick={() => setDialog("position")} /></dd></>}
      <dt>Owner</dt><dd><span class="cut">{file.ownerUserId ?? <span class="t3">Nobody</span>}</span><Button small kind="gho" icon="edit" label="Change the owner" refused={reason ?? false} onClick={() => setDialog("owner")} /></dd>
    </dl>
    {dialog && <FactDialog what={dialog} file={file} close={() => setDialog(null)} save={(body) => patch(body)} error={error} busy={busy} />}
  </>;
}

function FactDialog({ what, file, close, save, error, busy }: { what: "owner" | "position"; file: XFile; close: () => void; save: (body: unknown) => Promise<boolean>; error: ApiError | null; busy: boolean }) {
  const [value, setValue] = useState(what === "owner" ? file.ownerUserId ?? "" : String(file.entity?.position ?? 0));
  const [tried, setTried] = useState(false);
  const wrong = what === "position" && !/^\d{1,10}$/.test(value) ? "A whole number from 0 to 4,294,967,295" : null;
  const submit = async () => {
    setTried(true);
    if (!wrong && (await save(what === "owner" ? { ownerUserId: value.trim() || null } : { position: Number(value) }))) close();
  };
  return (
    <Dialog title={what === "owner" ? "Owner" : "Position"} onClose={close} onSubmit={() => void submit()} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit" busy={busy}>Save</Button></>}>
      <div class="stack">{what === "owner" ? <Text label="User id of your application" value={value} set={setValue} maxLength={256} autofocus help="Empty: the file has no owner." /> : <Text label="Position" value={value} set={setValue} autofocus error={tried ? wrong : null} help="Lists of an entity are in this order." />}
        {error && <Failure error={error} />}</div>
    </Dialog>
  );
}

/** A picture that is measured while it loads; where the CDN does not let the page read it, it is still shown. */
function useMeasured(url: string | null): { shown: string | null; got: Measured | null; error: Unmeasured | null; loading: boolean; again: () => void } {
  const [state, set] = useState<{ url: string | null; got: Measured | null; error: Unmeasured | null }>({ url: null, got: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!url) return;
    const stop = new AbortController();
    let blob: string | null = null;
    measure(url, stop.signal).then(
      (got) => { if (stop.signal.aborted) URL.revokeObjectURL(got.blob); else { blob = got.blob; set({ url, got, error: null }); } },
      (error) => { if (!stop.signal.aborted) set({ url, got: null, error: error instanceof Unmeasured ? error : new Unmeasured(0, String(error), 0) }); },
    );
    return () => { stop.abort(); if (blob) URL.revokeObjectURL(blob); };
  }, [url, turn]);
  const mine = state.url === url;
  return { got: mine ? state.got : null, error: mine ? state.error : null, loading: url !== null && !mine, shown: mine ? state.got?.blob ?? (state.error?.status === 0 ? url : null) : null, again: () => { set({ url: null, got: null, error: null }); setTurn((n) => n + 1); } };
}
export { useMeasured };

function Preview({ data, variant, showOriginal, setOriginal, enable }: { data: WithUrls; variant: { shown: string | null; error: Unmeasured | null }; showOriginal: boolean; setOriginal: () => void; enable?: (() => void) | undefined }) {
  const { file, url } = data;
  const [broken, setBroken] = useState(false);
  useEffect(() => setBroken(false), [url]);
  const alt = `Preview of ${file.originalFilename}`;
  if (isVideo(file.contentType)) return <div class="well filewell"><video controls preload="metadata" src={url} aria-label={alt} /></div>;
  if (isAudio(file.contentType)) return <div class="well filewell"><div class="stack center"><Sheet name={file.originalFilename} /><audio controls preload="metadata" src={url} aria-label={alt} /></div></div>;
  if (showOriginal && !broken) return <div class="well filewell"><img src={url} alt={alt} onError={() => setBroken(true)} /></div>;
  if (variant.shown) return <div class="well filewell"><img src={variant.shown} alt={alt} /></div>;
  const raster = isRaster(file.contentType);
  return (
    <div class="well filewell">
      {file.thumbhash ? <Hash hash={file.thumbhash} /> : <span class="sheetbox"><Sheet name={file.originalFilename} /></span>}
      {(broken || (variant.error && variant.error.status !== 0)) && <p class="overwell"><Icon name="warn" /> {broken ? "The browser cannot show this original" : variant.error!.message}</p>}
      {raster && !file.transformations.image.enabled && !broken && <p class="overwell row wrap">This picture has no variants.
        {enable && <Button small onClick={enable}>Switch variants on</Button>}{isShown(file.contentType) && <Button small onClick={setOriginal}>Show the original ({bytes(file.size)})</Button>}</p>}
    </div>
  );
}

interface DrawerProps { project: string; id: string; close: () => void; changed: (file: XFile) => void; removed: (id: string) => void; step: (by: number) => void; at: number; of: number }
export function FileDrawer({ project, id, close, changed, removed, step, at, of }: DrawerProps) {
  const load = useLoad(`${project}/${id}`, loadFile(project, id, "auto"));
  const [original, setOriginal] = useState(false);
  const [losing, setLosing] = useState(false);
  const { run, error } = useAction();
  useEffect(() => setOriginal(false), [id]);
  const data = load.data;
  const wide = data?.variants.find((v) => v.width >= 800) ?? data?.variants[data.variants.length - 1];
  const picture = useMeasured(wide?.url ?? null);
  const file = data?.file;
  const apply = (next: XFile) => { changed(next); load.reload(); };
  return (
    <aside class="drawer" aria-label="File" aria-busy={load.loading}>
      <header><h2 class="cut">{file ? <MidCut text={file.originalFilename} /> : "File"}</h2><span class="sp" />
        <Button kind="gho" icon="left" label="Previous file" refused={at <= 0 && "This is the first file"} onClick={() => step(-1)} /><Button kind="gho" icon="right" label="Next file" refused={(at < 0 || at >= of - 1) && "This is the last file that is loaded"} onClick={() => step(1)} />
        <Button kind="gho" icon="out" label="Open as a page" onClick={() => go(href("p", project, "files", id))} /><Button kind="gho" icon="x" label="Close" onClick={close} /></header>
      <div class="inner">
        {data && file && <>
          <Preview data={data} variant={picture} showOriginal={original} setOriginal={() => setOriginal(true)} />
          <div class="gap"><Facts project={project} file={file} changed={apply} reload={load.reload} /></div>
        </>}
        {load.error && <Failure error={load.error} retry={load.reload} />}
        {error && <Failure error={error} />}
      </div>
      {data && file && <footer>
        <CopyButton kind="pri" small={false} text={data.url} label={file.visibility === "private" ? "Copy signed URL" : "Copy URL"}>{file.visibility === "private" ? "Copy signed URL" : "Copy URL"}</CopyButton>
        <Button icon="download" onClick={() => void run(() => download(project, file))}>Download</Button><span class="sp" />
        <Button kind="bad" icon="trash" label="Delete" refused={!may("delete", project) && "Your sign-in lacks the scope delete"} onClick={() => setLosing(true)} /></footer>}
      {losing && file && <DeleteFile project={project} file={file} close={() => setLosing(false)} removed={() => removed(id)} />}
    </aside>
  );
}

const PERIODS = [["300", "5 minutes"], ["3600", "1 hour"], ["86400", "1 day"], ["604800", "7 days"], ["own", "Other"]] as const;
const FORMATS = [["auto", "Auto"], ["avif", "AVIF"], ["webp", "WebP"], ["jpeg", "JPEG"]] as const;

export function FilePage({ project, id }: { project: string; id: string }) {
  const [format, setFormat] = useState<Format>("auto");
  const load = useLoad(`${project}/${id}/${format}`, loadFile(project, id, format));
  const kept = useRef<WithUrls | null>(null);
  if (load.data) kept.current = load.data;
  const data = load.data ?? (kept.current?.file.id === id ? kept.current : null);
  const [width, setWidth] = useState<number | null>(null);
  const [original, setOriginal] = useState(false);
  const [dialog, setDialog] = useState<"delete" | "erase" | null>(null);
  const [sizes, setSizes] = useState<Record<string, number>>({});
  const action = useAction();
  const file = data?.file;
  useEffect(() => { document.title = `${file?.originalFilename ?? "File"} · XFiles`; }, [file?.originalFilename]);
  useEffect(() => { setOriginal(false); setWidth(null); setSizes({}); }, [id]);
  useEffect(() => setSizes({}), [format, file?.etag]);
  const chosen = data?.variants.find((v) => v.width === width) ?? data?.variants.find((v) => v.width >= 800) ?? data?.variants[data.variants.length - 1];
  const picture = useMeasured(load.data && chosen ? chosen.url : null);
  useEffect(() => { if (picture.got && chosen) setSizes((s) => ({ ...s, [chosen.width]: picture.got!.bytes })); }, [picture.got]);
  const measureAll = () => action.run(async () => {
    for (const v of data?.variants ?? []) {
      const got = await measure(v.url, new AbortController().signal).catch((e: Error) => { throw asApiError(e); });
      URL.revokeObjectURL(got.blob);
      setSizes((s) => ({ ...s, [v.width]: got.bytes }));
    }
  });
  const patch = (body: unknown) => action.run(async () => { await call("PATCH", `files/${id}`, { project, body, headers: { "if-match": file!.etag } }); load.reload(); });
  const back = () => go(filesLink(project));
  return <>
    <header class="head">
      <nav class="crumbs" aria-label="Place"><a href={filesLink(project)}>Files</a><Icon name="right" /><h1 tabIndex={-1}>{file ? <MidCut text={file.originalFilename} /> : "File"}</h1></nav><span class="sp" />
      {file && <><Button icon="download" label="Download" onClick={() => void action.run(() => download(project, file))}><span class="p2">Download</span></Button>
        <Menu label="More actions" items={[
          { label: "Open in the playground", icon: "playground", onClick: () => go(`${href("p", project, "playground")}?file=${id}`), refused: !file.transformations.image.enabled && "Variants are off" }, "-",
          { label: "Delete", icon: "trash", bad: true, onClick: () => setDialog("delete"), refused: !may("delete", project) && "Your sign-in lacks the scope delete" },
          { label: "Erase with a report", icon: "trash", bad: true, onClick: () => setDialog("erase"), refused: !may("delete", project) && "Your sign-in lacks the scope delete" },
        ]} /></>}
    </header>
    <div class="body" aria-busy={load.loading}>
      {load.error?.status === 403 && !data ? <Denied need="read" what="read files" /> : load.error && <Failure error={load.error} retry={load.reload} />}
      {!data && !load.error && <div class="split"><div class="well filewell" /><div class="skelrows">{[1, 2, 3, 4, 5, 6].map((i) => <div class="skelrow" key={i}><span class="skel w40" /></div>)}</div></div>}
      {data && file && <div class="split">
        <div class="stack2">
          <Preview data={data} variant={picture} showOriginal={original} setOriginal={() => setOriginal(true)} enable={may("write", project) ? () => void patch({ transformations: { image: { enabled: true } } }) : undefined} />
          {action.error && <Failure error={action.error} />}
          {data.variants.length > 0 && <section>
            <div class="row wrap sechead"><h2>Variants <span class="t3 n4">from {bytes(file.size)}</span></h2><span class="sp" />
              <Button small kind="gho" busy={action.busy} busyText="Measuring" onClick={() => void measureAll()}>Measure all</Button>
              <Segmented small label="Format" value={format} set={setFormat} options={FORMATS} /></div>
            <div class={cx("vs", `n${data.variants.length}`)} role="group" aria-label="Widths">
              {data.variants.map((v) => { const size = sizes[v.width]; return (
                <button key={v.width} type="button" aria-pressed={v === chosen} onClick={() => { setOriginal(false); setWidth(v.width); }}>
                  <b>{v.width}</b><Bar parts={[[size ?? 0, "now"]]} of={file.size} /><span>{size === undefined ? <span class="t3">{v === chosen && picture.loading ? "Loading" : "Not loaded"}</span> : bytes(size)}</span>
                  <span class="t3 sm">{size === undefined ? " " : size <= file.size ? `−${percent(file.size - size, file.size)}` : `+${percent(size - file.size, file.size)}`}</span>
                </button>); })}
            </div>
            {picture.got && <p class="help">{formatName(picture.got.type)}, answered in {Math.round(picture.got.ms)} ms{picture.got.cache && `, x-cache: ${picture.got.cache}`}. Each width is made when it is first asked for, so only the one that is shown is loaded.</p>}
            {picture.error?.status === 0 && <p class="help">The CDN does not let this page read the answer, so there are no figures.</p>}
          </section>}
          <UrlMaker project={project} data={data} format={format} chosen={chosen?.width ?? null} />
        </div>
        <aside aria-label="Facts"><h2 class="factshead first">Facts</h2><Facts page project={project} file={file} changed={() => load.reload()} reload={load.reload} /></aside>
      </div>}
    </div>
    {dialog === "delete" && file && <DeleteFile project={project} file={file} close={() => setDialog(null)} removed={back} />}
    {dialog === "erase" && file && <EraseDialog project={project} file={file} close={() => setDialog(null)} removed={back} />}
  </>;
}

/** Makes URLs that end, and the code around them. Public URLs do not end, and say so. */
function UrlMaker({ project, data, format, chosen }: { project: string; data: WithUrls; format: Format; chosen: number | null }) {
  const { file } = data;
  const [period, setPeriod] = useState("3600");
  const [own, setOwn] = useState("90");
  const [of, setOf] = useState("original");
  const [made, setMade] = useState<{ urls: Urls; until: number | null } | null>(null);
  const { busy, error, run, setError } = useAction();
  const now = useNow(1000);
  const seconds = period === "own" ? Number(own) : Number(period);
  const wrong = !Number.isInteger(seconds) || seconds < 5 || seconds > 604_800 ? "5 to 604,800 seconds (7 days)" : null;
  const sign = () => run(async () => {
    if (wrong) return;
    const urls = await call<Urls>("POST", `files/${file.id}/url`, { project, query: { format }, body: { expiresIn: seconds } });
    setMade({ urls, until: urls.expiresIn ? Date.now() + urls.expiresIn * 1000 : null });
  });
  useEffect(() => { setMade(null); setError(null); if (!wrong) void sign(); }, [file.id, file.etag, format, period]);
  const width = of === "original" ? null : Number(of);
  const widths = made?.urls.variants.map((v) => v.width) ?? data.variants.map((v) => v.width);
  useEffect(() => { if (chosen && widths.length) setOf(String(chosen)); }, [chosen]);
  const url = made ? width === null ? made.urls.url : made.urls.variants.find((v) => v.width === width)?.url ?? made.urls.url : "";
  const left = made?.until ? Math.max(0, (made.until - now) / 1000) : null;
  const name = file.originalFilename.replace(/[[\]<>"`]/g, "");
  const variants = made?.urls.variants ?? [];
  const srcset = variants.map((v) => `    ${v.url} ${v.width}w`).join(",\n");
  const size = file.width && file.height ? ` width="${file.width}" height="${file.height}"` : "";
  const tabs: [string, string][] = [
    ["URL", mark(url)],
    ...(isRaster(file.contentType) ? [["<img srcset>", variants.length ? `<img src="«${(variants.find((v) => v.width >= 800) ?? variants[variants.length - 1]!).url}»" alt="${name}"${size}\n  sizes="100vw" srcset="\n${srcset}">` : `<img src="«${url}»" alt="${name}"${size}>`] as [string, string],
      ["next/image", `import Image from "next/image";\n\n// One signature covers every width of this file.\nconst at = (w) => "«${variants[0]?.url ?? url}»".replace(/_w\\d+\\./, \`_w\${w}.\`);\nconst widths = [${widths.join(", ")}];\n\n<Image src="${file.id}" alt="${name}" width={${file.width ?? 800}} height={${file.height ?? 600}}\n  loader={({ width }) => at(widths.find((w) => w >= width) ?? widths.at(-1))} />`] as [string, string]] : []),
    ["Markdown", isRaster(file.contentType) ? `![${name}](${mark(url)})` : `[${name}](${mark(url)})`],
    ["curl", `curl -o "${file.filename}" \\\n  "${mark(url)}"`],
  ];
  return (
    <section>
      <h2 class="sechead">{left === null && made ? "URL" : "Signed URL"}</h2>
      <div class="panel">
        <div class="row wrap pad signrow">
          <span class="row"><Select label="Open for" value={period} set={setPeriod} options={PERIODS} /></span>
          {period === "own" && <span class="w120"><Text label="Seconds" type="number" value={own} set={setOwn} error={wrong} /></span>}
          <span class="row"><Select label="Of" value={of} set={setOf} options={[["original", `Original, ${bytes(file.size)}`], ...widths.map((w) => [String(w), `Width ${w}, ${format}`] as const)]} /></span>
          <span class="sp" />
          {left !== null ? <span class={cx("row g1 nw", left === 0 && "bad")}><Icon name="clock" />{left === 0 ? "Ended" : <><b>{clock(left)}</b> left</>}</span> : made && <Badge tone="ok">Public, does not end</Badge>}
          <Button icon="again" busy={busy} onClick={() => void sign()} refused={wrong}>Sign again</Button>
        </div>
        {error && <div class="pad"><Failure error={error} retry={() => void sign()} /></div>}
        {made && <Code label="The URL as" wrap tabs={tabs} />}
      </div>
    </section>
  );
}
/** Marks what of a URL is the signature. */
const mark = (url: string) => url.replace(/((?:Policy|Signature|Key-Pair-Id|Expires)=)([^&]*)/g, "$1«$2»");
