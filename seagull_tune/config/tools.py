"""Configuration of the small commands: `validate`, `stats`, `lint-prompts`, `messages`, `merge` and
`doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from seagull_tune.config.base import StrictModel
from seagull_tune.config.data import SplitName
from seagull_tune.config.instructions import ConversationSettings


class LintConfig(StrictModel):
    """What the linter of prompt folders wants.

    Attributes:
        questions: paraphrases of a task's question, at least.
        answers: answer forms of a task, at least; where labels decide which kind of form is used, of each kind.
        question_words, answer_words: words of one text, at most.
    """

    questions: Annotated[int, Field(ge=1)] = 12
    answers: Annotated[int, Field(ge=1)] = 6
    question_words: Annotated[int, Field(ge=1)] = 24
    answer_words: Annotated[int, Field(ge=1)] = 40


class Plausibility(StrictModel):
    """From where on `validate` warns of what is valid but not plausible (docs/data-format.md, Plausibility).

    Attributes:
        rare_share: a level, severity or type below this share of the labels is reported.
        min_labels: with fewer labels than this, shares say nothing, and none is reported.
        near_distance: photographs of different splits whose 64-bit perceptual hashes differ in at most so many bits
            are reported. Of 300 different photographs no two came below 14; shrunk, brightened or recompressed copies
            stay below 7, cropped ones mostly below 9.
    """

    rare_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    min_labels: Annotated[int, Field(ge=1)] = 500
    near_distance: Annotated[int, Field(ge=0, le=20)] = 8


class ValidateConfig(StrictModel):
    """How `validate` checks a data set.

    Attributes:
        image_root: where the photographs are now, if they were moved.
        check_images: whether photographs are read, hashed and decoded.
        prompts: folder of the prompts that its messages are derived with; none is the package's own.
        lint: what is wanted of them.
        shown: problems that are printed, at most; and as many warnings.
        plausibility: from where on it warns.
    """

    image_root: Path | None = None
    check_images: bool = True
    prompts: Path | None = None
    lint: LintConfig = LintConfig()
    shown: Annotated[int, Field(ge=1)] = 20
    plausibility: Plausibility = Plausibility()


class StatsConfig(StrictModel):
    """What `stats` shows.

    Attributes:
        image_root: where the photographs are now, if they were moved (for the contact sheet).
        split: split of the contact sheet; None takes all.
        images, samples_per_image: rows of the contact sheet, and samples in each.
        cell: width and height of a cell's picture in pixels.
    """

    image_root: Path | None = None
    split: SplitName | None = None
    images: Annotated[int, Field(ge=1, le=100)] = 8
    samples_per_image: Annotated[int, Field(ge=1, le=50)] = 4
    cell: Annotated[int, Field(ge=64, le=2000)] = 300


class MessagesConfig(StrictModel):
    """What `messages` writes.

    Attributes:
        split: split of the data set; None takes all.
        visits: conversations per sample; a training of as many passes draws the same ones.
        prompts: folder of prompt files; none is the package's own.
        conversation: how conversations are drawn.
        pairs: whether conversations about both pictures of every pair follow.
    """

    split: SplitName | None = None
    visits: Annotated[int, Field(ge=1)] = 1
    prompts: Path | None = None
    conversation: ConversationSettings = ConversationSettings()
    pairs: bool = False


class MergeConfig(StrictModel):
    """How `merge` checks itself.

    Attributes:
        tolerance: logits may move by this part of the largest one (or of 1, where that is smaller), at most.
    """

    tolerance: Annotated[float, Field(gt=0.0)] = 1e-4


class DoctorConfig(StrictModel):
    """What `doctor` looks at besides the machine.

    Attributes:
        sam_checkpoint: a SAM checkpoint that is meant to be used.
    """

    sam_checkpoint: Path | None = None


class SchemaConfig(StrictModel):
    """What `schema` prints.

    Attributes:
        kind: ``line``: of one line of `assess`; ``model``: of the language model's own JSON answer.
    """

    kind: Literal["line", "model"] = "line"
