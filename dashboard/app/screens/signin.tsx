// Sign in: with a key, with e-mail and password, or by the code of a link, which needs no form.
import { useEffect, useState } from "preact/hooks";
import { type ApiError, call, signInWithKey, signInWithPassword } from "../api.ts";
import { Icon, Mark } from "../icons.tsx";
import { Button, Line, Tabs, Text, cx, sentence, useAction, useLoad } from "../ui.tsx";

const KEY = /^xf_[A-Za-z0-9]{32}$/;

export function SignIn({ codeError }: { codeError: ApiError | null }) {
  const [how, setHow] = useState<"key" | "mail">("key");
  const [raw, setRaw] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const [wait, setWait] = useState(0);
  const { busy, run } = useAction();
  const version = useLoad("v", (signal) => call<{ version: string }>("GET", "/version", { signal, quiet: true }));
  useEffect(() => { document.title = "Sign in · XFiles"; }, []);
  useEffect(() => { if (wait <= 0) return; const timer = setTimeout(() => setWait(wait - 1), 1000); return () => clearTimeout(timer); }, [wait]);

  const explain = (error: ApiError) => {
    if (error.status === 429) { setWait(Math.max(1, error.retryAfter)); return "Too many tries."; }
    if (how === "key" && error.status === 401) return "This key is not valid here: it was revoked, has expired or belongs to another deployment.";
    if (how === "mail" && error.absent) return "This server has no accounts. Sign in with a key.";
    if (how === "mail" && error.status === 401) return "E-mail or password is wrong.";
    return sentence(error.problem.detail);
  };
  const submit = async () => {
    setFault(null);
    if (how === "key" && !KEY.test(raw.trim())) { setFault("A key is xf_ and 32 letters or digits."); focus("key"); return; }
    if (how === "mail" && (!email.trim() || !password)) { setFault("Both are needed."); focus(email.trim() ? "password" : "email"); return; }
    const failed: { error: ApiError | null } = { error: null };
    await run(async () => {
      try { await (how === "key" ? signInWithKey(raw.trim()) : signInWithPassword(email.trim(), password)); } catch (e) { failed.error = e as ApiError; }
    });
    if (failed.error) { setFault(explain(failed.error)); focus(how === "key" ? "key" : "password"); }
  };
  return (
    <div class="signin">
      <main class="box">
        <div class="row b"><Mark />XFiles</div>
        <h1 class="gap2">Sign in</h1><p class="t2">to <span class="ink">{location.host}</span></p>
        {codeError && <div class="waitline warnline gap" role="alert"><Icon name="warn" /><span><b class="b">This link does not sign you in any more.</b> A link works once, for 15 minutes. <code>xf dashboard</code> makes another.</span></div>}
        <form noValidate class="stack gap" onSubmit={(e) => { e.preventDefault(); void submit(); }}>
          <div class="tabline"><Tabs label="Way in" panel="way" value={how} set={(v) => { setHow(v); setFault(null); }} options={[["key", "With a key"], ["mail", "With e-mail"]]} /></div>
          <div id="way" role="tabpanel" aria-labelledby={`way-${how}`} class="stack">
            {how === "key" ? <div class="field"><label class="lab" for="key">API key</label>
              <span class={cx("in l", fault && "err")}><Icon name="key" /><input id="key" type="password" autocomplete="off" value={raw} onInput={(e) => setRaw(e.currentTarget.value)} aria-invalid={fault ? "true" : undefined} aria-describedby="key-help key-fault" spellcheck={false} /></span>
              {fault && <p class="msg-err" id="key-fault" role="alert"><Icon name="warn" /><span>{fault}{wait > 0 && ` Again in ${wait} s.`}</span></p>}
              <p class="help" id="key-help">Kept in the memory of this page only. Loading the page again forgets it.</p></div>
              : <><Text label="E-mail" type="email" large value={email} set={setEmail} autocomplete="username" /><Text label="Password" type="password" large value={password} set={setPassword} autocomplete="current-password" error={fault && `${fault}${wait > 0 ? ` Again in ${wait} s.` : ""}`} /></>}
            <Button kind="pri" large wide type="submit" busy={busy} busyText="Signing in" refused={wait > 0 && `Again in ${wait} s`}>Sign in</Button>
          </div>
        </form>
        <div class="hintbox"><p class="t2">No key at hand? On the machine that runs XFiles, this makes one:</p><Line text="xf keys create --data ./.xfiles --admin" /></div>
      </main>
      <footer class="row t3 sm">{version.data && <span>XFiles {version.data.version}</span>}<a href="/docs" target="_blank" rel="noopener">API reference</a></footer>
    </div>
  );
}
function focus(id: string) { requestAnimationFrame(() => (document.getElementById(id) ?? document.querySelector<HTMLElement>("form [aria-invalid=true]"))?.focus()); }
