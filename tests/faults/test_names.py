"""Names made to break SQL, paths or text: stored and read back exactly, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from sqlalchemy import NullPool, create_engine, inspect, text

from ax_jax_runners import Campaign, JaxRunner, Parameter, ParameterSpace, Store
from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.store import campaigns
from ax_jax_runners.tasks import Progress

HOSTILE = {
    "quote": "x'; DROP TABLE trial_v2; --",
    "double quote": 'x"; DELETE FROM campaign; --',
    "union": "' UNION SELECT owner FROM lease; --",
    "backslash": "\\'; DROP TABLE lease; --",
    "placeholders": "%s :name ? {0} %(x)s $1",
    "nul": "before\0after",
    "right to left": "\u202egnihton\u202c \u2066x\u2069",
    "half a pair": "half \ud800",
    "long": "n" * 10_000,
    "long and wide": "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 300,
    "lines": "two\r\nlines\t",
    "blank": " ",
    "empty": "",
    "above": "../../escaped",
    "absolute": "/escaped",
    "percent": "%2e%2e%2fescaped",
    "windows": "C:\\escaped|*?<>",
    "null": "NULL",
    "like": "%",
}


@dataclass(frozen=True)
class NamedTask:
    """Parameters and outputs of any names; every output names an array too."""

    space: ParameterSpace
    outputs: tuple[str, ...]

    def begin(self, arms: Any, keys: Any) -> Any:
        return np.stack([self.space.pack(arm) for arm in arms])

    def advance(self, state: Any) -> Any:
        return state

    def progress(self, state: Any) -> list[Progress]:
        return [
            Progress(
                step=1,
                done=True,
                outputs={name: (float(row[0]) + i, 0.0) for i, name in enumerate(self.outputs)},
                arrays=dict.fromkeys(self.outputs, row),
            )
            for row in state
        ]


def build_task(*, parameters: Sequence[str] = ("x",), outputs: Sequence[str] = ()) -> NamedTask:
    space = ParameterSpace([Parameter(name, lower=0.0, upper=1.0) for name in parameters])
    return NamedTask(space, ("cost", *outputs))


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "inside" / "artifacts"
    folder.mkdir(parents=True)
    opened = Store.open(store_url, artifacts=folder)
    yield opened
    opened.close()


def tables(url: str) -> dict[str, int]:
    """Every table and how many rows it has."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()  # noqa: S608
            for name in inspect(connection).get_table_names()
        }


def snapshot(folder: Path, *, without: Path) -> dict[str, tuple[int, int]]:
    """Length and time of change of everything in a folder, but for one below it."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if without not in (path, *path.parents)
    }


def make(store: Store, name: str, task: NamedTask) -> Campaign:
    runner = JaxRunner(task, directory=store.files.folder if store.files else None)
    return Campaign(
        name, runner=runner, objective="-cost", store=store, generation="sobol", batch_size=2
    )


def check_run(campaign: Campaign, task: NamedTask) -> None:
    """Run two trials; what is loaded is what was stored, under these very names."""
    campaign.run(2, progress=False)
    loaded = Campaign.load(campaign.name, task, store=campaign.store)
    assert loaded.name == campaign.name
    assert loaded.outputs == task.outputs
    assert loaded.to_frame().equals(campaign.to_frame())
    assert {*task.outputs, *task.space.names} <= set(loaded.to_frame().columns)
    for trial in loaded.experiment.trials.values():
        assert trial.status is TrialStatus.COMPLETED
        (arm,) = trial.arms
        assert set(arm.parameters) == set(task.space.names)
        (found,) = trial.run_metadata["ax_jax"]["arms"].values()
        assert tuple(found["outputs"]) == tuple(found["artifacts"]) == task.outputs
        value = next(iter(arm.parameters.values()))
        assert [mean for mean, _ in found["outputs"].values()] == [
            value + i for i in range(len(task.outputs))
        ]


def sorted_out(
    names: Iterable[str], accept: Callable[[str], Any]
) -> tuple[list[str], dict[str, str]]:
    """The names that are accepted, and the sentences on those that are not."""
    accepted, refused = [], {}
    for name in names:
        try:
            accept(name)
        except AxJaxError as error:
            refused[name] = str(error)
        else:
            accepted.append(name)
    for sentence in refused.values():
        assert 0 < len(sentence) < 2_000
        assert "\0" not in sentence
    return accepted, refused


@pytest.mark.fault(9, 10)
def test_a_campaign_s_name_comes_back_exactly_or_is_refused(store: Store, tmp_path: Path) -> None:
    task = build_task()
    check_run(make(store, "first", task), task)
    before, outside = tables(store.url), snapshot(tmp_path, without=tmp_path / "inside")
    accepted, refused = sorted_out(HOSTILE.values(), lambda name: make(store, name, task))
    assert HOSTILE["quote"] in accepted
    check_run(Campaign.load(HOSTILE["quote"], task, store=store), task)
    for name in accepted:
        assert Campaign.load(name, store=store).name == name
    after = tables(store.url)
    assert after.keys() == before.keys()
    with store.reading() as connection:
        listed = {record.name: record.state for record in campaigns.list_campaigns(connection)}
    assert listed.keys() == {"first", *accepted}
    assert listed["first"] == listed[HOSTILE["quote"]] == "complete"
    assert after["campaign"] == after["experiment_v2"] == 1 + len(accepted)
    assert after["trial_v2"] == after["arm_v2"] == after["observation"] == 4
    assert HOSTILE["empty"] in refused
    check_untouched(tmp_path, outside)


@pytest.mark.fault(9, 10)
def test_names_in_a_task_come_back_exactly_or_are_refused(store: Store, tmp_path: Path) -> None:
    before, outside = tables(store.url), snapshot(tmp_path, without=tmp_path / "inside")
    parameters, _ = sorted_out(
        HOSTILE.values(),
        lambda name: make(store, f"p {name}"[:80], build_task(parameters=["x", name])),
    )
    outputs, _ = sorted_out(
        (name + " out" for name in HOSTILE.values()),
        lambda name: make(store, f"o {name}"[:80], build_task(outputs=[name])),
    )
    assert HOSTILE["quote"] in parameters
    assert HOSTILE["quote"] + " out" in outputs
    task = build_task(parameters=["x", *parameters], outputs=outputs)
    check_run(make(store, "all at once", task), task)
    after = tables(store.url)
    assert after.keys() == before.keys()
    assert after["trial_v2"] == 2
    assert after["observation"] == after["artifact"] == 2 * len(task.outputs)
    check_untouched(tmp_path, outside)


def check_untouched(folder: Path, before: dict[str, Any]) -> None:
    """Assert that nothing but the database and the folder of the store has changed."""
    after = snapshot(folder, without=folder / "inside")
    for files in (before, after):
        for path in [path for path in files if "campaigns.db" in path]:
            del files[path]
    assert after == before
