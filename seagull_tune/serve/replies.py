"""What is sent back: OpenAI's objects, with the regions' numbers as ``seagull-tune assess`` writes them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from seagull_tune.infer.serialise import assessment_to_dict
from seagull_tune.records import RegionAssessment
from seagull_tune.serve.jobs import ChatResult

DONE = b"data: [DONE]\n\n"


class ChatReply:
    """The objects of one answer, which share an id.

    Args:
        model: id of the model.
    """

    def __init__(self, model: str) -> None:
        self._common = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, result: ChatResult) -> dict[str, Any]:
        """A ``chat.completion``."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": result.answer.text},
            "finish_reason": result.answer.reason,
        }
        return {
            **self._common, "object": "chat.completion", "choices": [choice], "usage": _usage(result),
            **_numbers(result.assessments),
        }  # fmt: skip

    def piece(self, text: str | None) -> bytes:
        """A ``chat.completion.chunk`` with a piece of the text; None opens the answer."""
        return self._chunk({"role": "assistant", "content": ""} if text is None else {"content": text}, None)

    def end(self, result: ChatResult, with_usage: bool) -> bytes:
        """The chunks that end an answer."""
        last = self._chunk({}, result.answer.reason, _numbers(result.assessments))
        usage = {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": _usage(result)}
        return last + (sse(usage) if with_usage else b"") + DONE

    def _chunk(self, delta: dict[str, Any], reason: str | None, more: dict[str, Any] | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return sse({**self._common, "object": "chat.completion.chunk", "choices": [choice], **(more or {})})


def sse(values: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(values, ensure_ascii=False, allow_nan=False)}\n\n".encode()


def assess_reply(model: str, name: str, assessments: Sequence[RegionAssessment]) -> dict[str, Any]:
    """The answer of ``/v1/assess``."""
    return {"object": "assessment.list", "model": model, "data": [assessment_to_dict(a, name) for a in assessments]}


def _numbers(assessments: Sequence[RegionAssessment]) -> dict[str, Any]:
    return {"assessments": [assessment_to_dict(a, "image") for a in assessments]} if assessments else {}


def _usage(result: ChatResult) -> dict[str, int]:
    written = result.answer.n_tokens
    return {
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": result.prompt_tokens + written,
    }
