"""The card of a scorer: a README.md made of what the scorer's folder says, with the header that the Hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seagull_tune.files import atomic_write_text
from seagull_tune.hub_card import CARD, front_matter
from seagull_tune.rsa.checkpoint import DESCRIBER_FOLDER, ScorerManifest, read_manifest

_HEADS = {
    "additive": "The score is a bias plus one contribution per region.",
    "pooled": "The score is read from the re-weighted features; the attention map explains it.",
}


def write_card(folder: Path) -> Path:
    """Writes (or refreshes) the card of a scorer; the same scorer always gives the same card.

    Raises:
        CheckpointError: the folder is no scorer.
    """
    manifest = read_manifest(folder)
    header: dict[str, Any] = {
        "library_name": "seagull-tune",
        "pipeline_tag": "image-classification",
        "tags": ["image-quality-assessment", "no-reference", "explainable"],
    }
    text = "\n".join([*_what(manifest), *_made_of(folder, manifest), *_trained(manifest), *_use(manifest)])
    atomic_write_text(folder / CARD, front_matter(header) + text + "\n")
    return folder / CARD


def _what(manifest: ScorerManifest) -> list[str]:
    scale = manifest.scale
    better = "higher" if scale.higher_is_better else "lower"
    return [
        "\n# Whole-image quality by regions\n",
        f"Scores a photograph on {scale.low:g} to {scale.high:g} ({better} is better), and says which regions made it",
        "what it is.",
        f"{_HEADS[manifest.spec.head]}\n",
    ]


def _made_of(folder: Path, manifest: ScorerManifest) -> list[str]:
    spec, describer = manifest.spec, manifest.describer
    where = "inside, in `describer/`" if (folder / DESCRIBER_FOLDER).is_dir() else "to be brought along"
    regions = f"regions of the {describer.segmenter.method} segmenter"
    known = (
        f"the region model `{describer.digest}` ({where}), of which it reads: {spec.semantics}"
        if describer.digest
        else "nothing is read of a region model"
    )
    return [
        "## Parts\n",
        f"- Backbone, frozen: `{manifest.backbone}`, longest side {spec.backbone.max_side} pixels",
        f"- Attention: {spec.attention}, {spec.blocks} blocks of {spec.heads} heads, width {spec.width}; {regions}",
        f"- Describer: {known}\n",
    ]


def _trained(manifest: ScorerManifest) -> list[str]:
    facts = manifest.training
    if not facts:
        return []
    lines = [
        "## Training\n",
        f"{facts['pictures']} pictures of {facts['groups']} groups, {facts['steps']} steps, seed {facts['seed']}.\n",
    ]
    metrics = facts.get("metrics")
    if metrics:
        figures = ", ".join(
            f"{name} {metrics[key]:.3f}"
            for name, key in (("SRCC", "srcc"), ("PLCC", "plcc"), ("PLCC after a logistic fit", "plcc_fit"))
            if metrics.get(key) is not None
        )
        lines.append(f"On {metrics['n']} pictures of groups that were not trained on: {figures or 'not defined'}.\n")
    else:
        lines.append("It was trained on all pictures; no figure is known.\n")
    return lines


def _use(manifest: ScorerManifest) -> list[str]:
    return [
        "## Use\n",
        "```python",
        "from seagull_tune.rsa.scorer import RsaScorer",
        "",
        'scorer = RsaScorer.from_pretrained("DIR")',
        'print(scorer.score(["photo.jpg"])[0])',
        "```\n",
        f"Written by seagull-tune {manifest.written_by}. Opinion scores belong to the people and the pictures that",
        "they were given for: expect less on others. The licences of backbone, describer and opinion scores hold on.",
    ]
