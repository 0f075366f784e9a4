"""The options that name regions of a photograph, and what they resolve to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.config.serve import ServeConfig
    from seagull_tune.infer.assessor import RegionAssessor
    from seagull_tune.regions.parse import RegionQuery
    from seagull_tune.segment import Segmenter

ModelOption = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="Tuned model [default: runs/quickstart/model].")
]
BoxOption = Annotated[
    list[str] | None, typer.Option("--box", metavar="X0,Y0,X1,Y1", help="A box in pixels, ends exclusive; repeatable.")
]
PointOption = Annotated[
    list[str] | None, typer.Option("--point", metavar="X,Y", help="The region under a pixel; repeatable.")
]
PolygonOption = Annotated[
    list[str] | None,
    typer.Option("--polygon", metavar="X,Y;X,Y;...", help="Corners in pixels, three or more (quote it); repeatable."),
]
MaskOption = Annotated[
    list[Path] | None,
    typer.Option("--mask", metavar="FILE.png", help="A mask of the photograph's size; repeatable."),
]
RleOption = Annotated[
    list[str] | None, typer.Option("--rle", metavar="JSON", help="COCO RLE, as JSON text or a JSON file; repeatable.")
]
SeagullJsonOption = Annotated[
    Path | None,
    typer.Option(
        "--seagull-json", metavar="FILE", help='A list of {"img", "rle", "points"}, as SEAGULL\'s inference reads it.'
    ),
]
LabelMapsOption = Annotated[
    Path | None,
    typer.Option("--regions", metavar="DIR", help="Label maps, one PNG per image stem; or lists of RLE, one JSON."),
]
SamCheckpointOption = Annotated[
    Path | None, typer.Option("--sam-checkpoint", metavar="FILE", help="Find regions with SAM, with these weights.")
]
SamTypeOption = Annotated[
    str | None,
    typer.Option("--sam-type", help="Its size: vit_b, vit_l or vit_h [default: as the weights say]."),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps [default: a GPU if any].")]
MaxPixelsOption = Annotated[int | None, typer.Option("--max-pixels", help="Photographs with more pixels are refused.")]


@dataclass(frozen=True)
class Regions:
    """The region options of one call, as they were typed."""

    boxes: list[str] | None = None
    points: list[str] | None = None
    polygons: list[str] | None = None
    masks: list[Path] | None = None
    rles: list[str] | None = None
    seagull_json: Path | None = None
    region_dir: Path | None = None
    all: bool = False

    def query(self) -> RegionQuery:
        """The checked query.

        Raises:
            RegionError: a box, point or polygon that is none, masks or a folder of label maps that are not there, a
                SEAGULL JSON that cannot be read; what does not depend on a photograph is said before any is read.
        """
        from seagull_tune.errors import RegionError
        from seagull_tune.regions.boxes import parse_box, parse_point, parse_polygon
        from seagull_tune.regions.json_notation import read_seagull_json
        from seagull_tune.regions.parse import RegionQuery, check_label_folder

        for box in self.boxes or ():
            parse_box(box)
        for point in self.points or ():
            parse_point(point)
        for polygon in self.polygons or ():
            parse_polygon(polygon)
        missing = [str(mask) for mask in self.masks or () if not mask.is_file()]
        if missing:
            raise RegionError(f"There is no mask file {', '.join(missing)}. Name greyscale PNGs: --mask FILE.png.")
        if self.region_dir is not None:
            check_label_folder(self.region_dir)
        if self.seagull_json is not None:
            read_seagull_json(self.seagull_json)
        return RegionQuery(
            boxes=tuple(self.boxes or ()), points=tuple(self.points or ()), polygons=tuple(self.polygons or ()),
            masks=tuple(self.masks or ()), rles=tuple(self.rles or ()), seagull_json=self.seagull_json,
            region_dir=self.region_dir, all=self.all,
        )  # fmt: skip


def answer_changes(
    model: Path | None, device: str | None, max_pixels: int | None, sam_checkpoint: Path | None, sam_type: str | None
) -> dict[str, Any]:
    """The flags that `assess`, `ask` and `chat` share, as keys of :class:`~seagull_tune.config.answer.AnswerConfig`."""
    return {
        "model": model,
        "device": device,
        "max_pixels": max_pixels,
        "segmenter.method": "sam" if sam_checkpoint is not None else None,
        "segmenter.sam.checkpoint": sam_checkpoint,
        "segmenter.sam.model_type": sam_type,
    }


def segmenter_of(config: AnswerConfig) -> Segmenter:
    """The segmenter that a configuration names."""
    from seagull_tune.segment import build_segmenter

    chosen = config.segmenter
    return build_segmenter(chosen.method, chosen.min_area_share, chosen.max_regions, chosen.sam)


def require_model(config: AnswerConfig | ServeConfig) -> str:
    """Says which model answers, without loading it.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    from seagull_tune.errors import CheckpointError

    if not Path(config.model).is_dir():
        raise CheckpointError(
            f"There is no model folder {config.model}. Make one with `seagull-tune quickstart`, or name one with "
            "--model DIR."
        )
    from seagull_tune.model.checkpoint import model_id

    return model_id(Path(config.model))


def load_assessor(config: AnswerConfig) -> RegionAssessor:
    """The tuned model.

    Raises:
        CheckpointError: there is none, or it cannot be used.
    """
    require_model(config)
    from seagull_tune.infer.assessor import RegionAssessor

    return RegionAssessor.from_pretrained(config.model, config.device, config.bf16, config.chunk)
