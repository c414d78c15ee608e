"""Touchstone files: what is read, and one clear sentence for each way to be bad."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import skrf

from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.problems.touchstone import read_touchstone

HEADER = "! made by hand\n# GHz S RI R 50\n"


def write(folder: Path, text: str, name: str = "a.s1p") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_in_scikit_rf_is_read_as_scikit_rf_reads_it() -> None:
    path = Path(skrf.__file__).parent / "data" / "ring slot measured.s1p"
    data = read_touchstone(path)
    network = skrf.data.StaticData().ring_slot_meas
    assert data.ports == 1
    np.testing.assert_array_equal(data.frequency, network.f)
    np.testing.assert_array_equal(data.s, network.s)
    assert data.common_impedance() == 50.0


@pytest.mark.parametrize("form", ["ri", "ma", "db"])
def test_a_written_two_port_comes_back(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(4)
    s = rng.normal(size=(7, 2, 2)) + 1j * rng.normal(size=(7, 2, 2))
    frequency = skrf.Frequency.from_f(np.linspace(1e9, 2e9, 7), unit="Hz")
    network = skrf.Network(frequency=frequency, s=s, z0=75.0, name="n")
    network.write_touchstone("n", dir=str(tmp_path), form=form)
    data = read_touchstone(tmp_path / "n.s2p")
    np.testing.assert_allclose(data.s, s, rtol=1e-9)
    np.testing.assert_allclose(data.frequency, frequency.f, rtol=1e-12)
    assert data.common_impedance() == 75.0


def test_version_two_and_noise_parameters_are_read(tmp_path: Path) -> None:
    version_two = (
        "[Version] 2.0\n# GHz S RI R 50\n[Number of Ports] 1\n[Number of Frequencies] 2\n"
        "[Reference] 50.0\n[Network Data]\n1 0.1 0.2\n2 0.3 0.4\n[End]\n"
    )
    data = read_touchstone(write(tmp_path, version_two, "a.ts"))
    np.testing.assert_allclose(data.s[:, 0, 0], [0.1 + 0.2j, 0.3 + 0.4j])
    row = " 0.1 0.2" * 4 + "\n"
    noise = "1 1.5 0.2 30 0.3\n2 1.5 0.2 30 0.3\n"
    data = read_touchstone(write(tmp_path, HEADER + "1" + row + "2" + row + noise, "a.s2p"))
    np.testing.assert_array_equal(data.frequency, [1e9, 2e9])


BAD = {
    "empty": ("", "a.s1p: the file is empty"),
    "blank": (" \n\n", "a.s1p: the file is empty"),
    "no rows": (HEADER, "a.s1p: holds no data rows"),
    "not a number": (HEADER + "1 0.1 0.2\n2 0.1 0.x\n", "a.s1p, line 4: '0.x' is not a number"),
    "row cut short": (HEADER + "1 0.1 0.2\n2 0.1\n", "a.s1p, line 4: 2 numbers where 3"),
    "not finite": (HEADER + "1 0.1 0.2\n2 nan 0.2\n", "a.s1p, line 4: the value nan is not finite"),
    "infinite": (HEADER + "1 0.1 -inf\n2 0.1 0.2\n", "a.s1p, line 3: the value -inf is not finite"),
    "decreasing": (HEADER + "2 0.1 0.2\n1 0.1 0.2\n", "a.s1p, line 4: frequency 1000000000 Hz"),
    "repeated": (HEADER + "2 0.1 0.2\n2 0.1 0.2\n", "a.s1p, line 4: frequency 2000000000 Hz"),
    "negative": (HEADER + "-2 0.1 0.2\n2 0.1 0.2\n", "a.s1p: the frequency -2e+09 Hz is negative"),
    "unknown unit": ("# parsecs S RI R 50\n1 0.1 0.2\n", "a.s1p: cannot be read as Touchstone"),
    "another kind of file": ("PK\x03\x04 zip", "a.s1p, line 1: 'PK"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_its_name_and_line(tmp_path: Path, case: str) -> None:
    text, sentence = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(DataFileError) as error:
        read_touchstone(path)
    assert str(tmp_path) + "/" + sentence in str(error.value)


def test_a_one_port_under_a_two_ports_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1 0.1 0.2\n2 0.1 0.2\n", "b.s2p")
    with pytest.raises(DataFileError, match=r"b\.s2p, line 3: 3 numbers where 9 are expected"):
        read_touchstone(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="there is no such file"):
        read_touchstone(tmp_path / "none.s1p")
    with pytest.raises(DataFileError, match="cannot be opened"):
        read_touchstone(tmp_path)


def test_a_complex_reference_impedance_is_no_common_one(tmp_path: Path) -> None:
    data = read_touchstone(write(tmp_path, "# GHz S RI R 0\n1 0.1 0.2\n"))
    with pytest.raises(DataFileError, match="not one positive real number"):
        data.common_impedance()


class _Canary:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(self.path),))

    def __init__(self, path: Path) -> None:
        self.path = str(path)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    path = tmp_path / "evil.s1p"
    path.write_bytes(pickle.dumps(_Canary(canary)))
    with pytest.raises(DataFileError):
        read_touchstone(path)
    assert not canary.exists()


def test_without_scikit_rf_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, HEADER + "1 0.1 0.2\n")
    monkeypatch.setitem(sys.modules, "skrf.io.touchstone", None)
    with pytest.raises(ConfigurationError, match=r"pip install ax-jax-runners\[rf\]"):
        read_touchstone(path)


def test_equal_content_is_equal_data_wherever_it_lies(tmp_path: Path) -> None:
    text = HEADER + "1 0.1 0.2\n2 0.3 0.4\n"
    first = read_touchstone(write(tmp_path, text, "a.s1p"))
    second = read_touchstone(write(tmp_path, text + "! a remark\n", "b.s1p"))
    other = read_touchstone(write(tmp_path, text.replace("0.4", "0.5"), "c.s1p"))
    assert first == second
    assert hash(first) == hash(second)
    assert first != other


def test_the_arrays_cannot_be_changed(tmp_path: Path) -> None:
    data = read_touchstone(write(tmp_path, HEADER + "1 0.1 0.2\n"))
    with pytest.raises(ValueError, match="read-only"):
        data.s[0, 0, 0] = 0.0
