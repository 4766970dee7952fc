"""Programs that tests start, watch and stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

START_SECONDS = 60.0


class Process:
    """A child process whose output is read while it runs."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TAMS_")}
        self.child = subprocess.Popen(
            command,
            env={**clean, **env, "PYTHONUNBUFFERED": "1"},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.output += line

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Return the first match in the output; fail if the process ends or the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.child.poll() is not None
            if ended:
                self._reader.join()
            if match := re.search(pattern, self.output, re.MULTILINE):
                return match
            if ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in the output:\n{self.output}")

    def stop(self, sent: signal.Signals, seconds: float) -> tuple[int, float]:
        """Send a signal; return the exit code and how many seconds the end took."""
        started = time.monotonic()
        self.child.send_signal(sent)
        code = self.child.wait(seconds)
        took = time.monotonic() - started
        self._reader.join()
        return code, took

    def ended(self, seconds: float = START_SECONDS) -> int:
        """Wait for the end; return the exit code."""
        code = self.child.wait(seconds)
        self._reader.join()
        return code

    def close(self) -> None:
        """Make sure that nothing is left."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._reader.join()
        assert self.child.stdout is not None
        self.child.stdout.close()
