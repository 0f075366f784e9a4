"""`web`: the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan
from seagull_tune.cli.query import (
    DeviceOption,
    MaxPixelsOption,
    ModelOption,
    SamCheckpointOption,
    SamTypeOption,
    answer_changes,
    load_assessor,
    require_model,
    segmenter_of,
)

if TYPE_CHECKING:
    from seagull_tune.config.web import WebConfig
    from seagull_tune.infer.assessor import RegionAssessor
    from seagull_tune.rsa.scorer import RsaScorer


@app.command(
    epilog=example(
        "seagull-tune web",
        "seagull-tune web --model runs/bench-roi/model --port 8080",
        "seagull-tune web --sam-checkpoint sam_vit_b.pth",
        "seagull-tune web --scorer runs/rsa/model",
    )
)
def web(
    model: ModelOption = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on [default: 127.0.0.1, this machine alone].")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 7860].")] = None,
    scorer: Annotated[
        Path | None,
        typer.Option("--scorer", metavar="DIR", help="Also score whole photographs, with this scorer: runs/rsa/model."),
    ] = None,
    describer: Annotated[
        Path | None,
        typer.Option("--describer", metavar="DIR", help="The scorer's tuned model, if neither --model nor near it."),
    ] = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Open a page in the browser: click, draw or paint regions of a photograph, read their cards, ask about them.

    With --scorer, a tab says how good the whole photograph is, and which regions made it so.
    """
    from seagull_tune.config.web import WebConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type) | {
        "host": host, "port": port, "scorer": scorer, "describer": describer,
    }  # fmt: skip
    settings = resolve(WebConfig, config, overrides(changes, sets))
    from seagull_tune.web.server import require_free, require_gradio, serving

    require_gradio()
    name = require_model(settings)
    scores = _require_scorer(settings)
    if dry_run:
        address = f"http://{settings.host}:{settings.port}"
        show_plan(settings, f"Serve a page about regions with {name} on {address}.", f"  whole photographs: {scores}")
        return
    require_free(settings.host, settings.port)  # before the model is loaded, which takes a while
    from seagull_tune.web.desk import Desk

    say(f"Loading {name} ...")
    assessor = load_assessor(settings)
    desk = Desk(assessor, segmenter_of(settings), settings, _load_scorer(settings, assessor))
    with serving(desk, settings) as page:
        if settings.host not in ("127.0.0.1", "localhost", "::1"):
            say("Everybody who reaches this address can use the page: it asks for no password (docs/web.md).")
        say(f"Open {page.url} in a browser; Ctrl-C ends.")
        page.wait()


def _require_scorer(settings: WebConfig) -> str:
    """Says what scores whole photographs, without loading it.

    Raises:
        CheckpointError: the scorer is none, or its describer is not there.
        ConfigError: a describer without a scorer.
    """
    if settings.scorer is None:
        if settings.describer is not None:
            from seagull_tune.errors import ConfigError

            raise ConfigError(f"The describer {settings.describer} belongs to no scorer: name one with --scorer DIR.")
        return "not scored (--scorer DIR)"
    from seagull_tune.model.checkpoint import model_digest
    from seagull_tune.rsa.checkpoint import find_describer, read_manifest

    record = read_manifest(Path(settings.scorer)).describer
    shared = settings.describer is None and (model_digest(Path(settings.model)), settings.bf16) == (
        record.digest, record.bf16,
    )  # fmt: skip
    if record.digest and not shared:
        found = find_describer(
            Path(settings.scorer), record.digest, Path(settings.describer) if settings.describer is not None else None
        )
        return f"scored by {settings.scorer}, described by {found}"
    return f"scored by {settings.scorer}" + (", described by the same model" if shared else "")


def _load_scorer(settings: WebConfig, assessor: RegionAssessor) -> RsaScorer | None:
    if settings.scorer is None:
        return None
    from seagull_tune.rsa.scorer import RsaScorer

    say(f"Loading {settings.scorer} ...")
    return RsaScorer.from_pretrained(settings.scorer, settings.describer, device=settings.device, assessor=assessor)
