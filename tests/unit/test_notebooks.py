"""The tutorials run as they stand, and say what happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"

# Appended to each notebook: what its text promises to a reader.
CLAIMS = {
    "01_campaign": """
assert list(frame["trial_index"]) == list(range(32))
assert (frame["trial_status"] == "COMPLETED").all()
assert 10 ** best.outputs["log10_cost"] < 0.03
assert 10 ** best.outputs["log10_cost"] < 0.5 * cost[0]
assert "measured" in report.read_text(encoding="utf-8")
assert list(again.experiment.trials) == list(range(16))
""",
    "02_simulated_cluster": """
assert 21 < schedule["ended"].max() < 42
assert len(schedule) == 300
assert set(schedule["status"]) == {"COMPLETED", "FAILED"}
assert max(lanes(schedule.sort_values("started"))) == 63
assert len(schedule) / schedule["ended"].max() > 1.5 * len(waiting) / waiting["ended"].max()
assert utilisation(schedule, 64) > 1.5 * utilisation(waiting, 64)
assert progress(learning)[1][-1] < progress(free_slot)[1][-1]
assert np.allclose(rows["runtime"], 10 ** rows["x1"])
assert same
""",
    "03_random_walk": """
assert (targets["violation"] <= 0).all()
assert nearest < typical
assert table.loc["acceptance", "older law"] > 0.85
assert table.loc["acceptance", "default"] < 0.5
assert table.loc["mean explored range", "default"] > 1.5 * table.loc["mean explored range"].min()
assert same
assert result.states.shape == (1000, 64, 7)
assert frame["multiplicity"].sum() == 64_000
assert inside(region.box.to_unit(np.array([space.pack(p) for p in unlike]))).all()
assert components.count == 1
assert (abs(means["walk"] - means.iloc[:, 1]) < 5 * means["standard error"]).all()
assert abs(volume.volume - fraction) < 4 * np.hypot(volume.standard_error, fraction_error)
assert 0 < rich.num_rows < view.rows == len(frame)
assert chains.sizes == {"iteration": 1000, "particle": 64}
assert found > 10 * per_1000
assert np.allclose(shares["weighted"], shares["states"])
""",
    "04_posterior": """
assert interrupted and 3 <= there < 20
assert len(simulations) == SIMULATIONS and simulations.failed == 0
assert trained.validation_metrics["validation_nll"] < -1.2
assert c2st < 0.85
assert (abs(draws.mean(axis=0) - theta) < 3 * draws.std(axis=0)).all()
wider = summary["standard deviation"] / summary["standard deviation by likelihood"]
assert wider.between(0.7, 3).all() and wider.iloc[0] > 1
assert report.passed(0.001) and report.leak_fraction == 0
assert not narrowed.passed(0.001)
assert narrowed.coverage.area < -0.15 < report.coverage.area
assert p_ours > 0.02 > p_tilted
assert inside.mean() > 0.8
for kind in ("", ", by likelihood"):
    hidden_name = "hidden, by likelihood" if kind else "first 3 s hidden"
    assert (widths[hidden_name] > 1.1 * widths["all seen" + kind]).iloc[1:].all()
assert (frame["trial_status"] == "COMPLETED").all() and len(frame) == 8
assert best.parameters["parameter_space"] == "unconstrained"
in_physical = frame["parameter_space"] == "physical"
assert (frame.loc[in_physical, "leak_fraction"] > 0.001).all()
assert (frame.loc[~in_physical, "leak_fraction"] == 0).all()
fast = frame["learning_rate"] > 1e-3
assert frame.loc[fast, "validation_nll"].max() < frame.loc[~fast, "validation_nll"].min()
assert len(registry.list()) == 2
assert same
assert difference < 1e-6
""",
    "05_strategy": """
assert exact and same_past
assert len(attached) == 17 * 17 and (cells["trial_status"] == "COMPLETED").all()
top = cells.loc[sound.idxmax()]
assert 60 < top["memory_days"] < 120 and 0.05 < top["k_per_day"] < 1
fast, slow = cells["memory_days"] < 10, cells["memory_days"].between(100, 200)
assert cells.loc[fast & (cells["k_per_day"] > 2), "train_sharpe"].max() < -1
assert cells.loc[slow & (cells["k_per_day"] > 2), "train_sharpe"].min() > 0.5
assert cells.loc[cells["k_per_day"] < 0.005, "train_sharpe"].max() < 0
assert 0.4 < sound.notna().mean() < 0.7
assert len(reused) == len(design) and same
assert len(tried) == 32 and tuple(tried.loc[0, list(guess)]) == tuple(guess.values())
assert (ends["evaluations"] <= 200).all() and len(ends) == 8
every = task.evaluator.model_features(visited)
assert (every["train"]["sharpe"] >= 0.5).all() and (every["validation"]["sharpe"] >= 0).all()
assert len(visited) == 2048
assert len(comparison.data) == 4
reached = {t.name.split(",")[0]: t.x[np.asarray(t.y) > 0.98 * sound.max()] for t in comparison.data}
assert reached["BO"][0] <= 24 and reached["grid"][0] > 100
assert reached["random walk"][0] < 50 and reached["gradients"][0] >= 200
scores = [each.metrics["train_sharpe"] for each in chosen.values()]
assert min(scores) > 0.95 * max(scores)
assert all(each.metrics["validation_sharpe"] >= 0 for each in chosen.values())
assert table.loc["sharpe", "test"] > table.loc["sharpe", "train"] > 1.3
assert table.loc["drawdown", "train"] > 0.5
assert sum(map(int, weights)) == 10**18
""",
}
FIGURES = {
    "01_campaign": 4,
    "02_simulated_cluster": 4,
    "03_random_walk": 6,
    "04_posterior": 10,
    "05_strategy": 7,
}
LONG = set(FIGURES)


@pytest.fixture(params=CLAIMS)
def page(request: pytest.FixtureRequest) -> Path:
    return FOLDER / f"{request.param}.ipynb"


def sources(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_and_its_script_are_the_same(page: Path) -> None:
    script = page.with_suffix(".py")
    assert sources(jupytext.read(page)) == sources(jupytext.read(script)), (
        f"change one of them, then run: jupytext --sync notebooks/{script.name}"
    )


def test_the_notebook_is_committed_without_outputs(page: Path) -> None:
    notebook = nbformat.read(page, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what Jupyter, IPython and the tutorials write in the test's folder."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    # The kernel of this environment, whatever else the user has installed.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in CLAIMS], indirect=True
)
def test_the_notebook_runs_and_keeps_its_promises(page: Path, own_folders: Path) -> None:
    notebook = nbformat.read(page, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS[page.stem]))
    resources = {"metadata": {"path": str(own_folders)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert len(figures) == FIGURES[page.stem]
    warned = [o.text for o in outputs if o.get("name") == "stderr" and "Warning" in o.text]
    assert warned == []


def code_blocks(page: Path) -> str:
    """The page's Python blocks as one program, every line at the number that it has on the page."""
    lines, language = [], None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
            lines.append("")
        else:
            lines.append(line if language == "python" else "")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["extending", "from_isf"])
def test_the_program_on_a_page_runs_and_keeps_its_promises(name: str, own_folders: Path) -> None:
    program = own_folders / f"{name}.py"
    program.write_text(code_blocks(FOLDER / f"{name}.md"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=own_folders,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
