from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seagull_tune.config.base import resolve_asset
from seagull_tune.errors import DataError
from seagull_tune.instructions.rules import TASK_RULES, slots_of
from seagull_tune.instructions.templates import PromptLibrary, load_prompts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped prompts that a test may spoil."""
    return Path(shutil.copytree(resolve_asset("prompts"), tmp_path / "prompts"))


def spoil(folder: Path, name: str, old: str, new: str) -> str:
    """Replace a text of one file and return the error that reading the folder gives."""
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        load_prompts(folder)
    return str(caught.value)


def test_shipped_prompts_are_complete(prompts: PromptLibrary) -> None:
    assert set(prompts.tasks) == set(TASK_RULES)
    assert all(len(task.questions) >= 12 and len(task.answers) >= 6 for task in prompts.tasks.values())
    assert prompts.language == "en"
    assert set(prompts.versions) == set(TASK_RULES) | {"lists", "phrases", "system", "chat_template"}
    assert load_prompts() is prompts


def test_slots_of_lists_names_in_order() -> None:
    assert slots_of("Is there {type} in {region}?") == ("type", "region")


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("quality.yaml", "is the quality of {region}?", "is the quality?", "the slot {region} is missing"),
        (
            "quality.yaml",
            "this region is {quality}.",
            "this region is {qualty}.",
            "unknown slot {qualty}. Did you mean 'quality'",
        ),
        ("quality.yaml", "this region is {quality}.", "it is {quality} {quality}.", "the slot {quality} occurs twice"),
        ("quality.yaml", "this region is {quality}.", "this region is {quality.", "a brace without its partner"),
        ("quality.yaml", "Its quality is {quality}.", "Its quality:{quality}.", "needs a blank before it"),
        ("quality.yaml", "What is the quality of", "How  is the Quality of", "occurs twice"),
        ("quality.yaml", "answers:", "answer:", "unknown key 'answer'. Did you mean 'answers'"),
        ("quality.yaml", "id: quality", "id: qality", "unknown id 'qality'. Did you mean 'quality'"),
        ("quality.yaml", "id: quality", "id: importance", "the id 'importance' is already that of importance.yaml"),
        ("quality.yaml", "language: en", "language: de", "several languages: de (quality.yaml), en"),
        ("quality.yaml", "language: en", "language: English", "'language' is 'English'; allowed: a code"),
        ("quality.yaml", "version: 3", "version: one", "'version' is 'one'; allowed: a whole number"),
        ("quality.yaml", "questions:", "questions: [a", "not readable as YAML"),
        (
            "distortions.yaml",
            "Give the distortion profile of {region}.",
            "What spoils {region}?",
            "one kind of answer",
        ),
        ("lists.yaml", '"{severity} {type}"', '"{type}"', "the slot {severity} is missing"),
        ("lists.yaml", '"{type}: {severity}"', '"a {type}: {severity}"', "must begin with {type}"),
        ("lists.yaml", '"{severity} {type}"', '"{ordinal} {type}"', "present.item: '{ordinal} {type}': unknown slot"),
        ("lists.yaml", "  qualities:", "  qualitys:", "summary.yaml: the list 'qualities' that it speaks of is not"),
        ("advice.yaml", "that {effects}.", "that.", "'There is {present}, so that. I suggest {remedies}.'"),
        ("priority.yaml", "{regions}", "{region}", "the slot {regions} is missing"),
        ("comparison.yaml", "or {other}", "or {region}", "the slot {other} is missing"),
        ("comparison.yaml", " {first_quality} and", ":{first_quality} and", "needs a blank before it"),
        ("phrases.yaml", "first, second", "first, first", "ordinals: 'first' occurs twice"),
        ("phrases.yaml", "third", "third one", "ordinals: 'third one' is not one word"),
        ("phrases.yaml", "  blur:", "  blurr:", "unknown type 'blurr'. Did you mean 'blur'"),
        ("phrases.yaml", '"deblurring"', '"denoising"', "the remedy 'denoising' occurs twice"),
        ("phrases.yaml", '"deblurring"', '"sharpening and more"', "holds ' and ', which separates remedies"),
        ("phrases.yaml", "    remedy: ", "    remedi: ", "allowed: a mapping with effect and remedy"),
        ("lists.yaml", "last_separator", "last_seperator", "Did you mean 'last_separator'"),
        ("system.yaml", "About {region}:", "About it:", "the slot {region} is missing"),
        ("chat_template.yaml", "eos_token", "eos", "does not use 'eos_token'"),
    ],
)
def test_one_problem_is_named_with_its_file(folder: Path, name: str, old: str, new: str, expected: str) -> None:
    message = spoil(folder, name, old, new)
    assert expected in message
    assert name in message


def test_importance_must_be_optional_in_descriptions(folder: Path) -> None:
    path = folder / "description.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.startswith("#") or "{importance}" not in line))
    message = spoil(folder, "description.yaml", "version: 4", "version: 4")
    assert "description.yaml: answers: none is with {importance}" in message


def test_a_folder_of_an_older_checkpoint_is_read(folder: Path) -> None:
    """It holds the core tasks only, and lists of two kinds."""
    for name in ("advice", "comparison", "priority", "summary", "json_answer", "versions", "phrases"):
        (folder / f"{name}.yaml").unlink()
    text = (folder / "lists.yaml").read_text()
    (folder / "lists.yaml").write_text(text[: text.index("  effects:")])
    older = load_prompts(folder)
    assert set(older.tasks) == {name for name, rule in TASK_RULES.items() if rule.core}
    with pytest.raises(DataError, match="no file for the task 'summary'"):
        older.task("summary")


def test_phrases_are_needed_where_an_answer_is_made_of_them(folder: Path) -> None:
    (folder / "phrases.yaml").unlink()
    with pytest.raises(DataError) as caught:
        load_prompts(folder)
    for name in ("advice", "comparison", "priority", "summary"):
        assert f"{name}.yaml: it needs a file with the id 'phrases'" in str(caught.value)
    assert "json_answer" not in str(caught.value)


def test_all_problems_are_reported_at_once(folder: Path) -> None:
    (folder / "judgement.yaml").unlink()
    (folder / "importance.yaml").write_text(
        "id: importance\nversion: 0\nquestions: ['How?']\nanswers: ['So.']\nextra: 1\n"
    )
    message = spoil(folder, "quality.yaml", "{region}", "{area}")
    for expected in (
        "no file has the id 'judgement'",
        "importance.yaml: the key 'language' is missing",
        "importance.yaml: unknown key 'extra'",
        "importance.yaml: 'version' is 0",
        "importance.yaml: answers: 'So.': the slot {importance} is missing",
        "quality.yaml: questions: 'How is the quality of {area}?': unknown slot {area}",
    ):
        assert expected in message
    assert f"problems in the prompt files of {folder}" in message.splitlines()[0]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt folder"):
        load_prompts(tmp_path / "nothing")


def test_the_room_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, seagull_tune.instructions.chat, seagull_tune.instructions.converse;"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
