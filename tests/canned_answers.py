"""Answers that need no model, for tests of what is done with answers: files, folders, pages."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seagull_tune.config.answer import AnswerConfig
from seagull_tune.infer.answer_file import answers_to
from seagull_tune.infer.folder import Outcome, find_photographs, judge, made_with
from seagull_tune.levels import DISTORTION_TYPES, level_score
from seagull_tune.records import Region, RegionAssessment, Scores
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.parse import RegionQuery

BOXES = RegionQuery(boxes=("0,0,20,16", "4,4,12,12"))


def canned_scores(quality: float, blur: float = 0.8) -> Scores:
    """Scores of a region of this quality, which is blurred with this probability."""
    levels = (1 - quality, 0.0, 0.0, 0.0, quality)
    clean = (0.94, 0.02, 0.01, 0.01, 0.01, 0.01)
    blurred = (1 - blur, 0.0, 0.0, blur, 0.0, 0.0)
    severities = {name: blurred if name == "blur" else clean for name in DISTORTION_TYPES}
    types = {name: 1 - values[0] for name, values in severities.items()}
    return Scores(level_score(levels), 0.5, levels, (0.0, 0.25, 0.5, 0.25, 0.0), severities, types)


def canned_answer(region: Region, quality: float, text: str = "", abstain: bool = False) -> RegionAssessment:
    """A judgement of a region."""
    scores, direct = canned_scores(quality), canned_scores(0.5)
    return RegionAssessment(region, scores, direct, text, False, "canned@0", (16, 20), abstain)


class CannedAssessor:
    """Says of every region that its quality is the mean of its box's red.

    Args:
        seconds: how long it takes for a photograph.
    """

    name = "canned@0"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.asked = seconds, 0

    def assess(self, image: np.ndarray, regions: Sequence[Region], text: bool = False) -> list[RegionAssessment]:
        """Judges regions of a photograph uint8 (H, W, 3)."""
        time.sleep(self.seconds)
        self.asked += 1
        answers = []
        for region in regions:
            x0, y0, x1, y1 = region.box_xyxy
            quality = float(image[y0:y1, x0:x1, 0].mean()) / 255
            answers.append(canned_answer(region, quality, "Fine, <b>I</b> think." if text else ""))
        return answers


class NoSegmenter:
    """Finds nothing: for queries that name their regions."""

    def segment(self, image: np.ndarray) -> list[Region]:
        """One region, everything."""
        height, width = image.shape[:2]
        return [box_region((0, 0, width, height), height, width)]

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """One region, everything."""
        return self.segment(image)[0]


def run_over(
    places: Sequence[Path],
    out: Path,
    *,
    query: RegionQuery = BOXES,
    resume: bool = True,
    seconds: float = 0.0,
    config: AnswerConfig | None = None,
    said: list[str] | None = None,
) -> Outcome:
    """What ``seagull-tune assess PLACES --out OUT`` does, with canned answers."""
    config = config or AnswerConfig()
    assessor = CannedAssessor(seconds)
    with answers_to(out, made_with(config, assessor.name, query, places), resume) as sink:
        tell = (lambda text: None) if said is None else said.append
        paths = find_photographs(places)
        outcome = judge(paths, query, NoSegmenter(), assessor, config, sink, tell=tell)  # type: ignore[arg-type]
        sink.finish(outcome.answered, outcome.to_dict())
    return outcome


if __name__ == "__main__":
    run_over([Path(sys.argv[1])], Path(sys.argv[2]), seconds=float(sys.argv[3]))
