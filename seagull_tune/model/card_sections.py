"""The sections of the model card, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from seagull_tune.hub_card import data_set_name
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.calibration import FIGURES, Calibration
from seagull_tune.model.places import portable

if TYPE_CHECKING:
    from seagull_tune.model.card import CardFacts

CONVERTED = "converted_from"
"""Key of the configuration in a checkpoint that was made of a released model: layout, files by hash, repository."""

_TEXT = """
# Seagull-Tune model {digest}

A vision-language model that judges the image quality of **regions** of a photograph: how good a region is, how much it
matters for the whole picture, which distortions it has and how severe each is. It gives numbers, read from its token
probabilities, and sentences. Answers and figures name it by `{digest}`, the hash of its weights.

Distortions: {types}.

## How to use

Install Seagull-Tune (`pip install '.[embedded]'` in its checkout), and run these in the folder of this card.

```python
import skimage.data

from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.regions.boxes import box_region

image = skimage.data.astronaut()  # uint8 (H, W, 3), sRGB; of a file: seagull_tune.images.read_image("photo.jpg")
height, width = image.shape[:2]
face = box_region((170, 60, 290, 210), height, width, name="face")

assessor = RegionAssessor.from_pretrained(".")
for answer in assessor.assess(image, [face]):
    print(answer.region.name, answer.scores.quality, answer.scores.importance, answer.scores.types)
```

```bash
python -c "import skimage.data, skimage.io; skimage.io.imsave('photo.png', skimage.data.astronaut())"
seagull-tune assess photo.png --model . --box 170,60,290,210 --text
seagull-tune ask photo.png "How is the quality of this region?" --model . --box 170,60,290,210
```

`quality` and `importance` are in [0, 1]; higher is better, or matters more.

## What it is made from

{bases}

## Training

{training}

## Parts

{parts}

## Figures

{figures}

## Calibration

{calibration}

## Limits

{limits}

## Configuration

<details>
<summary>The resolved configuration of the training (without the places of its files)</summary>

```yaml
{config}```

</details>
"""


def body(facts: CardFacts) -> str:
    """The card below its header."""
    return _TEXT.format(
        digest=facts.digest,
        types=", ".join(DISTORTION_TYPES),
        bases=_bases(facts),
        training="\n".join(_training(facts)),
        parts=_parts(facts.training.get("parts", [])),
        figures="\n".join(_figures(facts.metrics)),
        calibration="\n".join(_calibration(facts.calibration)),
        limits="\n".join(f"- {line}" for line in _limits(facts)),
        config=yaml.safe_dump(
            portable(facts.manifest.get("resolved_config") or {}), sort_keys=False, allow_unicode=True
        ),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _converted(facts: CardFacts) -> Mapping[str, Any] | None:
    """What a checkpoint that was made of a released model says of it; None for all others."""
    found = (facts.manifest.get("resolved_config") or {}).get(CONVERTED)
    return found if isinstance(found, Mapping) else None


def _bases(facts: CardFacts) -> str:
    origin, bases = _converted(facts), facts.bases
    if origin is not None:
        files = _table(("File", "SHA-256"), [(name, f"`{sha256}`") for name, sha256 in origin["sha256"].items()])
        named = f" ({origin['repository']})" if "repository" in origin else ""
        return (
            f"It is a released model{named} of the layout `{origin['format']}`, converted; all weights are in this "
            f"folder. Its files were:\n\n{files}\n\nTheir licences and notices go with it, also those of what the "
            "release was made from."
        )
    if not bases:
        return "All weights are in this folder; what they were made from is not recorded."
    rows = [
        (
            base.part, base.name, f"`{base.version}`", base.licence or "not known to the project: see its own card",
            "changed or copied, in this folder" if base.inside else "named by this hash, fetched when it is loaded",
        )
        for base in bases
    ]  # fmt: skip
    table = _table(("Part", "Base", "SHA-256 or revision", "Licence", "Weights"), rows)
    return f"{table}\n\nThe model is derived from these: their licences and notices go with it."


def _training(facts: CardFacts) -> Iterator[str]:
    training = facts.training
    data = training.get("data", {})
    if _converted(facts) is not None:
        yield "By those who released it; converting changes no weight. The direct head is not theirs, and is untrained."
        return
    if not data:
        yield "What it was trained on is not recorded in this folder."
        return
    name = data_set_name(data.get("config_hash") or "unknown")
    link = f" ([data card]({facts.data_card}))" if facts.data_card else ""
    yield f"- Data: {name}{link}, configuration hash `{data.get('config_hash')}`, content hash `{data['fingerprint']}`"
    yield f"- Labels: {data.get('label_source') or 'not stated'}"
    yield f"- Licence of the photographs, as stated by whoever built the data: {data.get('licence') or 'not stated'}"
    processes = training.get("world_size", 1)
    yield (
        f"- Length: {training.get('steps', 'unknown')} optimiser steps, on {processes} "
        f"process{'es' * (processes > 1)} ({training.get('engine', 'unknown')}), seed {training.get('seed')}"
    )
    if training.get("versions"):
        yield f"- Versions: {', '.join(f'{name} {v}' for name, v in training['versions'].items())}"
    if training.get("git_commit"):
        yield f"- Program: git commit `{training['git_commit']}`"
    for earlier in training.get("earlier", []):
        yield f"- Before that, as model `{earlier['model']}`: {_round(earlier)}"
    rows = [(split, *size.values()) for split, size in data.get("sizes", {}).items()]
    yield ""
    yield _table(("Split", "Scenes", "Images", "Regions", "Samples"), rows)


def _round(earlier: Mapping[str, Any]) -> str:
    """An earlier stage of a model's training, in words."""
    if earlier.get(CONVERTED):
        return f"a released model of the layout `{earlier[CONVERTED]}`, converted"
    if not earlier.get("trained"):
        return "how it was made is not recorded"
    parts = ", ".join(f"{part} {mode}" for part, mode in earlier["trained"].items())
    return f"{earlier['steps']} steps on {data_set_name(earlier['data'] or 'unknown')} ({parts})"


def _parts(parts: Sequence[Mapping[str, Any]]) -> str:
    if not parts:
        return "Not recorded."
    rows: list[Sequence[object]] = [
        (row["part"], row["mode"], f"{row['trained']:,}", f"{row['total']:,}") for row in parts
    ]
    rows.append(("sum", "", *(f"{sum(row[key] for row in parts):,}" for key in ("trained", "total"))))
    return _table(("Part", "In the last stage", "Trained parameters", "All parameters"), rows)


def _figures(metrics: Mapping[str, Any] | None) -> Iterator[str]:
    if metrics is None:
        yield "Not measured yet, or the figures lie elsewhere: `seagull-tune evaluate --model .` measures it."
        return
    readers = {"this model": metrics, "its direct head": metrics.get("direct") or {}}
    readers |= {f"baseline: {name}".replace("_", " "): found for name, found in metrics.get("baselines", {}).items()}
    head = ("", "Quality SRCC", "Quality PLCC", "Importance SRCC", "Importance PLCC", "Types F1", "Severity F1")
    rows = [
        (
            name, _with_interval(found, "quality", "srcc", "ci95"), _shown(found, "quality", "plcc"),
            _with_interval(found, "importance", "srcc", "ci95"), _shown(found, "importance", "plcc"),
            _shown(found, "types", "macro_f1"), _shown(found, "severity", "f1"),
        )
        for name, found in readers.items()
    ]  # fmt: skip
    yield (
        f"On {metrics['n_regions']:,} regions of {metrics['n_samples']:,} renderings of {metrics['n_photographs']:,} "
        f"photographs that it was not trained on ({data_set_name(str(metrics.get('data_config_hash') or 'unknown'))}, "
        f"split {metrics.get('split')}, {metrics.get('precision')}, {'' if metrics.get('calibrated') else 'not '}"
        "calibrated). In brackets: 95 % intervals over photographs. "
        "docs/evaluation.md of the project says what each figure means."
    )
    yield ""
    yield _table(head, rows)


def _calibration(calibration: Calibration | None) -> Iterator[str]:
    if calibration is None:
        yield (
            "None: scores and probabilities are as the training left them, and it never abstains. `seagull-tune "
            "calibrate --model . --data DATASET` fits them to photographs that were held out."
        )
        return
    yield (
        f"Scores and probabilities are calibrated (`{calibration.digest}`, in `calibration.json`); answers keep those "
        "from before under `raw`. No two regions change places. It abstains (`abstain`) where the quality deviates by "
        f"more than {calibration.max_deviation:.3f}, and of regions below {calibration.min_pixels} pixels of the "
        "photograph as it sees it."
    )
    facts = calibration.facts
    if "before" not in facts:
        return
    known = "" if facts.get("unseen") else " Whether it was trained on some of these photographs is not known."
    yield (
        f"\nFitted to {facts['n_regions']:,} regions of {facts['n_photographs']:,} photographs "
        f"({data_set_name(str(facts.get('data_config_hash') or 'unknown'))}, split {facts['split']}, "
        f"{facts['precision']}), which can test it no more.{known} The figures are of photographs that were left out "
        f"of the fit, in {facts['folds']} parts.\n"
    )
    rows = [
        (f"{task}: {FIGURES.get(name, name)}", _number(value), _number(facts["after"].get(task, {}).get(name)))
        for task, figures in facts["before"].items()
        for name, value in figures.items()
    ]
    yield _table(("", "Before", "After"), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _shown(found: Mapping[str, Any], section: str, key: str) -> str:
    return _number((found.get(section) or {}).get(key))


def _with_interval(found: Mapping[str, Any], section: str, key: str, interval: str) -> str:
    span = (found.get(section) or {}).get(interval)
    return _shown(found, section, key) + (f" [{span[0]:.3f}, {span[1]:.3f}]" if span else "")


def _limits(facts: CardFacts) -> Iterator[str]:
    if _converted(facts) is not None:
        yield "**It was trained by others**, on data that this folder does not tell of."
        yield (
            "**Take its words, not its numbers.** It answers in the words of its release. Scores are read at the value "
            "words of Seagull-Tune's own answers, which the release never learned, and what is said under `direct` "
            "comes from an untrained head: fine-tune it before you use either."
        )
        yield "Photographs keep their own terms."
        return
    data = facts.training.get("data", {})
    if data.get("measure"):
        yield (
            "**The truth it learned is synthetic.** Distortions were made, and what is true of a region is what a "
            "full-reference measure says that compares it with the photograph before. That is not human opinion, and "
            "faults that were not among the made ones are not known to the model."
        )
    else:
        yield "**What was true in training** is what the data's owners say (see Training); nothing else was checked."
    scenes = data.get("sizes", {}).get("train", {}).get("scenes")
    if scenes is not None:
        yield (
            f"**It saw {scenes} scene{'s' * (scenes != 1)} in training.** The fewer they are, the less can be expected "
            "of photographs that look different; measure it on yours before you rely on it."
        )
    yield (
        "**Scores are relative to the same picture without the fault.** They rank regions and versions of similar "
        "photographs; they say nothing about beauty, and little across unrelated photographs."
    )
    yield "**Trust the numbers before the words.** Free questions far from the trained ones get poor answers."
    yield "Photographs keep their own terms, also in what is trained on them."
