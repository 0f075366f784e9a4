"""The region assessor: one photograph, many regions, numbers and words. The photograph is encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.data.visual import fit_size
from seagull_tune.errors import ConfigError, RegionError
from seagull_tune.images import read_image
from seagull_tune.infer.scoring import ScoreReader, direct_scores
from seagull_tune.instructions.answers import parse_answer
from seagull_tune.instructions.converse import question_parts, system_message
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.model.checkpoint import load_checkpoint, model_id
from seagull_tune.model.mfe import RegionStatistics
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import Message, Part, Region, RegionAssessment, Scores
from seagull_tune.regions.masks import decode_all

TEXT_TASK = "description"
_MAX_TEXT_TOKENS = 72


@dataclass(frozen=True)
class EncodedPhotograph:
    """One photograph's regions after the vision side; everything asked about them starts here.

    Attributes:
        statistics: the front's result.
        tokens: (R, T, D) normalised region tokens.
        size: (height, width) that the tower saw.
    """

    statistics: RegionStatistics
    tokens: Tensor
    size: tuple[int, int]


class RegionAssessor:
    """Judges regions of photographs with a tuned model.

    Args:
        model, processor: the tuned model.
        name: model id that the answers carry.
        prompts: the texts it was tuned with; None takes the shipped ones.
        bf16: run the language model in bfloat16: faster on recent processors, scores move in the third digit.
        chunk: regions that the language model reads together; bounds memory.
    """

    def __init__(
        self,
        model: SeagullForConditionalGeneration,
        processor: SeagullProcessor,
        name: str,
        prompts: PromptLibrary | None = None,
        bf16: bool = False,
        chunk: int = 32,
    ) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name
        self.prompts = prompts if prompts is not None else load_prompts()
        self.bf16, self.chunk = bf16, chunk
        self._reader = ScoreReader(model, processor, self.prompts)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | None = None, bf16: bool = False, chunk: int = 32) -> RegionAssessor:
        """Loads a checkpoint.

        Args:
            folder: a checkpoint, for example ``runs/quickstart/model``.
            device: ``cpu``, ``cuda``, ``mps``; None takes a GPU where there is one.

        Raises:
            CheckpointError: it cannot be used.
            ConfigError: the device does not exist.
        """
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model, processor = load_checkpoint(Path(folder))
        try:
            model = model.to(place)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"Device {place!r} cannot be used here: {error}. Allowed: cpu, cuda, mps, where the machine has them.") from error
        return cls(model, processor, model_id(Path(folder)), bf16=bf16, chunk=chunk)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    def assess(self, image: np.ndarray | str | Path, regions: Sequence[Region], text: bool = False) -> list[RegionAssessment]:
        """Judges regions of one photograph, in their order.

        Args:
            image: uint8 (H, W, 3) sRGB, or a file.
            regions: at least one, of the photograph's size.
            text: also let the model describe every region in words (slower).

        Raises:
            DataError: the photograph cannot be used.
            RegionError: a region cannot be used, or none was given.
        """
        pixels = read_image(Path(image)) if isinstance(image, str | Path) else image
        if not regions:
            raise RegionError("No region was given; at least one is needed.")
        with self._running():
            encoded = self.encode(pixels, regions)
            scores = self._read(encoded)
            direct = direct_scores(self.model.direct_head(encoded.tokens))
            texts = self.describe(encoded) if text else [""] * len(regions)
        return [
            RegionAssessment(
                region=region, scores=s, direct=d, text=t,
                unparsable=text and parse_answer(TEXT_TASK, t, self.prompts) is None,
                model_id=self.name, resolution=encoded.size,
            )
            for region, s, d, t in zip(regions, scores, direct, texts, strict=True)
        ]  # fmt: skip

    def _read(self, encoded: EncodedPhotograph) -> list[Scores]:
        """The language model's scores, ``chunk`` regions at a time, all from one reading of the photograph."""
        prefix = self._reader.open(self.model.project_image(encoded.statistics.grid))
        return [score for chunk in self._loud(encoded).split(self.chunk) for score in self._reader.read(prefix, chunk)]

    def _loud(self, encoded: EncodedPhotograph) -> Tensor:
        """Region tokens at the language model's scale."""
        tokens: Tensor = encoded.tokens * self.model.region_norm.gain
        return tokens

    def encode(self, image: np.ndarray, regions: Sequence[Region]) -> EncodedPhotograph:
        """Runs the vision side for a photograph uint8 (H, W, 3) and its regions."""
        for region in regions:
            if (region.height, region.width) != image.shape[:2]:
                raise RegionError(
                    f"Region {region.name!r} belongs to an image of {region.width}x{region.height} pixels; "
                    f"this one is {image.shape[1]}x{image.shape[0]}."
                )
        inputs = visual_tensors([self.processor.visual(image, decode_all(regions))])
        moved = {k: [t.to(self.device) for t in v] if isinstance(v, list) else v.to(self.device) for k, v in inputs.items()}
        statistics = self.model.encode_front(**moved)
        size = fit_size(*image.shape[:2], self.processor.image_max_side)
        return EncodedPhotograph(statistics, self.model.encode_regions(statistics), size)

    def describe(self, encoded: EncodedPhotograph) -> list[str]:
        """The model's own words about every region of an encoded photograph, greedily chosen."""
        question = question_parts(self.prompts.task(TEXT_TASK).questions[0], 0)
        messages = (system_message(self.prompts), Message("user", (Part(image=True), *question)))
        ids = torch.tensor([self.processor.encode(messages, add_generation_prompt=True).input_ids], device=self.device)
        count = len(encoded.tokens)
        embeddings = self.model.embed(
            ids.repeat(count, 1), self.model.project_image(encoded.statistics.grid).repeat(count, 1, 1), self._loud(encoded),
            torch.ones(count, dtype=torch.long, device=self.device),
        )  # fmt: skip
        tokenizer = self.processor.tokenizer
        generated = self.model.generate(
            inputs_embeds=embeddings, attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=self.device),
            max_new_tokens=_MAX_TEXT_TOKENS, do_sample=False, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        )  # fmt: skip
        return [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)]

    @contextmanager
    def _running(self) -> Iterator[None]:
        """No gradients; bfloat16 where it was asked for."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            yield
