"""What the page does for a visitor: opens photographs, judges regions, describes them, answers questions.

One model serves all visitors. It is asked by one of them at a time (a lock); who waits, waits in order. Nothing here
knows gradio. Errors raised on purpose (``SeagullError``) are for the page to show as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np

from seagull_tune.config.web import WebConfig
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.files import why_not_written
from seagull_tune.images import decode_photograph
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession, check_question
from seagull_tune.infer.comparison import Comparison
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, parse_point
from seagull_tune.regions.masks import encode
from seagull_tune.regions.parse import regions_from_box, regions_from_polygon
from seagull_tune.rsa.explain import explanation_panels
from seagull_tune.rsa.scorer import RsaScorer
from seagull_tune.segment import Segmenter
from seagull_tune.web.state import HINTS, JudgedRegion, Photograph, Visit, WholeScore
from seagull_tune.web.stream import pieces_of

NO_ANSWER = "(The model said nothing.)"
NO_SCORER = (
    "Whole photographs are not scored here: the page was started without a scorer. Train one (accelerate launch "
    "scripts/train_rsa.py --config configs/rsa/scorer.yaml and your opinion scores), then start the page with "
    "seagull-tune web --scorer runs/rsa/model."
)
"""What the page says in place of a score."""


@dataclass(frozen=True)
class Line:
    """A question and its answer.

    Attributes:
        question: as it was asked.
        answer: as far as it is written.
        numbers: the numbers behind a question that compares two regions, once its answer is there.
    """

    question: str
    answer: str = ""
    numbers: Comparison | None = None


@dataclass(frozen=True, eq=False)
class Talk:
    """A visitor's conversation.

    Attributes:
        session: None until the first question.
        lines: questions and answers as they are shown; the last answer may still grow.
    """

    session: ChatSession | None = None
    lines: tuple[Line, ...] = ()


class Desk:
    """Answers all visitors.

    Args:
        assessor: the tuned model.
        segmenter: finds regions under points, and all regions.
        config: limits.
        scorer: of whole photographs; None where the page has none.
    """

    def __init__(
        self, assessor: RegionAssessor, segmenter: Segmenter, config: WebConfig, scorer: RsaScorer | None = None
    ) -> None:
        self.assessor, self.segmenter, self.config, self.scorer = assessor, segmenter, config, scorer
        self._busy = Lock()

    # -- photograph and regions -----------------------------------------------------------------------------------

    def open(self, file: str | Path) -> Visit:
        """A new visit to an uploaded file.

        Raises:
            DataError: it is no photograph that can be read; the sentence names it as the visitor does.
            MissingDependencyError: a camera RAW file, and nothing here reads them.
        """
        name = Path(file).name
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise DataError(f"{name} did not arrive: {why_not_written(error)}. Upload it again.") from error
        pixels = developed(decode_photograph(data, name, name, self.config.max_pixels))
        photograph = Photograph.of(name, pixels, self.config.shown_side)
        height, width = photograph.size
        return Visit(photograph, note=f"{name}: {width} x {height} pixels. {HINTS['Point']}")

    def click(self, visit: Visit, tool: str, x: float, y: float) -> Visit:
        """A click on pixel (x, y) of the shown photograph, with one of ``TOOLS``.

        Raises:
            RegionError: the region cannot be used.
        """
        if tool == "Point":
            return self._at(visit, *visit.open.pixel(x, y))
        if tool == "Box":
            return self._corner(visit, *visit.open.pixel(x, y))
        return visit.choose_at(x, y)

    def typed(self, visit: Visit, text: str) -> Visit:
        """A region by its numbers: ``x,y``, ``x0,y0,x1,y1`` or ``x,y;x,y;x,y``, in the photograph's pixels.

        Raises:
            RegionError: text of another form, or a place outside the photograph.
        """
        height, width = visit.open.size
        if ";" in text:
            return self._judge(visit, regions_from_polygon(text, height, width))
        if text.count(",") >= 2:
            return self._judge(visit, regions_from_box(text, height, width))
        return self._at(visit, *parse_point(text))

    def painted(self, visit: Visit, layers: Sequence[np.ndarray]) -> Visit:
        """What was painted over the shown photograph.

        Args:
            layers: uint8 (h', w', 4) each, RGBA: what is not fully transparent belongs to the region.

        Raises:
            RegionError: nothing was painted.
        """
        photograph = visit.open
        strokes = [layer[..., 3] > 0 for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
        if not any(stroke.any() for stroke in strokes):
            raise RegionError("Nothing is painted yet. Paint over the region first.")
        mask = np.zeros(photograph.size, bool)
        for stroke in strokes:
            if stroke.any():
                mask |= photograph.mask(stroke)
        return self._judge(visit, [encode(mask)])

    def everything(self, visit: Visit) -> Visit:
        """Every region that the segmenter finds."""
        pixels = visit.open.pixels
        with self._busy:
            found = self.segmenter.segment(pixels)
        return self._judge(visit, found)

    def describe(self, visit: Visit) -> Visit:
        """The chosen region in the model's own words.

        Raises:
            RegionError: none is chosen.
        """
        card = _require_card(visit)
        with self._busy:
            (answer,) = self.assessor.assess(visit.open.pixels, [card.region], text=True)
        assert visit.chosen is not None
        told = replace(card.assessment, text=answer.text, unparsable=answer.unparsable)
        return visit.with_answer(visit.chosen, told).says(f"{card.name} is described below its numbers.")

    def score(self, visit: Visit) -> Visit:
        """The photograph as a whole: its score, and which regions made it so.

        Raises:
            ConfigError: the page was started without a scorer.
            DataError: the photograph cannot be scored, for example because it is too small.
        """
        photograph = visit.open
        if self.scorer is None:
            raise ConfigError(NO_SCORER)
        if visit.whole is not None:
            return visit.says(f"{photograph.name} was scored before; its score is below.")
        with self._busy:
            (explanation,) = self.scorer.explain([photograph.pixels], names=[photograph.name])
        whole = WholeScore(explanation, self.scorer.scale, explanation_panels(photograph.pixels, explanation))
        return replace(visit, whole=whole).says(f"{photograph.name} is scored: {whole.sentence}.")

    def _at(self, visit: Visit, x: int, y: int) -> Visit:
        """The region under a pixel of the photograph."""
        with self._busy:
            region = self.segmenter.at_point(visit.open.pixels, x, y)
        return self._judge(visit, [region])

    def _corner(self, visit: Visit, x: int, y: int) -> Visit:
        """One more corner of a box: the first is kept, the second makes a region of all pixels between and under."""
        if visit.corner is None:
            return replace(visit, corner=(x, y)).says("Now click the opposite corner.")
        (x0, x1), (y0, y1) = sorted((x, visit.corner[0])), sorted((y, visit.corner[1]))
        height, width = visit.open.size
        return self._judge(visit, [box_region((x0, y0, x1 + 1, y1 + 1), height, width)])

    def _judge(self, visit: Visit, regions: Sequence[Region]) -> Visit:
        """Adds the regions that are new, and opens the card of the first.

        Raises:
            RegionError: more regions than a visitor may have.
        """
        new = [region for region in regions if visit.known(region) is None]
        if not new:
            return visit.choose(visit.known(regions[0])).says("This region was judged before; its card is open.")
        if len(visit.regions) + len(new) > self.config.max_regions:
            raise RegionError(
                f"{len(visit.regions)} regions are here and {len(new)} would be added; allowed: "
                f"{self.config.max_regions}. Remove some, or open the photograph again."
            )
        with self._busy:
            answers = self.assessor.assess(visit.open.pixels, new)
        after = visit.with_judged(answers)
        what = f"{after.names[-1]} is" if len(new) == 1 else f"{len(new)} regions are"
        return after.says(f"{what} judged. Take Look to read other cards, or add more.")

    # -- conversation ---------------------------------------------------------------------------------------------

    def ask(self, visit: Visit, talk: Talk, question: str) -> Generator[Talk, None, None]:
        """Answers a question about the regions that it names, else about the chosen one, else the whole photograph.

        Gives the conversation after every piece of the answer, and once more with the numbers where the question
        compares two regions. Whoever closes the iterator stops the model at its next
        word; what was not answered to the end is not part of the conversation.

        Raises:
            DataError: the question is empty or too long, or the conversation no longer fits the model.
            RegionError: no photograph is open.
        """
        check_question(question)
        session = self._session(visit, talk)
        line = Line(question)
        yield Talk(session, (*talk.lines, line))
        pieces = pieces_of(lambda on_text: session.ask(question, None, on_text, self.config.max_new_tokens), self._busy)
        try:
            for piece in pieces:
                line = replace(line, answer=line.answer + piece)
                yield Talk(session, (*talk.lines, line))
            with self._busy:
                numbers = session.evidence(question)
            if numbers is not None or not line.answer:
                line = Line(question, line.answer or NO_ANSWER, numbers)
                yield Talk(session, (*talk.lines, line))
        finally:
            pieces.close()

    def _session(self, visit: Visit, talk: Talk) -> ChatSession:
        """The session, with the regions and names of the visit, and the chosen one current."""
        session = talk.session
        counts = [judged.region.counts for judged in visit.regions]
        known = [region.counts for region in session.regions] if session is not None else []
        if session is None or session.image is not visit.open.pixels or counts[: len(known)] != known:
            session = ChatSession(self.assessor, visit.open.pixels)
        session.rename(visit.names[: len(session.regions)])
        for judged in visit.regions[len(session.regions) :]:
            session.add_region(judged.region, judged.name, judged.assessment)
        session.use(None if visit.chosen is None else visit.chosen + 1)
        return session


def _require_card(visit: Visit) -> JudgedRegion:
    if visit.card is None:
        raise RegionError("No region is chosen; choose one first.")
    return visit.card
