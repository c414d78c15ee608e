"""Imports point one way, cost nothing that was not asked for, and change nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts of pyproject.toml over the package in ``root``, not the installed one."""
    code = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True
    )


def test_imports_point_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copied")
    for folder in ("ax_jax_runners", "metrics"):
        shutil.copytree(
            ROOT / folder, root / folder, symlinks=True, ignore=shutil.ignore_patterns("*.pyc")
        )
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


FORBIDDEN = [
    ("ax_jax_runners/files", "ax_jax_runners.parameters"),
    ("ax_jax_runners/parameters", "ax_jax_runners.evaluation"),
    ("ax_jax_runners/evaluation", "ax_jax_runners.tasks"),
    ("ax_jax_runners/tasks", "ax_jax_runners.problems"),
    ("ax_jax_runners/problems", "ax_jax_runners.runners"),
    ("ax_jax_runners/runners", "ax_jax_runners.campaign"),
    ("ax_jax_runners/runners", "ax_jax_runners.store"),
    ("ax_jax_runners/campaign", "ax_jax_runners.cli"),
    ("ax_jax_runners/store", "ax_jax_runners.tasks"),
    ("ax_jax_runners/store", "ax_jax_runners.runners"),
    ("ax_jax_runners/store", "ax_jax_runners.evaluation"),
    ("ax_jax_runners/store", "jax"),
    ("ax_jax_runners/cli", "ax_jax_runners.store"),
    ("ax_jax_runners/tasks", "ax"),
    ("ax_jax_runners/tasks", "sqlalchemy"),
    ("ax_jax_runners/runners", "sqlalchemy"),
    ("metrics", "ax_jax_runners.files"),
    ("metrics", "ax_jax_runners.runners"),
    ("metrics", "ax_jax_runners.store"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("room", "imported"), FORBIDDEN)
def test_an_import_against_the_direction_is_found(copied: Path, room: str, imported: str) -> None:
    planted = copied / room / "planted.py"
    planted.write_text(f"import {imported}\n")
    try:
        done = lint_imports(copied)
    finally:
        planted.unlink()
    assert done.returncode == 1
    assert "planted" in done.stdout


def test_the_package_alone_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("jax", "torch", "ax", "numpyro", "sqlalchemy", "pandas", "numpy")
    code = f"import ax_jax_runners, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert python(code, tmp_path).strip() == "[]"


def test_every_public_name_can_be_imported(tmp_path: Path) -> None:
    code = (
        "import ax_jax_runners as package\n"
        "print(all(getattr(package, name) is not None for name in package.__all__))"
    )
    assert python(code, tmp_path).splitlines()[-1] == "True"


STATE = """
import importlib, json, os, pkgutil, signal, sys
import jax, numpy, torch
def state():
    return {
        'x64': jax.config.jax_enable_x64,
        'errors': numpy.geterr(),
        'torch type': str(torch.get_default_dtype()),
        'torch threads': torch.get_num_threads(),
        'interrupt': str(signal.getsignal(signal.SIGINT)),
        'files': sorted(os.listdir('.')),
        'environment': sorted(k for k in os.environ if k.startswith(('JAX', 'XLA', 'OMP'))),
    }
before = state()
import ax_jax_runners
names = []
for module in pkgutil.walk_packages(ax_jax_runners.__path__, 'ax_jax_runners.'):
    # Alembic runs its own scripts; a __main__ is a program.
    if '.migrations.' not in module.name and not module.name.endswith('__main__'):
        importlib.import_module(module.name)
        names.append(module.name)
print(json.dumps({'before': before, 'after': state(), 'names': names}))
"""


@pytest.mark.fault(22)
def test_importing_every_module_changes_nothing(tmp_path: Path) -> None:
    seen = json.loads(python(STATE, tmp_path).splitlines()[-1])
    assert "ax_jax_runners.metrics" in seen["names"]
    assert seen["after"] == seen["before"]
    assert seen["before"]["x64"] is False
