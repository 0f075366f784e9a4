"""JSON answers under a grammar: whatever the weights, what is said can be read back."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch

from seagull_tune.errors import MissingDependencyError, RegionError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession
from seagull_tune.infer.grammar import JsonGrammar
from seagull_tune.instructions.structured import (
    answer_grammar,
    answer_schema,
    longest_json_answer,
    read_json_answer,
    write_json_answer,
)
from seagull_tune.regions.boxes import box_region
from tests.tiny import make_spelling_tokenizer, make_tiny_model, make_tokenizer, random_labels

jsonschema = pytest.importorskip("jsonschema")
xgrammar = pytest.importorskip("xgrammar", reason="the extra json is not installed")
torch.set_num_threads(1)

REGIONS = [box_region((10, 20, 90, 120), 160, 200), box_region((0, 0, 200, 160), 160, 200)]

_BLUR = '{"type": "blur", "severity": "slight"}'


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:160, 100:300])


@pytest.fixture(scope="module", params=[make_tokenizer, make_spelling_tokenizer])
def assessor(request: pytest.FixtureRequest) -> RegionAssessor:
    """Random weights over words, and over letters."""
    model, processor = make_tiny_model(seed=5, tokenizer=request.param())
    return RegionAssessor(model, processor, "tiny@0")


@pytest.fixture(scope="module")
def accepts() -> Callable[[str], bool]:
    """Whether the grammar takes a whole text."""
    known = xgrammar.TokenizerInfo([*(bytes([letter]) for letter in range(256)), b"</s>"], stop_token_ids=[256])
    compiled = xgrammar.GrammarCompiler(known).compile_grammar(answer_grammar())

    def call(text: str) -> bool:
        matcher = xgrammar.GrammarMatcher(compiled)
        return bool(matcher.accept_string(text) and matcher.accept_token(256))

    return call


def test_every_trained_answer_is_allowed(accepts: Callable[[str], bool]) -> None:
    answers = {write_json_answer(label) for label in random_labels(random.Random(0), 150)} | {longest_json_answer()}
    assert len(answers) > 50
    assert all(accepts(answer) and accepts(" " + answer) for answer in answers)
    assert max(map(len, answers)) == len(longest_json_answer())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "good",
        '{"quality": "good"}',
        '{"quality": "superb", "importance": null, "distortions": []}',
        '{"quality": "good", "importance": null, "distortions": [{"type": "blur", "severity": "none"}]}',
        f'{{"quality": "good", "importance": null, "distortions": [{_BLUR}, {_BLUR}]}}',
        '{"quality": "good", "importance": null, "distortions": []} and more',
    ],
)
def test_nothing_else_is_allowed(accepts: Callable[[str], bool], text: str) -> None:
    assert not accepts(text)


def test_random_weights_answer_in_valid_json(assessor: RegionAssessor, image: np.ndarray) -> None:
    # Biased towards one letter after the other, the same weights would say something else each time.
    generator = torch.Generator().manual_seed(0)
    table = assessor.model.get_input_embeddings().weight
    for _ in range(3):
        with torch.no_grad():
            table += 0.5 * table.std() * torch.randn(table.shape, generator=generator)
        for answer in assessor.answer_in_json(image, REGIONS):
            jsonschema.validate(json.loads(answer.model_dump_json()), answer_schema())


def test_a_region_alone_says_the_same(assessor: RegionAssessor, image: np.ndarray) -> None:
    together = assessor.answer_in_json(image, REGIONS)
    assert [assessor.answer_in_json(image, [region])[0] for region in REGIONS] == together


def test_a_conversation_in_json(assessor: RegionAssessor, image: np.ndarray) -> None:
    session = ChatSession(assessor, image)
    with pytest.raises(RegionError, match="JSON is about a region"):
        session.ask_in_json()
    session.add_region(REGIONS[0], "face")
    (expected,) = assessor.answer_in_json(image, REGIONS[:1])
    assert session.ask_in_json() == expected
    assert session.turns[0].text == "<image>Assess <region 1> as JSON."
    assert read_json_answer(session.turns[1].text) == expected
    session.reset()
    session.ask_in_json("How is the face, as JSON?")
    assert session.turns[0].text == "<image>How is the <region 1>, as JSON?"


def test_without_xgrammar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(MissingDependencyError, match=r"seagull-tune\[json\]"):
        JsonGrammar(make_tokenizer(), 700)
