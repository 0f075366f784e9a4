"""Many photographs, one after the other: folders -> files, files -> answers, and what could not be judged, and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seagull_tune.errors import DataError, SeagullError
from seagull_tune.images import IMAGE_SUFFIXES, list_photographs, read_image
from seagull_tune.infer.answer_file import AnswerSink
from seagull_tune.records import RegionAssessment
from seagull_tune.regions.parse import RegionQuery, RegionSource

if TYPE_CHECKING:
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.infer.assessor import RegionAssessor


class Visitor(Protocol):
    """What else is done with the answers about a photograph."""

    def __call__(self, path: Path, answers: Sequence[RegionAssessment], image: np.ndarray | None) -> None:
        """``image`` is uint8 (H, W, 3); None of a photograph that an earlier run has judged."""
        ...


@dataclass
class Outcome:
    """What became of the photographs of a run.

    Attributes:
        photographs: all of them, in order, as the answers name them.
        judged: those judged now.
        kept: those whose answers were there from an earlier run.
        failed: those that could not be judged -> why.
        regions: answers that were written now.
        seconds: how long it took, without loading the model.
    """

    photographs: list[str]
    judged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    regions: int = 0
    seconds: float = 0.0

    @property
    def answered(self) -> list[str]:
        """The photographs that there are answers about, in order."""
        return [image for image in self.photographs if image not in self.failed]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values; failures with their reasons."""
        return {
            "photographs": len(self.photographs),
            "judged": len(self.judged),
            "kept": len(self.kept),
            "failed": [{"image": image, "reason": reason} for image, reason in self.failed.items()],
            "regions": self.regions,
            "seconds": round(self.seconds, 1),
        }

    def in_words(self) -> str:
        """The summary as one sentence."""
        parts = [f"{len(self.judged)} judged ({self.regions} regions)"]
        parts += [f"{len(self.kept)} done before"] if self.kept else []
        parts += [f"{len(self.failed)} failed (named above)"] if self.failed else []
        return f"{len(self.photographs)} photographs in {self.seconds:.0f} s: {', '.join(parts)}."


def find_photographs(places: Sequence[Path], without: Collection[Path] = ()) -> list[Path]:
    """Files and folders -> files, in the order of ``places``; a folder's, and those below it, sorted; none twice.

    Args:
        places: files (taken as they are) and folders.
        without: folders that are left out where they lie in one of ``places``: label maps.

    Raises:
        DataError: a folder without photographs; all of them are named.
    """
    left_out = [folder.resolve() for folder in without]
    found: dict[Path, None] = {}
    empty = []
    for place in places:
        if not place.is_dir():
            found[place] = None
            continue
        below = [path for path in list_photographs(place) if not _is_in(path, left_out)]
        if not below:
            empty.append(str(place))
        found |= dict.fromkeys(below)
    if empty:
        raise DataError(
            f"No photograph in {', '.join(empty)}. Allowed: files that end in {', '.join(IMAGE_SUFFIXES)} or as camera "
            "RAW files do; hidden ones are left out."
        )
    return list(found)


def made_with(config: AnswerConfig, model_id: str, query: RegionQuery, places: Sequence[Path]) -> dict[str, Any]:
    """All that answers depend on beside the photographs: what a later run has to share to go on from them.

    Device and chunk are not among it, as they move no score; files that name regions are, with size and date.
    """
    files = [*query.masks, *(rle for rle in query.rles if Path(rle).is_file())]
    files += [query.seagull_json] if query.seagull_json is not None else []
    files += sorted(Path(query.region_dir).iterdir()) if query.region_dir is not None else []
    asked = {name: value if isinstance(value, tuple) else [value] for name, value in vars(query).items() if value}
    return {
        "photographs": [str(place) for place in places],
        "model_id": model_id,
        "regions": {name: [str(entry) for entry in value] for name, value in asked.items()},
        "region_files": {str(file): [Path(file).stat().st_size, Path(file).stat().st_mtime_ns] for file in files},
        **config.model_dump(mode="json", exclude={"model", "device", "chunk", "max_pixels", "max_new_tokens"}),
    }


def judge(
    paths: Sequence[Path],
    query: RegionQuery,
    segmenter: RegionSource,
    assessor: RegionAssessor,
    config: AnswerConfig,
    sink: AnswerSink,
    *,
    tell: Callable[[str], None] = lambda text: None,
    tick: Callable[[int, int | None], None] = lambda done, total: None,
    visit: Visitor | None = None,
) -> Outcome:
    """Judges photograph after photograph. One that cannot be judged is told and left out; the others go on.

    Args:
        paths: the photographs.
        query: which regions of each.
        segmenter: finds regions where the query asks for it.
        assessor: the model.
        config: whether texts are wanted, and the limit on pixels.
        sink: takes the answers; photographs that it has are not judged again.
        tell: takes one sentence per failure.
        tick: called with (done, total).
        visit: called with the answers about every photograph, also those that the sink had.

    Raises:
        DataError: the sink or the visitor cannot write.
    """
    started = time.monotonic()
    outcome = Outcome([str(path) for path in paths])
    for done, path in enumerate(paths):
        tick(done, len(paths))
        name = str(path)
        if sink.has(name):
            outcome.kept.append(name)
            if visit is not None:
                visit(path, sink.read(name), None)
            continue
        try:
            image = read_image(path, config.max_pixels)
            answers = assessor.assess(image, query.resolve(image, path, segmenter), config.text)
        except SeagullError as error:
            outcome.failed[name] = str(error)
            tell(str(error) if name in str(error) else f"{name}: {error}")
            continue
        sink.add(name, answers)
        outcome.judged.append(name)
        outcome.regions += len(answers)
        if visit is not None:
            visit(path, answers, image)
    tick(len(paths), len(paths))
    outcome.seconds = time.monotonic() - started
    return outcome


def _is_in(path: Path, folders: Collection[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in folders)
