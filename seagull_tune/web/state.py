"""What one visitor of the page has: a photograph, judged regions, one of them chosen. Every event makes a new state.

Nothing here knows gradio or asks the model. Places on the page are in pixels of the *shown* photograph, which may be a
shrunk one; they become pixels of the photograph in :meth:`Photograph.pixel` and :meth:`Photograph.mask`, and nowhere
else.

Legend: H, W height and width of the photograph; h, w of the shown one; h', w' of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from seagull_tune.config.exchange import Scale
from seagull_tune.errors import RegionError
from seagull_tune.infer.named_regions import check_name
from seagull_tune.records import Region, RegionAssessment
from seagull_tune.regions.masks import decode, resize_mask
from seagull_tune.rsa.scorer import Explanation

TOOLS: tuple[str, ...] = ("Look", "Point", "Box", "Paint")
"""What a click on the photograph does."""

HINTS = {
    "Look": "Click a coloured region to read its card. Where regions overlap, click again for the next one.",
    "Point": "Click on something, and the region under the click is judged.",
    "Box": "Click one corner of a box, then the opposite corner.",
    "Paint": "Paint over a region, then judge what is painted.",
}
"""What the page says when a tool is taken."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph and its copy for the page.

    Attributes:
        name: as its file is called.
        pixels: uint8 (H, W, 3), sRGB, upright.
        shown: uint8 (h, w, 3), the same, shrunk where it is large.
    """

    name: str
    pixels: np.ndarray
    shown: np.ndarray

    @classmethod
    def of(cls, name: str, pixels: np.ndarray, shown_side: int) -> Photograph:
        """Shrinks a photograph uint8 (H, W, 3) for the page: its longer side is ``shown_side`` at most."""
        height, width = pixels.shape[:2]
        scale = min(1.0, shown_side / max(height, width))
        if scale == 1.0:
            return cls(name, pixels, pixels)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cls(name, pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """The photograph's pixel (X, Y) under the centre of a shown pixel; beyond the edge, the last one."""
        (height, width), (h, w) = self.size, self.shown.shape[:2]
        column, row = int((x + 0.5) * width / w), int((y + 0.5) * height / h)
        return min(max(column, 0), width - 1), min(max(row, 0), height - 1)

    def mask(self, painted: np.ndarray) -> np.ndarray:
        """A mask bool (h', w') of any size, painted over the shown photograph, as bool (H, W)."""
        return resize_mask(painted, *self.size)


@dataclass(frozen=True, eq=False)
class JudgedRegion:
    """A region with its judgement.

    Attributes:
        name: what the visitor calls it.
        assessment: the model's judgement.
        shown: its mask on the shown photograph, bool (h, w).
        anchor: the shown pixel (x, y) that is farthest from its border: where its number is read best.
    """

    name: str
    assessment: RegionAssessment
    shown: np.ndarray
    anchor: tuple[int, int]

    @classmethod
    def of(cls, name: str, assessment: RegionAssessment, size: tuple[int, int]) -> JudgedRegion:
        """With its mask for a shown photograph of ``size`` (h, w)."""
        shown = resize_mask(decode(assessment.region), *size)
        padded = np.pad(shown, 1).astype(np.uint8)  # the photograph's edge is a border too
        row, column = np.unravel_index(int(cv2.distanceTransform(padded, cv2.DIST_L2, 3).argmax()), padded.shape)
        return cls(name, assessment, shown, (int(column) - 1, int(row) - 1))

    @property
    def region(self) -> Region:
        """The region, in the photograph's pixels."""
        return self.assessment.region


@dataclass(frozen=True, eq=False)
class WholeScore:
    """The score of the photograph as a whole.

    Attributes:
        explanation: the score, and which regions made it so.
        scale: range and direction of the score.
        panels: two of uint8 (h', w', 3): the attention map over the photograph, and its regions coloured by quality.
    """

    explanation: Explanation
    scale: Scale
    panels: tuple[np.ndarray, np.ndarray]

    @property
    def range(self) -> str:
        """The scale in words."""
        better = "higher" if self.scale.higher_is_better else "lower"
        return f"{self.scale.low:g} to {self.scale.high:g}, {better} is better"

    @property
    def sentence(self) -> str:
        """The score in words."""
        return f"{self.explanation.image_score.score:.3g} on the scale {self.range}"


@dataclass(frozen=True, eq=False)
class Visit:
    """The state of one visitor.

    Attributes:
        photograph: None until one is opened.
        regions: in the order in which they were added.
        chosen: index of the region whose card is open.
        corner: first corner of a box, a pixel (X, Y) of the photograph.
        whole: the score of the whole photograph; None until it was asked for.
        note: one sentence for the visitor.
        problem: whether that sentence says what went wrong.
    """

    photograph: Photograph | None = None
    regions: tuple[JudgedRegion, ...] = ()
    chosen: int | None = None
    corner: tuple[int, int] | None = None
    whole: WholeScore | None = None
    note: str = "Open a photograph: drop it above, or press the field and choose one."
    problem: bool = False

    @property
    def open(self) -> Photograph:
        """The photograph.

        Raises:
            RegionError: none is open.
        """
        if self.photograph is None:
            raise RegionError("No photograph is open. Open one first; after a long pause, open it again.")
        return self.photograph

    @property
    def card(self) -> JudgedRegion | None:
        """The chosen region."""
        return None if self.chosen is None else self.regions[self.chosen]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return tuple(region.name for region in self.regions)

    def says(self, note: str, problem: bool = False) -> Visit:
        """The same with another sentence."""
        return replace(self, note=note, problem=problem)

    def choose(self, index: int | None) -> Visit:
        """Opens a region's card; None closes it.

        Raises:
            RegionError: there is no such region.
        """
        if index is not None and not 0 <= index < len(self.regions):
            raise RegionError(f"There is no region {index + 1}; this photograph has {len(self.regions)}.")
        return replace(self, chosen=index, corner=None)

    def choose_at(self, x: float, y: float) -> Visit:
        """Opens the card of the smallest region under a shown pixel; of those below it, where it is open already."""
        h, w = self.open.shown.shape[:2]
        column, row = min(max(int(x), 0), w - 1), min(max(int(y), 0), h - 1)
        hit = [index for index, region in enumerate(self.regions) if region.shown[row, column]]
        if not hit:
            return self.says("There is no region at this place. Take Point or Box to add one, or judge all regions.")
        hit.sort(key=lambda index: self.regions[index].region.area)
        following = (hit.index(self.chosen) + 1) % len(hit) if self.chosen in hit else 0
        return self.choose(hit[following]).says(HINTS["Look"])

    def known(self, region: Region) -> int | None:
        """Index of the same region, pixel by pixel, if it was judged before."""
        masks = [judged.region.counts for judged in self.regions]
        return masks.index(region.counts) if region.counts in masks else None

    def free_names(self, count: int) -> list[str]:
        """Names that no region has yet: ``region 1``, ``region 2`` and so on."""
        taken = {name.lower() for name in self.names}
        numbers = (number for number in range(1, len(taken) + count + 1) if f"region {number}" not in taken)
        return [f"region {next(numbers)}" for _ in range(count)]

    def with_judged(self, answers: list[RegionAssessment]) -> Visit:
        """With new regions, the first of them chosen."""
        size = self.open.shown.shape[:2]
        new = tuple(
            JudgedRegion.of(name, answer, (size[0], size[1]))
            for name, answer in zip(self.free_names(len(answers)), answers, strict=True)
        )
        return replace(self, regions=(*self.regions, *new), chosen=len(self.regions), corner=None)

    def with_answer(self, index: int, answer: RegionAssessment) -> Visit:
        """With another judgement of a region."""
        changed = replace(self.regions[index], assessment=answer)
        return replace(self, regions=(*self.regions[:index], changed, *self.regions[index + 1 :]))

    def renamed(self, name: str) -> Visit:
        """With another name of the chosen region.

        Raises:
            RegionError: none is chosen, or the name is taken or cannot be one.
        """
        if self.chosen is None or self.card is None:
            raise RegionError("No region is chosen; choose the one that is to be named.")
        others = [known for index, known in enumerate(self.names) if index != self.chosen]
        wanted = check_name(name, others)
        changed = replace(self.card, name=wanted)
        regions = (*self.regions[: self.chosen], changed, *self.regions[self.chosen + 1 :])
        return replace(self, regions=regions).says(f"The region is called {wanted} now.")

    def removed(self) -> Visit:
        """Without the chosen region; the one after it is chosen.

        Raises:
            RegionError: none is chosen.
        """
        if self.chosen is None or self.card is None:
            raise RegionError("No region is chosen; choose the one that is to be removed.")
        regions = (*self.regions[: self.chosen], *self.regions[self.chosen + 1 :])
        chosen = min(self.chosen, len(regions) - 1) if regions else None
        return replace(self, regions=regions, chosen=chosen).says(f"{self.card.name} was removed.")
