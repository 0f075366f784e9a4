"""Training items: visits, seeds, mentions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.collate import Collator
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.tune.front_cache import build_front_cache
from seagull_tune.tune.samples import TrainingSamples

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
SETTINGS = ConversationSettings()


def _ids(samples: TrainingSamples, index: int) -> list[int]:
    encoded = samples[index].encoded
    assert encoded is not None
    return encoded.input_ids


@pytest.fixture(scope="module")
def samples(tiny: Tiny, rows: RoiDataset) -> TrainingSamples:
    return TrainingSamples(rows, tiny[1], load_prompts(), SETTINGS, passes=3)


def test_every_visit_has_its_own_conversation_and_the_same_picture(samples: TrainingSamples, rows: RoiDataset) -> None:
    assert len(samples) == 3 * len(rows) == 54
    visits = [samples[5 + visit * len(rows)] for visit in range(3)]
    assert len({item.name for item in visits}) == 1 and visits[0].name == rows.sample(5).sample_id
    assert len({tuple(item.encoded.input_ids) for item in visits if item.encoded}) == 3
    assert visits[0].visual is not None and visits[2].visual is not None
    np.testing.assert_array_equal(visits[0].visual.pixels, visits[2].visual.pixels)


def test_letters_tell_about_how_many_tokens_there_are(samples: TrainingSamples) -> None:
    letters = samples.lengths()
    tokens = [len(_ids(samples, index)) for index in range(18)]
    assert len(letters) == len(samples)
    assert np.corrcoef(letters[:18], tokens)[0, 1] > 0.9
    assert TrainingSamples(samples.rows, samples.processor, None, SETTINGS, passes=2).lengths() == [0] * 36


def test_an_index_always_gives_the_same_item(samples: TrainingSamples, tiny: Tiny, data: Path) -> None:
    again = TrainingSamples(RoiDataset(data, "train"), tiny[1], load_prompts(), SETTINGS, passes=3)
    for index in (0, 17, 30, 53):
        assert _ids(samples, index) == _ids(again, index)
        assert samples[index].mentions == again[index].mentions


def test_mentions_follow_the_conversation(samples: TrainingSamples) -> None:
    seen: set[int] = set()
    for index in range(18):
        item = samples[index]
        assert item.encoded is not None
        assert len(item.mentions) == len(item.encoded.region_positions) >= 1
        assert all(0 <= mention < len(item.labels) for mention in item.mentions)
        seen |= set(item.mentions)
    assert seen == {0, 1, 2}, "the conversations must reach every region"


def test_value_words_know_their_region(samples: TrainingSamples) -> None:
    seen = 0
    for index in range(18):
        item = samples[index]
        assert item.encoded is not None and len(item.slot_regions) == len(item.encoded.slots)
        for slot, region in zip(item.encoded.slots, item.slot_regions, strict=True):
            if slot.kind == "quality" and region >= 0:
                score = sum(share * level / 4 for level, share in enumerate(slot.target))
                assert score == pytest.approx(item.labels[region].quality)
                seen += 1
    assert seen > 10
    batch = Collator(0)([samples[index] for index in range(3)])
    assert len(batch["slot_regions"]) == len(batch["slot_rows"])
    assert int(batch["slot_regions"].max()) >= len(samples[0].labels), "rows of the batch, not of one sample"


def test_chosen_rows(tiny: Tiny, rows: RoiDataset) -> None:
    some = TrainingSamples(rows, tiny[1], load_prompts(), SETTINGS, passes=2, chosen=[3, 7])
    whole = TrainingSamples(rows, tiny[1], load_prompts(), SETTINGS, passes=2)
    assert len(some) == 4
    for index, expected in enumerate((3, 7, 3 + len(rows), 7 + len(rows))):
        assert _ids(some, index) == _ids(whole, expected)


def test_regions_alone_read_no_text(tiny: Tiny, rows: RoiDataset) -> None:
    item = TrainingSamples(rows, tiny[1], None, SETTINGS)[0]
    assert item.encoded is None and item.mentions == () and item.visual is not None


def test_a_cache_replaces_the_picture(tiny: Tiny, rows: RoiDataset, tmp_path: Path) -> None:
    cache = build_front_cache(rows, *tiny, tmp_path, workers=0, chosen=[4])
    samples = TrainingSamples(rows, tiny[1], load_prompts(), SETTINGS, chosen=[4], cache=cache)
    item = samples[0]
    assert item.visual is None and item.statistics is not None
    np.testing.assert_array_equal(item.statistics["maps"], cache.read(4)["maps"])
