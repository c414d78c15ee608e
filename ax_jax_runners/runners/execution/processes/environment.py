"""How workers share a machine: its cores, its devices, and what one of them has compiled."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from ax_jax_runners.errors import ConfigurationError

COMPILED = "compiled"
"""Folder of compiled programs in a runner's directory."""

# Measured with jaxlib 0.10.2 on a CPU: NPROC alone sets the size of XLA's thread pool
# (--xla_cpu_multi_thread_eigen=false leaves it as it is), and BLAS below LAPACK has its own.
_THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What decides numbers or where they are computed; a task must find it as in the user's process.
_JAX = (
    "jax_debug_infs",
    "jax_debug_nans",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_enable_x64",
    "jax_num_cpu_devices",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_platforms",
    "jax_threefry_partitionable",
)


@dataclass(frozen=True)
class WorkerOptions:
    """What ``engine_options`` of worker processes may say.

    Attributes:
        start_method: Only "spawn": a forked copy of a process that has used JAX hangs.
        threads: Threads of one worker; None shares the cores out.
        devices: Visible accelerators, dealt out in turns; None takes those that are there.
        compilation_cache: Folder of compiled programs; None is ``compiled`` in the runner's
            directory, and nothing is kept where there is no directory either.
    """

    start_method: str = "spawn"
    threads: int | None = None
    devices: tuple[str, ...] | None = None
    compilation_cache: str | None = None

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> WorkerOptions:
        """Check the options.

        Raises:
            ConfigurationError: An unknown one, or one that cannot be used.
        """
        unknown = sorted(set(options) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigurationError(
                f"engine_options has {', '.join(map(repr, unknown))}, which worker processes do "
                f"not know; they take {', '.join(map(repr, cls.__dataclass_fields__))}."
            )
        method = options.get("start_method", "spawn")
        if method != "spawn":
            raise ConfigurationError(
                f"engine_options asks for the start method {method!r}; workers are started by "
                "'spawn' only, because a forked copy of a process that has used JAX hangs. "
                "Leave start_method out."
            )
        threads = options.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ConfigurationError(
                f"engine_options gives {threads!r} threads; give a whole number above 0."
            )
        devices = options.get("devices")
        if devices is not None:
            named = isinstance(devices, (list, tuple)) and len(devices) > 0
            if not named or not all(type(device) in (str, int) for device in devices):
                raise ConfigurationError(
                    f"engine_options gives the devices {devices!r}; list their numbers or names."
                )
            devices = tuple(str(device) for device in devices)
        cache = options.get("compilation_cache")
        if cache is not None and not isinstance(cache, (str, os.PathLike)):
            raise ConfigurationError(
                f"engine_options gives the compilation_cache {cache!r}; give a path."
            )
        return cls(method, threads, devices, None if cache is None else os.fspath(cache))

    def cache(self, directory: str | None) -> str | None:
        """Return the folder of compiled programs, absolute, or None."""
        if self.compilation_cache is not None:
            return os.path.abspath(self.compilation_cache)
        return None if directory is None else os.path.abspath(os.path.join(directory, COMPILED))


def worker_environment(options: WorkerOptions, *, index: int, workers: int) -> dict[str, str]:
    """Return the environment variables of one worker: threads and devices are its own.

    What the user has set already stays, unless the options say otherwise.
    """
    environment = dict(os.environ)
    threads = str(options.threads or max(1, _cores() // workers))
    for name in _THREADS:
        if options.threads is not None or name not in environment:
            environment[name] = threads
    devices = options.devices or _devices()
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        # By default each process, the user's among them, takes three quarters of a device's memory.
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return environment


def jax_configuration(cache: str | None) -> dict[str, Any]:
    """Return the values of JAX's configuration that a worker needs, by name.

    Args:
        cache: Folder of compiled programs, or None for what the user has configured.
    """
    values = {name: getattr(jax.config, name) for name in _JAX}
    if cache is None:
        cache = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if cache is not None:
        values |= {
            "jax_compilation_cache_dir": str(cache),
            "jax_persistent_cache_min_compile_time_secs": 0.0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
    return {name: value for name, value in values.items() if value is not None}


def discard_half_written(cache: str, since: float) -> None:
    """Remove compiled programs that were written after ``since`` (seconds of the epoch).

    JAX writes them in place and never replaces one: half of one, left by a killed worker, would
    be compiled anew for ever. A whole one that goes with it is compiled once more.
    """
    for path in Path(cache).glob("*-cache"):
        try:
            if path.stat().st_mtime >= since:
                path.unlink()
        except OSError:
            continue


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices() -> tuple[str, ...]:
    """Return the NVIDIA devices that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip())
    numbers = (re.fullmatch(r"/dev/nvidia(\d+)", path) for path in glob.glob("/dev/nvidia*"))
    return tuple(sorted((found[1] for found in numbers if found), key=int))
