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


def read_state():
    return json.loads(STATE.read_text()) if STATE.exists() else {"processes": [], "compose": None, "ready": None}


def write_state(state):
    STATE.write_text(json.dumps(state, indent=1))


def spawn(name, command, env):
    """Starts a process that outlives this one, and notes it. Its output goes to a log."""
    log = HOME / f"{name}.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            env=env,
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    state = read_state()
    state["processes"].append({"name": name, "pid": child.pid, "started": started(child.pid)})
    write_state(state)
    return child


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
        run("docker", "compose", "--file", HERE / "compose.yaml", "--profile", state["compose"], "down", "--volumes")
    STATE.unlink(missing_ok=True)
