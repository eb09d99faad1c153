"""Functions shared by `up`, `down` and `check`. Needs only Python's standard library."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
# Where cargo builds; a relative CARGO_TARGET_DIR is one of the project's root, where the builds run.
TARGET = PROJECT / os.environ.get("CARGO_TARGET_DIR", "target")
HOME = PROJECT / "target" / "localstack"
TOOLS = HOME / "tools"
STATE = HOME / "state.json"
FUNCTIONS = ["control-api", "edge-variants", "cleanup-cron"]
STACK = "xfiles"
REGION = "us-east-1"
KEY_ID = "LOCAL"


class Failure(Exception):
    """A failure whose message is shown to the user."""


def tell(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command that must succeed, and returns its standard output."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(str(word) for word in command[:3])} …` failed")
    return done.stdout


def install_tools():
    """Installs the pinned tools into a virtual environment."""
    requirements, installed = HERE / "requirements.txt", TOOLS / "installed"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    tell("installing the tools of localstack/requirements.txt")
    shutil.rmtree(TOOLS, ignore_errors=True)
    run(sys.executable, "-m", "venv", TOOLS)
    # The list of requirements is complete without dependencies: cargo-lambda's zig has 100 MB, and native builds do not
    # need it.
    pip = [TOOLS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(*pip, "--requirement", requirements)
    shutil.copyfile(requirements, installed)


def environment(endpoint):
    """Returns the environment variables for clients of the emulator."""
    return {
        **os.environ,
        "PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        # Prevents the use of the user's own AWS profile.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def started(pid):
    """Returns the start time of a process, which detects a reused process id. None if the process has ended."""
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], stdout=subprocess.PIPE, text=True)
    status, _, when = shown.stdout.strip().partition(" ")
    return when.strip() if when and not status.startswith("Z") else None


def claim():
    """Creates the state file; fails if another run has created it."""
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        STATE.touch(exist_ok=False)
    except FileExistsError:
        raise Failure("an emulator is already running; localstack/down stops it") from None


def read_state():
    noted = STATE.read_text() if STATE.exists() else ""
    return json.loads(noted) if noted else {"processes": [], "compose": None, "ready": None}


def write_state(state):
    """Replaces the state file atomically."""
    unfinished = STATE.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(state, indent=1))
    unfinished.rename(STATE)


#: Runs its arguments after it has read a line; exits if its input ends before.
ONCE_NOTED = ["sh", "-c", 'read -r noted && exec "$@" </dev/null', "sh"]


def start(name, command, **options):
    """Starts a process in its own process group. It runs only after it has been recorded in the state file, so that `down`
    can always stop it."""
    command = [*ONCE_NOTED, *(str(word) for word in command)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **options)
    state = read_state()
    state["processes"].append({"name": name, "pid": child.pid, "started": started(child.pid)})
    write_state(state)
    child.stdin.write(b"noted\n")
    child.stdin.close()
    child.stdin = None
    return child


def spawn(name, command, env):
    """Starts a process that keeps running after this one ends. Its output goes to a log."""
    with (HOME / f"{name}.log").open("w") as output:
        return start(name, command, env=env, cwd=HOME, stdout=output, stderr=subprocess.STDOUT)


def run_noted(name, command, **options):
    """Like `run`, for long commands: `down` stops the command and its children."""
    child = start(name, command, stdout=subprocess.PIPE, **options)
    written, _ = child.communicate()
    state = read_state()
    state["processes"] = [process for process in state["processes"] if process["pid"] != child.pid]
    write_state(state)
    if child.returncode != 0:
        raise Failure(f"{name} failed")
    return written.decode()


def await_answer(name, child, url, seconds=120):
    """Waits until `url` returns any HTTP response."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if child is not None and child.poll() is not None:
            raise Failure(f"{name} ended; {HOME / (name + '.log')} says:\n{tail(name)}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise Failure(f"{name} did not respond at {url} within {seconds} s")


def tail(name, lines=20):
    return "\n".join((HOME / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop():
    """Stops the recorded processes, the last first, and removes the state."""
    state = read_state()
    if state["ready"]:
        pathlib.Path(state["ready"]).unlink(missing_ok=True)
    for process in reversed(state["processes"]):
        pid = process["pid"]
        if started(pid) != process["started"]:
            continue
        tell(f"stopping {process['name']} ({pid})")
        # The process group also contains the functions that it runs.
        for sign in [signal.SIGTERM, signal.SIGKILL]:
            try:
                os.killpg(pid, sign)
            except ProcessLookupError:
                break
            end = time.monotonic() + 10
            while started(pid) and time.monotonic() < end:
                time.sleep(0.1)
    if state["compose"]:
        tell("stopping the container")
        compose = ["docker", "compose", "--file", HERE / "compose.yaml", "--profile", state["compose"]]
        with (HOME / "localstack.log").open("w") as log:
            subprocess.run([*compose, "logs", "--no-color"], stdout=log)
        run(*compose, "down", "--volumes")
    STATE.unlink(missing_ok=True)


def end_on_sigterm():
    """Makes SIGTERM exit like an interrupt, so that started processes are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
