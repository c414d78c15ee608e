"""Rules that end long trials early, in a campaign: what is saved, kept, stored and shown."""

from __future__ import annotations

import statistics

import pytest
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import (
    AndEarlyStoppingStrategy,
    BaseEarlyStoppingStrategy,
    OrEarlyStoppingStrategy,
    PercentileEarlyStoppingStrategy,
    ThresholdEarlyStoppingStrategy,
)

from ax_jax_runners import (
    Campaign,
    Parameter,
    ParameterSpace,
    StepwiseTask,
    Store,
    problems,
    registry_bundle,
)
from ax_jax_runners.campaign.early_stopping import decode_rule, encode_rule
from ax_jax_runners.campaign.options import RunOptions
from ax_jax_runners.campaign.overview import read_overview
from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.errors import ConfigurationError, NoFeasibleArm
from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.metrics.names import to_identifier
from tests.benchmarks.early_stopping import run_seed

TASK = problems.build("learning-curve", steps=30, steps_per_slice=5)
PERCENTILE = PercentileEarlyStoppingStrategy(
    percentile_threshold=60.0, min_progression=10.0, min_curves=2, patience=5.0, interval=5.0
)
HOPELESS = ThresholdEarlyStoppingStrategy(metric_threshold=-1.0, min_progression=10.0, min_curves=0)


def campaign_in(store, name="curves", rule: BaseEarlyStoppingStrategy | None = PERCENTILE, **more):
    given = {"trials": 16, "batch_size": 4, "generation": "sobol", "seed": 1, **more}
    return Campaign(name, TASK, objective="-loss", store=store, early_stopping=rule, **given)


def outcome(trial):
    return arm_outcomes(trial)[trial.arms[0].name]


def stopped_trials(campaign):
    return campaign.experiment.trials_by_status[TrialStatus.EARLY_STOPPED]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('early')}/campaigns.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def finished(store):
    return campaign_in(store).run(progress=False)


def test_some_curves_are_stopped_and_the_others_completed(finished):
    by_status = finished.experiment.trial_indices_by_status
    stopped, completed = by_status[TrialStatus.EARLY_STOPPED], by_status[TrialStatus.COMPLETED]
    assert len(stopped) >= 4
    assert len(completed) >= 3
    assert len(stopped) + len(completed) == 16


def test_a_stopped_trial_keeps_its_curve_and_the_reason(finished):
    for trial in stopped_trials(finished):
        known = outcome(trial)
        steps = [step for step, _, _ in known["curves"]["loss"]]
        assert steps == [*range(5, known["step"] + 1, 5)]
        assert 10 <= known["step"] < 30
        assert "60.0-th percentile" in trial.status_reason


def test_data_hold_every_point_and_their_last_row_is_what_models_see(finished):
    data = finished.experiment.data
    counts = data.full_df.groupby("trial_index").size()
    last = data.df.set_index("trial_index")["mean"]
    for index, trial in finished.experiment.trials.items():
        assert counts[index] == outcome(trial)["step"] / 5
        assert last[index] == outcome(trial)["outputs"]["loss"][0]


def test_the_best_arm_is_a_completed_one(finished):
    completed = finished.experiment.trials_by_status[TrialStatus.COMPLETED]
    lowest = min(outcome(trial)["outputs"]["loss"][0] for trial in completed)
    assert finished.best().outputs["loss"] == lowest
    assert read_overview(finished.store, finished.name).best == finished.best()


def test_stopped_trials_are_shown(finished, tmp_path):
    frame = finished.to_frame().set_index("trial_index")
    for trial in stopped_trials(finished):
        assert frame.loc[trial.index, "trial_status"] == "EARLY_STOPPED"
        assert frame.loc[trial.index, "loss"] == outcome(trial)["outputs"]["loss"][0]
    overview = read_overview(finished.store, finished.name)
    assert overview.counts["EARLY_STOPPED"] == len(stopped_trials(finished))
    assert overview.failures == ()
    page = finished.report(tmp_path / "report.html").read_text()
    assert "early stopped" in page


def test_what_is_stored_is_what_was_run(finished, store):
    loaded = Campaign.load(finished.name, store=store)
    assert loaded.options == RunOptions(4, early_stopping=PERCENTILE)
    assert type(loaded.experiment.metrics["loss"]) is CurveMetric
    for index, trial in finished.experiment.trials.items():
        again = loaded.experiment.trials[index]
        assert (again.status, again.status_reason) == (trial.status, trial.status_reason)
        assert again.run_metadata == trial.run_metadata
    rows = {
        (row.trial_index, row.step): (row.mean, row.se)
        for row in finished.experiment.data._data_rows
    }
    found = loaded.experiment.data._data_rows
    assert {(row.trial_index, row.step): (row.mean, row.se) for row in found} == rows


def begin(parameters, key):
    return {"rate": parameters["rate"], "t": 0}


def advance(state):
    return {**state, "t": state["t"] + 1}


def report(state):
    loss = (1.0 - state["rate"]) ** state["t"] / 3.0
    outputs = {"loss": (loss, 0.0), "beta": loss / 7.0}
    return {"step": state["t"], "done": state["t"] >= 4, "outputs": outputs}


def test_curves_and_single_values_are_read_back_side_by_side(store):
    space = ParameterSpace([Parameter("rate", lower=0.1, upper=0.9)])
    task = StepwiseTask(
        space, outputs=("loss", "beta"), begin=begin, advance=advance, report=report
    )
    rule = PercentileEarlyStoppingStrategy(min_progression=2.0, min_curves=1)
    given = {"objective": "-loss", "store": store, "early_stopping": rule, "batch_size": 2}
    live = Campaign("mixed", task, generation="sobol", trials=6, **given).run(progress=False)
    kinds = {name: type(metric) for name, metric in live.experiment.metrics.items()}
    assert kinds == {"loss": CurveMetric, to_identifier("beta"): OutputMetric}
    loaded = Campaign.load("mixed", task, store=store)
    found = {key(row): row.mean for row in loaded.experiment.data._data_rows}
    assert found == {key(row): row.mean for row in live.experiment.data._data_rows}
    assert {step for _, name, step in found if name != "loss"} == {None}
    assert loaded.run(trials=8, progress=False).trials_begun == 8


def key(row):
    return row.trial_index, row.metric_name, row.step


def test_a_loaded_campaign_goes_on_with_its_rule(store):
    campaign_in(store, "resumed", trials=8).run(progress=False)
    loaded = Campaign.load("resumed", store=store).run(trials=16, progress=False)
    assert len(loaded.experiment.trials) == 16
    assert any(trial.index >= 8 for trial in stopped_trials(loaded))


def test_a_rule_may_come_later(store):
    first = campaign_in(store, "later", None, trials=4).run(progress=False)
    assert type(first.experiment.metrics["loss"]) is OutputMetric
    again = campaign_in(store, "later", trials=12).run(progress=False)
    assert {trial.index for trial in stopped_trials(again)} <= set(range(4, 12))
    assert stopped_trials(again)


def test_a_threshold_that_nothing_reaches_stops_all(store):
    campaign = campaign_in(store, "hopeless", HOPELESS, trials=4)
    campaign.run(cache=False, progress=False)
    assert {outcome(trial)["step"] for trial in stopped_trials(campaign)} == {10}
    assert "metric threshold -1.0" in stopped_trials(campaign)[0].status_reason
    with pytest.raises(NoFeasibleArm):
        campaign.best()


RULES = [
    None,
    PERCENTILE,
    PercentileEarlyStoppingStrategy(
        metric_signatures=["loss"],
        percentile_threshold=30.0,
        min_progression=0.2,
        max_progression=0.9,
        min_curves=None,
        normalize_progressions=True,
        n_best_trials_to_complete=3,
        check_safe=True,
    ),
    HOPELESS,
    AndEarlyStoppingStrategy(PERCENTILE, OrEarlyStoppingStrategy(HOPELESS, PERCENTILE)),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_option_of_a_rule_is_stored(rule):
    bundle = registry_bundle()
    options = RunOptions(early_stopping=rule)
    read = RunOptions.from_json(options.to_json(bundle), bundle)
    assert type(read.early_stopping) is type(rule)
    assert read == options
    assert decode_rule(encode_rule(rule, bundle), bundle) == rule


def test_a_rule_given_twice_does_not_remember_the_first_campaign():
    used = PercentileEarlyStoppingStrategy(interval=10.0)
    used._last_check_progressions[0] = 30.0
    for rule in (used, OrEarlyStoppingStrategy(used, HOPELESS)):
        copied = RunOptions(early_stopping=rule).early_stopping
        assert copied is not rule
        part = copied.left if isinstance(rule, OrEarlyStoppingStrategy) else copied
        assert part._last_check_progressions == {}
        assert part.interval == 10.0


def test_options_from_before_there_were_rules_have_none():
    assert RunOptions.from_json({"batch_size": 3}, registry_bundle()).early_stopping is None


class OwnRule(PercentileEarlyStoppingStrategy):
    """A class that Ax's storage does not know."""


REFUSED = {
    "a number": (3, "early_stopping is 3"),
    "an unknown output": (
        PercentileEarlyStoppingStrategy(metric_signatures=["accuracy"]),
        "'accuracy', which the task does not report; its outputs are 'loss'",
    ),
    "a class that cannot be stored": (OwnRule(), "OwnRule, which cannot be stored"),
}


@pytest.mark.parametrize(("rule", "words"), REFUSED.values(), ids=REFUSED)
def test_a_rule_that_cannot_be_used_is_refused_before_anything_is_stored(rule, words, store):
    with pytest.raises(ConfigurationError, match=words):
        campaign_in(store, "refused", rule)
    assert "refused" not in [record.name for record in _records(store)]


def _records(store):
    from ax_jax_runners.store import campaigns

    with store.reading() as connection:
        return campaigns.list_campaigns(connection)


FILE = 'name = "a"\ntask = "learning-curve"\n[early_stopping]\n'


def test_a_campaign_file_names_a_rule(tmp_path):
    path = tmp_path / "campaign.toml"
    path.write_text(FILE + 'rule = "percentile"\npercentile = 60\npatience = 5\ninterval = 10.0\n')
    assert read_settings(path).early_stopping.strategy() == PercentileEarlyStoppingStrategy(
        percentile_threshold=60.0, min_progression=10.0, patience=5.0, interval=10.0
    )
    path.write_text(FILE + 'rule = "threshold"\nthreshold = 0.5\nmin_progression = 20\n')
    assert read_settings(path).early_stopping.strategy() == ThresholdEarlyStoppingStrategy(
        metric_threshold=0.5, min_progression=20.0
    )


WRONG = {
    "no rule": ("percentile = 60", ["`early_stopping.rule` is missing", "'threshold'"]),
    "unknown rule": ('rule = "median"', ["line 4", "`early_stopping.rule`", "'percentile'"]),
    "unknown key": (
        'rule = "percentile"\npatients = 5',
        ["line 5", "`early_stopping.patients`", "did you mean `patience`"],
    ),
    "another rule's key": (
        'rule = "threshold"\nthreshold = 1\npatience = 5',
        ["`early_stopping`", "'threshold' has no `patience`"],
    ),
    "no threshold": ('rule = "threshold"', ["`early_stopping`", "needs a `threshold`"]),
    "too much patience": (
        'rule = "percentile"\nmin_progression = 5\npatience = 9',
        ["`patience` is larger than `min_progression`"],
    ),
    "percentile out of range": (
        'rule = "percentile"\npercentile = 100',
        ["line 5", "`early_stopping.percentile` is 100", "below 100"],
    ),
}


@pytest.mark.parametrize(("lines", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_table_is_one_sentence(lines, words, tmp_path):
    path = tmp_path / "campaign.toml"
    path.write_text(FILE + lines + "\n")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(path)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_rule_saves_steps_and_keeps_the_best_curve_of_one_family(tmp_path):
    result = run_seed(0, f"sqlite:///{tmp_path}/family.db")
    assert result.saved >= 0.4
    assert result.keeps_observed
    assert result.regret < 0.05


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_rule_saves_two_fifths_and_keeps_the_best_curve_in_nine_of_ten_families(tmp_path):
    results = [run_seed(seed, f"sqlite:///{tmp_path}/{seed}.db") for seed in range(10)]
    assert statistics.mean(result.saved for result in results) >= 0.4
    assert sum(result.saved >= 0.4 and result.keeps_observed for result in results) >= 9
    assert sum(result.saved >= 0.4 and result.keeps_exact for result in results) >= 9
