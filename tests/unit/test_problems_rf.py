"""Networks in JAX against scikit-rf, and the laws that every passive reciprocal network obeys."""

from __future__ import annotations

from functools import reduce
from operator import pow as cascade_of_networks

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skrf
from hypothesis import given
from hypothesis import strategies as st
from skrf.media import DefinedGammaZ0, DistributedCircuit

from ax_jax_runners.problems import rf

FREQUENCY = np.linspace(1e9, 10e9, 46)
Z0 = 50.0
MEDIA = DefinedGammaZ0(skrf.Frequency.from_f(FREQUENCY, unit="Hz"), z0=Z0, gamma=1j)

LINE = {
    "impedance": 63.0,
    "length": 0.037,
    "permittivity": 3.4,
    "conductor_loss": 4.0,
    "loss_frequency": 2e9,
    "loss_tangent": 0.02,
}

ELEMENTS = {
    "series resistor": (
        lambda f: rf.series(rf.resistor(f, 12.0)),
        lambda: MEDIA.resistor(12.0),
    ),
    "series inductor": (
        lambda f: rf.series(rf.inductor(f, 2e-9)),
        lambda: MEDIA.inductor(2e-9),
    ),
    "series capacitor": (
        lambda f: rf.series(1.0 / rf.capacitor(f, 1e-12)),
        lambda: MEDIA.capacitor(1e-12),
    ),
    "shunt resistor": (
        lambda f: rf.shunt(1.0 / rf.resistor(f, 80.0)),
        lambda: MEDIA.shunt(MEDIA.resistor(80.0) ** MEDIA.short()),
    ),
    "shunt inductor": (
        lambda f: rf.shunt(1.0 / rf.inductor(f, 2e-9)),
        lambda: MEDIA.shunt_inductor(2e-9),
    ),
    "shunt capacitor": (
        lambda f: rf.shunt(rf.capacitor(f, 1e-12)),
        lambda: MEDIA.shunt_capacitor(1e-12),
    ),
    "series RLC": (
        lambda f: rf.series(rf.series_rlc(f, 5.0, 1e-9, 2e-12)),
        lambda: MEDIA.resistor(5.0) ** MEDIA.inductor(1e-9) ** MEDIA.capacitor(2e-12),
    ),
    "parallel RLC to ground": (
        lambda f: rf.shunt(rf.parallel_rlc(f, 200.0, 1e-9, 2e-12)),
        lambda: (
            MEDIA.shunt(MEDIA.resistor(200.0) ** MEDIA.short())
            ** MEDIA.shunt_inductor(1e-9)
            ** MEDIA.shunt_capacitor(2e-12)
        ),
    ),
}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def s_matrix(network: rf.TwoPort, z0: float = Z0) -> np.ndarray:
    return np.asarray(rf.s_parameters(network, z0).matrix())


def reference_line(**values: float) -> skrf.Network:
    """The line of the same distributed elements, by scikit-rf's media of R, L, G, C."""
    w, root = 2 * np.pi * FREQUENCY, np.sqrt(values["permittivity"])
    loss = values["conductor_loss"] * np.sqrt(FREQUENCY / values["loss_frequency"])
    conductor = loss * np.log(10) / 20
    dielectric = w / 2 * root * values["loss_tangent"] / rf.SPEED_OF_LIGHT
    media = DistributedCircuit(
        MEDIA.frequency,
        z0_port=Z0,
        R=2 * values["impedance"] * conductor,
        L=values["impedance"] * root / rf.SPEED_OF_LIGHT,
        G=2 * dielectric / values["impedance"],
        C=root / (values["impedance"] * rf.SPEED_OF_LIGHT),
    )
    return media.line(values["length"], "m")


@pytest.mark.parametrize("name", ELEMENTS)
def test_an_element_has_the_s_parameters_of_scikit_rf(name: str) -> None:
    ours, theirs = ELEMENTS[name]
    np.testing.assert_allclose(s_matrix(ours(FREQUENCY)), theirs().s, rtol=0, atol=1e-10)


def test_a_lossy_line_has_the_s_parameters_of_scikit_rf() -> None:
    ours = rf.lossy_line(FREQUENCY, **LINE)
    np.testing.assert_allclose(s_matrix(ours), reference_line(**LINE).s, rtol=0, atol=1e-10)


def test_a_cascade_has_the_s_parameters_of_scikit_rf() -> None:
    parts = [entry for name, entry in ELEMENTS.items() if "resistor" not in name]
    ours = rf.cascade(
        *(ours(FREQUENCY) for ours, _ in parts[:3]),
        rf.lossy_line(FREQUENCY, **LINE),
        *(ours(FREQUENCY) for ours, _ in parts[3:]),
    )
    networks = [build() for _, build in parts[:3]]
    networks += [reference_line(**LINE)] + [build() for _, build in parts[3:]]
    theirs = reduce(cascade_of_networks, networks)
    np.testing.assert_allclose(s_matrix(ours), theirs.s, rtol=0, atol=1e-10)


def test_another_port_impedance_is_scikit_rfs_renormalisation() -> None:
    ours = rf.lossy_line(FREQUENCY, **LINE)
    theirs = reference_line(**LINE)
    theirs.renormalize(75.0)
    np.testing.assert_allclose(s_matrix(ours, 75.0), theirs.s, rtol=0, atol=1e-10)


def test_a_terminated_two_port_reflects_as_in_scikit_rf() -> None:
    load = rf.series_rlc(FREQUENCY, 20.0, 1e-9, 3e-12)
    ours = rf.reflection_of_impedance(
        rf.input_impedance(rf.lossy_line(FREQUENCY, **LINE), load), Z0
    )
    theirs = reference_line(**LINE) ** MEDIA.load(np.asarray((load - Z0) / (load + Z0)))
    np.testing.assert_allclose(ours, theirs.s[:, 0, 0], rtol=0, atol=1e-10)


def test_reflections_of_an_impedance_and_of_its_admittance_agree() -> None:
    z = rf.series_rlc(FREQUENCY, 20.0, 1e-9, 3e-12)
    np.testing.assert_allclose(
        rf.reflection_of_impedance(z, 75.0), rf.reflection_of_admittance(1.0 / z, 75.0), rtol=1e-13
    )


def test_matched_open_and_short_ends() -> None:
    assert rf.reflection_of_impedance(50.0) == 0.0
    assert rf.reflection_of_impedance(0.0) == -1.0
    assert rf.reflection_of_admittance(0.0) == 1.0


def test_a_lossless_quarter_wave_line_inverts_its_load() -> None:
    quarter = rf.SPEED_OF_LIGHT / 1e9 / 4.0
    network = rf.lossy_line(jnp.array([1e9]), impedance=70.0, length=quarter)
    np.testing.assert_allclose(rf.input_impedance(network, 35.0), [140.0], rtol=1e-12)


positive = st.floats(1e-3, 1e3)
networks = st.lists(
    st.one_of(
        st.tuples(st.just("series"), positive, positive, positive),
        st.tuples(st.just("shunt"), positive, positive, positive),
        st.tuples(
            st.just("line"), st.floats(5.0, 500.0), st.floats(0.0, 0.3), st.floats(0.0, 20.0)
        ),
    ),
    min_size=1,
    max_size=5,
)


def assemble(parts: list[tuple]) -> rf.TwoPort:
    """Elements normalised to 50 ohm at 1 GHz, so that none vanishes beside the others."""
    w = 2 * np.pi * 1e9
    made = []
    for kind, first, second, third in parts:
        if kind == "line":
            made.append(
                rf.lossy_line(
                    FREQUENCY,
                    impedance=first,
                    length=second,
                    permittivity=2.2,
                    conductor_loss=third,
                    loss_tangent=0.01,
                )
            )
        elif kind == "series":
            z = rf.series_rlc(FREQUENCY, Z0 * first, Z0 * second / w, third / (Z0 * w))
            made.append(rf.series(z))
        else:
            y = rf.parallel_rlc(FREQUENCY, Z0 * first, Z0 * second / w, third / (Z0 * w))
            made.append(rf.shunt(y))
    return rf.cascade(*made)


@given(networks)
def test_no_passive_network_gives_power(parts: list[tuple]) -> None:
    s = s_matrix(assemble(parts))
    # Gains of every excitation: the singular values of S.
    assert np.linalg.svd(s, compute_uv=False).max() <= 1.0 + 1e-9


@given(networks)
def test_every_network_is_reciprocal(parts: list[tuple]) -> None:
    a, b, c, d = (np.asarray(entry) for entry in assemble(parts))
    scale = np.abs(a * d) + np.abs(b * c)
    assert (np.abs(a * d - b * c - 1.0) <= 1e-9 * scale).all()


def test_batched_and_compiled_networks_equal_single_ones() -> None:
    lengths = jnp.linspace(0.01, 0.1, 5)

    def transmission(length: jax.Array) -> jax.Array:
        return rf.s_parameters(rf.lossy_line(FREQUENCY, **{**LINE, "length": length})).s21

    batched = jax.jit(jax.vmap(transmission))(lengths)
    single = jnp.stack([transmission(length) for length in lengths])
    np.testing.assert_allclose(batched, single, rtol=1e-12)


def test_the_gradient_by_an_element_is_its_difference_quotient() -> None:
    def power(capacitance: jax.Array) -> jax.Array:
        return jnp.abs(rf.s_parameters(rf.shunt(rf.capacitor(FREQUENCY, capacitance))).s21[10]) ** 2

    step = 1e-17
    quotient = (power(jnp.array(1e-12 + step)) - power(jnp.array(1e-12 - step))) / (2 * step)
    np.testing.assert_allclose(jax.grad(power)(jnp.array(1e-12)), quotient, rtol=1e-4)


def test_single_precision_stays_single() -> None:
    with jax.enable_x64(False):
        s = rf.s_parameters(rf.lossy_line(jnp.asarray(FREQUENCY), **LINE))
        assert {entry.dtype for entry in s} == {np.dtype("complex64")}
    np.testing.assert_allclose(s.matrix(), reference_line(**LINE).s, rtol=0, atol=1e-4)
