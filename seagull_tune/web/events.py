"""What the page's tabs have in common: how their events run, and how a file is saved."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import gradio as gr

from seagull_tune.web.state import Visit

MODEL: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
"""Events that ask the model: all may come in at once; the desk takes them one by one, so the page of one visitor never
makes another one's look broken."""

LIGHT: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
"""Events that only show what is known."""

_SAVE = """(text) => {
  if (!text) return;
  const file = JSON.parse(text);
  const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], {type: file.type}));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""
"""Saves a file that came as JSON: nothing of it is written on the server."""

_TYPES = {"json": "application/json", "png": "image/png", "html": "text/html"}


def file_of(visit: Visit, suffix: str, data: bytes) -> str:
    """A file that is named after the photograph, for :func:`saves`; ``suffix`` ends in one of json, png, html."""
    name = f"{PurePath(visit.open.name).stem}.{suffix}"
    kind = _TYPES[suffix.rpartition(".")[2]]
    return json.dumps({"name": name, "type": kind, "data": base64.b64encode(data).decode("ascii")})


def saves(button: gr.Button, make: Callable[..., str], given: list[Any], way: gr.Textbox) -> None:
    """Lets a button save a file.

    Args:
        button: what is pressed.
        make: values of ``given`` -> a file, of :func:`file_of`.
        given: components.
        way: a hidden text that the file takes to the browser.
    """
    sent = button.click(make, given, way, **LIGHT)
    sent.then(None, way, None, js=_SAVE).then(lambda: "", None, way, **LIGHT)
