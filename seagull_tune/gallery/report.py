"""A folder of reports: of every photograph a picture, a page and its answers as JSON, and one page that leads to them.

What belongs to ``sub/photo.jpg`` is ``sub/photo.jpg.png``, ``.html``, ``.json`` and ``.thumbnail.jpg``: names that no
two photographs share, and that stay the same when others come.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write, atomic_write_text, why_not_written
from seagull_tune.gallery import page
from seagull_tune.gallery.overlay import colour_of, colour_stops
from seagull_tune.gallery.panels import faults, panels_of, report_picture, to_jpeg, to_png, worst_first
from seagull_tune.images import MAX_PIXELS, read_image
from seagull_tune.infer.serialise import assessment_from_dict, assessment_to_dict
from seagull_tune.levels import IMPORTANCE_LEVELS, QUALITY_LEVELS, nearest_level
from seagull_tune.records import RegionAssessment

INDEX = "index.html"
_THUMBNAIL_SIDE = 320


@dataclass(frozen=True)
class _Entry:
    """What the index says of one photograph: its name below the folder, what is told of it, what it is sorted by."""

    name: str
    told: tuple[str, ...]
    worst: float
    mean: float


class ReportFolder:
    """Reports of photographs, one after the other; what is there already and still true is not drawn again.

    Args:
        folder: where they go; made if need be.
        places: the files and folders that the photographs come from: reports are laid out as they are below them.
        max_pixels: of photographs that have to be read again.

    Raises:
        DataError: the folder lies in one of ``places``, where its pictures would be taken for photographs.
    """

    def __init__(self, folder: Path, places: Sequence[Path], max_pixels: int = MAX_PIXELS) -> None:
        self.folder, self._max_pixels = Path(folder), max_pixels
        for place in places:
            if place.is_dir() and self.folder.resolve().is_relative_to(place.resolve()):
                raise DataError(
                    f"{folder} lies in {place}: its pictures would be judged next time. Name another folder."
                )
        roots = [os.path.abspath(place if place.is_dir() else place.parent) for place in places]
        self._root = os.path.commonpath(roots)
        self._entries: list[_Entry] = []
        self._notes: list[str] = []

    def name_of(self, path: Path) -> str:
        """How the reports of a photograph begin: its path below what all photographs have in common."""
        return Path(os.path.relpath(os.path.abspath(path), self._root)).as_posix()

    def __call__(self, path: Path, answers: Sequence[RegionAssessment], image: np.ndarray | None = None) -> None:
        """Adds a photograph: a :class:`~seagull_tune.infer.folder.Visitor`.

        Args:
            path: its file, read again where ``image`` is None and something has to be drawn. If it cannot be read any
                more, the index says so.
            answers: at least one.
            image: uint8 (H, W, 3).

        Raises:
            DataError: the reports cannot be written.
        """
        # As they are written and read back, so that those of an earlier run give the same files.
        written = [assessment_from_dict(assessment_to_dict(answer, str(path))) for answer in answers]
        name, ordered = self.name_of(path), worst_first(written)
        facts = _facts(str(path), ordered)
        text = json.dumps(facts, indent=1) + "\n"
        files = [self.folder / (name + kind) for kind in (".png", ".html", ".thumbnail.jpg")]
        done = self.folder / (name + ".json")  # written last: where it is there and says the same, so are the others
        with self._writing():
            if not (all(file.is_file() for file in files) and done.is_file() and done.read_text("ascii") == text):
                try:
                    pixels = image if image is not None else read_image(path, self._max_pixels)
                    panels = panels_of(pixels, ordered)
                except DataError as error:
                    self._notes.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                    return
                for file, data in zip(files, _drawn(name, panels, ordered), strict=True):
                    atomic_write(file, (data,))
                atomic_write_text(done, text)
        quality = facts["quality"]
        told = (
            f"worst {quality['worst']:.2f}: {_short(ordered[0])}",
            f"mean {quality['mean']:.2f}, {len(ordered)} region{'s' if len(ordered) > 1 else ''}",
        )
        self._entries.append(_Entry(name, told, quality["worst"], quality["mean"]))

    def finish(self, failed: Mapping[str, str]) -> Path:
        """Writes the page that leads to all others.

        Args:
            failed: photographs that could not be judged -> why.

        Returns:
            Its file.

        Raises:
            DataError: it cannot be written.
        """
        order = sorted(self._entries, key=lambda entry: (entry.worst, entry.name))
        body = ["<h1>Photographs and their worst regions</h1>", page.paragraph(f"{len(order)} photographs.", "lead")]
        body.append(page.cards([_card(entry) for entry in order], {"worst": "Worst region", "mean": "Mean quality"}))
        body.append(page.colour_scale(colour_stops(), QUALITY_LEVELS))
        problems = [reason if name in reason else f"{name}: {reason}" for name, reason in failed.items()] + self._notes
        if problems:
            body.append(page.section("Could not be shown", page.bullet_list(problems)))
        with self._writing():
            atomic_write(self.folder / INDEX, (page.encoded(page.page("Photographs and their worst regions", body)),))
        return self.folder / INDEX

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"The reports in {self.folder} cannot be written: {why_not_written(error)}.") from error


def _facts(image: str, ordered: Sequence[RegionAssessment]) -> dict[str, Any]:
    """The JSON of one photograph: worst and mean quality (weighted by area), and all answers, the worst first."""
    lines = [assessment_to_dict(answer, image) for answer in ordered]
    mean = float(np.average([line["quality"] for line in lines], weights=[answer.region.area for answer in ordered]))
    region = ordered[0].region
    return {
        "image": image,
        "size": [region.height, region.width],
        "quality": {"worst": lines[0]["quality"], "mean": round(mean, 6)},
        "answers": lines,
    }


def _drawn(name: str, panels: Sequence[np.ndarray], ordered: Sequence[RegionAssessment]) -> tuple[bytes, bytes, bytes]:
    """The picture, the page and the thumbnail of one photograph."""
    height, width = panels[1].shape[:2]
    scale = min(1.0, _THUMBNAIL_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    thumbnail = cv2.resize(panels[1], size, interpolation=cv2.INTER_AREA)
    picture = report_picture(panels, ordered, name)
    return to_png(picture), page.encoded(_photograph_page(name, panels, ordered)), to_jpeg(thumbnail, 80)


def _photograph_page(name: str, panels: Sequence[np.ndarray], ordered: Sequence[RegionAssessment]) -> str:
    shown = page.readable(name)
    pictures = [
        page.picture(to_jpeg(panels[0]), f"the photograph {shown}", "The photograph", "jpeg"),
        page.picture(
            to_jpeg(panels[1]),
            f"its {len(ordered)} regions coloured by quality and numbered, 1 is the worst: {_short(ordered[0])}",
            "Its regions by quality, 1 is the worst", "jpeg",
        ),
    ]  # fmt: skip
    matters = page.picture(
        to_jpeg(panels[2]), f"its {len(ordered)} regions coloured by importance", "Its regions by importance", "jpeg"
    )
    back = page.link("../" * name.count("/") + INDEX, "All photographs")
    body = [
        f"<nav>{back}</nav>",
        page.heading(shown),
        page.section(
            "Where it is good, and where not", page.grid(pictures), page.colour_scale(colour_stops(), QUALITY_LEVELS)
        ),
        page.section(
            "What matters for the whole", matters, page.colour_scale(colour_stops("importance"), IMPORTANCE_LEVELS)
        ),
        page.section("Regions, the worst first", *(_region(at, answer) for at, answer in enumerate(ordered, start=1))),
        page.paragraph(f"Judged by {ordered[0].model_id}."),
    ]
    return page.page(shown, body)


def _region(number: int, answer: RegionAssessment) -> str:
    """One region as a block: its numbers, level bars, faults, words."""
    scores = answer.scores
    told = [f"{severity} {kind} ({probability:.2f})" for kind, severity, probability in faults(answer)]
    lines = [page.paragraph("Distortions: " + (", ".join(told) or "none") + ".", "plain")]
    if answer.abstain:
        lines.insert(0, page.paragraph("These numbers should not be relied on.", "warning"))
    if answer.text:
        doubt = " (its severities could not be read back)" if answer.unparsable else ""
        lines.append(page.paragraph(f"“{answer.text}”{doubt}", "plain"))
    x0, y0, x1, y1 = answer.region.box_xyxy
    name = f"{answer.region.name}: " if answer.region.name else ""
    share = answer.region.area / (answer.region.height * answer.region.width)
    lines.append(page.paragraph(f"{name}{share:.1%} of the photograph, within the box {x0},{y0},{x1},{y1}."))
    bars = page.level_bars(
        [
            (f"quality {scores.quality:.2f}", _by_word(QUALITY_LEVELS, scores.quality_levels)),
            (f"importance {scores.importance:.2f}", _by_word(IMPORTANCE_LEVELS, scores.importance_levels)),
        ]
    )  # fmt: skip
    colour = "#{:02x}{:02x}{:02x}".format(*colour_of(scores.quality))
    return page.numbered(number, colour, f"{scores.quality:.2f} {nearest_level(scores.quality)}", bars, *lines)


def _by_word(words: tuple[str, ...], shares: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(words, shares, strict=True))


def _short(answer: RegionAssessment) -> str:
    what = [f"{severity} {name}" for name, severity, _ in faults(answer)[:2]]
    return ", ".join(what) or "no distortion"


def _card(entry: _Entry) -> page.Card:
    shown = page.readable(entry.name)
    alt = f"{shown}, regions coloured by quality: {entry.told[0]}"
    return page.Card(
        page.address(entry.name + ".html"), page.address(entry.name + ".thumbnail.jpg"), alt, shown, entry.told,
        {"worst": entry.worst, "mean": entry.mean},
    )  # fmt: skip
