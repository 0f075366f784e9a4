"""Scores from token probabilities: canonical questions, canonical answers, and the model's belief at their value words.

A score is never parsed from text. Quality and importance are expected levels at the value word of their canonical
answer. Whether a type is there is read at the first name of the canonical list of distortions, its name against "none":
all types from one place. How severe it is, if there, is read after its name in the same list. All of it is one tree of
questions, read in one forward pass; what they say before they come to the region is read once per picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import CheckpointError
from seagull_tune.infer.prefix import Branch, QuestionTree, SharedPrefix
from seagull_tune.instructions.chat import EncodedChat
from seagull_tune.instructions.converse import scoring_conversation
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, level_score
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.projector import DirectLogits
from seagull_tune.model.splice import splice, word_ids
from seagull_tune.records import Scores

LEVEL_TASKS = ("quality", "importance")
DISTORTIONS_TASK = "distortions"


class ScoringTree:
    """The canonical questions and answers about one region, up to each value word.

    Args:
        prompts: the texts.
        processor: encodes them.

    Attributes:
        prefix: ids up to and including the image tokens; the same for every task.
        tree: quality, importance and distortions up to their first value word; then each type's name, up to its
            severity. The region's placeholders are in it.
        candidates: per branch of the tree, first-token ids of the words that may follow.
    """

    def __init__(self, prompts: PromptLibrary, processor: SeagullProcessor) -> None:
        branches: list[Branch] = []
        self.candidates: list[tuple[int, ...]] = []
        for task in (*LEVEL_TASKS, DISTORTIONS_TASK):
            chat = _canonical(task, prompts, processor)
            cut = (chat.image_position or 0) + processor.layout.n_image_tokens
            self.prefix = tuple(chat.input_ids[:cut])
            branches.append(Branch(tuple(chat.input_ids[cut : chat.slots[0].index])))
            self.candidates.append(chat.slots[0].candidate_ids)
        for name in DISTORTION_TYPES:
            chat = _canonical(DISTORTIONS_TASK, prompts, processor, name)
            first, second = chat.slots
            branches.append(Branch(tuple(chat.input_ids[first.index : second.index]), parent=len(LEVEL_TASKS)))
            self.candidates.append(second.candidate_ids)
        self.tree = QuestionTree(branches, marks=processor.layout.region_token_ids)


def _canonical(
    task: str, prompts: PromptLibrary, processor: SeagullProcessor, type_name: str | None = None
) -> EncodedChat:
    chat: EncodedChat = processor.encode(scoring_conversation(task, prompts, type_name))
    if chat.image_position is None or not chat.slots:
        raise CheckpointError(f"The canonical answer of the task {task!r} has no value word to read a score from.")
    return chat


class ScoreReader:
    """Reads the language model's scores of regions.

    Args:
        model, processor: the tuned model.
        prompts: the texts it was tuned with.
    """

    def __init__(
        self, model: SeagullForConditionalGeneration, processor: SeagullProcessor, prompts: PromptLibrary
    ) -> None:
        self._model = model
        self._questions = ScoringTree(prompts, processor)

    def open(self, image_tokens: Tensor) -> SharedPrefix:
        """Reads the shared prefix of one picture.

        Args:
            image_tokens: (1, N, D), at the language model's scale.
        """
        tree = self._questions.tree
        ids = torch.tensor(
            [[*self._questions.prefix, *tree.input_ids[tree.common].tolist()]], device=image_tokens.device
        )
        none = image_tokens.new_zeros((0, self._model.config.n_region_tokens, image_tokens.shape[-1]))
        counts = torch.zeros(1, dtype=torch.long, device=ids.device)
        embeddings = self._model.embed(ids, image_tokens, none, counts)
        length = len(self._questions.prefix)
        return SharedPrefix(self._model, embeddings[:, :length], tree, embeddings[:, length:])

    def read(self, prefix: SharedPrefix, region_tokens: Tensor) -> list[Scores]:
        """Scores of regions of the picture behind ``prefix``.

        Args:
            prefix: from :meth:`open`.
            region_tokens: (R, T, D), at the language model's scale.
        """
        return self.judge(self.listen(prefix, region_tokens))

    def listen(self, prefix: SharedPrefix, region_tokens: Tensor) -> Tensor:
        """The language model's last hidden states at the places where scores are read, (R, branches, D)."""
        tree = self._questions.tree
        return prefix.read(self._embed(tree.input_ids[tree.own], region_tokens), tree.ends)

    def judge(self, hidden: Tensor) -> list[Scores]:
        """Scores of what :meth:`listen` heard, (R, branches, D)."""
        words = [
            self._model.word_logits(hidden[:, place], ids).float()
            for place, ids in enumerate(self._questions.candidates)
        ]
        quality, importance = words[0].softmax(dim=1), words[1].softmax(dim=1)
        types = (words[2][:, :-1] - words[2][:, -1:]).sigmoid()[:, :, None]  # (R, 8, 1)
        severities = torch.stack(words[3:], dim=1).softmax(dim=2)  # (R, 8, 5), if there
        rows = torch.cat([1.0 - types, types * severities], dim=2)
        return [
            make_scores(q, i, s) for q, i, s in zip(quality.tolist(), importance.tolist(), rows.tolist(), strict=True)
        ]

    def _embed(self, ids: Tensor, region_tokens: Tensor) -> Tensor:
        """Words (S,) with each region's tokens in their places, (R, S, D)."""
        config = self._model.config
        image_id, region_ids = config.image_token_id, list(config.region_token_ids)
        ids = ids.to(region_tokens.device)
        count, mentions = len(region_tokens), int((ids == region_ids[0]).sum())
        words = self._model.get_input_embeddings()(word_ids(ids, [image_id, *region_ids]))
        return splice(
            ids.expand(count, -1), words.expand(count, -1, -1), words.new_zeros(count, 0, words.shape[-1]),
            region_tokens.repeat_interleave(mentions, dim=0), image_id, region_ids,
        )  # fmt: skip


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
