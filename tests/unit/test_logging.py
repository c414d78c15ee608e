"""Messages go to loggers under the package's name, and nowhere else."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ax_jax_runners
from ax_jax_runners import Campaign
from ax_jax_runners.cli.app import app
from tests.faults.simulators import LoggedTask

PACKAGE = Path(ax_jax_runners.__file__).parent
ON_THE_ROOT = {"debug", "info", "warning", "error", "exception", "critical", "log", "basicConfig"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(PACKAGE)), node


def ours() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict
    return [logging.getLogger(name) for name in known if name.startswith("ax_jax_runners")]


def test_nothing_prints_and_nothing_logs_on_the_root_logger() -> None:
    found = []
    for path, call in calls():
        name = ast.unparse(call.func)
        prints = name == "print" and path != "cli/output.py"
        on_the_root = name.startswith("logging.") and name.partition(".")[2] in ON_THE_ROOT
        is_root = name.endswith("getLogger") and not call.args
        if prints or on_the_root or is_root:
            found.append(f"{path}:{call.lineno}: {ast.unparse(call)}")
    assert found == []


def test_a_campaign_leaves_the_root_logger_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # pytest has handlers there, and basicConfig would do nothing beside them.
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    # Ax sets the level of every logger whose name starts as its own does.
    before = {logger: logger.level for logger in ours()}
    url = f"sqlite:///{tmp_path / 'campaigns.db'}"
    campaign = Campaign(
        "quiet", LoggedTask(str(tmp_path / "log")), objective="-cost", store=url, generation="sobol"
    )
    campaign.run(4, progress=False)
    campaign.store.close()
    assert logging.root.handlers == []
    assert logging.root.level == level
    assert logging.getLogger("ax_jax_runners").handlers == []
    assert {logger: logger.level for logger in before} == before
    assert all(logger.level == logging.NOTSET for logger in ours() if logger not in before)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("verbose", [False, True])
def test_the_command_line_shows_messages_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, verbose: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(
        'name = "slot"\ntask = "ring-slot"\ntrials = 2\nbatch_size = 2\ngeneration = "sobol"\n'
    )
    result = CliRunner().invoke(app, ["run", "c.toml", "--json", *(["-v"] if verbose else [])])
    assert result.exit_code == 0, result.stderr
    assert ("INFO ax_jax_runners.campaign.leasing: Campaign 'slot'" in result.stderr) is verbose
    assert "INFO" not in result.stdout
    assert logging.getLogger("ax_jax_runners").handlers == []
    assert logging.getLogger("ax_jax_runners").level == logging.NOTSET
