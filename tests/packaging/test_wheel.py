"""What is shipped: one top-level package with the metrics inside, whatever the checkout looks like.

The files of ax_jax_runners.metrics lie in a folder of the repository that the package links to.
These tests build real wheels and install one into an empty environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = "raise SystemExit('the metrics.py of the working folder was imported')\n"

# What a user does with a metric: read a trial's outcome through Ax.
USE_A_METRIC = """
import sys
from ax.core import Arm, ChoiceParameter, Experiment, ParameterType, SearchSpace
from ax_jax_runners.metrics import OutputMetric

assert 'metrics' not in sys.modules
x = ChoiceParameter('x', ParameterType.INT, [1, 2], is_ordered=True, sort_values=True)
experiment = Experiment(SearchSpace([x]), name='e', tracking_metrics=[OutputMetric('y')])
trial = experiment.new_trial().add_arm(Arm({'x': 1}, name='a'))
arms = {'a': {'status': 'completed', 'outputs': {'y': [2.5, 0.0]}, 'step': 1, 'artifacts': {}}}
trial.update_run_metadata({'ax_jax': {'version': 1, 'arms': arms}})
trial.mark_running(no_runner_required=True)
trial.mark_completed()
print(experiment.fetch_data().df['mean'].tolist(), sys.modules['ax_jax_runners.metrics'].__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_checkout(target: Path) -> Path:
    """The files that git would commit, with the link as a link."""
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        if source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    return target


def build(checkout: Path, kind: str, target: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target, cwd=checkout)
    (made,) = target.iterdir()
    return made


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_one_package_with_everything_in_it(checkout: Path, wheel: Path) -> None:
    names = content(wheel)
    assert {name.partition("/")[0] for name in names} == {"ax_jax_runners"}
    assert "ax_jax_runners/py.typed" in names
    expected = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / "ax_jax_runners").rglob("*.py")
        if "metrics" not in path.relative_to(checkout).parts
    }
    metrics = {
        f"ax_jax_runners/{path.relative_to(checkout).as_posix()}"
        for path in (checkout / "metrics").rglob("*.py")
    }
    assert "ax_jax_runners/metrics/__init__.py" in metrics
    assert {name for name in names if name.endswith(".py")} == expected | metrics


def test_the_wheel_of_the_source_archive_is_the_same(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    archive = build(checkout, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "metrics" / "__init__.py").is_file()
    assert content(build(unpacked, "wheel", tmp_path / "wheel")) == content(wheel)


def test_a_checkout_without_links_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    link = checkout / "ax_jax_runners" / "metrics"
    assert link.is_symlink()
    link.unlink()
    # What git with core.symlinks=false writes in its place.
    link.write_text("../metrics")
    assert content(build(checkout, "wheel", tmp_path / "wheel")) == content(wheel)


def test_the_installed_wheel_is_safe_beside_a_users_metrics_module(
    wheel: Path, tmp_path: Path
) -> None:
    environment, folder = tmp_path / "environment", tmp_path / "folder"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    install = ("install", "--quiet", "--no-index", "--no-deps", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=tmp_path)
    # Everything but this package comes from the environment that runs the tests; editable
    # installs there stay invisible, as their .pth files are not read.
    site = next((environment / "lib").glob("python*/site-packages"))
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "shared.pth").write_text("\n".join(sorted(shared)) + "\n")
    folder.mkdir()
    (folder / "metrics.py").write_text(HOSTILE)
    printed = run(python, "-c", USE_A_METRIC, cwd=folder).splitlines()[-1]
    assert printed == f"[2.5] {site}/ax_jax_runners/metrics/__init__.py"
    assert not list(folder.glob("campaigns*"))


def test_the_hostile_module_of_that_test_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "metrics.py").write_text(HOSTILE)
    done = subprocess.run(
        [sys.executable, "-c", "import metrics"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "working folder was imported" in done.stderr
