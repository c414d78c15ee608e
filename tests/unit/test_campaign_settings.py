"""The campaign file: what it means, and one sentence for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ax_jax_runners.campaign.generation import NAMES
from ax_jax_runners.campaign.settings import CampaignSettings, read_settings
from ax_jax_runners.campaign.toml_lines import line_of
from ax_jax_runners.cli.arguments import DEFAULT_STORE
from ax_jax_runners.errors import ConfigurationError

MINIMAL = 'name = "a"\ntask = "ring-slot"\n'

WRONG = {
    "unknown key": ("trails = 3", ["line 3", "`trails`", "did you mean `trials`"]),
    "unknown key of a parameter": (
        "[parameters.f0]\nlowr = 1",
        ["line 4", "`parameters.f0.lowr`", "did you mean `lower`"],
    ),
    "text for a whole number": ('trials = "60"', ["line 3", "`trials` is '60'", "whole number"]),
    "number for a whole number": ("trials = 60.0", ["line 3", "`trials` is 60.0", "whole number"]),
    "boolean for a whole number": ("seed = true", ["line 3", "`seed` is true", "whole number"]),
    "no trials": ("trials = 0", ["line 3", "`trials` is 0", "at least 1"]),
    "negative seed": ("seed = -1", ["line 3", "`seed` is -1"]),
    "infinite timeout": ("timeout = inf", ["line 3", "`timeout` is inf", "finite, positive"]),
    "negative timeout": ("timeout = -1", ["line 3", "`timeout` is -1", "finite, positive"]),
    "unknown generation": ('generation = "magic"', ["line 3", "`generation`", "'auto', 'sobol'"]),
    "constraints as a text": (
        'outcome_constraints = "a <= 1"',
        ["line 3", "`outcome_constraints`", "a list of texts"],
    ),
    "a number among the constraints": (
        'outcome_constraints = ["a <= 1", 2]',
        ["line 3", "`outcome_constraints`", "a list of texts"],
    ),
    "text for a bound": (
        '[parameters.f0]\nupper = 2\nlower = "low"',
        ["line 5", "`parameters.f0.lower` is 'low'", "finite number"],
    ),
    "infinite bound": (
        "[parameters.f0]\nlower = -inf",
        ["line 4", "`parameters.f0.lower` is -inf", "finite number"],
    ),
    "bound in an inline table": (
        'parameters.f0 = {lower = "x"}',
        ["line 3", "`parameters.f0.lower`", "finite number"],
    ),
    "list for a fixed value": (
        '[parameters."a.b[0]"]\nfixed = [1]',
        ["line 4", '`parameters."a.b[0]".fixed`', "a boolean"],
    ),
    "number for log_scale": ("[parameters.f0]\nlog_scale = 1", ["line 4", "true or false"]),
    "number for a parameter": ("[parameters]\nf0 = 3", ["line 4", "`parameters.f0`", "lower"]),
    "list for the options": ("task_options = [1]", ["line 3", "`task_options`", "a table"]),
    "broken TOML": ("trials = = 3", ["not a TOML document", "line 3"]),
    "key given twice": ('name = "b"', ["not a TOML document"]),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", WRONG)
def test_whatever_is_wrong_gets_one_sentence_with_file_line_and_key(
    case: str, tmp_path: Path
) -> None:
    extra, expected = WRONG[case]
    path = write(tmp_path, MINIMAL + extra)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    for part in expected:
        assert part in sentence


@pytest.mark.parametrize("key", ["name", "task"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    lines = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
    with pytest.raises(ConfigurationError, match=f"key `{key}` is missing"):
        read_settings(write(tmp_path, "\n".join(lines)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml.*does not exist"):
        read_settings(tmp_path / "nowhere.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_settings(path)


def test_a_full_file_is_read_as_written(tmp_path: Path) -> None:
    text = MINIMAL + (
        'store = "postgresql://host/db"\nobjective = "-cost"\noutcome_constraints = ["p <= 1"]\n'
        'trials = 60\nbatch_size = 4\ngeneration = "sobol"\nseed = 3\ntimeout = 10\n'
        '[task_options]\ndata = "my.s2p"\n'
        "[parameters.f0]\nlower = 1\nupper = 2.5\n[parameters.n]\nfixed = 3\n"
        '[parameters.kind]\nfixed = "b"\n[parameters.flag]\nfixed = true\n'
        "[parameters.l]\nlog_scale = true\n"
    )
    settings = read_settings(write(tmp_path, text))
    assert settings.timeout == 10.0
    assert settings.task_options == {"data": "my.s2p"}
    overrides = settings.overrides()
    assert overrides == {
        "f0": {"lower": 1.0, "upper": 2.5},
        "n": {"fixed": 3},
        "kind": {"fixed": "b"},
        "flag": {"fixed": True},
        "l": {"log_scale": True},
    }
    assert type(overrides["n"]["fixed"]) is int
    assert type(overrides["flag"]["fixed"]) is bool


def test_defaults_are_those_of_a_campaign_in_python(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, MINIMAL))
    assert (settings.batch_size, settings.generation, settings.seed) == (8, "auto", 0)
    assert settings.store == DEFAULT_STORE
    assert settings.trials is None


def test_every_generation_of_the_campaign_can_be_named(tmp_path: Path) -> None:
    for name in NAMES:
        path = write(tmp_path, f'{MINIMAL}generation = "{name}"')
        assert read_settings(path).generation == name


def test_every_key_says_what_it_takes() -> None:
    assert all(field.description for field in CampaignSettings.model_fields.values())


TEXT = """\
# name = "no"
name = "a"
[task_options]   # [not.this]
'x y' = 1
[parameters]
a.lower = 1
[parameters."b.c"]
fixed = 2
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (["name"], 2),
        (["task_options"], 3),
        (["task_options", "x y"], 4),
        (["parameters", "a", "lower"], 6),
        (["parameters", "a", "upper"], 6),
        (["parameters", "b.c"], 7),
        (["parameters", "b.c", "fixed"], 8),
        (["trials"], None),
    ],
)
def test_keys_are_found_on_their_lines(keys: list[str], line: int | None) -> None:
    assert line_of(TEXT, keys) == line
