"""Tests that exactly the started processes are stopped."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import emulator

HERE = pathlib.Path(__file__).resolve().parent


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        emulator.HOME, emulator.STATE = self.home, self.home / "state.json"

    def test_a_started_process_is_stopped_with_its_children_and_removed_from_the_state(self):
        emulator.claim()
        child = emulator.spawn("parent", ["sh", "-c", "sleep 600 & echo $!; wait"], os.environ)
        while not (grandchild := (self.home / "parent.log").read_text().strip()):
            time.sleep(0.01)
        emulator.stop()
        self.assertIsNotNone(child.wait())
        self.assertIsNone(emulator.started(int(grandchild)))
        self.assertFalse(emulator.STATE.exists())

    def test_a_process_with_a_reused_id_is_not_stopped(self):
        emulator.claim()
        other = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        noted = {"name": "gone", "pid": other.pid, "started": "Thu Jan  1 00:00:00 1970"}
        emulator.write_state({"processes": [noted], "compose": None, "ready": None})
        emulator.stop()
        self.assertIsNone(other.poll())

    def test_a_second_start_is_refused(self):
        emulator.claim()
        with self.assertRaisesRegex(emulator.Failure, "an emulator is already running"):
            emulator.claim()

    def test_after_a_kill_at_any_time_down_stops_everything(self):
        script = (
            "import os, pathlib, emulator\n"
            f"emulator.HOME = pathlib.Path({str(self.home)!r})\n"
            "emulator.STATE = emulator.HOME / 'state.json'\n"
            "emulator.claim()\n"
            "for n in range(50):\n"
            f"    emulator.spawn(str(n), ['sh', '-c', 'sleep 600 # {self.home}'], os.environ)\n"
        )
        for milliseconds in range(40, 400, 40):
            up = subprocess.Popen([sys.executable, "-c", script], cwd=HERE)
            time.sleep(milliseconds / 1000)
            up.send_signal(signal.SIGKILL)
            up.wait()
            emulator.stop()
            end = time.monotonic() + 5
            while (left := self.running()) and time.monotonic() < end:
                time.sleep(0.05)
            self.assertEqual(left, [], f"killed after {milliseconds} ms")

    def running(self):
        shown = subprocess.run(["ps", "-eo", "args="], stdout=subprocess.PIPE, text=True).stdout
        return [line for line in shown.splitlines() if f"# {self.home}" in line]


if __name__ == "__main__":
    unittest.main()
