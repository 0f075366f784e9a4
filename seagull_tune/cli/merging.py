"""The command that makes a tuned model self-contained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan


@app.command(epilog=example("seagull-tune merge runs/quickstart/model --out merged"))
def merge(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Checkpoint, for example runs/quickstart/model.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder of the merged model.")],
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Add a model's adapters into its weights and write it with its bases: one folder that needs nothing else.

    It is a checkpoint like any other (--model DIR), and transformers reads it once seagull_tune.model.modeling is
    imported: AutoModelForCausalLM.from_pretrained(DIR), AutoProcessor.from_pretrained(DIR).
    """
    from seagull_tune.config.tools import MergeConfig

    settings = resolve(MergeConfig, config, overrides({}, sets))
    if dry_run:
        from seagull_tune.model.merge import check_merge

        manifest = check_merge(model, out)
        adapters = "its adapters added in" if manifest["adapter"] else "which has no adapters"
        show_plan(settings, f"Write {model}, {adapters}, with all weights of its bases, into {out}.")
        return
    from seagull_tune.model.merge import merge_checkpoint

    merged = merge_checkpoint(model, out, settings.tolerance)
    say(f"{merged.model_id}: {merged.size / 1e9:.2f} GB, logits moved by {merged.moved:.1g} of the largest.")
    typer.echo(f"Merged model: {out}")
