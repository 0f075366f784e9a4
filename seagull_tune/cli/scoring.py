"""The command that scores whole photographs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import (
    DONE_IN_PART,
    ConfigOption,
    DryRunOption,
    SetOption,
    app,
    example,
    overrides,
    resolve,
    say,
    show_plan,
)
from seagull_tune.cli.query import DeviceOption, MaxPixelsOption

if TYPE_CHECKING:
    from seagull_tune.config.rsa import ScoreConfig
    from seagull_tune.rsa.scorer import ImageScore

COLUMNS = ("image", "score", "score_01")


@app.command(
    epilog=example(
        "seagull-tune score photo.jpg --model runs/rsa/model",
        "seagull-tune score photos --model runs/rsa/model --out scores.csv --explain explained",
    )
)
def score(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Photographs, or folders of them (and of folders).")
    ],
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="The scorer [default: runs/rsa/model].")
    ] = None,
    describer: Annotated[
        Path | None,
        typer.Option("--describer", metavar="DIR", help="Its tuned model, where none is found near it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table there [default: standard output].")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option("--explain", metavar="DIR", help="Also say why: a PNG, a JSON file and a page each.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Keep what was computed of each photograph there.")
    ] = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Score whole photographs: a table with the columns image, score, score_01.

    The score is on the scale of the opinion scores that the scorer was trained on; score_01 is in [0, 1], higher is
    better. A photograph that cannot be scored is named and left out (exit code 1 at the end). With --cache, a command
    that was stopped goes on where it was.
    """
    from seagull_tune.config.rsa import ScoreConfig
    from seagull_tune.infer.folder import find_photographs

    changes = {
        "model": model, "describer": describer, "cache_dir": cache, "device": device, "max_pixels": max_pixels,
    }  # fmt: skip
    settings = resolve(ScoreConfig, config, overrides(changes, sets))
    paths = find_photographs(images)
    if dry_run:
        from seagull_tune.rsa.checkpoint import read_manifest

        manifest = read_manifest(Path(settings.model))
        show_plan(
            settings, f"Score {len(paths)} photographs with {settings.model} ({manifest.spec.backbone.name}).",
            f"  scale: {manifest.scale.low:g} to {manifest.scale.high:g}",
            f"  the table goes to {out or 'standard output'}, explanations to {explain or 'nowhere'}",
        )  # fmt: skip
        return
    scores = _score_all(paths, settings, explain)
    if scores or out is None:
        _write(scores, out)
    else:
        say(f"There is no score to write: {out} stays as it was.")
    if len(scores) < len(paths):
        say(f"{len(paths) - len(scores)} of {len(paths)} photographs could not be scored (named above).")
        raise typer.Exit(DONE_IN_PART)


def _score_all(paths: list[Path], settings: ScoreConfig, explain: Path | None) -> list[tuple[Path, ImageScore]]:
    """Photograph and score, for those that have one; the others are named."""
    from data_builders.progress import progress_bar
    from seagull_tune.errors import SeagullError
    from seagull_tune.images import read_image
    from seagull_tune.rsa.explain import write_explanation
    from seagull_tune.rsa.scorer import RsaScorer

    scorer = RsaScorer.from_pretrained(
        settings.model, settings.describer, device=settings.device, cache_dir=settings.cache_dir
    )
    stems = _stems(paths)
    found = []
    with progress_bar("Scoring", "photographs") as tick:
        for done, path in enumerate(paths, start=1):
            try:
                image = read_image(path, settings.max_pixels)
                (explanation,) = scorer.explain([image], names=[str(path)])
            except SeagullError as error:
                say(str(error) if str(path) in str(error) else f"{path}: {error}")
            else:
                found.append((path, explanation.image_score))
                if explain is not None:
                    write_explanation(explain, stems[path], image, explanation, str(path), settings.worst)
            tick(done, len(paths))
    return found


def _stems(paths: list[Path]) -> dict[Path, str]:
    """Names of the files of each photograph's explanation: its own, and a number where several share one."""
    stems: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        stem, number = path.stem, 2
        while stem.lower() in taken:
            stem, number = f"{path.stem}-{number}", number + 1
        taken.add(stem.lower())
        stems[path] = stem
    return stems


def _write(scores: list[tuple[Path, ImageScore]], out: Path | None) -> None:
    from seagull_tune.files import atomic_write

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path, found in scores:
        writer.writerow([str(path), f"{found.score:.6f}", f"{found.score_01:.6f}"])
    if out is None:
        typer.echo(text.getvalue(), nl=False)
    else:
        # Bytes of a file name that are not UTF-8 stay what they are.
        atomic_write(out, (text.getvalue().encode("utf-8", "surrogateescape"),))
