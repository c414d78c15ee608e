"""Named models fitted to any Touchstone file: truth is recovered where scikit-rf made the file."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import skrf
from skrf.media import DefinedGammaZ0

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.problems.rf import SPEED_OF_LIGHT
from ax_jax_runners.tasks import FeatureTask, Progress

FREQUENCY = skrf.Frequency(0.5, 4.0, 51, unit="GHz")
MEDIA = DefinedGammaZ0(FREQUENCY, z0=50.0, gamma=1j * FREQUENCY.w / SPEED_OF_LIGHT)
RLC = {"resistance": 30.0, "inductance": 3e-9, "capacitance": 2e-12}
LADDER = {
    "resistance": 6.0,
    **{f"inductance_{section}": section * 1e-9 for section in (1, 2, 3)},
    **{f"capacitance_{section}": section * 0.5e-12 for section in (1, 2, 3)},
}


def evaluate(task: FeatureTask, arm: dict[str, float]) -> Progress:
    state = task.begin([arm], jax.random.split(jax.random.key(0), 1))
    return task.progress(task.advance(state))[0]


def save(network: skrf.Network, folder: Path) -> str:
    network.write_touchstone("made", dir=str(folder), form="ri", write_z0=False)
    return str(folder / f"made.s{network.nports}p")


def series_rlc() -> skrf.Network:
    return MEDIA.resistor(30.0) ** MEDIA.inductor(3e-9) ** MEDIA.capacitor(2e-12)


def shunt_rlc() -> skrf.Network:
    return (
        MEDIA.shunt(MEDIA.resistor(30.0) ** MEDIA.short())
        ** MEDIA.shunt_inductor(3e-9)
        ** MEDIA.shunt_capacitor(2e-12)
    )


def lossy_line() -> skrf.Network:
    """A line without loss, which the model reaches as its losses vanish."""
    line = MEDIA.line(0.08, "m", z0=70.0)
    return MEDIA.shunt_capacitor(0.1e-12) ** line ** MEDIA.shunt_capacitor(0.2e-12)


def ladder() -> skrf.Network:
    parts = MEDIA.thru()
    for section in (1, 2, 3):
        parts = parts ** MEDIA.resistor(2.0) ** MEDIA.inductor(section * 1e-9)
        parts = parts ** MEDIA.shunt_capacitor(section * 0.5e-12)
    return parts


LINE = {
    "impedance": 70.0,
    "length": 0.08,
    "conductor_loss": 0.0,
    "loss_tangent": 0.0,
    "capacitance_1": 0.1e-12,
    "capacitance_2": 0.2e-12,
}
CASES = {
    "two-port series": ("series-rlc", series_rlc, RLC),
    "two-port shunt": ("shunt-rlc", shunt_rlc, RLC),
    "one-port series": ("series-rlc", lambda: series_rlc() ** MEDIA.short(), RLC),
    "one-port shunt": ("shunt-rlc", lambda: shunt_rlc() ** MEDIA.open(), RLC),
    "line": ("lossy-line", lossy_line, LINE),
    "ladder": ("rlc-ladder", ladder, LADDER),
}


@pytest.mark.parametrize("case", CASES)
def test_the_truth_has_no_cost(case: str, tmp_path: Path) -> None:
    model, network, truth = CASES[case]
    task = problems.build("touchstone", data=save(network(), tmp_path), model=model)
    progress = evaluate(task, truth)
    assert progress.failure is None
    assert progress.outputs["cost"][0] < 1e-16
    assert np.isfinite(progress.outputs["log10_cost"][0])
    for curve in problems.measured(task):
        np.testing.assert_allclose(progress.arrays[curve.feature], curve.values, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_the_box_holds_the_truth_and_is_finite_all_over(case: str, tmp_path: Path) -> None:
    model, network, truth = CASES[case]
    task = problems.build("touchstone", data=save(network(), tmp_path), model=model)
    space = task.space
    lossless = [name.startswith(("conductor", "loss_")) for name in space.names]
    theta = space.pack(truth)
    assert (((space.lower <= theta) & (theta <= space.upper)) | lossless).all()
    corners = np.random.default_rng(1).choice([0.0, 1.0], size=(128, space.dimension))
    evaluation = task.evaluator.evaluate(space.lower + corners * (space.upper - space.lower))
    assert evaluation.valid.all()


def test_a_measured_inductor_that_ships_with_scikit_rf_is_taken() -> None:
    path = Path(skrf.__file__).parent / "data" / "ind.s2p"
    task = problems.build("touchstone", data=str(path), model="series-rlc")
    inductor = {"resistance": 0.5, "inductance": 1e-9, "capacitance": task.space.upper[2]}
    assert evaluate(task, inductor).outputs["rms_error"][0] < 0.3


def test_the_default_model_follows_the_number_of_ports(tmp_path: Path) -> None:
    one = problems.build("touchstone", data=save(series_rlc() ** MEDIA.short(), tmp_path))
    two = problems.build("touchstone", data=save(lossy_line(), tmp_path))
    assert one.space.names == tuple(RLC)
    assert two.space.names == tuple(LINE)


def test_the_ring_slot_model_is_one_of_them() -> None:
    path = Path(skrf.__file__).parent / "data" / "ring slot measured.s1p"
    task = problems.build("touchstone", data=str(path), model="ring-slot")
    assert task == problems.build("ring-slot", variant="six")


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    one_port = save(series_rlc() ** MEDIA.short(), tmp_path)
    with pytest.raises(ConfigurationError, match=r'give the option data = "my\.s2p"'):
        problems.build("touchstone")
    with pytest.raises(ConfigurationError, match="no model 'rlc'; choose one of 'ring-slot'"):
        problems.build("touchstone", data=one_port, model="rlc")
    with pytest.raises(ConfigurationError, match="has 1 port, and the model 'lossy-line' needs"):
        problems.build("touchstone", data=one_port, model="lossy-line")
    tee = Path(skrf.__file__).parent / "data" / "tee.s3p"
    with pytest.raises(DataFileError, match="has 3 ports"):
        problems.build("touchstone", data=str(tee))
    direct = tmp_path / "direct.s1p"
    direct.write_text("# GHz S RI R 50\n0 0.1 0.2\n1 0.1 0.2\n")
    with pytest.raises(DataFileError, match="begins at 0 Hz"):
        problems.build("touchstone", data=str(direct))
