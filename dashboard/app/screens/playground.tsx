// Two variants of one picture side by side, with the figures of each request.
import { useEffect, useState } from "preact/hooks";
import { call } from "../api.ts";
import { bytes, percent } from "../format.ts";
import { Icon } from "../icons.tsx";
import { isRaster } from "../media.ts";
import { formatName } from "../pictures.tsx";
import { place, setQuery } from "../route.ts";
import { useStore } from "../store.ts";
import type { Format, XFile } from "../types.ts";
import { Bar, Button, CopyButton, Denied, Failure, Head, Say, Segmented, Select, useLoad } from "../ui.tsx";
import { type WithUrls, useMeasured } from "./file.tsx";

const FORMATS = [["auto", "auto"], ["avif", "avif"], ["webp", "webp"], ["jpeg", "jpeg"]] as const;
interface Side { width: number; format: Format }
interface Figures { bytes: number; width: number; type: string }

export function Playground({ project, choose }: { project: string; choose: () => void }) {
  const { query } = useStore(place);
  const list = useLoad(`pictures/${project}`, async (signal) => (await call<{ files: XFile[] }>("GET", "files", { project, signal, query: { contentType: "image/*", limit: 100, cursor: "" } })).files.filter((f) => isRaster(f.contentType) && f.transformations.image.enabled));
  const wanted = query.get("file");
  const id = wanted ?? list.data?.[0]?.id ?? null;
  const [sides, setSides] = useState<[Side, Side]>([{ width: 1000, format: "auto" }, { width: 1000, format: "jpeg" }]);
  const [figures, setFigures] = useState<[Figures | null, Figures | null]>([null, null]);
  useEffect(() => setFigures([null, null]), [id]);
  const [a, b] = figures;
  const options = (list.data ?? []).map((f) => [f.id, f.originalFilename] as const);
  if (wanted && !options.some(([o]) => o === wanted)) options.unshift([wanted, wanted]);
  return <>
    <Head title="Playground" sub="Two variants of one picture, side by side, as your visitors would get them.">{id && <span class="pickfile"><Select label="Picture" hidden value={id} set={(v) => setQuery((q) => q.set("file", v))} options={options} /></span>}</Head>
    <div class="body">
      {list.error?.status === 403 && !list.data ? <Denied need="read" what="read pictures" /> : list.error && <Failure error={list.error} retry={list.reload} />}
      {list.data && !id && <Say icon="image" title="No picture with variants" actions={<Button kind="pri" icon="upload" onClick={choose}>Upload a picture</Button>}>Upload one with variants on, or switch them on at a picture that is here. The project's last 100 pictures are offered.</Say>}
      {id && <>
        <p class="lead">{a && b ? a.bytes === b.bytes ? "Both have the same size." : <><b class="b">{a.bytes < b.bytes ? "A" : "B"} is {percent(Math.abs(a.bytes - b.bytes), Math.max(a.bytes, b.bytes))} smaller than {a.bytes < b.bytes ? "B" : "A"}</b><span class="t2">{a.width === b.width ? " at the same width" : ""}: {bytes(a.bytes)} against {bytes(b.bytes)}, {bytes(Math.abs(a.bytes - b.bytes))} less for every view.</span></> : <span class="t3">Loading both.</span>}</p>
        <div class="duo">{([0, 1] as const).map((i) => <Pane key={i} name={i === 0 ? "A" : "B"} project={project} id={id} side={sides[i]} set={(side) => setSides(i === 0 ? [side, sides[1]] : [sides[0], side])} tell={(f) => setFigures((old) => (i === 0 ? [f, old[1]] : [old[0], f]))} />)}</div></>}
    </div>
  </>;
}

function Pane({ name, project, id, side, set, tell }: { name: string; project: string; id: string; side: Side; set: (side: Side) => void; tell: (figures: Figures | null) => void }) {
  const load = useLoad(`${project}/${id}/${side.format}`, (signal) => call<WithUrls>("GET", `files/${id}`, { project, signal, query: { format: side.format } }));
  const widths = load.data?.variants.map((v) => v.width) ?? [];
  const chosen = load.data?.variants.find((v) => v.width >= side.width) ?? load.data?.variants[widths.length - 1];
  const picture = useMeasured(chosen?.url ?? null);
  const { got, error } = picture;
  useEffect(() => tell(got && chosen ? { bytes: got.bytes, width: chosen.width, type: got.type } : null), [got]);
  const size = load.data?.file.size ?? 0;
  const [left, setLeft] = useState(0);
  useEffect(() => {
    setLeft(error?.retryAfter ?? 0);
    if (!error?.retryAfter) return;
    const timer = setInterval(() => setLeft((n) => Math.max(0, n - 1)), 1000);
    return () => clearInterval(timer);
  }, [error]);
  return (
    <section class="pane" aria-label={`Side ${name}`} aria-busy={load.loading || picture.loading}>
      <header class="row wrap panehead"><b class="b">{name}</b><Segmented small label={`Width of ${name}`} value={String(chosen?.width ?? "")} set={(w) => set({ ...side, width: Number(w) })} options={widths.filter((w) => w >= 300 || widths.length < 3).map((w) => [String(w), String(w)] as const)} /><span class="sp" /><Segmented small label={`Format of ${name}`} value={side.format} set={(format: Format) => set({ ...side, format })} options={FORMATS} /></header>
      <div class="well duowell">{picture.shown ? <img src={picture.shown} alt={`Side ${name}, width ${chosen?.width}, ${side.format}`} /> : error && error.status !== 0 ? <p class="overwell static"><Icon name="warn" /> {error.status}: {error.message} {left > 0 ? `Again in ${left} s.` : <Button small icon="again" onClick={picture.again}>Try again</Button>}</p> : null}</div>
      {load.error && <div class="pad"><Failure error={load.error} retry={load.reload} /></div>}
      <dl class="figs"><div><dt>Bytes</dt><dd>{got ? bytes(got.bytes) : "–"}</dd></div><div><dt>Answered in</dt><dd>{got ? `${got.ms < 10 ? got.ms.toFixed(1) : Math.round(got.ms)} ms` : "–"}</dd></div><div><dt>Format</dt><dd>{got ? formatName(got.type) : "–"}{got && side.format === "auto" && <small> by auto</small>}</dd></div><div><dt>Of the original</dt><dd>{got ? percent(got.bytes, size) : "–"}</dd></div></dl>
      <div class="panefoot"><Bar parts={[[got?.bytes ?? 0, "now"]]} of={size} />
        <p class="help">{got ? /hit/i.test(got.cache) ? `From the cache (x-cache: ${got.cache}${got.age ? `, age ${got.age} s` : ""}).` : got.cache ? `Not from the cache (x-cache: ${got.cache}). The next one is.` : "The CDN does not say whether this came from its cache." : error?.status === 0 ? "The CDN does not let this page read the answer, so there are no figures." : " "}</p>
        {chosen && <div class="row"><div class="inl sp"><span class="mono cut" tabIndex={0}>…{chosen.url.replace(/\?.*/, "").replace(/^.*\/([a-z0-9]{20}\/)/, "/$1")}</span><CopyButton text={chosen.url} label={`Copy the URL of ${name}`} /></div><Button small icon="again" onClick={picture.again} label={`Load ${name} again`} /></div>}</div>
    </section>
  );
}
