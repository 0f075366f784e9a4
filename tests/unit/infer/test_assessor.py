"""The assessor: one photograph, many regions; the same numbers alone and together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from transformers import LlamaConfig

from seagull_tune.errors import CheckpointError, ConfigError, DataError, RegionError
from seagull_tune.infer.assessor import AskedRegions, RegionAssessor
from seagull_tune.instructions.converse import free_question
from seagull_tune.levels import DISTORTION_TYPES, QUALITY_LEVELS
from seagull_tune.model.checkpoint import model_id, save_checkpoint
from seagull_tune.records import Region, RegionAssessment
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all, encode
from tests.tiny import enliven, make_tiny_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a lively tiny model whose constants were measured."""
    model, processor = make_tiny_model(seed=3)
    enliven(model)
    image = skimage.data.chelsea()[:200, :260]
    inputs = processor.visual(image, decode_all(_regions(*image.shape[:2])))
    from seagull_tune.data.processor import visual_tensors

    model.mfe.measure(model.encode_front(**visual_tensors([inputs])))
    path = tmp_path_factory.mktemp("assessor") / "run" / "model"
    save_checkpoint(model, processor, path)
    return path


@pytest.fixture(scope="module")
def assessor(folder: Path) -> RegionAssessor:
    return RegionAssessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[:200, :260])


def _regions(height: int, width: int) -> list[Region]:
    y, x = np.mgrid[:height, :width]
    return [
        box_region((10, 10, 120, 90), height, width, "ear"),
        encode((y - 120) ** 2 + (x - 150) ** 2 < 50**2, "eye"),
        box_region((0, 0, width, height), height, width, "all"),
        box_region((width - 3, height - 3, width, height), height, width, "corner"),
    ]


@pytest.fixture(scope="module")
def regions(image: np.ndarray) -> list[Region]:
    return _regions(*image.shape[:2])


@pytest.fixture(scope="module")
def assessed(assessor: RegionAssessor, image: np.ndarray, regions: list[Region]) -> list[RegionAssessment]:
    return assessor.assess(image, regions, text=True)


def _assert_close(first: RegionAssessment, second: RegionAssessment) -> None:
    for a, b in ((first.scores, second.scores), (first.direct, second.direct)):
        for name in ("quality_levels", "importance_levels"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-4)
        for name in DISTORTION_TYPES:
            np.testing.assert_allclose(a.severities[name], b.severities[name], rtol=0, atol=1e-4)


def test_results_come_in_the_order_of_the_regions(
    assessed: list[RegionAssessment], regions: list[Region], folder: Path
) -> None:
    assert [result.region for result in assessed] == regions
    assert {result.model_id for result in assessed} == {model_id(folder)}
    assert assessed[0].model_id.startswith("run@")
    assert {result.resolution for result in assessed} == {(74, 96)}
    qualities = [result.direct.quality for result in assessed]
    assert np.ptp(qualities) > 1e-3, "all regions got the same answer"
    for result in assessed:
        assert len(result.scores.quality_levels) == len(QUALITY_LEVELS)


def test_a_region_alone_equals_one_among_many(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    for region, together in zip(regions, assessed, strict=True):
        (alone,) = assessor.assess(image, [region], text=True)
        _assert_close(alone, together)
        assert (alone.text, alone.unparsable) == (together.text, together.unparsable)


def test_some_regions_are_put_into_words(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    found = assessor.assess(image, regions, text=[1])
    assert [answer.text for answer in found] == ["", assessed[1].text, *[""] * (len(regions) - 2)]
    assert [answer.unparsable for answer in found] == [i == 1 and assessed[1].unparsable for i in range(len(regions))]
    with pytest.raises(RegionError, match="allowed: 0 to"):
        assessor.assess(image, regions, text=[len(regions)])


def test_chunks_bound_memory_and_change_nothing(
    folder: Path, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    for chunk in (1, 3):
        found = RegionAssessor.from_pretrained(folder, chunk=chunk).assess(image, regions, text=True)
        for first, second in zip(found, assessed, strict=True):
            _assert_close(first, second)
            assert first.text == second.text


def test_photographs_together_as_alone(
    folder: Path, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    """Two photographs of different sizes; with chunks of 3, one chunk holds regions of both."""
    other = np.ascontiguousarray(skimage.data.coffee()[:150, :100])
    boxes = [box_region((0, 0, 60, 70), 150, 100), box_region((30, 20, 100, 150), 150, 100)]
    for chunk in (3, 32):
        assessor = RegionAssessor.from_pretrained(folder, chunk=chunk)
        want = [assessed, assessor.assess(other, boxes)]
        with assessor.running():
            asked = [
                AskedRegions(assessor.encode(image, regions), regions, [1]),
                AskedRegions(assessor.encode(other, boxes), boxes),
            ]
            found = list(assessor.judge(asked))
        assert [len(answers) for answers in found] == [len(regions), 2]
        for answers, alone in zip(found, want, strict=True):
            for first, second in zip(answers, alone, strict=True):
                assert first.region == second.region and first.resolution == second.resolution
                _assert_close(first, second)
        assert [answer.text for answer in found[0]] == ["", assessed[1].text, *[""] * (len(regions) - 2)]


def test_an_earlier_look_of_the_tower_is_taken_over(
    assessor: RegionAssessor, image: np.ndarray, regions: list[Region]
) -> None:
    calls: list[int] = []
    handle = assessor.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        with assessor.running():
            first = assessor.encode(image, regions[:1])
            later = assessor.encode(image, regions, first.maps)
            anew = assessor.encode(image, regions)
    finally:
        handle.remove()
    assert len(calls) == 2 and later.size == anew.size
    torch.testing.assert_close(later.tokens, anew.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(later.grid, anew.grid, rtol=0, atol=1e-5)


def test_order_overlap_and_repetition_change_nothing(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    """Regions upside down, each twice; the whole image overlaps all of them."""
    order = [3, 2, 1, 0, 0, 1, 2, 3]
    for place, found in zip(order, assessor.assess(image, [regions[i] for i in order]), strict=True):
        assert found.region == regions[place]
        _assert_close(found, assessed[place])


def test_500_regions_are_read_in_chunks(folder: Path, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    boxes = [(x, y, x + 40, y + 40) for y in range(0, height - 40, 8) for x in range(0, width - 40, 8)][:500]
    many = [box_region(box, height, width) for box in boxes]
    assert len(many) == 500
    assessor = RegionAssessor.from_pretrained(folder, chunk=64)
    together: list[int] = []
    observed: list[int] = []
    decode, observe = assessor.model.decoder.forward, assessor.model.observe

    def read(**arguments: Any) -> Any:
        together.append(len(arguments["inputs_embeds"]))
        return decode(**arguments)

    def look(maps: Any, **arguments: Any) -> Any:
        observed.append(len(arguments["region_geometry"]))
        return observe(maps, **arguments)

    assessor.model.decoder.forward = read  # type: ignore[method-assign]
    assessor.model.observe = look  # type: ignore[method-assign]
    found = assessor.assess(image, many)
    assert together == [1, *[64] * 7, 52] and observed == [*[64] * 7, 52]
    for index in (0, 63, 64, 499):
        _assert_close(found[index], assessor.assess(image, [many[index]])[0])


def test_more_regions_than_allowed(assessor: RegionAssessor, image: np.ndarray, regions: list[Region]) -> None:
    with pytest.raises(RegionError, match=r"10,000 regions.*allowed: 1,024.*some of them"):
        assessor.assess(image, regions[:1] * 10_000)


def test_an_extractor_that_mixes_regions_reads_one_at_a_time(image: np.ndarray, regions: list[Region]) -> None:
    """The released extractor lets regions attend to each other; its users ask about one."""
    model, processor = make_tiny_model(mfe="seagull")
    released = RegionAssessor(enliven(model), processor, "released@0")
    together = released.assess(image, regions)
    assert np.ptp([answer.direct.quality for answer in together]) > 1e-4
    for region, found in zip(regions, together, strict=True):
        _assert_close(found, released.assess(image, [region])[0])


def test_scores_are_what_the_model_would_say(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    """The level probabilities are those of generation from the typed canonical question."""
    model, processor = assessor.model, assessor.processor
    inputs = processor(image, decode_all(regions), free_question("How is the quality of this region?", 1))
    answer = processor.tokenizer("Its quality is", add_special_tokens=False)["input_ids"]
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    with torch.no_grad():
        logits = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0, -1]
    words = [processor.tokenizer(" " + word, add_special_tokens=False)["input_ids"][0] for word in QUALITY_LEVELS]
    np.testing.assert_allclose(assessed[1].scores.quality_levels, logits[words].softmax(0), rtol=0, atol=1e-4)


def test_the_photograph_runs_through_the_tower_once(
    assessor: RegionAssessor, image: np.ndarray, regions: list[Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    handle = assessor.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        assessor.assess(image, regions)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_text_only_where_it_is_asked_for(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    silent = assessor.assess(image, regions)
    assert all(result.text == "" and not result.unparsable for result in silent)
    # Random weights say nothing that can be read back; nothing is made up for it.
    assert all(result.text and result.unparsable for result in assessed)


def test_a_file_equals_its_pixels(
    assessor: RegionAssessor, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region], tmp_path: Path
) -> None:
    Image.fromarray(image).save(tmp_path / "cat.png")
    for path in (tmp_path / "cat.png", str(tmp_path / "cat.png")):
        for first, second in zip(assessor.assess(path, regions), assessed, strict=True):
            _assert_close(first, second)


def test_bfloat16_moves_scores_little(
    folder: Path, assessed: list[RegionAssessment], image: np.ndarray, regions: list[Region]
) -> None:
    found = RegionAssessor.from_pretrained(folder, bf16=True).assess(image, regions)
    assert max(abs(a.direct.quality - b.direct.quality) for a, b in zip(found, assessed, strict=True)) < 0.05
    assert any(a.scores != b.scores for a, b in zip(found, assessed, strict=True))


def test_bad_inputs(assessor: RegionAssessor, image: np.ndarray, tmp_path: Path) -> None:
    height, width = image.shape[:2]
    with pytest.raises(RegionError, match="No region was given"):
        assessor.assess(image, [])
    with pytest.raises(RegionError, match=f"belongs to an image of 50x40 pixels; this one is {width}x{height}"):
        assessor.assess(image, [box_region((0, 0, 10, 10), 40, 50, "small")])
    with pytest.raises(DataError, match="at least 32x32"):
        assessor.assess(image[:1, :1], [box_region((0, 0, 1, 1), 1, 1)])
    (tmp_path / "note.png").write_text("not an image")
    with pytest.raises(DataError, match=r"note\.png"):
        assessor.assess(tmp_path / "note.png", [box_region((0, 0, 10, 10), height, width)])


def test_bad_checkpoints_and_devices(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a Seagull-Tune checkpoint"):
        RegionAssessor.from_pretrained(tmp_path)
    LlamaConfig(hidden_size=32, num_hidden_layers=1).save_pretrained(tmp_path)  # a model, but not one of ours
    (tmp_path / "model.safetensors").write_bytes((folder / "trained.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not a Seagull-Tune checkpoint"):
        RegionAssessor.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"Device 'quantum'.*Allowed: cpu, cuda, mps"):
        RegionAssessor.from_pretrained(folder, device="quantum")
