"""Commands that measure a model and set measurements beside each other: `evaluate`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan
from seagull_tune.cli.data import SamplesOption, plan_in_words
from seagull_tune.cli.query import DeviceOption, LabelMapsOption, MaxPixelsOption, ModelOption
from seagull_tune.errors import ConfigError

if TYPE_CHECKING:
    from seagull_tune.config.runs import EvaluateConfig


@app.command(
    epilog=example(
        "seagull-tune evaluate --model runs/quickstart/model --images photos --seed 0 --out metrics.json",
        "seagull-tune evaluate --protocol configs/evaluate/authentic-roi.yaml --data data/rated --out rated.json",
        "seagull-tune evaluate --protocol configs/evaluate/mos.yaml --data data/mos --out mos.json",
    )
)
def evaluate(
    images: Annotated[
        str | None, typer.Option("--images", metavar="DIR", help="Folder of reference photographs.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="A finished data set, instead of photographs.")
    ] = None,
    protocol: Annotated[
        Path | None,
        typer.Option(
            "--protocol", metavar="FILE", help="What is measured [default: configs/evaluate/synthetic-roi.yaml]."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The figures.")] = Path("metrics.json"),
    model: ModelOption = None,
    regions: LabelMapsOption = None,
    baselines: Annotated[
        str | None,
        typer.Option("--baselines", metavar="A,B", help="Optional ones: crop, box_drawn (slow), none [default: crop]."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of recipes and intervals.")] = None,
    samples: SamplesOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Measure a model on photographs it never saw, distorted by the frozen recipes; or on a data set, by a protocol."""
    from seagull_tune.config.runs import EvaluateConfig

    wanted = None if baselines is None else [name.strip() for name in baselines.split(",") if name.strip() != "none"]
    changes = {
        "protocol.file": protocol, "dataset": data, "evaluation.baselines": wanted,
        "model": model, "data.source": images, "data.regions.method": "label_maps" if regions is not None else None,
        "data.regions.dir": regions, "data.seed": seed, "evaluation.seed": seed, "data.samples_per_image": samples,
        "data.max_pixels": max_pixels, "engine.device": device,
    }  # fmt: skip
    settings = resolve(EvaluateConfig, config, overrides(changes, sets))
    if settings.dataset is None and "source" not in settings.data.model_fields_set:
        raise ConfigError(
            "Say what the model is measured on, nothing that it was trained on: photographs (--images DIR), or a "
            "finished data set (--data DIR)."
        )
    if dry_run:
        show_plan(settings, *_evaluation_in_words(settings, out))
        return
    from seagull_tune.quickstart.measure import evaluate

    evaluate(settings, out)
    say(f"Figures: {out}")


def _evaluation_in_words(settings: EvaluateConfig, out: Path) -> list[str]:
    chosen = settings.protocol
    lines = [f"Measure {settings.model} by the protocol {chosen.name}, figures into {out}:"]
    if settings.dataset is None:
        return [*lines, f"  {plan_in_words(settings.data, out)}"]
    if not Path(settings.dataset).is_dir():
        return [*lines, f"  the {chosen.judged} of {settings.dataset}, which is not there yet"]
    from seagull_tune.data.reader import RoiDataset
    from seagull_tune.evaluate.protocols import check_data

    dataset = RoiDataset(settings.dataset, chosen.split)
    check_data(dataset, chosen)
    return [*lines, f"  {chosen.judged} of {len(dataset)} samples of {settings.dataset}, split {chosen.split}"]


@app.command(
    epilog=example(
        "seagull-tune compare runs/first runs/second --out comparison",
        "seagull-tune compare runs/first/metrics.json other/metrics.json runs/third --set draws=5000",
    )
)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Run folders or metrics files, reference first."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the two pages.")] = Path("comparison"),
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Set measurements on the same data beside each other: figures, plots, and which differences are real.

    Writes compare.md and compare.html. Measurements of other data or of another protocol are refused.
    """
    from seagull_tune.config.evaluate import CompareConfig

    settings = resolve(CompareConfig, config, overrides({}, sets))
    if dry_run:
        show_plan(settings, f"Compare {', '.join(map(str, runs))}; pages into {out}.")
        return
    from seagull_tune.evaluate.compare import compare_runs
    from seagull_tune.evaluate.compare_page import write_comparison

    comparison = compare_runs(runs, settings, show_progress=True)
    typer.echo(write_comparison(comparison, out))
    say(f"Pages: {out / 'compare.md'}, {out / 'compare.html'}")
