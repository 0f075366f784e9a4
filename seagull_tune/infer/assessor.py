"""The region assessor: one photograph, many regions, numbers and words. The photograph is encoded once.

Regions go through the vision side and the language model in chunks, so that memory does not grow with their number.
Regions of several photographs may share the chunks of the language model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seagull_tune.data.processor import SeagullProcessor, to_device, visual_tensors
from seagull_tune.errors import ConfigError, RegionError
from seagull_tune.images import read_image
from seagull_tune.infer.generation import Answer, Prompt, generate
from seagull_tune.infer.grammar import JsonGrammar
from seagull_tune.infer.memory import PromptMemory
from seagull_tune.infer.prefix import SharedPrefix
from seagull_tune.infer.scoring import ScoreReader, direct_scores
from seagull_tune.instructions.converse import question_parts, system_message
from seagull_tune.instructions.parsing import parse_answer
from seagull_tune.instructions.structured import JsonAnswer, read_json_answer
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.model.calibration import Calibration, load_calibration
from seagull_tune.model.checkpoint import CALIBRATED, PROMPTS_FOLDER, load_checkpoint, model_id
from seagull_tune.model.lora import merge_lora
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import Message, Part, Region, RegionAssessment, Scores
from seagull_tune.regions.masks import MAX_REGIONS, decode_all

TEXT_TASK = "description"
JSON_TASK = "json_answer"
_MAX_TEXT_TOKENS = 72
_MEMORY_BYTES = 64 << 20  # a conversation of a few turns with a small model; a server says for itself what it spends


@dataclass(frozen=True)
class EncodedPhotograph:
    """One photograph's regions after the vision side; everything asked about them starts here.

    Attributes:
        grid: (1, N, C) what the image tokens are made of.
        tokens: (R, T, D) region tokens, at the extractor's own scale.
        size: (height, width) that the tower saw.
        maps: the tower's maps, finest first: where further regions of the photograph start.
    """

    grid: Tensor
    tokens: Tensor
    size: tuple[int, int]
    maps: Sequence[Tensor]


@dataclass(frozen=True)
class AskedRegions:
    """Regions of one photograph that are to be judged.

    Attributes:
        encoded: the photograph and the regions after the vision side.
        regions: in the same order.
        described: indices of those that are also put into words.
    """

    encoded: EncodedPhotograph
    regions: Sequence[Region]
    described: Sequence[int] = ()


class RegionAssessor:
    """Judges regions of photographs with a tuned model.

    Args:
        model, processor: the tuned model.
        name: model id that the answers carry.
        prompts: the texts it was tuned with; None takes the shipped ones.
        bf16: run the language model in bfloat16: faster on recent processors, scores move in the third digit.
        chunk: regions that are read together; bounds memory.
        calibration: applied to what the language model says; None leaves it raw, and nothing abstains.

    Attributes:
        memory: prompts of conversations that were read, so that a next question does not read its history again.
    """

    def __init__(
        self,
        model: SeagullForConditionalGeneration,
        processor: SeagullProcessor,
        name: str,
        prompts: PromptLibrary | None = None,
        bf16: bool = False,
        chunk: int = 32,
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.processor, self.calibration = model.eval(), processor, calibration
        # Answers of one model, calibrated and raw, differ: their names do too.
        self.name = name if calibration is None else f"{name}{CALIBRATED}{calibration.digest}"
        self.prompts = prompts if prompts is not None else load_prompts()
        self.bf16, self.chunk = bf16, chunk
        self.memory = PromptMemory(_MEMORY_BYTES)
        if bf16:
            # Converted once: autocast would convert every frozen weight again at every step.
            model.language_model.to(torch.bfloat16)
        self._reader = ScoreReader(model, processor, self.prompts)

    def raw(self) -> RegionAssessor:
        """The same model without its calibration; it shares the weights."""
        name = self.name if self.calibration is None else self.name.rpartition(CALIBRATED)[0]
        return RegionAssessor(self.model, self.processor, name, self.prompts, self.bf16, self.chunk)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | None = None, bf16: bool = False, chunk: int = 32, calibrated: bool = True
    ) -> RegionAssessor:
        """Loads a checkpoint.

        Args:
            folder: a checkpoint, for example ``runs/quickstart/model``.
            device: ``cpu``, ``cuda``, ``mps``; None takes a GPU where there is one.
            calibrated: whether its calibration is applied, if it has one.

        Raises:
            CheckpointError: it cannot be used.
            ConfigError: the device does not exist.
        """
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        calibration = load_calibration(Path(folder)) if calibrated else None
        model, processor = load_checkpoint(Path(folder))
        # Adapters that are added in cost nothing at every step; this model is only asked, never trained or saved.
        model.language_model = merge_lora(model.language_model)
        try:
            model = model.to(place)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"Device {place!r} cannot be used here: {error}. Allowed: cpu, cuda, mps, where the machine has them."
            ) from error
        brought = Path(folder) / PROMPTS_FOLDER
        prompts = load_prompts(brought) if brought.is_dir() else None
        return cls(model, processor, model_id(Path(folder)), prompts, bf16, chunk, calibration)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    def assess(
        self, image: np.ndarray | str | Path, regions: Sequence[Region], text: bool | Collection[int] = False
    ) -> list[RegionAssessment]:
        """Judges regions of one photograph, in their order.

        Args:
            image: uint8 (H, W, 3) sRGB, or a file.
            regions: of the photograph's size, 1 to :data:`~seagull_tune.regions.masks.MAX_REGIONS`. They may overlap.
            text: also let the model describe regions in words (slower): all of them, or those with these indices.

        Raises:
            DataError: the photograph cannot be used.
            RegionError: a region cannot be used, none was given, or too many.
        """
        pixels = read_image(Path(image)) if isinstance(image, str | Path) else image
        with self.running():
            encoded = self.encode(pixels, regions)
            described = list(range(len(regions))) if text is True else sorted(set(text or ()))
            if described and not 0 <= described[0] <= described[-1] < len(regions):
                raise RegionError(f"Texts are wanted of the regions {described}; allowed: 0 to {len(regions) - 1}.")
            (answers,) = self.judge([AskedRegions(encoded, regions, described)])
        return answers

    def judge(self, asked: Sequence[AskedRegions]) -> Iterator[list[RegionAssessment]]:
        """Judges encoded regions of several photographs, ``chunk`` at a time; each as it is judged alone.

        Call it within :meth:`running`.

        Args:
            asked: per photograph.

        Yields:
            Per photograph, its regions' assessments in their order, as soon as its texts are written.
        """
        heard = self.listen([item.encoded for item in asked])
        for item, (scores, _) in zip(asked, heard, strict=True):
            yield self._answers(item, scores)

    def _answers(self, asked: AskedRegions, scores: Sequence[Scores]) -> list[RegionAssessment]:
        """The language model's scores of one photograph's regions, with all that belongs to an answer."""
        direct = direct_scores(self.model.judge_regions(asked.encoded.tokens))
        texts = dict(zip(asked.described, self.describe(asked.encoded, asked.described), strict=True))
        answers = [
            RegionAssessment(
                region=region, scores=s, direct=d, text=texts.get(index, ""),
                unparsable=index in texts and parse_answer(TEXT_TASK, texts[index], self.prompts) is None,
                model_id=self.name, resolution=asked.encoded.size,
            )
            for index, (region, s, d) in enumerate(zip(asked.regions, scores, direct, strict=True))
        ]  # fmt: skip
        return answers if self.calibration is None else calibrate(answers, self.calibration)

    def listen(self, encoded: Sequence[EncodedPhotograph]) -> list[tuple[list[Scores], Tensor]]:
        """The language model's scores, ``chunk`` regions at a time; every photograph is read once.

        Returns:
            Per photograph: scores; and what they are read from: last hidden states, averaged over the places, (R, D).
        """
        prefixes = [self.open(photograph) for photograph in encoded]
        loud = [self.loud_tokens(photograph) for photograph in encoded]
        owners = [owner for owner, tokens in enumerate(loud) for _ in tokens]
        together = torch.cat(loud)
        # Made once: a tensor that stays after each chunk would lie between the chunks' memory, and keep it from reuse.
        thoughts = together.new_empty((len(together), together.shape[-1]))
        scores: list[Scores] = []
        for first in range(0, len(owners), self.chunk):
            some = slice(first, first + self.chunk)
            rows = Counter(owners[some])  # in the order of the photographs
            prefix = SharedPrefix.side_by_side([prefixes[owner] for owner in rows], list(rows.values()))
            heard = self._reader.listen(prefix, together[some])
            scores += self._reader.judge(heard)
            thoughts[some] = heard.mean(dim=1)
        rest = iter(scores)
        return [(list(islice(rest, len(part))), part) for part in thoughts.split([len(tokens) for tokens in loud])]

    def open(self, encoded: EncodedPhotograph) -> SharedPrefix:
        """The language model's memory of a photograph, which its regions' questions continue."""
        return self._reader.open(self.model.project_image(encoded.grid))

    def loud_tokens(self, encoded: EncodedPhotograph) -> Tensor:
        """Region tokens at the language model's scale, (R, T, D)."""
        return self.model.speak_regions(encoded.tokens)

    def encode(
        self, image: np.ndarray, regions: Sequence[Region], maps: Sequence[Tensor] | None = None
    ) -> EncodedPhotograph:
        """Runs the vision side for a photograph uint8 (H, W, 3) and its regions.

        Args:
            maps: of an earlier encoding of the photograph; None lets the tower look at it.

        Raises:
            DataError, RegionError: as :meth:`assess`.
        """
        check_regions(regions, *image.shape[:2])
        # Tokens that depend on the other regions would change with the chunk: such an extractor reads one at a time.
        step = 1 if self.model.mfe.mixes_regions else self.chunk
        seen: Sequence[Sequence[Tensor]] = [] if maps is None else [maps]
        tokens: list[Tensor] = []
        for first in range(0, len(regions), step):
            masks = decode_all(regions[first : first + step])
            inputs = to_device(visual_tensors([self.processor.visual(image, masks)]), self.device)
            pixels = inputs.pop("pixel_values")
            seen = seen or self.model.vision_tower(pixels)
            front = self.model.observe(seen, **inputs)
            tokens.append(self.model.encode_regions(front))
        size = (int(pixels[0].shape[-2]), int(pixels[0].shape[-1]))
        return EncodedPhotograph(front.grid, torch.cat(tokens), size, seen[0])

    def describe(self, encoded: EncodedPhotograph, chosen: Sequence[int]) -> list[str]:
        """The model's own words about some regions of an encoded photograph, greedily chosen, ``chunk`` at a time.

        Args:
            chosen: indices of the regions.
        """
        return self._say(encoded, chosen, self.question(TEXT_TASK))

    def answer(self, prompts: Sequence[Prompt], grammar: JsonGrammar | None = None) -> list[Answer]:
        """Greedy answers to prompts of conversations, in their order; call it within :meth:`running`.

        Args:
            prompts, grammar: as of :func:`~seagull_tune.infer.generation.generate`.
        """
        return generate(self.model, self.processor, prompts, grammar, self.memory)

    def answer_in_json(self, image: np.ndarray | str | Path, regions: Sequence[Region]) -> list[JsonAnswer]:
        """The model's own JSON about regions of one photograph, in their order; a grammar keeps it valid.

        Args:
            image, regions: as of :meth:`assess`.

        Raises:
            DataError, RegionError: as :meth:`assess`; or the model's prompts have no question for JSON.
            MissingDependencyError: xgrammar is not installed.
        """
        pixels = read_image(Path(image)) if isinstance(image, str | Path) else image
        question, grammar = self.question(JSON_TASK), self.json_grammar
        with self.running():
            texts = self._say(self.encode(pixels, regions), range(len(regions)), question, grammar)
        return [read_json_answer(text) for text in texts]

    @cached_property
    def json_grammar(self) -> JsonGrammar:
        """The form of a JSON answer, for this model's tokenizer.

        Raises:
            MissingDependencyError: xgrammar is not installed.
        """
        return JsonGrammar(self.processor.tokenizer, len(self.model.get_input_embeddings().weight))

    def question(self, task: str) -> Message:
        """The canonical question of a task about the first region that is mentioned, with the image before it.

        Raises:
            DataError: the model's prompts have no such task.
        """
        return Message("user", (Part(image=True), *question_parts(self.prompts.task(task).questions[0], 0)))

    def _say(
        self, encoded: EncodedPhotograph, chosen: Sequence[int], question: Message, grammar: JsonGrammar | None = None
    ) -> list[str]:
        """Greedy answers to one question about each of some regions, ``chunk`` at a time."""
        if not chosen:
            return []
        messages = (system_message(self.prompts), question)
        ids = torch.tensor([self.processor.encode(messages, add_generation_prompt=True).input_ids], device=self.device)
        image_tokens = self.model.project_image(encoded.grid)
        chunks = self.loud_tokens(encoded)[list(chosen)].split(self.chunk)
        return [text for regions in chunks for text in self._continue(ids, image_tokens, regions, grammar)]

    def _continue(
        self, ids: Tensor, image_tokens: Tensor, regions: Tensor, grammar: JsonGrammar | None = None
    ) -> list[str]:
        """Greedy continuations of one prompt (1, L) for several regions (R, T, D)."""
        count = len(regions)
        embeddings = self.model.embed(
            ids.repeat(count, 1), image_tokens.repeat(count, 1, 1), regions,
            torch.ones(count, dtype=torch.long, device=self.device),
        )  # fmt: skip
        tokenizer = self.processor.tokenizer
        generated = self.model.generate(
            inputs_embeds=embeddings, do_sample=False,
            max_new_tokens=_MAX_TEXT_TOKENS if grammar is None else grammar.max_new_tokens,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=self.device),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=self.processor.padding_id,
            logits_processor=None if grammar is None else grammar.processors(),
        )  # fmt: skip
        return [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the model answers: no gradients; bfloat16 where it was asked for."""
        with torch.inference_mode():
            yield


def calibrate(answers: Sequence[RegionAssessment], calibration: Calibration) -> list[RegionAssessment]:
    """Raw answers with calibrated scores, what they were before beside them, and whether to rely on them."""
    return [
        replace(answer, scores=s, raw=answer.scores, abstain=calibration.abstains(s, answer.region, answer.resolution))
        for answer, s in zip(answers, calibration.apply([answer.scores for answer in answers]), strict=True)
    ]


def check_regions(regions: Sequence[Region], height: int, width: int) -> None:
    """Refuses what cannot be judged of a photograph of ``height`` x ``width`` pixels.

    Raises:
        RegionError: no region, too many, or one of another size.
    """
    if not regions:
        raise RegionError("No region was given; at least one is needed.")
    if len(regions) > MAX_REGIONS:
        raise RegionError(
            f"{len(regions):,} regions of one photograph were given; allowed: {MAX_REGIONS:,}. Ask about some of them "
            "at a time."
        )
    for region in regions:
        if (region.height, region.width) != (height, width):
            raise RegionError(
                f"Region {region.name!r} belongs to an image of {region.width}x{region.height} pixels; "
                f"this one is {width}x{height}."
            )
