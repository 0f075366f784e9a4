"""The linter of prompt folders: what a folder must hold (``checks.py``), and what good texts hold besides.

Counts, lengths, blanks and punctuation, doubled words, mixed scripts, the language of the texts, and whether every
answer form can be read back from the labels that it was made of.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seagull_tune.config.tools import LintConfig
from seagull_tune.instructions.answers import answer_parts, usable_forms
from seagull_tune.instructions.checks import Files
from seagull_tune.instructions.parsing import NO_REGION, ParsedAnswer, parse_answer
from seagull_tune.instructions.relations import better_of, first_to_fix, known_severities, worst_severities
from seagull_tune.instructions.rules import SLOT_PATTERN, TASK_RULES, TaskRule, slots_of
from seagull_tune.instructions.templates import PromptLibrary, inspect_folder, load_prompts, prompt_folder
from seagull_tune.levels import (
    DISTORTION_TYPES,
    IMPORTANCE_LEVELS,
    QUALITY_LEVELS,
    SEVERITY_NAMES,
    level_centres,
    nearest_level,
)
from seagull_tune.records import Message, RegionLabel

_ENGLISH = (
    "a about above after all an and are as at be been before below between by can comes do does each for from further "
    "give had has have here how i if in into is it its just list me more most my name neither nor no not nothing of on "
    "one only or out over rate same should so some such tell than that the their them then there these they this those "
    "to too under up was way what where which who why will with would you your"
)
_COMMON_WORDS: Mapping[str, frozenset[str]] = {"en": frozenset(re.findall("[a-z]+", _ENGLISH))}
"""Words of which nearly every sentence of a language has one; languages that are not here are not told apart."""

_WORDS_WITHOUT_COMMON = 3
"""Up to so many words, a text may have no common word ("Describe the sky" has one, "Edges look soft" has none)."""

_JUDGED_TYPE = DISTORTION_TYPES[0]


@dataclass(frozen=True)
class LintReport:
    """What the linter found.

    Attributes:
        folder: the prompt folder.
        language: of its files ("" where it cannot be told).
        n_files, n_questions, n_answers: what was checked.
        findings: what should be changed: the file, the text, what is wrong with it and what is wanted.
    """

    folder: Path
    language: str
    n_files: int
    n_questions: int
    n_answers: int
    findings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def describe(self) -> str:
        """The report as text."""
        held = f"{self.n_files} files, {self.n_questions} questions, {self.n_answers} answer forms"
        if self.ok:
            return f"{self.folder}: {held} ({self.language}), nothing to change."
        lines = [f"{self.folder}: {held}, {len(self.findings)} to change:"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


def lint_prompts(folder: Path | None = None, config: LintConfig | None = None) -> LintReport:
    """Check a prompt folder.

    Args:
        folder: the folder; None takes the shipped prompts.
        config: limits; None takes the defaults.

    Raises:
        DataError: there is no such folder.
    """
    config = LintConfig() if config is None else config
    folder = prompt_folder(folder)
    files, problems = inspect_folder(folder)
    findings = list(problems)
    for identifier, (name, values) in files.items():
        findings += [f"{name}: {reason}" for reason in _file_findings(identifier, values, config)]
    if not problems:
        prompts = load_prompts(folder)
        for task in prompts.tasks:
            findings += [f"{files[task][0]}: {reason}" for reason in _unreadable_forms(task, prompts)]
    languages = {str(values.get("language")) for _, values in files.values()}
    counts = [sum(len(texts) for _, texts in _task_texts(files, key)) for key in ("questions", "answers")]
    language = languages.pop() if len(languages) == 1 else ""
    return LintReport(folder, language, len(files), counts[0], counts[1], tuple(findings))


def _task_texts(files: Files, key: str) -> Iterator[tuple[str, list[str]]]:
    """Id and texts of the task files whose texts are a list."""
    for identifier, (_, values) in files.items():
        texts = values.get(key)
        if identifier in TASK_RULES and isinstance(texts, list):
            yield identifier, [str(text) for text in texts]


def _file_findings(identifier: str, values: Mapping[str, Any], config: LintConfig) -> Iterator[str]:
    """What should be changed in one file, besides what its folder must hold."""
    language = str(values.get("language", "")).split("-")[0]
    for key, longest in (("questions", config.question_words), ("answers", config.answer_words)):
        texts = values.get(key)
        if identifier not in TASK_RULES or not isinstance(texts, list):
            continue
        yield from _count_findings(key, texts, TASK_RULES[identifier], config)
        for text in texts:
            if isinstance(text, str):
                for reason in _text_findings(text, longest, language):
                    yield f"{key}: {text!r} {reason}"
                if key == "questions" and text.rstrip()[-1:] not in "?.!":
                    yield f"{key}: {text!r} does not end as a sentence; end it with ? or ."


def _count_findings(key: str, texts: Sequence[Any], rule: TaskRule, config: LintConfig) -> Iterator[str]:
    """Too few texts; answer forms are counted by kind, since a label uses one kind only."""
    least = config.questions if key == "questions" else config.answers
    kinds: dict[str, int] = {"": len(texts)}
    if key == "answers" and rule.optional:
        having = sum(any(slot in slots_of(str(text)) for slot in rule.optional) for text in texts)
        named = ", ".join(f"{{{slot}}}" for slot in rule.optional)
        kinds = {f" with {named}": having, f" without {named}": len(texts) - having}
    for kind, count in kinds.items():
        if count < least:
            yield f"{count} {key}{kind}; at least {least} are wanted"


def _text_findings(text: str, longest: int, language: str) -> Iterator[str]:
    plain = SLOT_PATTERN.sub(" ", text)
    words = re.findall(r"[^\W\d_]+", plain.casefold())
    if text != " ".join(text.split()):
        yield "has blanks at an end, two in a row, or a line break"
    if len(words) > longest:
        yield f"has {len(words)} words; at most {longest} are wanted, since every word is read and paid for"
    if text[:1].islower():
        yield "begins with a small letter"
    doubled = re.search(r"\b([^\W\d_]+) \1\b", text.casefold())
    if doubled:
        yield f"says {doubled[1]!r} twice in a row"
    if re.search(r" [,.;:!?](?:\s|$)", text):
        yield "has a blank before a punctuation mark"
    scripts = sorted({unicodedata.name(letter, "UNKNOWN").split()[0] for letter in plain if letter.isalpha()})
    if len(scripts) > 1:
        yield f"mixes letters of several scripts ({', '.join(scripts).lower()})"
    common = _COMMON_WORDS.get(language)
    if common is not None and len(words) > _WORDS_WITHOUT_COMMON and not common.intersection(words):
        yield f"does not read as the language of the file ({language}): it has none of its common words"


def _unreadable_forms(task: str, prompts: PromptLibrary) -> Iterator[str]:
    """The answer forms that some label cannot be read back from."""
    reported: set[str] = set()
    for labels in _probes(task, prompts):
        truth = _truth(task, labels)
        for form in usable_forms(task, labels, prompts):
            text = Message("assistant", answer_parts(task, labels, prompts, form, _JUDGED_TYPE)).text
            parsed = parse_answer(task, text, prompts)
            said = {} if parsed is None else {k: v for k, v in vars(parsed).items() if v is not None}
            if form not in reported and (not said or any(getattr(truth, k) != v for k, v in said.items())):
                reported.add(form)
                yield f"answers: {form!r} cannot be read back, for example from {text!r}"


def _probes(task: str, prompts: PromptLibrary) -> Iterator[list[RegionLabel]]:
    """Labels of all kinds: nothing, one or everything wrong, and several regions that differ or are alike."""
    n_types, worst = len(DISTORTION_TYPES), len(SEVERITY_NAMES) - 1
    clean = RegionLabel(1.0, 0.0 if task == "importance" else None, (0,) * n_types)
    one = [
        RegionLabel(i / n_types, 1.0 - i / n_types, tuple((i % worst + 1) * int(i == j) for j in range(n_types)))
        for i in range(n_types)
    ]
    all_wrong = RegionLabel(0.5, 0.5, tuple(i % worst + 1 for i in range(n_types)))
    kinds = [clean, *one, all_wrong]
    least, most = TASK_RULES[task].regions
    for count in range(least, (most or min(4, len(prompts.ordinals))) + 1):
        for start in range(len(kinds)):
            yield [kinds[(start + place) % len(kinds)] for place in range(count)]
        yield [clean] * count


def _truth(task: str, labels: Sequence[RegionLabel]) -> ParsedAnswer:
    """All that an answer to the task can say of the labels."""

    def centre(score: float, words: Sequence[str]) -> float:
        return level_centres(len(words))[words.index(nearest_level(score, words))]

    choice = better_of(*labels) if TASK_RULES[task].compares else first_to_fix(labels)
    subject = labels[choice or 0]
    return ParsedAnswer(
        quality=centre(subject.quality, QUALITY_LEVELS),
        importance=None if subject.importance is None else centre(subject.importance, IMPORTANCE_LEVELS),
        severities=worst_severities(labels),
        judgement=known_severities(subject)[0] > 0,
        qualities=tuple(centre(label.quality, QUALITY_LEVELS) for label in labels),
        choice=NO_REGION if choice is None else choice,
    )
