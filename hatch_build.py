"""Puts prompts/ and configs/ into the wheel as seagull_tune/_assets/; an editable install reads them where they are."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AssetsHook(BuildHookInterface):
    """Runs when a wheel is built; ``version`` is ``standard`` or ``editable``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for folder in ("configs", "prompts"):
                build_data["force_include"][f"{self.root}/{folder}"] = f"seagull_tune/_assets/{folder}"
