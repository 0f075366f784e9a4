"""The texts of all questions and answers: ``prompts/*.yaml``, read and checked as a whole.

One file per task holds paraphrases of its question and forms of its answer; the first of each is canonical. Texts hold
slots in braces: ``{region}`` and ``{type}`` in questions; ``{quality}``, ``{importance}``, ``{judgement}`` and the
lists ``{graded}`` and ``{present}`` in answers. Further files hold how lists are written (``lists``), the
system sentence and free questions (``system``), and a chat template for tokenizers that have none (``chat_template``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from seagull_tune.config.base import parse_yaml, resolve_asset
from seagull_tune.errors import DataError, did_you_mean

SLOT_PATTERN = re.compile(r"\{([a-z_]+)\}")
"""A slot in a template text; group 1 is its name."""

MIN_QUESTIONS = 6
MIN_ANSWERS = 3


@dataclass(frozen=True)
class TaskRule:
    """Which slots the texts of a task hold: all of ``question`` and ``answer``, and perhaps ``optional`` in answers."""

    question: tuple[str, ...]
    answer: tuple[str, ...]
    optional: tuple[str, ...] = ()


TASK_RULES: Mapping[str, TaskRule] = {
    "quality": TaskRule(("region",), ("quality",)),
    "importance": TaskRule(("region",), ("importance",)),
    "distortions": TaskRule(("region",), ("graded",)),
    "distortions_short": TaskRule(("region",), ("present",)),
    "judgement": TaskRule(("region", "type"), ("judgement",)),
    "description": TaskRule(("region",), ("quality", "graded"), ("importance",)),
}
"""The tasks, by the id of their prompt file, and their slots."""

SEVERITY_SLOTS = frozenset({"graded", "present", "judgement"})
"""Slots that tell which distortions a region has."""


def askable(task: str, has_importance: bool, has_severities: bool) -> bool:
    """Whether a task can be asked about a region whose label has, or lacks, importance and severities."""
    slots = set(TASK_RULES[task].answer)
    return (has_importance or "importance" not in slots) and (has_severities or not slots & SEVERITY_SLOTS)


_LISTS: Mapping[str, bool] = {"graded": False, "present": True}  # name -> whether the list can be empty
_OTHER_IDS = ("lists", "system", "chat_template")
_COMMON_KEYS = ("id", "version", "language")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "lists": ("lists",),
    "system": ("system", "region_phrases", "free_question"),
    "chat_template": ("template",),
}


@dataclass(frozen=True)
class TaskPrompts:
    """The texts of one task; ``questions[0]`` is canonical, and so is the first answer whose slots have a value."""

    task: str
    version: int
    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class ListForm:
    """How a list of distortions is written: item (``{type}`` and ``{severity}``), separators, and the empty list."""

    item: str
    separator: str
    last_separator: str
    empty: str = ""


@dataclass(frozen=True)
class PromptLibrary:
    """All checked texts of one prompt folder.

    Attributes:
        language: language code of all files, for example ``en``.
        tasks: per task of :data:`TASK_RULES`, its texts.
        lists: ``graded`` (the value words of the types that are there) and ``present`` (the same in plain words).
        system: the first sentence of a conversation.
        region_phrases: phrases of a free question that stand for its region.
        free_question: text with ``{region}`` and ``{question}`` for free questions without such a phrase.
        chat_template: Jinja text for tokenizers without a chat template.
        versions: version of every file, by id (recorded with data sets and checkpoints).
    """

    language: str
    tasks: Mapping[str, TaskPrompts]
    lists: Mapping[str, ListForm]
    system: str
    region_phrases: tuple[str, ...]
    free_question: str
    chat_template: str
    versions: Mapping[str, int]

    def task(self, name: str) -> TaskPrompts:
        """The texts of one task.

        Raises:
            DataError: there is no such task (with a near-name hint).
        """
        if name not in self.tasks:
            raise DataError(f"There is no task {name!r}.{did_you_mean(name, self.tasks)}")
        return self.tasks[name]


def load_prompts(folder: Path | None = None) -> PromptLibrary:
    """Read and check every ``*.yaml`` of a prompt folder.

    Args:
        folder: the folder; None takes the shipped prompts (read once per process).

    Raises:
        DataError: with every problem of every file, one a line: missing or unknown slots (with a near-name hint),
            too few texts, repeated texts or ids, languages that differ, unreadable files.
    """
    return _shipped_prompts() if folder is None else _load(folder)


@lru_cache(maxsize=1)
def _shipped_prompts() -> PromptLibrary:
    return _load(resolve_asset("prompts"))


def slots_of(text: str) -> tuple[str, ...]:
    """Names of the slots of a template text, in order."""
    return tuple(SLOT_PATTERN.findall(text))


def _load(folder: Path) -> PromptLibrary:
    problems: list[str] = []
    files = _read_folder(folder, problems)
    for identifier, (path, values) in files.items():
        wrong_keys, usable = _check_keys(identifier, values)
        problems += [f"{path.name}: {problem}" for problem in (*wrong_keys, *_check_texts(identifier, usable))]
    problems += [f"no file has the id {name!r}" for name in (*TASK_RULES, *_OTHER_IDS) if name not in files]
    problems += _check_together(files)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError("\n".join([f"{count} in the prompt files of {folder}:", *(f"  {line}" for line in problems)]))
    contents = {identifier: values for identifier, (_, values) in files.items()}
    return _build(contents)


def _read_folder(folder: Path, problems: list[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The files of the folder by id; what cannot be read or placed is added to the problems."""
    if not folder.is_dir():
        raise DataError(f"There is no prompt folder {folder}; a folder with one YAML file per task is needed.")
    files: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            values = parse_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path.name}: not readable as YAML: {' '.join(str(error).split())}")
            continue
        identifier = values.get("id") if isinstance(values, dict) else None
        known = (*TASK_RULES, *_OTHER_IDS)
        if not isinstance(identifier, str):
            problems.append(f"{path.name}: 'id' is missing; allowed: one of {', '.join(known)}")
        elif identifier not in known:
            problems.append(f"{path.name}: unknown id {identifier!r}.{did_you_mean(identifier, known)}")
        elif identifier in files:
            problems.append(f"{path.name}: the id {identifier!r} is already that of {files[identifier][0].name}")
        else:
            files[identifier] = (path, values)
    return files


def _check_keys(identifier: str, values: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Problems with the keys of one file and with the kinds of their values, and the values without such a problem."""
    usable: dict[str, Any] = {}
    wanted = (*_COMMON_KEYS, *_KEYS.get(identifier, ("questions", "answers")))
    problems = [f"the key {key!r} is missing" for key in wanted if key not in values]
    problems += [f"unknown key {key!r}.{did_you_mean(str(key), wanted)}" for key in values if key not in wanted]
    for key in wanted:
        value = values.get(key)
        if key in ("questions", "answers", "region_phrases"):
            right = isinstance(value, list) and bool(value) and all(isinstance(v, str) and v.strip() for v in value)
            allowed = "a list of texts"
        elif key == "version":
            right, allowed = type(value) is int and value >= 1, "a whole number from 1"
        elif key == "language":
            right = isinstance(value, str) and re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", value) is not None
            allowed = "a code such as en or pt-BR"
        elif key == "lists":
            right, allowed = isinstance(value, dict), "a mapping of list names to their forms"
        else:
            right, allowed = isinstance(value, str) and bool(value.strip()), "a text"
        if right:
            usable[key] = value
        elif key in values:
            problems.append(f"{key!r} is {value!r}; allowed: {allowed}")
    return problems, usable


def _check_texts(identifier: str, values: Mapping[str, Any]) -> list[str]:
    """Problems with the texts among the usable values of one file."""
    problems: list[str] = []
    if "lists" in values:
        problems += _check_lists(values["lists"])
    if "free_question" in values:
        problems += _check_slots("free_question", values["free_question"], ("region", "question"))
    if "template" in values:
        needed_names = ("messages", "add_generation_prompt", "eos_token")
        problems += [f"the template does not use {name!r}" for name in needed_names if name not in values["template"]]
    if identifier in TASK_RULES:
        problems += _check_task(TASK_RULES[identifier], values)
    return problems


def _check_task(rule: TaskRule, values: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, least in (("questions", MIN_QUESTIONS), ("answers", MIN_ANSWERS)):
        texts = values.get(key)
        if texts is None:
            continue
        if len(texts) < least:
            problems.append(f"{len(texts)} {key}; at least {least} are needed")
        for text in texts:
            if key == "questions":
                problems += _check_slots(key, text, rule.question)
            else:
                problems += _check_slots(key, text, rule.answer, rule.optional)
        problems += [f"{key}: {text!r} occurs twice" for text in _repeated(texts)]
    for slot in rule.optional:
        problems += [
            f"answers: none is {kind} {{{slot}}}; some labels have it and some do not"
            for kind, wanted in (("with", True), ("without", False))
            if "answers" in values and all((slot in slots_of(text)) is not wanted for text in values["answers"])
        ]
    return problems


def _check_lists(lists: Mapping[str, Any]) -> list[str]:
    problems = [f"the list {name!r} is missing" for name in _LISTS if name not in lists]
    problems += [f"unknown list {name!r}.{did_you_mean(str(name), _LISTS)}" for name in lists if name not in _LISTS]
    for name, can_be_empty in _LISTS.items():
        form = lists.get(name, {})
        wanted = ("item", "separator", "last_separator") + (("empty",) if can_be_empty else ())
        if not isinstance(form, dict):
            problems.append(f"the list {name!r} is {form!r}; allowed: a mapping with {', '.join(wanted)}")
        elif name in lists:
            problems += [
                f"{name}: unknown key {key!r}.{did_you_mean(str(key), wanted)}" for key in form.keys() - set(wanted)
            ]
            missing = [key for key in wanted if not isinstance(form.get(key), str) or not form[key]]
            problems += [f"{name}: {key!r} is {form.get(key)!r}; allowed: a text" for key in missing]
            if "item" not in missing:
                problems += _check_slots(f"{name}.item", form["item"], ("type", "severity"))
            if name == "graded" and "item" not in missing and not form["item"].startswith("{type}"):
                problems.append(f"{name}.item: {form['item']!r} must begin with {{type}}: the types are read there")
    return problems


def _check_slots(where: str, text: str, needed: Sequence[str], optional: Sequence[str] = ()) -> list[str]:
    """Problems with the slots of one text: missing, unknown, repeated, unmatched braces, or glued to a word."""
    found = slots_of(text)
    allowed = (*needed, *optional)
    here = f"{where}: {text!r}"
    problems = [f"{here}: the slot {{{name}}} is missing" for name in needed if name not in found]
    problems += [
        f"{here}: unknown slot {{{name}}}.{did_you_mean(name, allowed)}" for name in found if name not in allowed
    ]
    problems += [f"{here}: the slot {{{name}}} occurs twice" for name in {n for n in found if found.count(n) > 1}]
    if re.search(r"[{}]", SLOT_PATTERN.sub("", text)):
        problems.append(f"{here}: a brace without its partner; slots are written {{name}}, in small letters")
    for match in SLOT_PATTERN.finditer(text):
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        if before.isalnum() or after.isalnum():
            problems.append(f"{here}: the slot {match.group()} touches a letter or a digit")
        elif match[1] in ("quality", "importance", "graded") and before != " ":
            problems.append(f"{here}: the slot {match.group()} needs a blank before it (its word is then one token)")
    return problems


def _repeated(texts: Sequence[str]) -> list[str]:
    """The texts that occur a second time, but for case and blanks."""
    seen: set[str] = set()
    repeated = []
    for text in texts:
        key = " ".join(text.casefold().split())
        if key in seen:
            repeated.append(text)
        seen.add(key)
    return repeated


def _check_together(files: Mapping[str, tuple[Path, dict[str, Any]]]) -> list[str]:
    """Problems between files: languages that differ, and one question with two kinds of answers."""
    languages = {str(values.get("language")): path.name for path, values in files.values()}
    problems = []
    if len(languages) > 1:
        named = ", ".join(f"{language} ({name})" for language, name in sorted(languages.items()))
        problems.append(f"the files have several languages: {named}; one folder holds one language")
    owners: dict[str, str] = {}
    for task in TASK_RULES:
        questions = files[task][1].get("questions") if task in files else None
        for question in questions if isinstance(questions, list) else ():
            owner = owners.setdefault(" ".join(str(question).casefold().split()), task)
            if owner != task:
                problems.append(
                    f"{files[task][0].name}: {question!r} is also a question of {files[owner][0].name}; "
                    "one question asks for one kind of answer"
                )
    return problems


def _build(contents: Mapping[str, Mapping[str, Any]]) -> PromptLibrary:
    """The library from contents that have been checked."""
    system = contents["system"]
    tasks = {
        name: TaskPrompts(
            name, contents[name]["version"], tuple(contents[name]["questions"]), tuple(contents[name]["answers"])
        )
        for name in TASK_RULES
    }
    return PromptLibrary(
        language=system["language"],
        tasks=tasks,
        lists={name: ListForm(**contents["lists"]["lists"][name]) for name in _LISTS},
        system=system["system"].strip(),
        region_phrases=tuple(system["region_phrases"]),
        free_question=system["free_question"].strip(),
        chat_template=contents["chat_template"]["template"],
        versions={name: values["version"] for name, values in contents.items()},
    )
