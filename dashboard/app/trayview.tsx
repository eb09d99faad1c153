// The tray of uploads, over every screen.
import { useEffect, useRef, useState } from "preact/hooks";
import { online } from "./api.ts";
import { bytes, duration, plural } from "./format.ts";
import { Icon } from "./icons.tsx";
import { iconOf } from "./pictures.tsx";
import { go, href } from "./route.ts";
import { useUploadWords } from "./screens/files.tsx";
import { useStore } from "./store.ts";
import { type Item, cancel, clear, dismiss, items, retry, running, settings } from "./tray.ts";
import { Bar, Button, Check, CopyButton, Dialog, MidCut, Segmented, Text, announce, cx } from "./ui.tsx";

export function Tray() {
  const list = useStore(items);
  const [folded, setFolded] = useState(false);
  const [options, setOptions] = useState(false);
  const words = useUploadWords();
  const active = running(list), done = list.filter((i) => i.state === "done").length, failed = list.filter((i) => i.state === "failed").length;
  // Weighted by bytes: a small file does not count as much as a large one.
  const left = active.reduce((n, i) => n + i.size - i.sent, 0), speed = active.reduce((n, i) => n + i.speed, 0);
  useSpeech(active.length, done, failed);
  if (list.length === 0) return null;
  const title = active.length ? `Uploading ${list.length - active.length + 1} of ${list.length}` : failed ? `${plural(failed, "upload")} failed` : `${plural(done, "upload")} done`;
  return (
    <section class="tray" aria-label="Uploads">
      <header><h2>{title}{active.length > 0 && speed > 0 && <span class="t2 n4">, {duration(left / speed)} left</span>}</h2><span class="sp" />
        <Button kind="gho" small icon={folded ? "updown" : "down"} label={folded ? "Show the uploads" : "Fold the uploads"} expanded={!folded} onClick={() => setFolded(!folded)} />
        <Button kind="gho" small icon="x" label="Clear what is done" refused={active.length === list.length && "All of them are running"} onClick={clear} /></header>
      {!folded && <ul class="traylist">{list.map((i) => <Row key={i.id} i={i} />)}</ul>}
      {!folded && <footer><Icon name={settings.value.visibility === "private" ? "lock" : "globe"} /><span>Next files: {words}</span><span class="sp" /><Button kind="gho" small onClick={() => setOptions(true)}>Change</Button></footer>}
      {options && <UploadOptions close={() => setOptions(false)} />}
    </section>
  );
}

function Row({ i }: { i: Item }) {
  const share = i.size ? Math.min(0.99, i.sent / i.size) : 0, percent = Math.floor(share * 100);
  const ended = i.state === "done" || i.state === "failed" || i.state === "cancelled";
  const offline = !useStore(online);
  const [broken, setBroken] = useState(false);
  let words: preact.ComponentChildren;
  switch (i.state) {
    case "queued": words = `Waiting, ${bytes(i.size)}`; break;
    case "beginning": words = "Reserving"; break;
    case "uploading": words = <><b class="ink">{percent} %</b> of {bytes(i.size)}{i.speed > 0 && `, ${bytes(i.speed)}/s, ${duration((i.size - i.sent) / i.speed)} left`}</>; break;
    case "waiting": words = <><Icon name="pause" />Paused at {percent} %, {offline ? "no connection" : "the store does not answer; trying again"}</>; break;
    case "confirming": words = "Checking and publishing"; break;
    case "done": words = <span class="ok row g1"><Icon name="check" />Published in {i.tookMs < 10_000 ? `${(i.tookMs / 1000).toFixed(1)} s` : duration(i.tookMs / 1000)}</span>; break;
    case "cancelled": words = "Cancelled"; break;
    case "failed": words = <span class="bad row g1 top"><Icon name="warn" /><span>{i.error!.detail}{i.error!.hint && <span class="t2 blk">{i.error!.hint}</span>}</span></span>; break;
  }
  return (
    <li class={cx(i.state === "failed" && "wide")} data-state={i.state}>
      <span class="thumb ty">{i.preview && !broken ? <img class="in-view" src={i.preview} alt="" onError={() => setBroken(true)} /> : <Icon name={iconOf(i.type)} />}</span>
      <div class="trayname"><div class="b"><MidCut text={i.name} /></div><div class="say2 t2 row g1">{words}</div>
        {(i.state === "uploading" || i.state === "waiting" || i.state === "confirming") && <span role="progressbar" aria-label={`Upload of ${i.name}`} aria-valuemin={0} aria-valuemax={100} aria-valuenow={percent} class="blk"><Bar parts={[[share, i.state === "waiting" ? "held" : "now"]]} of={1} /></span>}
        {i.state === "failed" && <div class="fixes row wrap">{i.error!.retryable && <Button small icon="again" onClick={() => retry(i.id)}>Retry</Button>}{i.error!.requestId && <CopyButton text={`${i.error!.code} ${i.error!.requestId}`}>Copy the error</CopyButton>}</div>}</div>
      <div class="row g1">{i.state === "done" && i.file && <><CopyButton text={() => `${location.origin}${href("p", i.project, "files", i.file!.id)}`}>Copy link</CopyButton><Button kind="gho" small icon="out" label={`Open ${i.name}`} onClick={() => go(href("p", i.project, "files", i.file!.id))} /></>}
        <Button kind="gho" small icon="x" label={ended ? `Dismiss ${i.name}` : `Cancel ${i.name}`} onClick={() => (ended ? dismiss(i.id) : cancel(i.id))} /></div>
    </li>
  );
}

/** At most one sentence in five seconds, the last one always. */
function useSpeech(active: number, done: number, failed: number) {
  const last = useRef(0);
  useEffect(() => {
    if (!active && !done && !failed) return;
    const words = [active && `${plural(active, "upload")} running`, done && `${done} done`, failed && `${failed} failed`].filter(Boolean).join(", ");
    const timer = setTimeout(() => { last.current = Date.now(); announce(words); }, Math.max(200, last.current + 5000 - Date.now()));
    return () => clearTimeout(timer);
  }, [active, done, failed]);
}

export function UploadOptions({ close }: { close: () => void }) {
  const [s, set] = useState(settings.value);
  return (
    <Dialog title="New files" sub="For files that are added from now on, until this page is loaded again." onClose={close} onSubmit={() => { settings.set(s); close(); }} footer={<><span class="sp" /><Button onClick={close}>Cancel</Button><Button kind="pri" type="submit">Save</Button></>}>
      <div class="stack">
        <div class="field"><span class="lab">Readable by</span><Segmented label="Readable by" value={s.visibility} set={(visibility) => set({ ...s, visibility })} options={[["private", "Signed URLs only"], ["public", "Everybody"]]} /></div>
        <Check checked={s.variants} set={(variants) => set({ ...s, variants })} help="Smaller copies of pictures, made when they are first asked for.">Variants of pictures</Check>
        {s.variants && <div class="field"><span class="lab">Variants readable by</span><Segmented label="Variants readable by" value={s.variantVisibility} set={(variantVisibility) => set({ ...s, variantVisibility })} options={[["private", "Signed URLs only"], ["public", "Everybody"]]} /></div>}
        <div class="fieldgrid"><Text label="Entity type" value={s.entityType} set={(entityType) => set({ ...s, entityType })} maxLength={256} error={s.entityId && !s.entityType ? "An entity needs a type" : null} /><Text label="Entity id" value={s.entityId} set={(entityId) => set({ ...s, entityId })} maxLength={256} error={s.entityType && !s.entityId ? "An entity needs an id" : null} /></div>
        <Text label="Owner" value={s.owner} set={(owner) => set({ ...s, owner })} maxLength={256} help="The user id of your application; empty for none." />
      </div>
    </Dialog>
  );
}
