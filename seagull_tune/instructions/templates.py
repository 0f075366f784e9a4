"""The texts of all questions and answers: ``prompts/*.yaml``, read and checked as a whole.

One file per task holds paraphrases of its question and forms of its answer; the first of each is canonical. Their slots
are those of ``rules.py``. Further files hold how lists are written (``lists``), what answers are made of (``phrases``),
the system sentence and free questions (``system``), and a chat template for tokenizers that have none
(``chat_template``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from seagull_tune.config.base import parse_yaml, resolve_asset
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.instructions.checks import KNOWN_IDS, Files, folder_problems
from seagull_tune.instructions.rules import TASK_RULES


@dataclass(frozen=True)
class TaskPrompts:
    """The texts of one task; ``questions[0]`` is canonical, and so is the first answer whose slots have a value."""

    task: str
    version: int
    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class ListForm:
    """How a list is written: item (slots as in ``rules.LIST_RULES``), separators, and the empty list."""

    item: str
    separator: str
    last_separator: str
    empty: str = ""


@dataclass(frozen=True)
class Advice:
    """About one distortion type: what it does to the picture (a clause), and what would help (a noun phrase)."""

    effect: str
    remedy: str


@dataclass(frozen=True)
class PromptLibrary:
    """All checked texts of one prompt folder.

    Attributes:
        language: language code of all files, for example ``en``.
        tasks: per task of ``rules.TASK_RULES`` that the folder has, its texts.
        lists: per list of ``rules.LIST_RULES`` that the folder has, how it is written.
        ordinals: how answers name the regions of a question, in its order.
        advice: per distortion type, its phrases.
        system: the first sentence of a conversation.
        region_phrases: phrases of a free question that stand for its region.
        free_question: text with ``{region}`` and ``{question}`` for free questions without such a phrase.
        chat_template: Jinja text for tokenizers without a chat template.
        versions: version of every file, by id.
    """

    language: str
    tasks: Mapping[str, TaskPrompts]
    lists: Mapping[str, ListForm]
    ordinals: tuple[str, ...]
    advice: Mapping[str, Advice]
    system: str
    region_phrases: tuple[str, ...]
    free_question: str
    chat_template: str
    versions: Mapping[str, int]

    def task(self, name: str) -> TaskPrompts:
        """The texts of one task.

        Raises:
            DataError: there is no such task (with a near-name hint), or the prompt folder has no file for it.
        """
        if name not in self.tasks:
            if name in TASK_RULES:
                raise DataError(
                    f"The prompt folder has no file for the task {name!r}; copy {name}.yaml (and what it speaks of in "
                    f"lists.yaml and phrases.yaml) from the package's prompts, or give it the weight 0."
                )
            raise DataError(f"There is no task {name!r}.{did_you_mean(name, self.tasks)}")
        return self.tasks[name]

    def phrases(self, list_name: str) -> dict[str, str]:
        """Per distortion type, the phrase that the list ``effects`` or ``remedies`` tells."""
        return {name: a.effect if list_name == "effects" else a.remedy for name, a in self.advice.items()}


def load_prompts(folder: Path | None = None) -> PromptLibrary:
    """Read and check every ``*.yaml`` of a prompt folder.

    Args:
        folder: the folder; None takes the shipped prompts (read once per process).

    Raises:
        DataError: with every problem of every file, one a line: missing or unknown slots (with a near-name hint),
            repeated texts or ids, missing lists or phrases, languages that differ, unreadable files.
    """
    return _shipped_prompts() if folder is None else _load(folder)


def prompt_folder(folder: Path | None = None) -> Path:
    """The folder itself, or that of the shipped prompts.

    Raises:
        DataError: there is no such folder.
    """
    folder = resolve_asset("prompts") if folder is None else folder
    if not folder.is_dir():
        raise DataError(f"There is no prompt folder {folder}; a folder with one YAML file per task is needed.")
    return folder


def inspect_folder(folder: Path) -> tuple[Files, list[str]]:
    """Names and contents of the files of a folder by id, and all that keeps them from being used.

    Raises:
        DataError: there is no such folder.
    """
    files, problems = _read_files(sorted(prompt_folder(folder).glob("*.yaml")))
    return files, problems + folder_problems(files)


@lru_cache(maxsize=1)
def _shipped_prompts() -> PromptLibrary:
    return _load(prompt_folder())


def _load(folder: Path) -> PromptLibrary:
    files, problems = inspect_folder(folder)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError("\n".join([f"{count} in the prompt files of {folder}:", *(f"  {line}" for line in problems)]))
    return _build({identifier: values for identifier, (_, values) in files.items()})


def _read_files(paths: Iterable[Path]) -> tuple[dict[str, tuple[str, dict[str, Any]]], list[str]]:
    """Name and contents of the files, by id; and what is wrong with those that cannot be read or placed."""
    files: dict[str, tuple[str, dict[str, Any]]] = {}
    problems: list[str] = []
    for path in paths:
        try:
            values = parse_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path.name}: not readable as YAML: {' '.join(str(error).split())}")
            continue
        identifier = values.get("id") if isinstance(values, dict) else None
        if not isinstance(identifier, str):
            problems.append(f"{path.name}: 'id' is missing; allowed: one of {', '.join(KNOWN_IDS)}")
        elif identifier not in KNOWN_IDS:
            problems.append(f"{path.name}: unknown id {identifier!r}.{did_you_mean(identifier, KNOWN_IDS)}")
        elif identifier in files:
            problems.append(f"{path.name}: the id {identifier!r} is already that of {files[identifier][0]}")
        else:
            files[identifier] = (path.name, values)
    return files, problems


def _build(contents: Mapping[str, Mapping[str, Any]]) -> PromptLibrary:
    """The library from contents that have been checked."""
    system = contents["system"]
    phrases = contents.get("phrases", {"ordinals": (), "advice": {}})
    tasks = {
        name: TaskPrompts(
            name, contents[name]["version"], tuple(contents[name]["questions"]), tuple(contents[name]["answers"])
        )
        for name in TASK_RULES
        if name in contents
    }
    return PromptLibrary(
        language=system["language"],
        tasks=tasks,
        lists={name: ListForm(**form) for name, form in contents["lists"]["lists"].items()},
        ordinals=tuple(phrases["ordinals"]),
        advice={name: Advice(**texts) for name, texts in phrases["advice"].items()},
        system=system["system"].strip(),
        region_phrases=tuple(system["region_phrases"]),
        free_question=system["free_question"],
        chat_template=contents["chat_template"]["template"],
        versions={name: values["version"] for name, values in contents.items()},
    )
