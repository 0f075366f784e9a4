"""The describer: what it says is what the assessor says, with tokens, embedding and words, kept on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from seagull_tune.config.answer import SegmenterChoice
from seagull_tune.data.array_cache import ArrayCache
from seagull_tune.data.processor import visual_tensors
from seagull_tune.errors import DataError
from seagull_tune.infer.assessor import TEXT_TASK, RegionAssessor
from seagull_tune.infer.describer import NUMBERS, Description, RegionDescriber, cover_of, say_scores, segmenter_identity
from seagull_tune.instructions.parsing import parse_answer
from seagull_tune.levels import DISTORTION_TYPES, said_severity
from seagull_tune.regions.masks import decode_all
from tests.tiny import enliven, make_tiny_model

torch.set_num_threads(1)
CHOICE = SegmenterChoice(max_regions=5)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[40:140, 100:220])


@pytest.fixture(scope="module")
def assessor(image: np.ndarray) -> RegionAssessor:
    model, processor = make_tiny_model(seed=3)
    enliven(model)
    masks = np.zeros((2, *image.shape[:2]), bool)
    masks[0, :50], masks[1, 50:] = True, True
    model.mfe.measure(model.encode_front(**visual_tensors([processor.visual(image, masks)])))
    return RegionAssessor(model, processor, "tiny@0123")


@pytest.fixture(scope="module")
def description(assessor: RegionAssessor, image: np.ndarray) -> Description:
    return RegionDescriber(assessor, CHOICE)(image)


def test_the_regions_are_a_cover(description: Description) -> None:
    assert len(description.regions) >= 2
    assert bool((decode_all(description.regions).sum(0) == 1).all())


def test_it_says_what_the_assessor_says(assessor: RegionAssessor, description: Description, image: np.ndarray) -> None:
    assessed = assessor.assess(image, description.regions)
    for said, one in zip(assessed, range(len(assessed)), strict=True):
        for mine, theirs in ((description.scores[one], said.scores), (description.direct[one], said.direct)):
            assert mine.quality == pytest.approx(theirs.quality, abs=1e-5)
            assert mine.importance == pytest.approx(theirs.importance, abs=1e-5)
            for kind in DISTORTION_TYPES:
                assert mine.severities[kind] == pytest.approx(theirs.severities[kind], abs=1e-5)


def test_its_arrays(assessor: RegionAssessor, description: Description, image: np.ndarray) -> None:
    count, width = len(description.regions), assessor.model.config.text_width
    assert description.tokens.shape == (count, assessor.model.config.n_region_tokens, width)
    assert description.embedding.shape == (count, width)
    with assessor.running():
        encoded = assessor.encode(image, description.regions)
    np.testing.assert_allclose(description.tokens, encoded.tokens.numpy(), rtol=2e-3, atol=1e-3)
    assert np.ptp(description.embedding, axis=0).max() > 1e-2, "regions have embeddings of their own"
    numbers = description.numbers()
    assert numbers.shape == (count, len(NUMBERS)) and float(numbers.min()) >= 0 and float(numbers.max()) <= 1
    assert numbers[:, NUMBERS.index("area")].sum() == pytest.approx(1.0, abs=1e-6)
    assert numbers[0, NUMBERS.index("scores.quality")] == pytest.approx(description.scores[0].quality, abs=1e-6)


def test_its_texts_are_read_back_as_its_scores(assessor: RegionAssessor, description: Description) -> None:
    for text, scores in zip(description.texts, description.scores, strict=True):
        said = tuple(said_severity(scores.severities[kind]) for kind in DISTORTION_TYPES)
        parsed = parse_answer(TEXT_TASK, text, assessor.prompts)
        assert parsed is not None and parsed.severities == said
        assert text == say_scores(scores, assessor.prompts)


def test_the_second_time_it_is_read(assessor: RegionAssessor, image: np.ndarray, tmp_path: Path) -> None:
    describer = RegionDescriber(assessor, CHOICE, ArrayCache(tmp_path))
    calls: list[int] = []
    handle = assessor.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        first, second = describer(image), describer(image)
    finally:
        handle.remove()
    assert len(calls) == 1
    for name in ("regions", "scores", "direct", "texts", "model_id"):
        assert getattr(first, name) == getattr(second, name), name
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_what_a_description_depends_on(assessor: RegionAssessor, image: np.ndarray) -> None:
    def key(choice: SegmenterChoice = CHOICE, text: str = "scores", name: str = "tiny@0123") -> str:
        renamed = RegionAssessor.__new__(RegionAssessor)
        renamed.__dict__ = {**assessor.__dict__, "name": name}
        return RegionDescriber(renamed, choice, text=text).key(image)  # type: ignore[arg-type]

    assert key(name="moved@0123") == key(), "the folder's name is not the model"
    assert len({key(), key(SegmenterChoice(max_regions=6)), key(text="generated"), key(name="tiny@4567")}) == 4
    assert segmenter_identity(CHOICE)["method"] == "graph"


def test_chunks_change_nothing(assessor: RegionAssessor, description: Description, image: np.ndarray) -> None:
    small = RegionAssessor.__new__(RegionAssessor)
    small.__dict__ = {**assessor.__dict__, "chunk": 1}
    one_by_one = RegionDescriber(small, CHOICE).describe(image, description.regions)
    np.testing.assert_allclose(one_by_one.numbers(), description.numbers(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(one_by_one.embedding, description.embedding, rtol=5e-3, atol=5e-3)


def test_the_model_speaks_where_it_is_asked_to(assessor: RegionAssessor, image: np.ndarray) -> None:
    describer = RegionDescriber(assessor, replace_regions(1), text="generated")
    said = describer(image)
    assert len(said.texts) == len(said.regions) and all(said.texts)


def replace_regions(count: int) -> SegmenterChoice:
    return CHOICE.model_copy(update={"max_regions": count})


def test_a_picture_that_cannot_be_judged_is_named(assessor: RegionAssessor) -> None:
    with pytest.raises(DataError, match=r"small\.png: .*at least 32x32"):
        RegionDescriber(assessor, CHOICE)(np.zeros((20, 20, 3), np.uint8), "small.png")


def test_a_scene_without_regions_is_one_region(assessor: RegionAssessor) -> None:
    flat = np.full((64, 64, 3), 127, np.uint8)
    assert len(cover_of(flat, RegionDescriber(assessor, CHOICE)._segmenter)) == 1
    assert replace(RegionDescriber(assessor, CHOICE)(flat)).numbers().shape == (1, len(NUMBERS))
