"""Settings of the conversations that are made from labels."""

from __future__ import annotations

import pydantic

from seagull_tune.config.base import StrictModel


class TaskWeights(StrictModel):
    """How often each task is asked, relative to the others; 0 never asks it.

    ``comparison``, ``priority`` and ``summary`` are about two regions or more of a conversation.
    """

    quality: float = pydantic.Field(3.0, ge=0)
    importance: float = pydantic.Field(2.0, ge=0)
    distortions: float = pydantic.Field(3.0, ge=0)
    distortions_short: float = pydantic.Field(0.5, ge=0)
    judgement: float = pydantic.Field(1.0, ge=0)
    description: float = pydantic.Field(0.5, ge=0)
    advice: float = pydantic.Field(0.25, ge=0)
    comparison: float = pydantic.Field(0.25, ge=0)
    priority: float = pydantic.Field(0.25, ge=0)
    summary: float = pydantic.Field(0.25, ge=0)
    json_answer: float = pydantic.Field(0.25, ge=0)

    @pydantic.model_validator(mode="after")
    def _some_task(self) -> TaskWeights:
        if not any(self.model_dump().values()):
            raise ValueError("all task weights are 0; at least one must be above 0")
        return self


class ConversationSettings(StrictModel):
    """How conversations are made.

    Attributes:
        turns: questions per conversation, at most (fewer where the regions have no more to ask).
        max_regions: different regions per conversation, at most.
        task_weights: how often each task is asked.
        canonical_share: probability that a turn uses the canonical question and answer, as scoring does.
        present_share: probability that a judgement about a distorted region is about a distortion that is there.
            A clean region can only be answered with no, so a little above one half balances the two words.
        severity_smoothing: probability moved from the true severity of a graded list to its neighbours.
    """

    turns: int = pydantic.Field(4, ge=1, le=64)
    max_regions: int = pydantic.Field(3, ge=1)
    task_weights: TaskWeights = TaskWeights()
    canonical_share: float = pydantic.Field(0.6, ge=0, le=1)
    present_share: float = pydantic.Field(0.65, ge=0, le=1)
    severity_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
