"""What a request carries -> photograph and regions. Nothing is fetched, and no path is ever opened.

Legend: H, W height and width of the photograph in pixels.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seagull_tune.config.serve import ServeLimits
from seagull_tune.errors import RegionError
from seagull_tune.images import decode_image
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, parse_box, parse_point, parse_polygon, validate_point
from seagull_tune.regions.masks import from_polygon, from_rle
from seagull_tune.regions.parse import RegionSource
from seagull_tune.serve.photographs import ByteCache
from seagull_tune.serve.refusals import TOO_LARGE, RefusedRequestError
from seagull_tune.serve.requests import ChatMessage, ImagePart, RegionInput

_DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)(?:;[\w-]+=[\w.+-]+)*;base64,")


class InputReader:
    """Reads photographs and regions of requests.

    Args:
        limits: what is refused.
        segmenter: finds regions for points, and where all are asked for; one thread at a time asks it.
        kept_bytes: pixels that are kept for requests to come.
    """

    def __init__(self, limits: ServeLimits, segmenter: RegionSource, kept_bytes: int) -> None:
        self._limits, self._segmenter = limits, segmenter
        self._pixels: ByteCache[str, np.ndarray] = ByteCache(kept_bytes)
        self._one_at_a_time = threading.Lock()

    def photograph(self, url: str, param: str) -> np.ndarray:
        """The photograph of a data URL, uint8 (H, W, 3).

        Raises:
            RefusedRequestError: no data URL, or not of an image.
            DataError: an image that cannot be read, or is above the limit of pixels.
        """
        match = _DATA_URL.match(url)
        if match is None:
            raise RefusedRequestError(
                f"{param} is {url[:60]!r}; allowed: a data URL, data:image/jpeg;base64,.... This server fetches no "
                "addresses and opens no files: send the photograph itself.",
                code="invalid_image_url", param=param,
            )  # fmt: skip
        if not match["kind"].lower().startswith("image/"):
            raise RefusedRequestError(
                f"{param} is a data URL of {match['kind']}; allowed: image/*.", code="invalid_image", param=param
            )
        try:
            data = base64.b64decode(url[match.end() :], validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefusedRequestError(f"{param} is not base64: {error}.", code="invalid_image", param=param) from error
        digest = hashlib.sha256(data).hexdigest()
        pixels = self._pixels.get(digest)
        if pixels is None:
            pixels = decode_image(data, param, self._limits.pixels)
            pixels.flags.writeable = False  # several requests read it
            pixels = self._pixels.put(digest, pixels, pixels.nbytes)
        return pixels

    def regions(self, image: np.ndarray, inputs: Sequence[RegionInput], take_all: bool) -> list[Region]:
        """The regions of a request, in order, then all that the segmenter finds, if those are wanted.

        Args:
            image: uint8 (H, W, 3).

        Raises:
            RegionError: regions that cannot be used, all of them by their number (from 0).
            RefusedRequestError: more than the limit.
        """
        if len(inputs) > self._limits.regions:
            raise _too_many(len(inputs), self._limits.regions)
        found: list[Region] = []
        problems: list[str] = []
        for index, item in enumerate(inputs):
            try:
                found.append(self._region(image, item))
            except RegionError as error:
                problems.append(f"regions.{index}: {error}")
        if problems:
            raise RegionError("; ".join(problems))
        if take_all:
            with self._one_at_a_time:
                found += [replace(region, name="") for region in self._segmenter.segment(image)]
        if len(found) > self._limits.regions:
            raise _too_many(len(found), self._limits.regions)
        taken = len(found) * image.shape[0] * image.shape[1]
        if taken > self._limits.mask_pixels:
            raise RefusedRequestError(
                f"{len(found)} regions of a photograph of {image.shape[1]}x{image.shape[0]} pixels make {taken:,} "
                f"pixels of masks; allowed: {self._limits.mask_pixels:,}. Send fewer, or a smaller photograph.",
                TOO_LARGE, "too_many_regions", "regions",
            )  # fmt: skip
        return [replace(region, name=region.name or f"region {i}") for i, region in enumerate(found, start=1)]

    def _region(self, image: np.ndarray, item: RegionInput) -> Region:
        height, width = image.shape[:2]
        if item.box is not None:
            return box_region(parse_box(item.box) if isinstance(item.box, str) else item.box, height, width, item.name)
        if item.polygon is not None:
            corners = parse_polygon(item.polygon) if isinstance(item.polygon, str) else item.polygon
            if any(len(corner) != 2 for corner in corners):
                raise RegionError("a corner of the polygon is not [x, y].")
            return from_polygon([(x, y) for x, y in corners], height, width, item.name)
        if item.rle is not None:
            return from_rle(item.rle, height, width, item.name)
        x, y = _point(item.point)
        validate_point(x, y, height, width)
        with self._one_at_a_time:
            return replace(self._segmenter.at_point(image, x, y), name=item.name)


def conversation(messages: Sequence[ChatMessage], limits: ServeLimits) -> tuple[str, list[str]]:
    """The photograph's URL and the texts of a conversation: questions and answers in turn, a question last.

    Raises:
        RefusedRequestError: another order, no photograph or several, an answer with a photograph, too much of anything.
    """
    if len(messages) > limits.turns:
        raise RefusedRequestError(
            f"The conversation has {len(messages)} messages; allowed: {limits.turns}.", TOO_LARGE, "too_many_messages",
            "messages",
        )  # fmt: skip
    urls, texts = [], []
    for index, message in enumerate(messages):
        want = "user" if index % 2 == 0 else "assistant"
        if message.role != want:
            raise RefusedRequestError(
                f"messages.{index} is of the {message.role}; questions and answers come in turn, a question first and "
                "last. The model has a system message of its own.", param="messages",
            )  # fmt: skip
        parts = message.content if isinstance(message.content, list) else []
        found = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
        if found and message.role == "assistant":
            raise RefusedRequestError(f"messages.{index}: an answer holds no photograph.", param="messages")
        urls += found
        text = message.content if isinstance(message.content, str) else "\n".join(
            part.text for part in parts if not isinstance(part, ImagePart)
        )  # fmt: skip
        if len(text) > limits.question:
            raise RefusedRequestError(
                f"messages.{index} has {len(text):,} characters; allowed: {limits.question:,}.", TOO_LARGE, "too_large",
                "messages",
            )  # fmt: skip
        texts.append(text)
    if len(messages) % 2 == 0:
        raise RefusedRequestError("The last message is an answer; a question is needed.", param="messages")
    if len(set(urls)) != 1:
        raise RefusedRequestError(
            f"The messages hold {len(set(urls))} photographs; a conversation is about one: send it as an image_url "
            "part of a user message.", param="messages",
        )  # fmt: skip
    return urls[0], texts


def _point(value: list[int] | str | None) -> tuple[int, int]:
    if isinstance(value, str):
        return parse_point(value)
    if value is None or len(value) != 2:
        raise RegionError(f"{value!r} is no point; allowed: [x, y] in whole pixels.")
    return value[0], value[1]


def _too_many(count: int, allowed: int) -> RefusedRequestError:
    return RefusedRequestError(
        f"{count} regions; allowed: {allowed} in one request. Send the others in further requests.", TOO_LARGE,
        "too_many_regions", "regions",
    )  # fmt: skip
