"""The end of a run: checkpoint with baselines, figures, report, one answer; and `evaluate` by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_builders.labelers.crops import pyiqa_judge
from data_builders.pipeline import build_dataset, plan_build
from seagull_tune.config.answer import Engine
from seagull_tune.config.evaluate import CropMetric
from seagull_tune.config.runs import EvaluateConfig, QuickstartConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import CheckpointError
from seagull_tune.evaluate.baselines import BASELINES_FILE, Baselines, fit_baselines
from seagull_tune.evaluate.judged import JUDGED_SUFFIX
from seagull_tune.evaluate.judging import Metric
from seagull_tune.evaluate.pictures import evaluate_pictures
from seagull_tune.evaluate.predictions import SUFFIX
from seagull_tune.evaluate.protocols import evaluate_model
from seagull_tune.evaluate.report import ReportAnswer, ReportExample, TrainingCurve, choose_examples, write_report
from seagull_tune.files import atomic_folder, atomic_write_text
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession
from seagull_tune.infer.serialise import scores_in_words
from seagull_tune.instructions.rules import SLOT_PATTERN
from seagull_tune.model.card import METRICS, write_card
from seagull_tune.model.checkpoint import copy_checkpoint
from seagull_tune.model.seen import check_unseen
from seagull_tune.quickstart.stages import Stages
from seagull_tune.segment import build_segmenter

REPORT, ANSWER = "report.html", "answer.json"
"""What a run leaves in its folder, besides its model."""


def publish(stages: Stages, config: QuickstartConfig, out: Path) -> None:
    """``<out>/model``: the fine-tuned checkpoint, with baselines fitted on its training data."""

    def work() -> dict[str, Any]:
        settings = config.baselines
        fitted = fit_baselines(RoiDataset(out / "data", "train"), settings.seed, settings.max_regions)
        with atomic_folder(out / "model") as staging:
            copy_checkpoint(out / "finetune" / "model", staging)
            fitted.save(staging)
            write_card(staging)
        return {"baselines": dict(fitted.facts)}

    stages.run("model", config.baselines.model_dump(mode="json"), ["model"], work)


def measure(stages: Stages, config: QuickstartConfig, held_out: RoiDataset) -> None:
    """``metrics.json``, ``report.html`` and ``answer.json`` in the run's folder."""
    out = Path(config.out)

    def work() -> dict[str, Any]:
        assessor = load(out / "model", config.engine)
        baselines = Baselines.load(out / "model")
        evaluation = evaluate_model(assessor, held_out, config.evaluation, out / METRICS, baselines)
        examples = choose_examples(evaluation, held_out)
        asked = ask_about(assessor, examples[0])
        curves = [TrainingCurve.from_run(name, out / name) for name in ("pretrain", "finetune")]
        spent = {f"Stage {name}": f"{seconds:.0f} s" for name, seconds in stages.seconds.items()}
        write_report(
            out / REPORT, evaluation, examples, curves, ReportAnswer(asked["question"], asked["answer"], 0), spent
        )
        atomic_write_text(out / ANSWER, json.dumps(asked, indent=1, ensure_ascii=False) + "\n")
        write_card(out / "model")
        return {"quality_srcc": evaluation.metrics["quality"]["srcc"], "n_regions": evaluation.metrics["n_regions"]}

    settings = {
        "evaluation": config.evaluation.model_dump(mode="json"),
        "engine": config.engine.model_dump(mode="json"),
    }
    stages.run("evaluate", settings, [METRICS, METRICS + SUFFIX, METRICS + JUDGED_SUFFIX, REPORT, ANSWER], work)


def ask_about(assessor: RegionAssessor, example: ReportExample) -> dict[str, str]:
    """Asks how the quality of an example's largest region is.

    Returns:
        ``about`` (what the region is of), ``question``, ``answer``, ``numbers``, all in words.
    """
    session = ChatSession(assessor, example.image)
    session.add_region(example.regions[0])
    prompts = assessor.prompts
    question = SLOT_PATTERN.sub(prompts.region_phrases[0], prompts.task("quality").questions[0])
    answer = session.ask(question)
    (read,) = session.assess(1)
    return {
        "about": f"region 1 of {example.caption}",
        "question": question,
        "answer": answer,
        "numbers": f"{scores_in_words(read.scores)}; true quality {example.true[0]:.2f}",
    }


def show_result(out: Path) -> None:
    """Prints the figures, and the question with its answer."""
    print(figures_in_words(json.loads((out / METRICS).read_text(encoding="utf-8"))))
    asked = json.loads((out / ANSWER).read_text(encoding="utf-8"))
    print(f"Asked about {asked['about']}:")
    print(f"  {asked['question']}\n  {asked['answer']}\n  ({asked['numbers']})", flush=True)


def load(folder: Path, engine: Engine) -> RegionAssessor:
    """The model of a checkpoint, run as ``engine`` says."""
    return RegionAssessor.from_pretrained(folder, engine.device, engine.bf16, engine.chunk)


def evaluate(config: EvaluateConfig, out: Path) -> Path:
    """`seagull-tune evaluate`: measures a model on a data set; where none is named, one is built beside ``out`` first.

    Returns:
        ``out``, the figures.

    Raises:
        DataError, CheckpointError: the data or the model cannot be used, or the model was trained on these photographs.
        MissingDependencyError: a metric of pyiqa is wanted, and pyiqa is not installed.
    """
    model = Path(config.model)
    if not model.is_dir():
        raise CheckpointError(f"There is no model folder {model}. Make one with `seagull-tune quickstart`.")
    metric = _metric_of(config.evaluation.crop_metric)
    assessor = load(model, config.engine)
    dataset = RoiDataset(config.dataset if config.dataset is not None else _built(config, out), config.protocol.split)
    if not check_unseen(model, dataset):
        print("It is not known which photographs the model was trained on: they may be among these.", flush=True)
    baselines = Baselines.load(model) if (model / BASELINES_FILE).is_file() else None
    if config.protocol.judged == "pictures":
        choice = config.segmenter
        segmenter = build_segmenter(choice.method, choice.min_area_share, choice.max_regions, choice.sam)
        evaluation = evaluate_pictures(
            assessor, dataset, config.evaluation, out, config.protocol, segmenter, baselines,
            found_with=choice.model_dump_json(),
        )  # fmt: skip
    else:
        evaluation = evaluate_model(
            assessor, dataset, config.evaluation, out, baselines, protocol=config.protocol, metric=metric
        )
    print(figures_in_words(evaluation.metrics), flush=True)
    if out.resolve() == model.resolve().parent / METRICS:
        write_card(model)
    return out


def _built(config: EvaluateConfig, out: Path) -> Path:
    """The test set of photographs, built where it is not there yet."""
    # A folder per configuration, so that other photographs or another seed never meet a data set that is there.
    data = out.parent / f"{out.stem}-data" / plan_build(config.data, out.parent).config_hash[:12]
    print(build_dataset(config.data, data).describe(), flush=True)
    return data


def _metric_of(choice: CropMetric | None) -> Metric | None:
    return None if choice is None else pyiqa_judge(choice.metric, choice.device)


def figures_in_words(figures: Mapping[str, Any]) -> str:
    """The main figures as lines for a person: the model, its direct head, the baselines."""
    what = figures["protocol"]["judged"] if "protocol" in figures else "regions"
    lines = [f"{figures['n_regions']} {what} of {figures['n_images']} images, quality SRCC [95 % interval]:"]
    readers = {"model": figures, "direct": figures["direct"], **figures["baselines"]}
    for name, found in readers.items():
        quality = found.get("quality")
        if quality is not None:
            lines.append(f"  {name:10s} {_shown(quality.get('srcc'))}  {quality.get('ci95') or ''}")
    if what == "regions" and "quality" in figures:
        lines.append(f"quality SRCC inside photographs (median): {_shown(figures['quality'].get('within_image_srcc'))}")
    if "types" in figures:
        lines.append(f"distortion types, macro F1: {_shown(figures['types'].get('macro_f1'))}")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
