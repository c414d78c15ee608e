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
NOTEBOOK = FOLDER / "01_campaign.ipynb"

# Appended to the notebook: what its text promises to a reader.
CLAIMS = """
assert list(frame["trial_index"]) == list(range(32))
assert (frame["trial_status"] == "COMPLETED").all()
assert 10 ** best.outputs["log10_cost"] < 0.03
assert 10 ** best.outputs["log10_cost"] < 0.5 * cost[0]
assert "measured" in report.read_text(encoding="utf-8")
assert list(again.experiment.trials) == list(range(16))
"""


def sources(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_and_its_script_are_the_same() -> None:
    script = NOTEBOOK.with_suffix(".py")
    assert sources(jupytext.read(NOTEBOOK)) == sources(jupytext.read(script)), (
        "change one of them, then run: jupytext --sync notebooks/01_campaign.py"
    )


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
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


def test_the_notebook_runs_and_keeps_its_promises(own_folders: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS))
    resources = {"metadata": {"path": str(own_folders)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert len(figures) == 4
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


def test_the_page_on_extending_runs_and_keeps_its_promises(own_folders: Path) -> None:
    program = own_folders / "extending.py"
    program.write_text(code_blocks(FOLDER / "extending.md"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=own_folders,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
