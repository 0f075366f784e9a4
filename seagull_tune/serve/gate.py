"""Everything that holds for a whole request, around the routes: key, room for one more, size, time, counting.

It wraps the application itself, so that whatever happens to a request (a client that goes away before the first byte of
a stream, an error) its place is free again and its work is ended.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from seagull_tune.config.serve import ServeLimits
from seagull_tune.serve.jobs import Job
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.refusals import BUSY, CLOSED, TOO_LARGE, RefusedRequestError, error_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health",)
"""Routes that need no key."""

WORK = ("/v1/chat/completions", "/v1/assess")
"""Routes that take a place."""

ROUTES = (*WORK, *OPEN, "/v1/models", "/metrics")
_VISIT = "seagull_tune.visit"


@dataclass
class Visit:
    """One request at work.

    Attributes:
        deadline: on ``time.monotonic``'s clock.
        pixels: of its photograph.
        job: what the worker does for it.
        gone: whether its client went away.
    """

    deadline: float
    pixels: int = 0
    job: Job | None = field(default=None)
    gone: bool = False


class Gate:
    """ASGI application around another one.

    Args:
        app: what answers.
        limits: what is refused.
        metrics: counts every request.
        api_key: what ``Authorization: Bearer`` must carry; None asks for nothing.
    """

    def __init__(self, app: App, limits: ServeLimits, metrics: Metrics, api_key: str | None) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._api_key = api_key
        self._visits: list[Visit] = []
        metrics.gauge("requests_at_work", "Requests that are read, wait or are answered.", lambda: self.at_work)

    @property
    def at_work(self) -> int:
        """Requests that are read, wait or are answered."""
        return len(self._visits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or the server's start and end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), CLOSED
        visit = Visit(begun + self._limits.seconds)
        scope[_VISIT] = visit

        async def send_seen(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, send_seen, visit)
        finally:
            if visit in self._visits:
                self._visits.remove(visit)
            if visit.job is not None:
                visit.job.cancel()
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._metrics.request(route, CLOSED if visit.gone else status, time.monotonic() - begun)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        try:
            self._check_key(scope)
            self._check_size(scope)
            if scope["path"] in WORK:
                self._take_place(visit)
        except RefusedRequestError as refusal:
            # A client that is still sending reads no answer: what it sends is thrown away, up to a bound.
            await _discard(receive, 2 * self._limits.body_bytes, visit.deadline)
            await _send_refusal(send, refusal)
            return
        await self._app(scope, receive, send)

    def _check_key(self, scope: Scope) -> None:
        if self._api_key is None or scope["path"] in OPEN:
            return
        given = _header(scope, b"authorization").removeprefix(b"Bearer ").strip()
        if not hmac.compare_digest(given, self._api_key.encode()):
            raise RefusedRequestError(
                "The API key is missing or wrong; send it as Authorization: Bearer KEY.", 401, "invalid_api_key"
            )

    def _check_size(self, scope: Scope) -> None:
        said = _header(scope, b"content-length")
        if said.isdigit() and int(said) > self._limits.body_bytes:
            raise too_long(int(said), self._limits)

    def _take_place(self, visit: Visit) -> None:
        if len(self._visits) >= self._limits.waiting:
            raise RefusedRequestError(
                f"{len(self._visits)} requests are at work; allowed: {self._limits.waiting}. Try again in a moment.",
                BUSY, "busy",
            )  # fmt: skip
        self._visits.append(visit)

    def hold_pixels(self, visit: Visit, pixels: int) -> None:
        """Counts a request's photograph against what all may hold together.

        Raises:
            RefusedRequestError: there is no room for it now.
        """
        held = sum(other.pixels for other in self._visits)
        if held + pixels > max(self._limits.waiting_pixels, self._limits.pixels):
            raise RefusedRequestError(
                f"The photographs of the requests at work hold {held:,} pixels; {pixels:,} more are too many now "
                f"(allowed: {self._limits.waiting_pixels:,}). Try again in a moment.", BUSY, "busy",
            )  # fmt: skip
        visit.pixels = pixels


def visit_of(scope: Scope) -> Visit:
    """The visit that a request is."""
    visit = scope[_VISIT]
    assert isinstance(visit, Visit)
    return visit


def too_long(count: int, limits: ServeLimits) -> RefusedRequestError:
    """A body is longer than allowed."""
    return RefusedRequestError(
        f"The body has {count:,} bytes or more; allowed: {limits.body_bytes:,}. Send a smaller photograph.", TOO_LARGE,
        "body_too_large",
    )  # fmt: skip


def _header(scope: Scope, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


async def _discard(receive: Receive, most: int, deadline: float) -> None:
    seen = 0
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            while seen <= most:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _send_refusal(send: Send, refusal: RefusedRequestError) -> None:
    body = json.dumps(error_body(str(refusal), refusal.status, refusal.code, refusal.param)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
