"""The linter: the shipped prompts are clean, and every kind of fault is named with its file and text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from seagull_tune.config.base import resolve_asset
from seagull_tune.config.tools import LintConfig
from seagull_tune.errors import DataError
from seagull_tune.instructions.lint import lint_prompts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped prompts that a test may spoil."""
    return Path(shutil.copytree(resolve_asset("prompts"), tmp_path / "prompts"))


def change(folder: Path, name: str, old: str, new: str) -> tuple[str, ...]:
    """Replace a text of one file; returns what the linter finds."""
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return lint_prompts(folder).findings


def test_the_shipped_prompts_are_clean() -> None:
    report = lint_prompts()
    assert report.ok and report.findings == ()
    assert (report.language, report.n_files) == ("en", 16)
    assert report.n_questions >= 12 * 12 and report.n_answers >= 6 * 12 + 6 * 6
    assert report.describe().endswith("nothing to change.")


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "quality.yaml",
            "Give {region} a quality grade.",
            "Give {region} a quality grade",
            "does not end as a sentence",
        ),
        ("quality.yaml", "Give {region} a", "give {region} a", "begins with a small letter"),
        ("quality.yaml", "Give {region} a", "Give  {region} a", "two in a row"),
        ("quality.yaml", "Give {region} a", "Give {region} a a", "says 'a' twice in a row"),
        ("quality.yaml", "quality grade.", "quality grade .", "a blank before a punctuation mark"),
        ("quality.yaml", "Give {region} a", "Give {region} \u0430", "several scripts (cyrillic, latin)"),
        (
            "quality.yaml",
            "Give {region} a quality grade.",
            "Wie gut sieht die Stelle {region} wohl aus?",
            "does not read as the language of the file (en)",
        ),
        ("quality.yaml", "a quality grade", "a grade " + "and a grade " * 12, "at most 24 are wanted"),
        ("quality.yaml", "It looks {quality}.", f"It looks{' so' * 41} {{quality}}.", "at most 40 are wanted"),
        ("advice.yaml", "is {present}; the effect is that {effects}", "is {present}, {effects}", "cannot be read back"),
        ("quality.yaml", "Give {region} a", "Give {area} a", "unknown slot {area}"),
        ("quality.yaml", "Give {region} a quality grade.", "Rate the quality of {region}!", "occurs twice"),
    ],
)
def test_one_fault_is_named(folder: Path, name: str, old: str, new: str, expected: str) -> None:
    findings = change(folder, name, old, new)
    assert any(name in finding and expected in finding for finding in findings), findings


def test_too_few_texts_are_counted_by_kind(folder: Path) -> None:
    for name in ("quality", "description"):
        path = folder / f"{name}.yaml"
        values = yaml.safe_load(path.read_text())
        values["questions"], values["answers"] = values["questions"][:11], values["answers"][:5]
        path.write_text(yaml.safe_dump(values))
    assert lint_prompts(folder).findings == (
        "description.yaml: 11 questions; at least 12 are wanted",
        "description.yaml: 3 answers with {importance}; at least 6 are wanted",
        "description.yaml: 2 answers without {importance}; at least 6 are wanted",
        "quality.yaml: 11 questions; at least 12 are wanted",
        "quality.yaml: 5 answers; at least 6 are wanted",
    )
    assert lint_prompts(folder, LintConfig(questions=11, answers=2)).ok


def test_another_language_is_held_to_its_script_only(folder: Path) -> None:
    for path in folder.glob("*.yaml"):
        path.write_text(path.read_text().replace("language: en", "language: de"))
    assert change(folder, "quality.yaml", "Give {region} a quality grade.", "Wie gut sieht {region} wohl aus?") == ()


def test_faults_of_several_files_are_reported_together(folder: Path) -> None:
    (folder / "judgement.yaml").unlink()
    change(folder, "quality.yaml", "Give {region} a", "give {region} a")
    findings = change(folder, "importance.yaml", "Rate the importance of {region}.", "Rate it.")
    said = "\n".join(findings)
    assert "no file has the id 'judgement'" in said
    assert "importance.yaml: questions: 'Rate it.': the slot {region} is missing" in said
    assert "begins with a small letter" in said
    assert f"{len(findings)} to change:" in lint_prompts(folder).describe()


def test_a_file_that_is_no_list_of_texts_does_not_stop_the_linter(folder: Path) -> None:
    (folder / "quality.yaml").write_text("id: quality\nversion: 1\nlanguage: en\nquestions: 3\nanswers: [1, {a: b}]\n")
    (folder / "importance.yaml").write_text("[")
    said = "\n".join(lint_prompts(folder).findings)
    assert "quality.yaml: 'questions' is 3; allowed: a list of texts" in said
    assert "importance.yaml: not readable as YAML" in said


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt folder"):
        lint_prompts(tmp_path / "nothing")
