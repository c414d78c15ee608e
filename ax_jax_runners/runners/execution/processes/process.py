"""The scheduler's side of one worker process: start, orders, reports, end."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing import spawn

import psutil

from ax_jax_runners.runners.execution.processes.messages import Report, Setup, Start, Stop

# The child looks for modules where this process does, and knows nothing else of its __main__.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from ax_jax_runners.runners.execution.processes.worker import main; main(int(sys.argv[1]))"
)

Inbox = queue.SimpleQueue[tuple["WorkerProcess", Report | None] | None]
"""What workers report, each with its worker; a report None says that its link has ended."""


class WorkerProcess:
    """A fresh interpreter, linked by a pair of sockets; nobody ever waits for it.

    A thread writes to it and a thread reads from it, since a stopped process does neither.
    """

    def __init__(self, setup: Setup, environment: Mapping[str, str], inbox: Inbox) -> None:
        """Start it.

        Args:
            setup: Its first message.
            environment: Its environment variables.
            inbox: Where its reports go.

        Raises:
            OSError: The system starts no more processes.
        """
        self._link, child = socket.socketpair()
        try:
            path = json.dumps([entry or os.getcwd() for entry in sys.path])
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [os.fsdecode(spawn.get_executable()), "-c", _PROGRAM, str(child.fileno()), path],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=(child.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            self._link.close()
            raise
        finally:
            child.close()
        self.pid = self._process.pid
        self.is_killed = False
        self.vitals = psutil.Process(self.pid)
        self._inbox = inbox
        self._orders: queue.SimpleQueue[Setup | Start | Stop | None] = queue.SimpleQueue()
        self._orders.put(setup)
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"ax-jax-worker-{self.pid}", daemon=True).start()

    def send(self, order: Start | Stop) -> None:
        """Leave an order; returns at once."""
        self._orders.put(order)

    def has_ended(self) -> bool:
        """Whether nothing of it runs any more; it can then be buried."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        # Looked at without being taken away: until it is, its number is nobody else's.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, flags) is not None
        except ChildProcessError:
            return True

    def hang_up(self) -> None:
        """End the link, upon which a process that can do anything ends itself."""
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def kill(self) -> None:
        """End it with all that it has started; returns before it is gone."""
        self.is_killed = True
        if self._process.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()

    def bury(self) -> str:
        """Take away what is left of an ended process, and return how it ended."""
        self.kill()
        code = self._process.wait()
        self.hang_up()
        self._orders.put(None)
        # The socket closes when both threads have let go of it, which they now do; they are not
        # waited for, since the garbage collector may have made one of them wait for us.
        self._link.close()
        return describe_end(code)

    def _write(self) -> None:
        try:
            with self._link.makefile("wb") as stream:
                while (order := self._orders.get()) is not None:
                    stream.write(order.encode())
                    stream.flush()
        except OSError:
            self.hang_up()

    def _read(self) -> None:
        try:
            with self._link.makefile("rb") as stream:
                for line in stream:
                    self._inbox.put((self, Report.decode(line)))
        except (OSError, ValueError, KeyError, TypeError):  # cut in the middle of a line
            pass
        finally:
            self.hang_up()
            self._inbox.put((self, None))


def describe_end(code: int) -> str:
    """Return how a process with this exit code ended: "was killed by SIGKILL", for example."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was killed by SIGKILL, as the system does when memory runs out"
    return f"was killed by {name}"
