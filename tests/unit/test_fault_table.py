"""Every one of the 24 faults has tests, and the table tells how they went."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.table import FAULTS

TESTS = Path(__file__).resolve().parents[1]


def marks(node: ast.AST) -> Iterator[ast.Call]:
    for found in ast.walk(node):
        if isinstance(found, ast.Call) and ast.unparse(found.func) == "pytest.mark.fault":
            yield found


def numbers_in_the_sources() -> set[int]:
    """The faults that tests are marked with, on functions, parameters, classes or modules."""
    numbers = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            is_test = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (
                node.name.startswith(("test_", "Test"))
            )
            is_module = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == (
                "pytestmark"
            )
            if is_test or is_module:
                numbers |= {ast.literal_eval(n) for mark in marks(node) for n in mark.args}
    return numbers


def test_no_fault_is_without_a_test() -> None:
    assert numbers_in_the_sources() == set(FAULTS)
    assert len(FAULTS) == 24


EXAMPLE = """
import pytest

@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request):
    return request.param

@pytest.mark.fault(1, 21)
def test_on_both(store_url):
    assert store_url == "sqlite"

@pytest.mark.fault(5)
def test_without(): pass

@pytest.mark.fault(12)
def test_skipped(): pytest.skip("no disk")

@pytest.mark.fault(18, on="sqlite")
def test_told(): pass

@pytest.fixture
def broken():
    raise RuntimeError

@pytest.mark.fault(7)
def test_that_cannot_begin(broken): pass

def test_unmarked(): pass
"""

CONFTEST = """
from tests.faults.table import FaultTable

def pytest_configure(config):
    config.addinivalue_line("markers", "fault(number): for the table")
    config.pluginmanager.register(FaultTable())
"""


def run_pytest(folder: Path, source: str, *options: str) -> list[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_example.py").write_text(source)
    code = f"import sys, pytest; sys.path.insert(0, {str(TESTS.parent)!r}); sys.exit(pytest.main())"
    command = [sys.executable, "-c", code, "--rootdir", ".", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() + done.stderr.splitlines()


def test_the_table_tells_of_every_fault(tmp_path: Path) -> None:
    lines = run_pytest(tmp_path, EXAMPLE)
    table = {
        line[:2].strip(): line.split(maxsplit=1)[1] for line in lines if line[:2].strip().isdigit()
    }
    counts = {
        int(number): " ".join(line.removeprefix(FAULTS[int(number)]).split()[:-1])
        for number, line in table.items()
    }
    (missing,) = (line for line in lines if line.startswith("not run: "))
    absent = [int(number) for number in missing.removeprefix("not run: ").split(", ")]
    assert sorted([*counts, *absent]) == list(FAULTS)
    assert counts == {
        1: "1 / 0 / 0 0 / 1 / 0 -",
        21: "1 / 0 / 0 0 / 1 / 0 -",
        5: "- - 1 / 0 / 0",
        7: "- - 0 / 1 / 0",
        18: "1 / 0 / 0 - -",
    }


def test_a_run_without_faults_prints_no_table(tmp_path: Path) -> None:
    lines = run_pytest(tmp_path, "def test_unmarked(): pass")
    assert any("1 passed" in line for line in lines)
    assert not any("not run" in line for line in lines)


@pytest.mark.parametrize("wrong", ["25", "", "'1'", "1, on='mysql'"])
def test_a_mark_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    source = f"import pytest\n@pytest.mark.fault({wrong})\ndef test_it(): pass"
    assert any("give numbers from 1 to 24" in line for line in run_pytest(tmp_path, source))
