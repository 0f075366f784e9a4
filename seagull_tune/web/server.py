"""The page as a server: one machine, one model, nothing sent anywhere else.

gradio is told so before it is imported: no analytics, no look for updates, and a folder of its own for what visitors
upload, which goes when the server ends.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seagull_tune.config.web import WebConfig
from seagull_tune.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from seagull_tune.web.desk import Desk

_UPLOADS = "GRADIO_TEMP_DIR"
_QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Page:
    """A page that is being served.

    Attributes:
        url: where it is, as this machine reaches it.
        app: the ``gradio.Blocks``.
    """

    url: str
    app: Any

    def wait(self) -> None:
        """Until Ctrl-C."""
        self.app.block_thread()


def require_gradio() -> None:
    """Says that gradio is missing before anything slow is done.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec("gradio") is None:
        raise MissingDependencyError(
            "The web page needs gradio, which is not installed: pip install 'seagull-tune[web]'."
        )


def require_free(host: str, port: int) -> None:
    """Says that nothing can listen there before a model is loaded.

    Raises:
        ConfigError: the port is taken or not allowed, or the host is none of this machine.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"The page cannot listen on {host}:{port}: {error.strerror or error}. Choose another port (--port), or a "
            "host of this machine (--host): 127.0.0.1 for this machine alone, 0.0.0.0 for all that reach it."
        ) from error


@contextmanager
def serving(desk: Desk, config: WebConfig) -> Iterator[Page]:
    """Serves the page while the block runs; what visitors uploaded is deleted after it.

    Args:
        desk: answers.
        config: where it listens, and limits.

    Raises:
        MissingDependencyError: gradio is not installed.
        ConfigError: nothing can listen there.
    """
    require_gradio()
    require_free(config.host, config.port)
    before = {name: os.environ.get(name) for name in (_UPLOADS, *_QUIET)}
    with tempfile.TemporaryDirectory(prefix="seagull-tune-web-") as uploads:
        os.environ.update(_QUIET | {_UPLOADS: uploads})
        app = None
        try:
            app, url = _launch(desk, config)
            yield Page(url, app)
        finally:
            if app is not None:
                app.close(verbose=False)
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _launch(desk: Desk, config: WebConfig) -> tuple[Any, str]:
    import gradio as gr

    from seagull_tune.web.app import build_app

    app = build_app(desk)
    app.queue(default_concurrency_limit=None)
    _, url, _ = app.launch(
        server_name=config.host, server_port=config.port, prevent_thread_lock=True, quiet=True, share=False,
        inbrowser=False, show_error=False, footer_links=[], run_history=False, ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, max_file_size=config.max_upload_mb * 2**20,
        state_session_capacity=config.visitors, theme=_theme(gr), css_paths=Path(__file__).with_name("page.css"),
    )  # fmt: skip
    return app, url


def _theme(gr: Any) -> Any:
    """Fonts of the visitor's own system: none is fetched."""
    return gr.themes.Default(
        primary_hue="sky",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
