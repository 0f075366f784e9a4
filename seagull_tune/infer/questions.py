"""Questions in the user's own words: what cannot be one, and which regions one names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seagull_tune.errors import DataError, LimitError
from seagull_tune.files import is_unicode

MAX_QUESTION = 20_000
"""Most characters of one question; a longer one is a file pasted by mistake."""


def check_question(question: str) -> None:
    """Refuses what cannot be a question, before any model is loaded.

    Raises:
        DataError: empty, too long, or of bytes that are no text.
    """
    if not question.strip():
        raise DataError("The question is empty; a question needs at least one word.")
    if len(question) > MAX_QUESTION:
        raise LimitError(
            f"The question has {len(question):,} characters; allowed: {MAX_QUESTION:,}. Ask a shorter one."
        )
    if not is_unicode(question):
        raise DataError(f"The question {question[:80]!a} is not UTF-8. Type it in a terminal that is set to UTF-8.")


def mark_regions(question: str, names: Sequence[str], phrases: Sequence[str] = (), current: int | None = None) -> str:
    """Names of regions in a question as ``<region N>``; marks that are there already stay.

    The longest name goes first, so that "left eye" is not taken for "eye". Where a question names a region, the phrases
    for the current one ("this region") become its mark too; where it names none, they are left to
    :func:`~seagull_tune.instructions.converse.free_turn`.

    Args:
        question: as it was typed.
        names: the regions' names, in order.
        phrases: what stands for the current region.
        current: its index; None where there is none.
    """
    numbers = {name.lower(): index + 1 for index, name in enumerate(names)}
    known = sorted({*numbers, *(phrase.lower() for phrase in phrases)}, key=len, reverse=True)
    if not numbers:
        return question
    pattern = re.compile(r"<region \d+>|\b(?:" + "|".join(map(re.escape, known)) + r")\b", re.IGNORECASE)
    found = [match.group().lower() for match in pattern.finditer(question)]
    if not any(word in numbers or word.startswith("<") for word in found):
        return question

    def mark(match: re.Match[str]) -> str:
        word = match.group()
        if word.startswith("<"):
            return word
        number = numbers.get(word.lower(), None if current is None else current + 1)
        return word if number is None else f"<region {number}>"

    return pattern.sub(mark, question)
