"""The report is one file that needs nothing else, and says what the campaign says."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from ax.core.parameter import ChoiceParameter, ParameterType, RangeParameter
from ax.core.trial_status import TrialStatus
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from ax_jax_runners import Campaign, FeatureEvaluator, FeatureTask, Parameter, ParameterSpace
from ax_jax_runners.campaign.objectives import read_goals
from ax_jax_runners.campaign.report import overview_figure, write_report
from ax_jax_runners.campaign.report.findings import collect, constraint_texts
from ax_jax_runners.campaign.report.fit import fitted_curves
from ax_jax_runners.campaign.report.progress import running_best
from ax_jax_runners.campaign.report.summary import position_in_box
from ax_jax_runners.campaign.report.surrogate import fit_surrogate
from ax_jax_runners.problems import Measured

HOSTILE = "ring </script><script>alert(1)</script><b>%{x} &lt;"
FEATURE = "<img src=x onerror=alert(1)>"
ANCHORS = ["best", "progress", "fit", "parameters", "model", "importance", "failures"]
X = np.linspace(1.0, 2.0, 21)
TRUTH = {"a": 0.3, "k</script>": 10.0, "n": 2.0}
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def resonance(p: Mapping[str, Any]) -> Any:
    return 1.0 / (1.0 + 1j * p["k</script>"] * (X - 1.2 - p["a"])) ** p["n"]


TARGET = resonance(TRUTH)


class Resonance:
    """A complex and a real curve, measured without noise at `TRUTH`."""

    measured = (
        Measured(FEATURE, X, "frequency [GHz]", TARGET),
        Measured("level", X, "frequency [GHz]", np.abs(TARGET) + TRUTH["a"]),
    )

    def __call__(self, p: Mapping[str, Any]) -> dict[str, jax.Array]:
        curve = resonance(p)
        # Every arm with a large a is a simulator's failure.
        return {FEATURE: jnp.where(p["a"] > 0.8, jnp.nan, curve), "level": jnp.abs(curve) + p["a"]}


def misfit(features: Mapping[str, jax.Array]) -> jax.Array:
    return jnp.mean(jnp.abs(features[FEATURE] - TARGET) ** 2)


def top(features: Mapping[str, jax.Array]) -> jax.Array:
    return jnp.max(features["level"])


def low(features: Mapping[str, jax.Array]) -> jax.Array:
    return jnp.min(features["level"])


SPACE = ParameterSpace(
    [
        Parameter("a", lower=0.0, upper=1.0),
        Parameter("k</script>", lower=0.1, upper=1000.0, log_scale=True),
        Parameter("n", lower=1, upper=4, integer=True),
        Parameter("unused", fixed=3.0),
    ]
)
OUTPUTS = {"misfit": misfit, "top": top, "low": low}
TASK = FeatureTask(FeatureEvaluator(Resonance(), SPACE), outputs=OUTPUTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def campaign(folder: Path) -> Campaign:
    made = Campaign(
        HOSTILE,
        TASK,
        objective="-misfit",
        store=f"sqlite:///{folder / 'one.db'}",
        trials=24,
        batch_size=24,
        generation="sobol",
    )
    return made.run(progress=False)


@pytest.fixture(scope="module")
def written(campaign: Campaign, folder: Path) -> Path:
    return campaign.report(folder / "report.html")


@dataclass
class Page(HTMLParser):
    """What a browser would see: elements, visible text, scripts."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        last = (
            next(a for t, a in reversed(self.elements) if t == self.open[-1]) if self.open else {}
        )
        if "script" not in self.open:
            self.text.append(data)
        elif "data-figure" in last:
            self.figures[str(last["data-figure"])] = json.loads(data)
        else:
            self.scripts.append(data)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


def section_text(page: Page, start: str, end: str) -> str:
    text = " ".join(page.text)
    return text[text.index(start) : text.index(end)]


def test_one_file_with_all_sections_that_asks_for_nothing(written: Path) -> None:
    page = read(written)
    assert [a["id"] for tag, a in page.elements if tag == "section"] == ANCHORS
    assert not [a for _, a in page.elements if {"src", "href", "srcset"} & set(a)]
    assert not [tag for tag, _ in page.elements if tag in {"link", "iframe", "object", "base"}]
    assert "@import" not in written.read_text().replace(get_plotlyjs(), "")
    assert len(page.scripts) == 2
    assert written.read_text().count(get_plotlyjs()) == 1
    places = [a["id"] for _, a in page.elements if a.get("class") == "figure"]
    assert list(page.figures) == places
    assert len(places) >= 6


def test_its_policy_allows_exactly_its_two_scripts(written: Path) -> None:
    page = read(written)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert re.findall(r"sha256-([^']+)'", policy) == digests
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_hostile_names_and_sentences_stay_text(written: Path, campaign: Campaign) -> None:
    page = read(written)
    assert not [tag for tag, _ in page.elements if tag in {"b", "img"}]
    assert HOSTILE in "".join(page.text)
    assert f"Feature {FEATURE!r} has 21 of 21 entries not finite" in "".join(page.text)
    labels = json.dumps([figure["layout"] for figure in page.figures.values()])
    assert "<img" not in labels
    assert "%{" not in labels
    assert "&lt;img src=x onerror=alert(1)&gt;" in labels


def test_best_parameters_outputs_and_failures_are_those_of_the_campaign(
    written: Path, campaign: Campaign
) -> None:
    page, best = read(written), campaign.best()
    shown = section_text(page, "Best parameters", "Best so far")
    for value in [*best.parameters.values(), *best.outputs.values()]:
        assert (f"{value:.6g}" if isinstance(value, float) else str(value)) in shown
    failed = campaign.experiment.trials_by_status[TrialStatus.FAILED]
    assert failed
    rows = section_text(page, "Failures", "Attempts that were run again")
    assert rows.count("entries not finite") == len(failed)
    assert f"{24 - len(failed)} completed" in "".join(page.text)


def test_the_curve_is_the_running_minimum(campaign: Campaign) -> None:
    frame = campaign.to_frame().dropna()
    trials, values = running_best(collect(campaign))
    lowest = np.minimum.accumulate(frame["misfit"].to_numpy())
    steps = np.interp(frame["trial_index"], trials, np.arange(len(trials))).astype(int)
    np.testing.assert_array_equal(np.asarray(values)[steps], lowest)


def test_fitted_curves_are_the_recorded_ones_and_computed_where_none_are(
    campaign: Campaign, folder: Path
) -> None:
    theta = SPACE.pack(campaign.best().parameters)
    expected = TASK.evaluator.model_features(theta)
    best = collect(campaign).best[0]
    outcome = campaign.experiment.trials[best.trial_index].run_metadata["ax_jax"]["arms"]
    kept = campaign.store.files.path(outcome[best.arm_name]["artifacts"]["level"])
    for present in (True, False):
        found = fitted_curves(collect(campaign))
        assert [curve.feature for curve, _ in found] == [FEATURE, "level"]
        for curve, values in found:
            np.testing.assert_array_equal(values, expected[curve.feature])
        if present:
            kept.rename(folder / "away")
    (folder / "away").rename(kept)


def test_the_model_is_tested_on_arms_it_has_not_seen_and_changes_nothing(
    campaign: Campaign,
) -> None:
    before = (torch.get_rng_state().clone(), len(campaign.experiment.trials))
    surrogate = fit_surrogate(collect(campaign))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert len(campaign.experiment.trials) == before[1]
    assert list(surrogate.held_out) == ["misfit"]
    held_out = surrogate.held_out["misfit"]
    assert sorted(held_out.observed) == sorted(campaign.to_frame()["misfit"].dropna())
    # A model that had seen a noiseless arm would return its value.
    assert np.abs(held_out.observed - held_out.predicted).max() > 1e-4
    explained = np.corrcoef(held_out.observed, held_out.predicted)[0, 1]
    assert held_out.r_squared <= explained**2 + 1e-9
    assert set(surrogate.sensitivity["misfit"]) == {"a", "k</script>", "n"}
    assert set(surrogate.slices["misfit"]) == {"a", "k</script>", "n"}


def test_without_its_task_a_campaign_is_reported_with_a_sentence(
    campaign: Campaign, folder: Path
) -> None:
    loaded = Campaign.load(HOSTILE, store=campaign.store)
    page = read(write_report(loaded, folder / "unbound.html"))
    assert [a["id"] for tag, a in page.elements if tag == "section"] == ANCHORS
    assert "was not given when the campaign was opened" in "".join(page.text)
    assert "figure-fit-0" not in page.figures
    assert "figure-progress" in page.figures


def test_a_new_campaign_has_only_sentences(folder: Path) -> None:
    made = Campaign("new", TASK, objective="-misfit", store=f"sqlite:///{folder / 'new.db'}")
    page = read(made.report(folder / "new.html"))
    assert page.figures == {}
    text = "".join(page.text)
    assert "No trial is complete yet." in text
    assert "0 arms are complete; with fewer than 5 no model is fitted" in text
    assert "No trial failed and no arm was abandoned." in text


def test_several_objectives_show_the_front_and_what_was_run_again(folder: Path) -> None:
    made = Campaign(
        "two",
        TASK,
        objective="-misfit, top",
        outcome_constraints=["low <= 1"],
        store=f"sqlite:///{folder / 'two.db'}",
        batch_size=4,
        generation="sobol",
    )
    made.attach({"a": 0.0, "k</script>": 0.1, "n": 1}, {"misfit": 3.0, "top": 4.0, "low": 0.0})
    made.attach({"a": 0.5, "k</script>": 1.0, "n": 1}, {"misfit": 1e-9, "top": 1.0, "low": 1.0})
    made.attach({"a": 0.5, "k</script>": 2.0, "n": 1}, {"misfit": 0.0, "top": 6.0, "low": 1.5})
    made.attach({"a": 0.9, "k</script>": 2.0, "n": 1})
    made.run(4, progress=False)
    made.retry_failed(progress=False)
    page = read(made.report(folder / "two.html"))
    text = " ".join(page.text)
    assert "2 arms on the Pareto front after 3 completed trials." in text
    front = next(t for t in page.figures["figure-front-0-1"]["data"] if t["name"] == "Pareto front")
    assert (front["x"], front["y"]) == ([1e-9, 3.0], [1.0, 4.0])
    again = text[text.index("Attempts that were run again") :]
    assert re.search(r"3 +1 +failed", again)
    assert len(overview_figure(made).data) > len(page.figures["figure-front-0-1"]["data"])


def test_a_value_at_its_bound_is_marked(folder: Path) -> None:
    made = Campaign("edge", TASK, objective="-misfit", store=f"sqlite:///{folder / 'edge.db'}")
    made.attach({"a": 0.0, "k</script>": 1000.0, "n": 2}, {"misfit": 0.1, "top": 1.0})
    text = " ".join(read(made.report(folder / "edge.html")).text)
    assert text.count("at its lower bound") == 1
    assert text.count("at its upper bound") == 1


def test_a_write_that_fails_leaves_nothing_behind(campaign: Campaign, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IsADirectoryError):
        write_report(campaign, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@given(st.floats(0.1, 1e3), st.floats(1.01, 1e4), st.floats(0, 1), st.booleans())
def test_position_in_the_box_inverts_the_scale(
    low: float, ratio: float, place: float, log: bool
) -> None:
    high = low * ratio
    parameter = RangeParameter("p", ParameterType.FLOAT, low, high, log_scale=log)
    value = low * ratio**place if log else low + place * (high - low)
    assert math.isclose(position_in_box(parameter, value), place, abs_tol=1e-9)


def test_choices_are_evenly_spread() -> None:
    parameter = ChoiceParameter(
        "c", ParameterType.STRING, ["x", "y", "z"], is_ordered=False, sort_values=False
    )
    assert [position_in_box(parameter, value) for value in "xyz"] == [0.0, 0.5, 1.0]


def browse(path: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=10000",
        f"--user-data-dir={profile}",
        "--dump-dom",
    ]
    command = [str(CHROMIUM), *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_every_figure_without_a_word_on_its_console(
    written: Path, tmp_path: Path
) -> None:
    seen = browse(written, tmp_path / "profile")
    assert "CONSOLE" not in seen.stderr
    drawn = re.findall(r'class="figure[^"]*js-plotly-plot', seen.stdout)
    assert len(drawn) == len(read(written).figures)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_refuses_any_other_script_in_the_page(written: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.html"
    text = written.read_text()
    tampered.write_text(text.replace("</main>", "<script>document.title = 'run'</script></main>"))
    seen = browse(tampered, tmp_path / "profile")
    assert "CONSOLE" in seen.stderr
    assert "<title>run</title>" not in seen.stdout


def test_a_constraint_is_shown_as_people_write_it():
    asked = ["b >= 0", "c <= 2", "-b - 2*c <= 3", "b - c >= 1"]
    goals = read_goals("a", asked, ("a", "b", "c"))
    texts = [text for text, _ in constraint_texts(goals)]
    assert texts == ["b >= 0", "c <= 2", "b + 2 c >= -3", "-b + c <= -1"]
