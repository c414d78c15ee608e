"""Where the mailboxes of an execution's trials are, and how long they stay."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.mailbox import Mailbox
from ax_jax_runners.runners.execution.protocol import ArmRequest

_FOLDER = "progress"


class Mailboxes:
    """The mailboxes of one execution.

    In a runner's directory a mailbox outlives its trial's attempts, and is found again by whoever
    computes the same. Elsewhere it is a temporary folder, which goes with its trial.
    """

    def __init__(self, frozen: FrozenArms, *, directory: Path | None, shares_files: bool) -> None:
        """Keep what is needed; no folder is made.

        Args:
            frozen: Tells equal computations by their keys.
            directory: The runner's directory, or None.
            shares_files: Whether the other side certainly sees temporary folders of this machine.
        """
        self._frozen = frozen
        self._root = None if directory is None else directory / _FOLDER
        self._shares_files = shares_files
        self._temporary: Path | None = None
        self._remove_temporary: Callable[[], Any] = lambda: None

    def open(self, requests: Sequence[ArmRequest]) -> Mailbox | None:
        """Make the mailbox of a trial, with what a former run left in it; None: there is no place.

        Raises:
            OSError: Its folder cannot be made.
        """
        if self._root is not None:
            mailbox = Mailbox.of(requests, self._frozen, self._root)
        elif self._shares_files:
            # Nothing in it outlives the trial, so nobody need find it again.
            mailbox = Mailbox(self._temporary_root() / secrets.token_hex(8))
        else:
            return None
        mailbox.open()
        return mailbox

    def leave(self, mailbox: Mailbox | None) -> None:
        """Let go of the mailbox of a trial that nobody waits for and nobody runs any more."""
        if self._root is None and mailbox is not None:
            mailbox.remove()

    def discard(
        self, trials: Iterable[Sequence[ArmRequest]], *, used: Collection[Mailbox | None]
    ) -> None:
        """Remove the mailboxes of trials whose results are recorded, but for those in use.

        Another experiment may just compute the same.
        """
        if self._root is not None and self._root.is_dir():
            for requests in trials:
                mailbox = Mailbox.of(requests, self._frozen, self._root)
                if mailbox not in used:
                    mailbox.remove()

    def close(self) -> None:
        """Remove what is temporary."""
        self._remove_temporary()
        self._temporary = None

    def _temporary_root(self) -> Path:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="ax-jax-progress-"))
            # Also when nobody closes this: what still runs for it ends with the folder.
            self._remove_temporary = weakref.finalize(self, shutil.rmtree, self._temporary, True)
        return self._temporary
