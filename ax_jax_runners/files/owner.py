"""A process that owns something, named so that its death can be seen from the same host."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process, told apart from any other that ever had its number.

    Attributes:
        host: Host name.
        machine: Boot id and process-id namespace; processes can be looked up only inside it.
        pid: Process id.
        started: Start time of the process in clock ticks since boot; 0 where the system hides it.
    """

    host: str
    machine: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Owner:
        """The calling process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _start_ticks(os.getpid()) or 0)

    @classmethod
    def from_json(cls, text: str) -> Owner:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_dead_here(self) -> bool:
        """True only when this host can tell that the process is gone."""
        if self.host != socket.gethostname():
            return False
        if self.machine != _machine():
            # The same host after a reboot, or another container of the same name: only a changed
            # boot proves the process dead.
            return self.machine.split("/")[0] != _machine().split("/")[0] and bool(_boot_id())
        if not _is_alive(self.pid):
            return True
        started = _start_ticks(self.pid)
        return bool(started and self.started and started != self.started)


def _machine() -> str:
    return f"{_boot_id()}/{_namespace()}"


def _boot_id() -> str:
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _stat_fields(pid)
    return not (state and state[0] in {"Z", "X"})


def _start_ticks(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else None


def _stat_fields(pid: int) -> list[str]:
    # The command name in the second field may hold spaces and brackets; the rest follows the last.
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
