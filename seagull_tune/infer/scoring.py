"""Scores from token probabilities: canonical question, canonical answer, and the model's belief at its value words.

A score is never parsed from text. Quality and importance are expected levels at the value word of their canonical
answer. Whether a type is there is read at the first name of the canonical list of types, its name against "none": all
types from one place. How severe it is, if there, is read along the canonical profile (one word per type, each after the
words chosen before it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import CheckpointError
from seagull_tune.infer.prefix import Continuations
from seagull_tune.instructions.chat import EncodedChat
from seagull_tune.instructions.converse import scoring_conversation
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, level_score
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.projector import DirectLogits
from seagull_tune.records import Message, Part, Scores

LEVEL_TASKS = ("quality", "importance")
TYPES_TASK = "types"
PROFILE_TASK = "distortions"


class CanonicalTask:
    """The canonical question and answer of one task, as token pieces between value words.

    Args:
        task: name of the prompt file.
        prompts: the texts.
        processor: encodes them.

    Attributes:
        prefix: ids up to and including the image tokens; the same for every task.
        opening: ids from there to the first value word; it holds the region's placeholders.
        candidates: per value word, first-token ids of its candidates.
        following: per value word and candidate, the ids of that word and of everything up to the next value word.
    """

    def __init__(self, task: str, prompts: PromptLibrary, processor: SeagullProcessor) -> None:
        messages = scoring_conversation(task, prompts)
        encoded = processor.encode(messages)
        if encoded.image_position is None or not encoded.slots:
            raise CheckpointError(f"The canonical answer of the task {task!r} has no value word to read a score from.")
        cut = encoded.image_position + processor.layout.n_image_tokens
        self.prefix = tuple(encoded.input_ids[:cut])
        self.opening = tuple(encoded.input_ids[cut : encoded.slots[0].index])
        self.candidates = [slot.candidate_ids for slot in encoded.slots]
        self.keys = [slot.key for slot in encoded.slots]
        self.following = [
            [_segment(_with_word(messages, index, word), processor, index) for word in range(len(slot.candidate_ids))]
            for index, slot in enumerate(encoded.slots[:-1])
        ]


def _with_word(messages: Sequence[Message], slot_index: int, word: int) -> list[Message]:
    """The conversation with another candidate word at one of the answer's slots."""
    answer = messages[-1]
    parts: list[Part] = []
    seen = 0
    for part in answer.parts:
        if part.slot is not None:
            part = replace(part, text=part.slot.words[word]) if seen == slot_index else part
            seen += 1
        parts.append(part)
    return [*messages[:-1], Message(answer.role, tuple(parts))]


def _segment(messages: Sequence[Message], processor: SeagullProcessor, slot_index: int) -> tuple[int, ...]:
    encoded: EncodedChat = processor.encode(messages)
    start, end = encoded.slots[slot_index].index, encoded.slots[slot_index + 1].index
    return tuple(encoded.input_ids[start:end])


class ScoreReader:
    """Reads the language model's scores of regions.

    Args:
        model, processor: the tuned model.
        prompts: the texts it was tuned with.
    """

    def __init__(
        self, model: SeagullForConditionalGeneration, processor: SeagullProcessor, prompts: PromptLibrary
    ) -> None:
        self._model, self._processor = model, processor
        self._tasks = {
            task: CanonicalTask(task, prompts, processor) for task in (*LEVEL_TASKS, TYPES_TASK, PROFILE_TASK)
        }

    def open(self, image_tokens: Tensor) -> Continuations:
        """Reads the shared prefix of one picture.

        Args:
            image_tokens: (1, N, D), at the language model's scale.
        """
        ids = torch.tensor([self._tasks[PROFILE_TASK].prefix], device=image_tokens.device)
        none = image_tokens.new_zeros((0, self._model.config.n_region_tokens, image_tokens.shape[-1]))
        counts = torch.zeros(1, dtype=torch.long, device=ids.device)
        return Continuations(self._model, self._model.embed(ids, image_tokens, none, counts))

    def read(self, prefix: Continuations, region_tokens: Tensor) -> list[Scores]:
        """Scores of regions of the picture behind ``prefix``.

        Args:
            prefix: from :meth:`open`.
            region_tokens: (R, T, D), at the language model's scale.
        """
        quality, importance = (self._levels(prefix, region_tokens, task) for task in LEVEL_TASKS)
        profile = self._profile(prefix, region_tokens, self._types(prefix, region_tokens))
        return [
            make_scores(q, i, p)
            for q, i, p in zip(quality.tolist(), importance.tolist(), profile.tolist(), strict=True)
        ]

    def _start(self, prefix: Continuations, region_tokens: Tensor, task: CanonicalTask) -> tuple[Continuations, Tensor]:
        count = len(region_tokens)
        branch = prefix.fork(count)
        ids = torch.tensor([task.opening], device=region_tokens.device)
        words = self._embed_words(ids).repeat(count, 1, 1)
        for slot, token in enumerate(self._model.config.region_token_ids):
            words[:, ids[0] == token] = region_tokens[:, slot : slot + 1].to(words.dtype)
        lengths = torch.full((count,), ids.shape[1], device=ids.device)
        return branch, branch.read(words, lengths)

    def _embed_words(self, ids: Tensor) -> Tensor:
        config = self._model.config
        placeholders = torch.tensor([config.image_token_id, *config.region_token_ids], device=ids.device)
        embedded: Tensor = self._model.get_input_embeddings()(ids.masked_fill(torch.isin(ids, placeholders), 0))
        return embedded

    def _levels(self, prefix: Continuations, region_tokens: Tensor, name: str) -> Tensor:
        """Probabilities of the level words, (R, 5)."""
        task = self._tasks[name]
        _, logits = self._start(prefix, region_tokens, task)
        return logits[:, list(task.candidates[0])].softmax(dim=1)

    def _types(self, prefix: Continuations, region_tokens: Tensor) -> Tensor:
        """Probability that each type is there, (R, 8): its name against the word for none of them."""
        task = self._tasks[TYPES_TASK]
        _, logits = self._start(prefix, region_tokens, task)
        words = logits[:, list(task.candidates[0])]  # (R, 9)
        return (words[:, :-1] - words[:, -1:]).sigmoid()

    def _profile(self, prefix: Continuations, region_tokens: Tensor, there: Tensor) -> Tensor:
        """Probabilities of the severities of every type, (R, 8, 6), in the order of ``levels.DISTORTION_TYPES``.

        Args:
            prefix, region_tokens: as in :meth:`read`.
            there: (R, 8) from :meth:`_types`; it decides about "none", the profile about the severities from slight on.
        """
        task = self._tasks[PROFILE_TASK]
        branch, logits = self._start(prefix, region_tokens, task)
        found: dict[str, Tensor] = {}
        for slot, candidates in enumerate(task.candidates):
            present = there[:, DISTORTION_TYPES.index(task.keys[slot]), None]  # (R, 1)
            severities = logits[:, list(candidates)[1:]].softmax(dim=1) * present
            found[task.keys[slot]] = torch.cat([1.0 - present, severities], dim=1)
            if slot == len(task.candidates) - 1:
                break
            chosen = torch.where(present[:, 0] >= 0.5, severities.argmax(dim=1) + 1, 0).tolist()
            segments = [torch.tensor(task.following[slot][word]) for word in chosen]
            ids = torch.nn.utils.rnn.pad_sequence(segments, batch_first=True).to(logits.device)
            lengths = torch.tensor([len(segment) for segment in segments], device=logits.device)
            logits = branch.read(self._embed_words(ids), lengths)
        return torch.stack([found[name] for name in DISTORTION_TYPES], dim=1)


def make_scores(quality: Sequence[float], importance: Sequence[float], severities: Sequence[Sequence[float]]) -> Scores:
    """Scores from level and severity probabilities.

    Args:
        quality, importance: 5 probabilities each.
        severities: per type, 6 probabilities; a type's own probability is that its severity is not ``none``.
    """
    per_type = dict(zip(DISTORTION_TYPES, (tuple(row) for row in severities), strict=True))
    return Scores(
        quality=level_score(quality), importance=level_score(importance), quality_levels=tuple(quality),
        importance_levels=tuple(importance), severities=per_type,
        types={name: 1.0 - row[0] for name, row in per_type.items()},
    )  # fmt: skip


def direct_scores(logits: DirectLogits) -> list[Scores]:
    """What the region tokens' own head says of R regions."""
    quality, importance = logits.quality.float().softmax(1), logits.importance.float().softmax(1)
    severity = logits.severity.float().softmax(2)
    return [
        make_scores(q, i, s) for q, i, s in zip(quality.tolist(), importance.tolist(), severity.tolist(), strict=True)
    ]
