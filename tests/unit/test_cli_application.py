"""The command line as a whole: it starts at once, helps, and complains in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.cli.app import app

COMMANDS = (
    "run",
    "resume",
    "stop",
    "status",
    "log",
    "best",
    "export",
    "report",
    "copy",
    "list",
    "problems",
    "init",
    "doctor",
)
SLOW = {"jax", "torch", "ax", "botorch", "pandas", "sqlalchemy", "numpyro", "numpy"}

USAGE = {
    "unknown command": (["frobnicate"], "No such command 'frobnicate'"),
    "unknown option": (["run", "a.toml", "--trails", "3"], "--trails"),
    "no name": (["best"], "Missing argument 'NAME'"),
    "log of nothing": (["log", "a", "--limit", "0"], "--limit"),
    "no file": (["run"], "Missing argument 'CONFIG.toml'"),
    "trials of nothing": (["run", "a.toml", "--trials", "0"], "--trials"),
    "trials in words": (["run", "a.toml", "--trials", "many"], "--trials"),
    "missing file": (["run", "nowhere.toml"], "nowhere.toml"),
    "missing database": (["status"], "there is no file 'campaigns.db'"),
    "malformed URL": (["status", "--store", "campaigns"], "not a database URL"),
    "database in memory": (["status", "--store", "sqlite://"], "in-memory"),
    "another database": (["list", "--store", "mysql://host/db"], "mysql is not supported"),
    "unknown export": (["export", "a", "--to", "a.xls"], "'.xls'"),
    "export without an ending": (["export", "a", "--to", "a"], "has no ending"),
    "export nowhere": (["export", "a", "--to", "no/a.csv"], "folder 'no' does not exist"),
    "report nowhere": (["report", "a", "--to", "no/a.html"], "folder 'no' does not exist"),
    "unknown problem": (["problems", "ring-slto"], "did you mean 'ring-slot'"),
    "file and task": (["resume", "a", "--config", "a.toml", "--task", "a:b"], "one of them"),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def imported_by(*arguments: str) -> set[str]:
    """The packages in memory after a command, in a process of its own."""
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})),"
        " file=sys.stderr))\n"
        f"sys.argv = {['ax-jax', *arguments]!r}\n"
        "from ax_jax_runners.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["init"]])
def test_nothing_slow_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    assert imported_by(*arguments) & SLOW == set()


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


def test_without_arguments_it_helps() -> None:
    assert CliRunner().invoke(app, []).stdout == CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: ax-jax {command}" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.parametrize("case", USAGE)
def test_a_usage_error_is_one_sentence_and_exit_code_2(case: str) -> None:
    arguments, expected = USAGE[case]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("ax-jax: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not Path("campaigns.db").exists()


def test_init_writes_a_file_that_is_valid_and_overwrites_nothing() -> None:
    result = CliRunner().invoke(app, ["init", "my.toml"])
    assert result.exit_code == 0
    settings = read_settings("my.toml")
    assert (settings.name, settings.trials) == ("ring-slot", 60)
    Path("my.toml").write_text("mine")
    again = CliRunner().invoke(app, ["init", "my.toml"])
    assert again.exit_code == 2
    assert "'my.toml' exists" in again.stderr
    assert Path("my.toml").read_text() == "mine"


def test_problems_lists_options_and_boxes() -> None:
    result = CliRunner().invoke(app, ["problems", "--json"])
    assert result.exit_code == 0
    listed = {each["name"]: each for each in json.loads(result.stdout)}
    assert listed["ring-slot"]["objective"] == "-log10_cost"
    assert "variant" in listed["ring-slot"]["options"]
    f0 = listed["ring-slot"]["parameters"][0]
    assert (f0["name"], f0["lower"], f0["upper"]) == ("f0", 80.0, 95.0)
    assert listed["touchstone"]["parameters"] is None
    assert "data" in listed["touchstone"]["needs"]
    assert listed["neuron-find"]["objective"] == "-misfit"
    assert listed["neuron-explore"]["objective"] == "log10_jump_ess_per_1000"
    settings = {each["name"]: each for each in listed["neuron-explore"]["parameters"]}
    assert set(settings) == {"seed_point", "max_step_size", "step_ratio", "kernel", "adapt"}
    assert settings["max_step_size"]["log_scale"] is True
    table = CliRunner().invoke(app, ["problems", "ring-slot"])
    assert "80 to 95" in table.stdout


def test_the_doctor_says_what_keeps_campaigns_from_running(tmp_path: Path) -> None:
    healthy = CliRunner().invoke(app, ["doctor", "--json"])
    assert healthy.exit_code == 0
    checks = {each["subject"]: each for each in json.loads(healthy.stdout)}
    assert {"python", "ax-platform", "jax devices", "float64", "disk", "sqlite"} <= set(checks)
    assert checks["database"]["verdict"] == "ok"
    assert not Path("campaigns.db").exists()
    (tmp_path / "garbage.db").write_bytes(b"this is no database, whatever its name says" * 50)
    for store in ("sqlite:////no/such/folder/a.db", "nonsense", "sqlite:///garbage.db"):
        result = CliRunner().invoke(app, ["doctor", "--json", "--store", store])
        assert result.exit_code == 1
        broken = [c for c in json.loads(result.stdout) if c["verdict"] == "fail"]
        assert [check["subject"] for check in broken] == ["database"]
        assert all(check["advice"] for check in broken)
