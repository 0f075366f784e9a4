"""Messages of a data set: the ones that a training draws, and their export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.instructions import ConversationSettings, TaskWeights
from seagull_tune.data.messages import sample_messages, write_messages
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.instructions.converse import build_conversation, visit_seed
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import level_score

NOTHING = dict.fromkeys(TaskWeights.model_fields, 0.0)
ONLY_QUALITY = ConversationSettings(task_weights=TaskWeights(**{**NOTHING, "quality": 1.0}))
ONE_COMPARED = ConversationSettings(max_regions=1, task_weights=TaskWeights(**{**NOTHING, "comparison": 1.0}))


def test_they_are_those_of_a_training(dataset: Path) -> None:
    rows = RoiDataset(dataset)
    drawn = list(sample_messages(rows, visits=2))
    assert len(drawn) == 24
    for place, item in enumerate(drawn):
        sample = rows.sample(place // 2)
        assert (item.sample, item.visit) == (sample, place % 2)
        seed = visit_seed(sample.prompt_seed, item.visit)
        assert item.conversation == build_conversation(sample.labels, seed, load_prompts(), ConversationSettings())
        assert item.split == rows.image_record(sample.image_id).split


def test_the_export_holds_what_was_drawn(dataset: Path, tmp_path: Path) -> None:
    rows = RoiDataset(dataset, "train")
    out = tmp_path / "new" / "messages.jsonl"
    assert write_messages(rows, out, settings=ONLY_QUALITY, show_progress=False) == len(rows) == 8
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["sample_id"] for line in lines] == [rows.sample(i).sample_id for i in range(8)]
    assert {line["split"] for line in lines} == {"train"}
    for index, line in enumerate(lines):
        system, *turns = line["messages"]
        assert system == {"role": "system", "content": load_prompts().system}
        assert turns[0]["content"].startswith("<image>")
        for number, (user, assistant) in enumerate(zip(turns[::2], turns[1::2], strict=True), start=1):
            assert "values" not in user and f"<region {number}>" in user["content"]
            (value,) = assistant["values"]
            assert value["word"] in assistant["content"].casefold()
            label = rows.sample(index).labels[line["regions"][number - 1]]
            assert level_score(value["target"]) == pytest.approx(label.quality, abs=1e-6)
    before = out.read_bytes()
    write_messages(rows, out, settings=ONLY_QUALITY, show_progress=False)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["messages.jsonl"]


def test_a_sample_that_cannot_be_asked_about_is_named_and_nothing_is_written(dataset: Path, tmp_path: Path) -> None:
    rows = RoiDataset(dataset)
    with pytest.raises(DataError, match=rf"sample '{rows.sample(0).sample_id}': No task of positive weight"):
        write_messages(rows, tmp_path / "m.jsonl", settings=ONE_COMPARED, show_progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="0 visits"):
        next(sample_messages(rows, visits=0))


def test_pairs_follow_as_conversations_about_two_pictures(photographs: Path, tmp_path: Path) -> None:
    values = {"source": str(photographs), "samples_per_image": 5, "split": {"test": 0.34}, "mix": {"pairs": 1.0}}
    build_dataset(BuildConfig.model_validate(values), tmp_path / "set", show_progress=False)
    rows, out = RoiDataset(tmp_path / "set", "train"), tmp_path / "m.jsonl"
    assert write_messages(rows, out, visits=2, show_progress=False, pairs=True) == 2 * (len(rows) + len(rows.pairs))
    lines = [json.loads(line) for line in out.read_text().splitlines()][2 * len(rows) :]
    samples = {rows.sample(i).sample_id: rows.sample(i) for i in range(len(rows))}
    for number, line in enumerate(lines):
        index, visit = divmod(number, 2)
        assert line["visit"] == visit and line["split"] == "train"
        assert sorted(line["sample_ids"]) == sorted(rows.sample(i).sample_id for i in rows.pairs[index])
        assert {samples[name].pair_id for name in line["sample_ids"]} == {line["pair_id"]}
        assert line["messages"][1]["content"].startswith("<image><image>")
        said = [value for message in line["messages"] for value in message.get("values", ())]
        for region, picture, value in zip(line["regions"], line["pictures"], said, strict=True):
            label = samples[line["sample_ids"][picture]].labels[region]
            assert level_score(value["target"]) == pytest.approx(label.quality, abs=1e-6)


def test_a_data_set_without_pairs_says_how_to_get_them(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pair with labels: build it with mix\.pairs"):
        write_messages(RoiDataset(dataset), tmp_path / "m.jsonl", show_progress=False, pairs=True)
    assert list(tmp_path.iterdir()) == []
