"""What a prompt folder must hold to be used at all: keys, slots, lists and phrases; every problem is named.

What a good folder should hold besides is the linter's business (``lint.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seagull_tune.errors import did_you_mean
from seagull_tune.instructions.rules import (
    LIST_RULES,
    PHRASE_SLOTS,
    SLOT_PATTERN,
    TASK_RULES,
    WORD_SLOTS,
    TaskRule,
    slots_of,
)
from seagull_tune.levels import DISTORTION_TYPES

Files = Mapping[str, tuple[str, Mapping[str, Any]]]
"""File name and contents, by id."""

CORE_IDS = (*(name for name, rule in TASK_RULES.items() if rule.core), "lists", "system", "chat_template")
KNOWN_IDS = (*TASK_RULES, "lists", "phrases", "system", "chat_template")

_COMMON_KEYS = ("id", "version", "language")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "lists": ("lists",),
    "phrases": ("ordinals", "advice"),
    "system": ("system", "region_phrases", "free_question"),
    "chat_template": ("template",),
}
_TEXT_LISTS = ("questions", "answers", "region_phrases", "ordinals")
_MAPPINGS = {"lists": "a mapping of list names to their forms", "advice": "a mapping of distortion types to phrases"}
_ADVICE_KEYS = ("effect", "remedy")


def folder_problems(files: Files) -> list[str]:
    """All problems of the files of one folder, each with its file's name in front.

    Args:
        files: the files that have a known id.
    """
    problems: list[str] = []
    for identifier, (name, values) in files.items():
        wrong_keys, usable = _check_keys(identifier, values)
        problems += [f"{name}: {problem}" for problem in (*wrong_keys, *_check_texts(identifier, usable))]
    problems += [f"no file has the id {name!r}" for name in CORE_IDS if name not in files]
    return problems + _language_problems(files) + _shared_questions(files) + _missing_pieces(files)


def same_text(text: str) -> str:
    """What two texts have in common that differ only in case, blanks or punctuation."""
    return " ".join(re.sub(r"[^\w{}]+", " ", text.casefold()).split())


def _check_keys(identifier: str, values: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Problems with the keys of one file and with the kinds of their values, and the values without such a problem."""
    usable: dict[str, Any] = {}
    wanted = (*_COMMON_KEYS, *_KEYS.get(identifier, ("questions", "answers")))
    problems = [f"the key {key!r} is missing" for key in wanted if key not in values]
    problems += [f"unknown key {key!r}.{did_you_mean(str(key), wanted)}" for key in values if key not in wanted]
    for key in wanted:
        value = values.get(key)
        if key in _TEXT_LISTS:
            right = isinstance(value, list) and bool(value) and all(isinstance(v, str) and v.strip() for v in value)
            allowed = "a list of texts"
        elif key == "version":
            right, allowed = type(value) is int and value >= 1, "a whole number from 1"
        elif key == "language":
            right = isinstance(value, str) and re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", value) is not None
            allowed = "a code such as en or pt-BR"
        elif key in _MAPPINGS:
            right, allowed = isinstance(value, dict), _MAPPINGS[key]
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
    if "ordinals" in values:
        problems += _check_ordinals(values["ordinals"])
    if "advice" in values:
        problems += _check_advice(values["advice"])
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
    for key in ("questions", "answers"):
        texts = values.get(key, ())
        for text in texts:
            if key == "questions":
                problems += _check_slots(key, text, rule.question)
            else:
                some = any(slot in slots_of(text) for slot in rule.optional)
                problems += _check_slots(key, text, rule.answer + (rule.optional if some else ()), rule.optional)
        problems += [f"{key}: {text!r} occurs twice" for text in _repeated(texts)]
    if rule.optional and "answers" in values:
        named = ", ".join(f"{{{slot}}}" for slot in rule.optional)
        has = [any(slot in slots_of(text) for slot in rule.optional) for text in values["answers"]]
        problems += [
            f"answers: none is {kind} {named}; some labels have it and some do not"
            for kind, wanted in (("with", True), ("without", False))
            if wanted not in has
        ]
    return problems


def _check_lists(lists: Mapping[str, Any]) -> list[str]:
    core = {slot for name in CORE_IDS if name in TASK_RULES for slot in TASK_RULES[name].answer} & set(LIST_RULES)
    problems = [f"the list {name!r} is missing" for name in sorted(core) if name not in lists]
    problems += [
        f"unknown list {name!r}.{did_you_mean(str(name), LIST_RULES)}" for name in lists if name not in LIST_RULES
    ]
    for name, rule in LIST_RULES.items():
        form = lists.get(name, {})
        wanted = ("item", "separator", "last_separator") + (("empty",) if rule.empty else ())
        if not isinstance(form, dict):
            problems.append(f"the list {name!r} is {form!r}; allowed: a mapping with {', '.join(wanted)}")
        elif name in lists:
            problems += [
                f"{name}: unknown key {key!r}.{did_you_mean(str(key), wanted)}" for key in form.keys() - set(wanted)
            ]
            missing = [key for key in wanted if not isinstance(form.get(key), str) or not form[key]]
            problems += [f"{name}: {key!r} is {form.get(key)!r}; allowed: a text" for key in missing]
            if "item" not in missing:
                problems += _check_slots(f"{name}.item", form["item"], rule.item)
            if name == "graded" and "item" not in missing and not form["item"].startswith("{type}"):
                problems.append(f"{name}.item: {form['item']!r} must begin with {{type}}: the types are read there")
    return problems


def _check_ordinals(ordinals: Sequence[str]) -> list[str]:
    problems = [f"ordinals: {text!r} occurs twice" for text in _repeated(ordinals)]
    problems += [f"ordinals: {text!r} is not one word" for text in ordinals if not re.fullmatch(r"[^\W_]+", text)]
    if len(ordinals) < 2:
        problems.append(f"ordinals: {len(ordinals)}; at least 2 are needed to tell two regions apart")
    return problems


def _check_advice(advice: Mapping[str, Any]) -> list[str]:
    problems = [f"advice: the type {name!r} is missing" for name in DISTORTION_TYPES if name not in advice]
    problems += [
        f"advice: unknown type {name!r}.{did_you_mean(str(name), DISTORTION_TYPES)}"
        for name in advice
        if name not in DISTORTION_TYPES
    ]
    for name, phrases in advice.items():
        if not isinstance(phrases, dict) or set(phrases) != set(_ADVICE_KEYS):
            problems.append(f"advice.{name}: is {phrases!r}; allowed: a mapping with {' and '.join(_ADVICE_KEYS)}")
        else:
            problems += [
                f"advice.{name}.{key}: {text!r}; allowed: a text without braces"
                for key, text in phrases.items()
                if not isinstance(text, str) or not text.strip() or re.search(r"[{}]", text)
            ]
    for key in _ADVICE_KEYS:
        texts = [str(phrases.get(key)) for phrases in advice.values() if isinstance(phrases, dict)]
        problems += [f"advice: the {key} {text!r} occurs twice" for text in _repeated(texts)]
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
    problems += [
        f"{here}: the slot {{{name}}} occurs twice" for name in sorted({n for n in found if found.count(n) > 1})
    ]
    if re.search(r"[{}]", SLOT_PATTERN.sub("", text)):
        problems.append(f"{here}: a brace without its partner; slots are written {{name}}, in small letters")
    for match in SLOT_PATTERN.finditer(text):
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        if before.isalnum() or after.isalnum():
            problems.append(f"{here}: the slot {match.group()} touches a letter or a digit")
        elif match[1] in WORD_SLOTS and before != " ":
            problems.append(f"{here}: the slot {match.group()} needs a blank before it (its word is then one token)")
    return problems


def _repeated(texts: Sequence[str]) -> list[str]:
    """The texts that occur a second time, but for case, blanks and punctuation."""
    seen: set[str] = set()
    repeated = []
    for text in texts:
        key = same_text(text)
        if key in seen:
            repeated.append(text)
        seen.add(key)
    return repeated


def _language_problems(files: Files) -> list[str]:
    languages = {str(values.get("language")): name for name, values in files.values()}
    if len(languages) <= 1:
        return []
    named = ", ".join(f"{language} ({name})" for language, name in sorted(languages.items()))
    return [f"the files have several languages: {named}; one folder holds one language"]


def _shared_questions(files: Files) -> list[str]:
    """One question with two kinds of answers."""
    owners: dict[str, str] = {}
    problems = []
    for task in TASK_RULES:
        questions = files[task][1].get("questions") if task in files else None
        for question in questions if isinstance(questions, list) else ():
            owner = owners.setdefault(same_text(str(question)), task)
            if owner != task:
                problems.append(
                    f"{files[task][0]}: {question!r} is also a question of {files[owner][0]}; "
                    "one question asks for one kind of answer"
                )
    return problems


def _missing_pieces(files: Files) -> list[str]:
    """Lists and phrases that a task of the folder speaks of and that are not there; phrases that lists cannot hold."""
    contents = {identifier: values for identifier, (_, values) in files.items()}
    lists = contents.get("lists", {}).get("lists")
    lists = lists if isinstance(lists, dict) else {}
    problems = []
    for task, rule in TASK_RULES.items():
        if rule.core or task not in files:
            continue
        slots = (*rule.question, *rule.answer, *rule.optional)
        problems += [
            f"{files[task][0]}: the list {slot!r} that it speaks of is not in the file with the id 'lists'"
            for slot in slots
            if slot in LIST_RULES and slot not in lists
        ]
        if "phrases" not in files and any(slot in PHRASE_SLOTS for slot in slots):
            problems.append(f"{files[task][0]}: it needs a file with the id 'phrases'")
    advice = contents.get("phrases", {}).get("advice")
    for name, phrases in (advice if isinstance(advice, dict) else {}).items():
        for key, list_name in zip(_ADVICE_KEYS, ("effects", "remedies"), strict=True):
            form = lists.get(list_name)
            text = phrases.get(key) if isinstance(phrases, dict) else None
            if isinstance(form, dict) and isinstance(text, str):
                problems += [
                    f"{files['phrases'][0]}: advice.{name}.{key}: {text!r} holds {mark!r}, which separates {list_name}"
                    for mark in {form.get("separator"), form.get("last_separator")}
                    if isinstance(mark, str) and mark and mark in text
                ]
    return problems
