"""Campaign files that say where trials run, and when long ones end early."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ax_jax_runners import Campaign
from ax_jax_runners.cli.app import app

FILE = """\
name = "shell"
task = "branin"
trials = 6
batch_size = 3
generation = "sobol"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text: str, *arguments: str) -> tuple[int, str, str]:
    Path("c.toml").write_text(text)
    result = CliRunner().invoke(app, ["run", "c.toml", "--json", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("", "JaxRunner"),
        ('runner = "SingleRunningTrialJaxRunner"\n', "SingleRunningTrialJaxRunner"),
        (
            'runner = "SimulatedBackendJaxRunner"\n[runner_options]\nmax_concurrency = 2\n'
            "runtime = 3600.0\n",
            "SimulatedBackendJaxRunner",
        ),
        pytest.param(
            'runner = "WorkerJaxRunner"\n[runner_options]\nworkers = 2\ntime_limit = 100\n',
            "WorkerJaxRunner",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_file_names_its_runner(folder: Path, lines: str, kind: str) -> None:
    code, out, err = run(FILE + lines)
    assert code == 0, err
    assert json.loads(out)["counts"] == {"COMPLETED": 6}
    campaign = Campaign.load("shell")
    assert type(campaign.experiment.runner).__name__ == kind
    # It goes on with the stored runner, and the results are those of any other.
    again = CliRunner().invoke(app, ["resume", "shell", "--trials", "8", "--json"])
    assert json.loads(again.stdout)["run_now"] == 2, again.stderr
    plain = Campaign(
        "plain", Campaign.load("shell").experiment.runner.task, objective="-value",
        generation="sobol", batch_size=3,
    ).run(8, progress=False)  # fmt: skip
    found = Campaign.load("shell").to_frame()
    assert list(found["value"]) == list(plain.to_frame()["value"])
    assert campaign.store.files is not None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('runner = "Worker"\n', "'WorkerJaxRunner'"),
        ("[runner_options]\nworkers = 2\n", "has no option 'workers'"),
        ('runner = "WorkerJaxRunner"\n[runner_options]\nworkers = 0\n', "workers is 0"),
        ('runner = "WorkerJaxRunner"\n[runner_options]\nseed = 1\n', "no option 'seed'"),
        ('[early_stopping]\nrule = "median"\n', "'percentile' or 'threshold'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(folder: Path, lines: str, words: str) -> None:
    code, _, err = run(FILE + lines)
    assert code == 2
    assert words in err
    assert not Path("campaigns.db").exists()


def test_a_file_asks_for_early_stopping(folder: Path) -> None:
    text = (
        'name = "curves"\ntask = "learning-curve"\ntrials = 12\nbatch_size = 4\n'
        'generation = "sobol"\n[task_options]\nsteps = 40\nsteps_per_slice = 5\n'
        "[early_stopping]\n"
        'rule = "percentile"\npercentile = 60\nmin_progression = 10\nmin_curves = 3\n'
    )
    code, out, err = run(text)
    assert code == 0, err
    counts = json.loads(out)["counts"]
    assert counts["EARLY_STOPPED"] >= 1
    assert sum(counts.values()) == 12
    log = CliRunner().invoke(app, ["log", "curves", "--json"])
    events = [json.loads(line) for line in log.stdout.splitlines()]
    stopped = [event for event in events if event["to_status"] == "EARLY_STOPPED"]
    assert len(stopped) == counts["EARLY_STOPPED"]
    assert all(event["reason"] and event["from_status"] == "RUNNING" for event in stopped)
