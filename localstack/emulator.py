"""What `up`, `down` and `check` share. It needs nothing but Python's own library."""

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
    """A message for whoever runs this."""


def tell(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command that must succeed, and gives what it wrote to standard output."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(str(word) for word in command[:3])} …` failed")
    return done.stdout


def install_tools():
    """The pinned tools, in an environment of their own."""
    requirements, installed = HERE / "requirements.txt", TOOLS / "installed"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    tell("installing the tools of localstack/requirements.txt")
    shutil.rmtree(TOOLS, ignore_errors=True)
    run(sys.executable, "-m", "venv", TOOLS)
    # The list is complete: cargo-lambda's zig is 100 MB, and a build for this machine needs none.
    pip = [TOOLS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(*pip, "--requirement", requirements)
    shutil.copyfile(requirements, installed)


def environment(endpoint):
    """The environment of whatever speaks to the emulator."""
    return {
        **os.environ,
        "PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        # Not whatever else this machine's owner is logged in to.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def started(pid):
    """When a process began, by which its number is known to be still its own. None when it has ended."""
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], stdout=subprocess.PIPE, text=True)
    status, _, when = shown.stdout.strip().partition(" ")
    return when.strip() if when and not status.startswith("Z") else None


def claim():
    """From here on something is up, and nobody else's."""
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        STATE.touch(exist_ok=False)
    except FileExistsError:
        raise Failure("something is up already; localstack/down stops it") from None


def read_state():
    noted = STATE.read_text() if STATE.exists() else ""
    return json.loads(noted) if noted else {"processes": [], "compose": None, "ready": None}


def write_state(state):
    """Whole or not at all, whenever this process is killed."""
    unfinished = STATE.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(state, indent=1))
    unfinished.rename(STATE)


#: Becomes its arguments once it reads a line, and nothing when there will be none.
ONCE_NOTED = ["sh", "-c", 'read -r noted && exec "$@" </dev/null', "sh"]


def start(name, command, **options):
    """Starts a process in a group of its own, once it is noted: killed before, this leaves none behind."""
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
    """Starts a process that outlives this one. Its output goes to a log."""
    with (HOME / f"{name}.log").open("w") as output:
        return start(name, command, env=env, cwd=HOME, stdout=output, stderr=subprocess.STDOUT)


def run_noted(name, command, **options):
    """As `run`, for what takes long: stopped with everything else, whatever it has started itself."""
    child = start(name, command, stdout=subprocess.PIPE, **options)
    written, _ = child.communicate()
    state = read_state()
    state["processes"] = [process for process in state["processes"] if process["pid"] != child.pid]
    write_state(state)
    if child.returncode != 0:
        raise Failure(f"{name} failed")
    return written.decode()


def await_answer(name, child, url, seconds=120):
    """Waits until something answers at `url`, whatever it says."""
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
    raise Failure(f"{name} did not answer at {url} within {seconds} s")


def tail(name, lines=20):
    return "\n".join((HOME / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop():
    """Ends exactly what was started, the last first, and forgets it."""
    state = read_state()
    if state["ready"]:
        pathlib.Path(state["ready"]).unlink(missing_ok=True)
    for process in reversed(state["processes"]):
        pid = process["pid"]
        if started(pid) != process["started"]:
            continue
        tell(f"stopping {process['name']} ({pid})")
        # Its group is its own: the functions that it runs are in it.
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
    """As an interrupt does: with whatever was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
