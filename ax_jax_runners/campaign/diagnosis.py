"""Whether this installation, machine and database are fit to run campaigns."""

from __future__ import annotations

import platform
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from sqlalchemy import text

from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.store.engine import Engines, open_engines, sqlite_file, translate
from ax_jax_runners.store.schema import current_version, is_writable, newest_version

_PACKAGES = (
    "ax-jax-runners",
    "ax-platform",
    "botorch",
    "torch",
    "jax",
    "numpyro",
    "sqlalchemy",
)
_EXTRAS = {
    "scikit-rf": ("rf", "the measured file of problem ring-slot"),
    "paramrf": ("paramrf", "models of ParamRF"),
    "psycopg": ("postgres", "PostgreSQL stores"),
}
_LITTLE_SPACE = 1e9  # bytes
# Upserts, RETURNING and dropping columns, which the store needs, are complete from here on.
_OLDEST_SQLITE = (3, 35, 0)


@dataclass(frozen=True)
class Check:
    """One line of a diagnosis.

    Attributes:
        subject: What was looked at.
        verdict: ``fail`` where campaigns cannot run.
        found: What was found.
        advice: What to do; empty where all is well.
    """

    subject: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def diagnose(url: str) -> list[Check]:
    """Check versions, JAX devices, the database behind a URL, free disk and optional extras.

    Nothing is created: a SQLite file that is not there yet is only announced.
    """
    return [*_versions(), *_devices(), *_database(url), *_extras()]


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            advice = "pip install ax-jax-runners again: a dependency is missing"
            yield Check(name, "fail", "not installed", advice)


def _devices() -> Iterator[Check]:
    import jax
    import jax.numpy as jnp

    try:
        devices = jax.local_devices()
    except RuntimeError as error:
        advice = "set JAX_PLATFORMS=cpu, or install the jaxlib that fits the accelerator"
        yield Check("jax devices", "fail", str(error).splitlines()[0], advice)
        return
    yield Check("jax devices", "ok", ", ".join(map(str, devices)))
    with jax.enable_x64(True):
        exact = float(jnp.float64(1.0) + jnp.float64(2.0**-52)) > 1.0
    default = (
        "on"
        if jnp.asarray(0.0).dtype == jnp.float64
        else "off; evaluators switch it on for themselves"
    )
    if exact:
        yield Check("float64", "ok", f"works (jax_enable_x64 is {default})")
    else:
        advice = "use dtype='float32', or another device"
        yield Check("float64", "fail", "rounds to fewer digits", advice)


def _database(url: str) -> Iterator[Check]:
    try:
        engines = open_engines(url)
    except AxJaxError as error:
        yield Check("database", "fail", str(error), "correct the URL after --store")
        return
    file = sqlite_file(engines.url)
    try:
        if file is None:
            yield from _server(engines)
        else:
            yield from _file(engines, file)
    finally:
        engines.dispose()


def _file(engines: Engines, file: Path) -> Iterator[Check]:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Check("sqlite", "fail", found, "use a Python with SQLite 3.35 or newer")
    else:
        yield Check("sqlite", "ok", found)
    folder = file.absolute().parent
    if not folder.is_dir():
        yield Check("database", "fail", f"no folder {str(folder)!r}", "create the folder")
        return
    yield _space(folder)
    if file.exists():
        yield from _connected(engines)
    elif _can_create(folder):
        yield Check("database", "ok", f"{engines.description} will be created by the first run")
    else:
        advice = "give this user write access to it, or choose another --store"
        yield Check("database", "fail", f"folder {str(folder)!r} cannot be written", advice)


def _server(engines: Engines) -> Iterator[Check]:
    yield from _connected(engines)
    yield _space(Path.cwd())


def _connected(engines: Engines) -> Iterator[Check]:
    from sqlalchemy.exc import DBAPIError

    try:
        with engines.reader.connect() as connection:
            if engines.dialect == "sqlite":
                mode = str(connection.execute(text("PRAGMA journal_mode")).scalar_one())
            else:
                mode = str(connection.execute(text("SHOW server_version")).scalar_one())
            stored = current_version(connection)
    except DBAPIError as error:
        yield Check("database", "fail", str(translate(error, engines.description)), "see left")
        return
    except AxJaxError as error:
        yield Check("schema", "fail", str(error), "pip install --upgrade ax-jax-runners")
        return
    if is_writable(engines):
        yield Check("database", "ok", f"{engines.description} can be read and written")
    else:
        advice = "give this user write access, or end the process that has it locked"
        yield Check("database", "fail", f"{engines.description} cannot be written", advice)
    if engines.dialect != "sqlite":
        yield Check("postgresql", "ok", mode)
    elif mode.lower() == "wal":
        yield Check("journal", "ok", "WAL")
    else:
        advice = "keep the file on a local disk: network folders do not allow WAL"
        yield Check("journal", "warn", mode, advice)
    newest = newest_version()
    if stored is None:
        yield Check("schema", "ok", f"none yet; the first run creates version {newest}")
    elif stored == newest:
        yield Check("schema", "ok", f"version {stored}")
    else:
        yield Check("schema", "warn", f"version {stored}", f"the next run upgrades it to {newest}")


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free at {folder}"
    if free < _LITTLE_SPACE:
        return Check("disk", "warn", found, "free some space: arrays and reports are kept there")
    return Check("disk", "ok", found)


def _can_create(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _extras() -> Iterator[Check]:
    for name, (extra, purpose) in _EXTRAS.items():
        try:
            yield Check(f"{name} (optional)", "ok", version(name))
        except PackageNotFoundError:
            advice = f"for {purpose}: pip install 'ax-jax-runners[{extra}]'"
            yield Check(f"{name} (optional)", "warn", "not installed", advice)
