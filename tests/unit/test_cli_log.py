"""``ax-jax log`` and ``status`` tell what happened to every trial, also while it happens."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ax_jax_runners import Campaign, JaxRunner, Parameter, ParameterSpace, Store
from ax_jax_runners.campaign.overview import read_overview
from ax_jax_runners.campaign.stopping import stop_campaign
from ax_jax_runners.cli.app import app
from ax_jax_runners.cli.output import clock
from ax_jax_runners.store import events
from ax_jax_runners.tasks import Progress

WIDE = "a reason of many words, " * 300
SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])


@dataclass(frozen=True)
class Sum:
    """Adds x once a slice; needs ``slices`` of them, each of which takes ``seconds``."""

    slices: int = 3
    seconds: float = 0.0
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("total",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: Any) -> Any:
        del keys
        return {"x": np.array([arm["x"] for arm in arms]), "step": np.zeros(len(arms), int)}

    def advance(self, state: Any) -> Any:
        time.sleep(self.seconds)
        return {**state, "step": state["step"] + 1}

    def progress(self, state: Any) -> list[Progress]:
        return [
            Progress(step=step, done=step >= self.slices, outputs={"total": (x * step, 0.0)})
            for x, step in zip(state["x"].tolist(), state["step"].tolist(), strict=True)
        ]


def made(url: str, task: Sum) -> Campaign:
    return Campaign(
        "summing",
        runner=JaxRunner(task),
        objective="total",
        store=url,
        batch_size=2,
        generation="sobol",
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A complete campaign, one event of which has a very long reason."""
    url = f"sqlite:///{tmp_path_factory.mktemp('log') / 'campaigns.db'}"
    campaign = made(url, Sum())
    campaign.attach({"x": 0.5})
    campaign.run(4, progress=False)
    with campaign.store.unit_of_work() as connection:
        events.record_transitions(
            connection,
            campaign.record.id,
            [(3, 1, "COMPLETED", "FAILED", f"\x1b[31m{WIDE}\nthe end")],
        )
    campaign.store.close()
    return url


def lines(url: str, *arguments: str, columns: int = 100) -> list[str]:
    result = CliRunner().invoke(
        app, ["log", "summing", "--store", url, *arguments], env={"COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def documents(url: str, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(url, "--json", *arguments)]


def chains(found: list[dict[str, Any]]) -> dict[int, list[tuple[str | None, str]]]:
    """The changes of each trial in their order."""
    by_trial: dict[int, list[tuple[str | None, str]]] = {}
    for each in found:
        if each["kind"] == "trial":
            change = (each["from_status"], each["to_status"])
            by_trial.setdefault(each["trial_index"], []).append(change)
    return by_trial


def test_every_trial_has_an_unbroken_chain_of_changes(url: str) -> None:
    found = documents(url)
    assert [each["id"] for each in found] == sorted(each["id"] for each in found)
    by_trial = chains(found)
    assert sorted(by_trial) == [0, 1, 2, 3]
    for changes in by_trial.values():
        assert changes[0] == (None, "CANDIDATE")
        assert (changes[-1] if len(changes) < 4 else changes[-2])[1] == "COMPLETED"
        for before, after in itertools.pairwise(changes):
            assert before[1] == after[0]
    assert by_trial[1] == [
        (None, "CANDIDATE"),
        ("CANDIDATE", "RUNNING"),
        ("RUNNING", "COMPLETED"),
    ]
    own = [each["kind"] for each in found if each["kind"] != "trial"]
    assert own == ["created", "running", "complete"]
    assert {each["attempt"] for each in found if each["to_status"] == "COMPLETED"} == {1}


def test_lines_are_of_the_terminals_width_and_json_is_whole(url: str) -> None:
    for columns in (80, 100, 140):
        printed = lines(url, columns=columns)
        assert len(printed) == len(documents(url))
        assert max(map(len, printed)) <= columns
        assert "\x1b" not in "".join(printed)
    assert "trial 3  attempt 1  COMPLETED -> FAILED" in printed[-1]
    assert printed[-1].endswith("…")
    assert "trial 0  new -> CANDIDATE" in "\n".join(printed)
    assert documents(url)[-1]["reason"] == f"\x1b[31m{WIDE}\nthe end"


def test_a_limit_keeps_the_latest(url: str) -> None:
    assert documents(url, "--limit", "2") == documents(url)[-2:]
    assert documents(url, "--limit", "1000") == documents(url)


def test_following_what_nobody_runs_ends_at_once(url: str) -> None:
    result = CliRunner().invoke(
        app, ["log", "summing", "--store", url, "--follow"], env={"COLUMNS": "100"}
    )
    assert result.exit_code == 0
    assert result.stderr == "Campaign 'summing' is complete.\n"
    assert result.stdout.splitlines() == lines(url)


def test_status_shows_the_latest_changes_and_no_walls_of_text(url: str) -> None:
    shown = (
        CliRunner()
        .invoke(app, ["status", "summing", "--store", url], env={"COLUMNS": "120"})
        .stdout
    )
    assert "COMPLETED -> FAILED" in shown
    assert len(shown.splitlines()) < 60
    assert "\x1b" not in shown
    result = CliRunner().invoke(app, ["status", "summing", "--store", url, "--json"])
    latest = json.loads(result.stdout)["events"][-1]
    assert (latest["from_status"], latest["to_status"]) == ("COMPLETED", "FAILED")
    assert latest["reason"].endswith("the end")


def test_an_event_of_status_stays_on_one_line_of_a_narrow_terminal(url: str) -> None:
    arguments = ["status", "summing", "--store", url]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}).stdout
    latest = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["events"]
    found = [line.split() for line in shown.split("Latest events")[1].splitlines()]
    expected = []
    for each in latest:
        happened = [each["kind"]]
        if each["to_status"] is not None:
            happened = [each["from_status"] or "new", "->", each["to_status"]]
        numbers = (each["trial_index"], each["attempt"])
        about = ["-" if number is None else str(number) for number in numbers]
        expected.append([*clock(each["time"]).split(), *about, *happened])
    assert [line for line in found if line in expected] == expected
    assert max(map(len, shown.splitlines())) <= 80


def test_an_unknown_campaign_is_a_usage_error(url: str) -> None:
    for follow in ([], ["--follow"]):
        result = CliRunner().invoke(app, ["log", "nobody", "--store", url, *follow])
        assert result.exit_code == 2
        assert "No campaign 'nobody'" in result.stderr


def start_following(url: str) -> subprocess.Popen[str]:
    code = "from ax_jax_runners.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "log", "summing", "--follow", "--json", "--store", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )


@pytest.fixture
def running(store_url: str, tmp_path: Path) -> Iterator[tuple[Store, threading.Thread]]:
    """A campaign that runs, in what is another process to those who follow it, until stopped."""
    store = Store.open(store_url, artifacts=tmp_path / "artifacts")
    campaign = Campaign(
        "summing",
        runner=JaxRunner(Sum(seconds=0.1)),
        objective="total",
        store=store,
        batch_size=2,
        generation="sobol",
    )
    failures: list[BaseException] = []

    def run() -> None:
        try:
            campaign.run(10_000, progress=False)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not campaign_runs(store):
        assert thread.is_alive(), failures
        time.sleep(0.02)
    yield store, thread
    stop_campaign(store, "summing", wait=60.0)
    thread.join(60)
    assert failures == []
    store.close()


def campaign_runs(store: Store) -> bool:
    found = read_overview(store, "summing")
    if found.state == "running" and found.running:
        assert set(found.running.values()) == {1}
        assert found.owner == f"process {os.getpid()} on {os.uname().nodename}"
        return True
    return False


def test_a_follower_sees_events_as_they_come_and_ends_with_the_campaign(
    running: tuple[Store, threading.Thread],
) -> None:
    store, thread = running
    found = []
    completed, asked = 0, False
    with start_following(store.url) as follower:
        assert follower.stdout is not None
        for line in follower.stdout:
            found.append(json.loads(line))
            completed += found[-1]["to_status"] == "COMPLETED"
            if completed >= 6 and not asked:
                asked = True
                assert thread.is_alive()
                assert stop_campaign(store, "summing", wait=60.0).stopped
    assert follower.returncode == 0
    thread.join(60)
    assert found == documents(store.url)
    own = [each["kind"] for each in found if each["kind"] != "trial"]
    assert own == ["created", "running", "stop requested", "stopped"]
    for changes in chains(found).values():
        assert changes[0] == (None, "CANDIDATE")
        assert all(before[1] == after[0] for before, after in itertools.pairwise(changes))


def test_ctrl_c_ends_a_follower_and_not_the_campaign(
    running: tuple[Store, threading.Thread],
) -> None:
    store, thread = running
    with start_following(store.url) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["kind"] == "created"
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert thread.is_alive()
