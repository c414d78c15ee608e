"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import typer

from ax_jax_runners.cli.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_its_commands_are_those_of_the_command_line() -> None:
    written = re.findall(r"^ax-jax (\S+)", "".join(blocks("console")), re.MULTILINE)
    assert len(written) == len(set(written))
    assert set(written) == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_its_options_are_those_of_the_commands() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for line in "".join(blocks("console")).splitlines() if line.startswith("ax-jax")]
    for line in lines:
        name, *words = line.partition("#")[0].split()[1:]
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?= |`)", README)) <= targets


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if "://" not in link]
    assert "LICENSE" in local
    assert [link for link in local if not (ROOT / link).is_file()] == []


def test_its_python_runs_finds_the_answer_and_goes_on(tmp_path: Path) -> None:
    (program,) = blocks("python")
    (tmp_path / "swing.py").write_text(program, encoding="utf-8")

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "swing.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run()
    found = {name: float(re.search(rf"'{name}': ([\d.]+)", printed)[1]) for name in TRUTH}
    for name, value in TRUTH.items():
        assert abs(found[name] - value) < 0.2 * value, printed
    assert (tmp_path / "swing.html").is_file()
    assert run() == printed


TRUTH = {"damping": 0.4, "frequency": 3.0}
