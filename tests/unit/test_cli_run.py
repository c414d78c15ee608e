"""Campaigns driven from a shell: run, complete, extend, interrupt, stop, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ax_jax_runners import problems
from ax_jax_runners.campaign.opening import make_task
from ax_jax_runners.cli.app import app
from ax_jax_runners.errors import ConfigurationError, ParameterError

MODULE = """\
import time
import jax, jax.numpy as jnp
from ax_jax_runners import FeatureEvaluator, FeatureTask, Parameter, ParameterSpace

def wait(x, seconds):
    time.sleep(float(seconds))
    return x

def slow(seconds):
    def simulate(p):
        x = p["x"] ** 2 + p["y"]
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return {"z": jax.pure_callback(wait, shape, x, seconds, vmap_method="sequential")}
    return simulate

def loss(features):
    return features["z"]

def make(upper=1.0, seconds=0.0):
    space = ParameterSpace(
        [Parameter("x", lower=-1.0, upper=upper), Parameter("y", lower=0.0, upper=1.0)]
    )
    evaluator = FeatureEvaluator(slow(seconds), space, chunk=2, capacity=8)
    return FeatureTask(evaluator, outputs={"loss": loss})

task = make()
number = 3

def broken():
    raise ValueError("no luck today")

def wrong():
    return 3
"""
FILE = """\
name = "shell"
task = "shell_simulator:make"
objective = "-loss"
trials = {trials}
batch_size = 2
generation = "sobol"
[task_options]
seconds = {seconds}
[parameters.y]
lower = 0.5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "shell_simulator.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    yield tmp_path
    sys.modules.pop("shell_simulator", None)


def start(*arguments: str) -> subprocess.Popen[str]:
    # -P: the folder is on the path only if the command puts it there.
    code = "from ax_jax_runners.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )


def shell(*arguments: str, code: int = 0) -> tuple[str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def status() -> dict[str, Any]:
    result = CliRunner().invoke(app, ["status", "shell", "--json"])
    return json.loads(result.stdout) if result.exit_code == 0 else {"trials": 0, "state": "none"}


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_campaign_runs_is_complete_and_goes_on(folder: Path) -> None:
    (folder / "c.toml").write_text(FILE.format(trials=4, seconds=0.0))
    out, err = shell("run", "c.toml")
    assert "Campaign 'shell' is complete (4 of 4 trials)." in out
    assert "loss" in out
    assert "INFO" not in err
    assert "Warning" not in err
    again = CliRunner().invoke(app, ["run", "c.toml", "--json"])
    document = json.loads(again.stdout)
    assert (document["complete"], document["run_now"], document["trials"]) == (True, 0, 4)
    assert document["best"]["parameters"]["y"] >= 0.5
    more = CliRunner().invoke(app, ["run", "c.toml", "--trials", "6", "--json"])
    document = json.loads(more.stdout)
    assert (document["complete"], document["run_now"], document["counts"]) == (
        True,
        2,
        {"COMPLETED": 6},
    )
    # Another configuration under the same name is refused, and says where it differs.
    (folder / "c.toml").write_text(FILE.format(trials=8, seconds=0.0).replace("0.5", "0.25"))
    other = CliRunner().invoke(app, ["run", "c.toml"])
    assert other.exit_code == 2
    assert "another configuration" in other.stderr
    assert status()["trials"] == 6


def test_ctrl_c_and_stop_lose_nothing(folder: Path) -> None:
    (folder / "c.toml").write_text(FILE.format(trials=400, seconds=0.05))
    process = start("run", "c.toml")
    wait_for(lambda: status()["trials"] >= 2, process)
    second = CliRunner().invoke(app, ["run", "c.toml"])
    assert second.exit_code == 1
    assert f"process {process.pid} on" in second.stderr
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Go on with: ax-jax run c.toml" in err
    interrupted = status()
    assert interrupted["state"] == "stopped"
    assert 2 <= interrupted["trials"] < 400
    assert set(interrupted["counts"]) <= {"COMPLETED", "CANDIDATE"}

    forgotten = CliRunner().invoke(app, ["resume", "shell"])
    assert forgotten.exit_code == 2
    assert "add --config FILE or --task MODULE:NAME" in forgotten.stderr

    process = start("resume", "shell", "--config", "c.toml")
    wait_for(lambda: status()["trials"] > interrupted["trials"], process)
    stopped = CliRunner().invoke(app, ["stop", "shell", "--json"])
    assert json.loads(stopped.stdout)["stopped"] is True
    assert f"process {process.pid} on" in json.loads(stopped.stdout)["owner"]
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped at" in out
    assert "go on with: ax-jax resume shell --config c.toml" in out
    assert status()["repeated"] == {}


@pytest.mark.slow
def test_a_second_shell_takes_over(folder: Path) -> None:
    # Long enough for a second process to start on a loaded machine.
    (folder / "c.toml").write_text(FILE.format(trials=2000, seconds=0.2))
    first = start("run", "c.toml")
    second = None
    try:
        wait_for(lambda: status()["trials"] >= 2, first)
        second = start("run", "c.toml", "--take-over", "--verbose")
        _, complaint = first.communicate(timeout=200)
        assert first.returncode == 1
        assert f"now held by process {second.pid} on" in complaint
        assert status()["owner"].startswith(f"process {second.pid} on")
        stopped = CliRunner().invoke(app, ["stop", "shell", "--json"])
        assert json.loads(stopped.stdout)["stopped"] is True
        _, messages = second.communicate(timeout=60)
        assert second.returncode == 0, messages
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()
    assert "INFO ax_jax_runners.campaign.leasing: Campaign 'shell'" in messages
    assert set(status()["counts"]) <= {"COMPLETED", "CANDIDATE"}
    told = CliRunner().invoke(app, ["log", "shell", "--json"]).stdout.splitlines()
    events = [json.loads(line) for line in told]
    (reason,) = [each["reason"] for each in events if each["kind"] == "taken over"]
    assert reason.startswith(f"from process {first.pid} on")


def test_a_built_in_problem_resumes_without_its_file(folder: Path) -> None:
    (folder / "c.toml").write_text(
        'name = "slot"\ntask = "ring-slot"\ntrials = 2\nbatch_size = 2\ngeneration = "sobol"\n'
        '[task_options]\nvariant = "six"\n[parameters.f0]\nlower = 84\nupper = 86\n'
        "[parameters.l2]\nfixed = 0.25\n"
    )
    first = CliRunner().invoke(app, ["run", "c.toml", "--json"])
    assert first.exit_code == 0, first.stderr
    second = CliRunner().invoke(app, ["resume", "slot", "--trials", "4", "--json"])
    assert second.exit_code == 0, second.stderr
    best = json.loads(second.stdout)["best"]["parameters"]
    assert best["l2"] == 0.25
    assert 84 <= best["f0"] <= 86
    assert json.loads(second.stdout)["run_now"] == 2


WRONG = {
    "no module": ("nowhere_at_all:task", "module 'nowhere_at_all' cannot be imported"),
    "no attribute": ("shell_simulator:tusk", "has no attribute 'tusk'; it has"),
    "no task": ("shell_simulator:number", "is a int; name a task"),
    "raises": ("shell_simulator:broken", "raised ValueError: no luck today"),
    "returns no task": ("shell_simulator:wrong", "returned a int"),
    "no problem": ("ring-slto", "did you mean 'ring-slot'"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", WRONG)
def test_a_task_that_cannot_be_used_is_one_sentence(case: str) -> None:
    reference, expected = WRONG[case]
    with pytest.raises(ConfigurationError, match=expected) as caught:
        make_task(reference)
    assert reference in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_options_that_a_task_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not take these task_options.*'colour'"):
        make_task("shell_simulator:make", {"colour": 1})
    with pytest.raises(ConfigurationError, match=r"takes no options.*\(upper\)"):
        make_task("shell_simulator:task", {"upper": 1})
    for option in ("colour", "name", "parameters"):
        with pytest.raises(ConfigurationError, match=f"has no option '{option}'"):
            make_task("ring-slot", {option: {}})


@pytest.mark.usefixtures("folder")
def test_overrides_reach_the_space_and_wrong_ones_are_refused() -> None:
    task = make_task("shell_simulator:make", {"upper": 2.0}, {"x": {"lower": 0.5}})
    assert (task.space.lower[0], task.space.upper[0]) == (0.5, 2.0)
    slot = make_task("ring-slot", {}, {"f0": {"fixed": 85.0}})
    assert slot.space.names == ("b", "g", "l1")
    found = problems.origin(slot)
    assert found is not None
    assert problems.build(found[0], **found[1]).space == slot.space
    for overrides, expected in (
        ({"z": {"lower": 0}}, "unknown parameter 'z'"),
        ({"x": {"lower": 3.0}}, "upper bound 1.0 is below lower bound 3.0"),
        ({"x": {"lower": 1.0}}, "both bounds are 1.0"),
    ):
        with pytest.raises(ParameterError, match=expected):
            make_task("shell_simulator:make", {}, overrides)


@pytest.mark.usefixtures("folder")
def test_a_task_of_ones_own_needs_an_objective() -> None:
    Path("c.toml").write_text('name = "a"\ntask = "shell_simulator:make"\n')
    result = CliRunner().invoke(app, ["run", "c.toml"])
    assert result.exit_code == 2
    assert "`objective` is missing" in result.stderr
    assert "'-loss'" in result.stderr
    assert not Path("campaigns.db").exists()
