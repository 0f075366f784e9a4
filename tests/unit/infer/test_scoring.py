"""Scores from token probabilities, against whole forward passes without any cache."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.infer.prefix import Branch, QuestionTree, SharedPrefix
from seagull_tune.infer.scoring import (
    DISTORTIONS_TASK,
    LEVEL_TASKS,
    ScoreReader,
    ScoringTree,
    direct_scores,
    make_scores,
)
from seagull_tune.instructions.converse import scoring_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.projector import DirectLogits
from seagull_tune.records import Message, Scores
from tests.tiny import enliven, make_spelling_tokenizer, make_tiny_model, make_tokenizer

torch.set_num_threads(1)
TOKENIZERS = {"words": make_tokenizer, "letters": make_spelling_tokenizer}


@dataclass(frozen=True)
class Case:
    """A lively tiny model, a photograph's image tokens, and four regions."""

    model: SeagullForConditionalGeneration
    processor: SeagullProcessor
    image_tokens: torch.Tensor
    region_tokens: torch.Tensor

    @property
    def reader(self) -> ScoreReader:
        return ScoreReader(self.model, self.processor, load_prompts())

    def read(self, *regions: int) -> list[Scores]:
        with torch.no_grad():
            return self.reader.read(self.reader.open(self.image_tokens), self.region_tokens[list(regions)])


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def case(request: pytest.FixtureRequest) -> Case:
    model, processor = make_tiny_model(seed=0, tokenizer=TOKENIZERS[request.param]())
    enliven(model)
    image = cv2.resize(skimage.data.astronaut(), (128, 96), interpolation=cv2.INTER_AREA)
    visual = visual_tensors([processor.visual(image, np.ones((1, 96, 128), bool))])
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        image_tokens = model.project_image(model.encode_front(**visual).grid)
        # Far apart, so that regions get different answers.
        tokens = 3 * model.region_norm.gain * torch.randn(4, 2, model.config.text_width, generator=generator)
    return Case(model, processor, image_tokens, tokens)


def _brute_force(case: Case, messages: list[Message], slot: int, region: int) -> torch.Tensor:
    """Probabilities of a slot's candidates from one whole forward pass over everything before the slot."""
    encoded = case.processor.encode(messages)
    ids = torch.tensor([encoded.input_ids[: encoded.slots[slot].index]])
    with torch.no_grad():
        region_tokens = case.region_tokens[region : region + 1]
        embeddings = case.model.embed(ids, case.image_tokens, region_tokens, torch.ones(1, dtype=torch.long))
        logits = case.model(inputs_embeds=embeddings, logits_to_keep=1).logits[0, -1]
    return logits[list(encoded.slots[slot].candidate_ids)].softmax(dim=0)


@pytest.mark.parametrize("task", LEVEL_TASKS)
def test_levels_equal_a_whole_forward_pass(case: Case, task: str) -> None:
    messages = list(scoring_conversation(task, load_prompts()))
    spread = 0.0
    for region, scores in enumerate(case.read(0, 1, 2, 3)):
        expected = _brute_force(case, messages, 0, region)
        found = torch.tensor(getattr(scores, f"{task}_levels"))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        assert abs(getattr(scores, task) - float((expected * torch.linspace(0, 1, 5)).sum())) < 1e-4
        spread = max(spread, float(expected.max() - expected.min()))
    assert spread > 0.1, "the model is too flat for the test to say anything"


def test_types_and_severities_equal_whole_forward_passes(case: Case) -> None:
    types = list(scoring_conversation(DISTORTIONS_TASK, load_prompts()))
    spread = 0.0
    for region, scores in enumerate(case.read(0, 1, 2, 3)):
        named = _brute_force(case, types, 0, region)
        for index, name in enumerate(DISTORTION_TYPES):
            # Whether it is there: its name against "none"; how severe, if there: the word after its name.
            there = named[index] / (named[index] + named[-1])
            messages = list(scoring_conversation(DISTORTIONS_TASK, load_prompts(), name))
            severities = _brute_force(case, messages, 1, region)
            expected = torch.cat([(1 - there)[None], there * severities])
            torch.testing.assert_close(torch.tensor(scores.severities[name]), expected, rtol=0, atol=1e-4)
            assert abs(scores.types[name] - float(1 - expected[0])) < 1e-4
            spread = max(spread, float(severities.max() - severities.min()))
    assert spread > 0.1, "the model is too flat for the test to say anything"


def test_names_of_several_tokens_are_read_to_their_end() -> None:
    processor = SeagullProcessor(make_spelling_tokenizer(), image_grid=2)
    tree = ScoringTree(load_prompts(), processor).tree
    lengths = {end - start for start, end in itertools.pairwise(tree.ends[2:])}
    assert len(lengths) >= 4


def test_many_regions_equal_one_at_a_time_in_any_order(case: Case) -> None:
    together = case.read(0, 1, 2, 3)
    assert len({round(scores.quality, 5) for scores in together}) > 1
    for region, scores in enumerate(together):
        _assert_equal(case.read(region)[0], scores)
    for place, region in enumerate((2, 0, 3, 1)):
        _assert_equal(case.read(2, 0, 3, 1)[place], together[region])


def _assert_equal(first: Scores, second: Scores) -> None:
    for name in ("quality_levels", "importance_levels"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=0, atol=1e-4)
    for name in DISTORTION_TYPES:
        np.testing.assert_allclose(first.severities[name], second.severities[name], rtol=0, atol=1e-4)


def test_a_prefix_is_read_again_unchanged(case: Case) -> None:
    reader = case.reader
    with torch.no_grad():
        prefix = reader.open(case.image_tokens)
        first = reader.read(prefix, case.region_tokens[:2])
        reader.read(prefix, case.region_tokens[2:])
        again = reader.read(prefix, case.region_tokens[:2])
    for a, b in zip(first, again, strict=True):
        _assert_equal(a, b)


def test_scores_are_probabilities(case: Case) -> None:
    for scores in case.read(0, 3):
        assert len(scores.quality_levels) == len(QUALITY_LEVELS) and abs(sum(scores.quality_levels) - 1) < 1e-5
        assert len(scores.importance_levels) == len(IMPORTANCE_LEVELS) and abs(sum(scores.importance_levels) - 1) < 1e-5
        assert tuple(scores.severities) == tuple(scores.types) == DISTORTION_TYPES
        assert all(abs(sum(row) - 1) < 1e-5 and len(row) == len(SEVERITY_NAMES) for row in scores.severities.values())
        assert 0 <= scores.quality <= 1 and 0 <= scores.importance <= 1


def test_a_tree_equals_its_branches_read_alone(case: Case) -> None:
    """A branch with two children and a cousin, three regions, against each text read whole."""
    model, width = case.model, case.model.config.text_width
    generator = torch.Generator().manual_seed(0)
    prefix = torch.randn(1, 7, width, generator=generator)
    branches = [Branch((1, 2, 3)), Branch((4, 5), parent=0), Branch((6,)), Branch((7, 8, 9), parent=0)]
    tree = QuestionTree(branches)
    assert tree.ends == [2, 4, 5, 8] and tree.depth.tolist() == [0, 1, 2, 3, 4, 0, 3, 4, 5]
    embeddings = torch.randn(3, len(tree.input_ids), width, generator=generator)
    lineages = [[0, 1, 2], [0, 1, 2, 3, 4], [5], [0, 1, 2, 6, 7, 8]]
    with torch.no_grad():
        logits = model.word_logits(SharedPrefix(model, prefix, tree).read(embeddings, tree.ends))
        for row in range(3):
            for branch, lineage in enumerate(lineages):
                whole = torch.cat([prefix[0], embeddings[row, lineage]])
                alone = model(inputs_embeds=whole[None]).logits[0, -1]
                torch.testing.assert_close(logits[row, branch], alone, rtol=1e-4, atol=1e-4)


def test_what_comes_before_a_mark_is_read_once(case: Case) -> None:
    """Two branches that name a region after some words, one with a child; the words are not read per region."""
    model, mark = case.model, case.processor.layout.region_token_ids[0]
    generator = torch.Generator().manual_seed(0)
    prefix = torch.randn(1, 7, model.config.text_width, generator=generator)
    branches = [Branch((1, 2, mark, 3)), Branch((4, mark, 5)), Branch((6,), parent=0), Branch((7, 8), parent=1)]
    tree = QuestionTree(branches, marks=case.processor.layout.region_token_ids)
    assert tree.common.tolist() == [0, 1, 4] and tree.own.tolist() == [2, 3, 5, 6, 7, 8, 9]
    embeddings = torch.randn(3, 10, model.config.text_width, generator=generator)
    embeddings[:, tree.common] = embeddings[:1, tree.common]
    with torch.no_grad():
        shared = SharedPrefix(model, prefix, tree, embeddings[:1, tree.common])
        whole = SharedPrefix(model, prefix, QuestionTree(branches))
        found, expected = shared.read(embeddings[:, tree.own], tree.ends), whole.read(embeddings, tree.ends)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_logits_of_some_words_are_those_of_all(case: Case) -> None:
    hidden = torch.randn(3, case.model.config.text_width, generator=torch.Generator().manual_seed(0))
    words = [5, 3, 90]
    with torch.no_grad():
        torch.testing.assert_close(case.model.word_logits(hidden, words), case.model.word_logits(hidden)[:, words])


def test_make_scores_by_hand() -> None:
    severities = [[0.25, 0.75, 0, 0, 0, 0]] * len(DISTORTION_TYPES)
    scores = make_scores([0, 0, 0.5, 0.5, 0], [1, 0, 0, 0, 0], severities)
    assert scores.quality == pytest.approx(0.625) and scores.importance == 0
    assert scores.types["noise"] == pytest.approx(0.75)


def test_direct_scores_are_the_heads_softmax() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = DirectLogits(*(torch.randn(2, *shape, generator=generator) for shape in ((5,), (5,), (8, 6))))
    (_, second) = direct_scores(logits)
    np.testing.assert_allclose(second.quality_levels, logits.quality[1].softmax(0), atol=1e-6)
    np.testing.assert_allclose(second.severities["resolution"], logits.severity[1, 7].softmax(0), atol=1e-6)
    expected = float((logits.importance[1].softmax(0) * torch.linspace(0, 1, 5)).sum())
    assert second.importance == pytest.approx(expected, abs=1e-6)
