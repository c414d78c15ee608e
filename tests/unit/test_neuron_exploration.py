"""A campaign over the settings of random walks through neurons, against those of the old law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ax_jax_runners import Campaign, JaxRunner, Parameter, ParameterSpace, Store, problems
from ax_jax_runners.exploration.diagnostics import ess_from_jumps
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.tasks import RandomWalkTask
from ax_jax_runners.tasks.keys import arm_keys

EVALUATIONS, TRIALS = 16_000, 24


def old_law(task: RandomWalkTask) -> RandomWalkTask:
    """The same walk with the step sizes, uniform from 0 to 0.02, that explorations used to have."""
    return task.over(
        ParameterSpace(
            [
                next(p for p in task.space.parameters if p.name == "seed_point"),
                Parameter("max_step_size", fixed=0.02),
                Parameter("step_ratio", fixed=0.0),
                Parameter("kernel", fixed="redraw"),
                Parameter("adapt", fixed=False),
            ]
        )
    )


def states_of_old_law(task: RandomWalkTask) -> list[np.ndarray]:
    """States (n, P, k) from each seed point."""
    walk = old_law(task)
    state = walk.begin(
        [{"seed_point": i} for i in range(3)], arm_keys(5, [(i, 0) for i in range(3)])
    )
    for _ in range(walk.slices):
        state = walk.advance(state)
    reports = walk.progress(state)
    assert [report.step for report in reports] == [EVALUATIONS] * 3
    found = []
    for report in reports:
        rows = int(np.isfinite(report.arrays["violations"]).sum(axis=0).min())
        found.append(report.arrays["unit_states"][:rows].astype(float))
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_campaign_finds_ten_times_the_effective_draws_of_the_old_law(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = problems.build("neuron-explore", evaluations=EVALUATIONS, slices=4)
    store = Store.open(f"sqlite:///{tmp_path}/neurons.db", artifacts=tmp_path / "artifacts")
    assert store.files is not None
    campaign = Campaign(
        "neurons",
        runner=JaxRunner(task, seed=1, directory=store.files.folder),
        objective="log10_jump_ess_per_1000",
        store=store,
        batch_size=4,
        seed=1,
    ).run(TRIALS, progress=False)
    best = campaign.best()
    (outcome,) = decode_outcomes(campaign.experiment.trials[best.trial_index].run_metadata).values()
    arrays = store.files.read_arrays(outcome.artifacts["unit_states"])
    rows = int(np.isfinite(arrays["violations"]).sum(axis=0).min())
    found = arrays["unit_states"][:rows].astype(float)
    store.close()
    old = states_of_old_law(task)
    # Of the region: what the best walk has come to since it left its seed point.
    spread = found[rows // 2 :].reshape(-1, found.shape[-1]).var(axis=0)
    ratios = []
    for variance in (1 / 12, spread):
        draws = [ess_from_jumps(states, variance=variance)[0].min() for states in old]
        ratios.append(ess_from_jumps(found, variance=variance)[0].min() / max(draws))
    with capsys.disabled():
        print(
            f"\n{TRIALS} trials of {EVALUATIONS} evaluations: {best.parameters}, effective draws "
            f"{10 ** best.outputs['log10_jump_ess_per_1000']:.3g} per 1,000 evaluations, "
            f"{ratios[0]:.0f} times those of the old law with the variance of the box and "
            f"{ratios[1]:.0f} times with that of the region"
        )
    assert min(ratios) >= 10
