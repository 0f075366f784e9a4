"""The routes: a body becomes a job for the worker, its answer a reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from seagull_tune.config.serve import ServeConfig
from seagull_tune.errors import SeagullError
from seagull_tune.infer.questions import check_question
from seagull_tune.serve.gate import Gate, too_long, visit_of
from seagull_tune.serve.inputs import InputReader, conversation
from seagull_tune.serve.jobs import AssessJob, ChatJob, ChatResult, Job
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.refusals import CLOSED, TIMED_OUT, RefusedRequestError, error_body, refusal_of
from seagull_tune.serve.replies import DONE, ChatReply, assess_reply, sse
from seagull_tune.serve.requests import AssessRequest, ChatRequest, parse_body
from seagull_tune.serve.worker import ModelWorker

ALIAS = "seagull-tune"
"""Name that stands for whichever model is served."""

T = TypeVar("T")
J = TypeVar("J", bound=Job)


def create_app(
    config: ServeConfig, worker: ModelWorker, reader: InputReader, metrics: Metrics, api_key: str | None = None
) -> Gate:
    """The ASGI application. Its start starts the worker, its end stops it.

    Args:
        config: limits.
        worker: owns the model.
        reader: photographs and regions of requests.
        metrics: what ``/metrics`` shows.
        api_key: what requests must carry; None asks for nothing.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.stop)  # streams that end now still need this loop
        routes.close()

    # No pages of documentation: they would load scripts from elsewhere.
    app = FastAPI(title="Seagull-Tune", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    gate = Gate(app, config.limits, metrics, api_key)
    worker.expected = lambda: gate.at_work
    routes = _Routes(config, worker, reader, metrics, gate)
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_api_route("/metrics", routes.metrics, methods=["GET"])
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/v1/assess", routes.assess, methods=["POST"])
    app.add_api_route("/v1/chat/completions", routes.chat, methods=["POST"])
    app.add_exception_handler(SeagullError, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _broken)
    metrics.gauge("queue_length", "Requests that wait for the model.", lambda: worker.waiting)
    return gate


class _Routes:
    """What every address answers."""

    def __init__(
        self, config: ServeConfig, worker: ModelWorker, reader: InputReader, metrics: Metrics, gate: Gate
    ) -> None:
        self._config, self._worker, self._reader, self._metrics, self._gate = config, worker, reader, metrics, gate
        # Photographs are decoded and bodies read beside the model's thread, two at a time: that bounds their memory.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="input")

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def health(self) -> Response:
        """Whether requests are answered."""
        ready = self._worker.state == "ready"
        values = {"status": self._worker.state, "model": self._worker.model_id, "queue": self._worker.waiting}
        return JSONResponse(values, 200 if ready else 503)

    async def metrics(self) -> Response:
        """Counts, as Prometheus reads them."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self) -> Response:
        """The one model."""
        self._worker.require_ready()
        entry = {"id": self._worker.model_id, "object": "model", "created": 0, "owned_by": ALIAS}
        return JSONResponse({"object": "list", "data": [entry]})

    async def assess(self, request: Request) -> Response:
        """Numbers for regions."""
        self._worker.require_ready()
        body = await self._body(request)

        def prepare() -> tuple[AssessRequest, AssessJob]:
            asked = parse_body(AssessRequest, body)
            self._check_model(asked.model)
            if not asked.regions and not asked.all_regions:
                raise RefusedRequestError("No region: name some in regions, or set all_regions.", param="regions")
            image = self._reader.photograph(asked.image, "image")
            regions = self._reader.regions(image, asked.regions, asked.all_regions)
            return asked, AssessJob(image, regions, visit_of(request.scope).deadline, text=asked.text)

        asked, job = await self._prepared(request, prepare)
        self._worker.put(job)
        answers = await self._answer(request, asyncio.wrap_future(job.future), job)
        return JSONResponse(assess_reply(self._worker.model_id, asked.name, answers))

    async def chat(self, request: Request) -> Response:
        """The next answer of a conversation, whole or as a stream."""
        self._worker.require_ready()
        body = await self._body(request)
        asked, job = await self._prepared(request, lambda: self._conversation(body, visit_of(request.scope).deadline))
        reply = ChatReply(self._worker.model_id)
        if asked.stream:
            return await self._stream(
                request, job, reply, bool(asked.stream_options and asked.stream_options.include_usage)
            )
        self._worker.put(job)
        result: ChatResult = await self._answer(request, asyncio.wrap_future(job.future), job)
        return JSONResponse(reply.whole(result))

    def _conversation(self, body: bytes, deadline: float) -> tuple[ChatRequest, ChatJob]:
        asked = parse_body(ChatRequest, body)
        self._check_model(asked.model)
        limits = self._config.limits
        length = asked.max_completion_tokens or asked.max_tokens or self._config.max_new_tokens
        if length > limits.new_tokens:
            raise RefusedRequestError(
                f"max_tokens is {length}; allowed: 1 to {limits.new_tokens}.", param="max_completion_tokens"
            )
        url, texts = conversation(asked.messages, limits)
        for text in texts[::2]:
            check_question(text)
        image = self._reader.photograph(url, "image_url")
        regions = self._reader.regions(image, asked.regions, asked.all_regions)
        return asked, ChatJob(
            image, regions, deadline, texts=texts, about=asked.region, max_new_tokens=length, numbers=asked.numbers
        )

    def _check_model(self, name: str | None) -> None:
        if name not in (None, ALIAS, self._worker.model_id):
            raise RefusedRequestError(
                f"There is no model {name[:80]!r} here; there is {self._worker.model_id!r} (or {ALIAS!r}).", 404,
                "model_not_found", "model",
            )  # fmt: skip

    async def _body(self, request: Request) -> bytes:
        """The body, within its limits of size and time."""
        pieces, size = [], 0
        deadline = visit_of(request.scope).deadline
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                async for piece in request.stream():
                    size += len(piece)
                    if size > self._config.limits.body_bytes:
                        raise too_long(size, self._config.limits)
                    pieces.append(piece)
        except TimeoutError:
            raise RefusedRequestError("The body did not arrive in time.", 408, "timeout") from None
        return b"".join(pieces)

    async def _prepared(self, request: Request, prepare: Callable[[], tuple[T, J]]) -> tuple[T, J]:
        """Runs ``prepare`` beside the loop, and counts what its photograph takes."""
        asked, job = await asyncio.get_running_loop().run_in_executor(self._pool, prepare)
        visit = visit_of(request.scope)
        self._gate.hold_pixels(visit, job.image.shape[0] * job.image.shape[1])
        visit.job = job
        return asked, job

    async def _answer(self, request: Request, waiting: Awaitable[T], job: Job) -> T:
        """Waits for something of a job, as long as its client does and there is time."""
        answer = asyncio.ensure_future(waiting)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            left = max(0.0, job.deadline - time.monotonic())
            await asyncio.wait({answer, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if gone.done():
                raise RefusedRequestError("The client went away.", CLOSED, "client_gone")
            raise RefusedRequestError("The answer took too long.", TIMED_OUT, "timeout")
        finally:
            gone.cancel()
            answer.cancel()

    async def _stream(self, request: Request, job: ChatJob, reply: ChatReply, with_usage: bool) -> Response:
        """A stream, once its first piece is there: what is wrong before has a status of its own."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[str | None] = asyncio.Queue()
        job.on_text = lambda piece: _tell(loop, events, piece)
        job.future.add_done_callback(lambda _: _tell(loop, events, None))
        self._worker.put(job)
        first = await self._answer(request, events.get(), job)
        if first is None:
            job.future.result()  # raises what went wrong

        async def pieces() -> AsyncIterator[bytes]:
            piece = first
            finished = False
            try:
                yield reply.piece(None)
                while piece is not None:
                    yield reply.piece(piece)
                    piece = await events.get()
                try:
                    result = job.future.result()
                except SeagullError as error:
                    refusal = refusal_of(error)
                    yield sse(error_body(str(refusal), refusal.status, refusal.code)) + DONE
                else:
                    yield reply.end(result, with_usage)
                finished = True
            finally:
                visit_of(request.scope).gone = not finished

        return StreamingResponse(pieces(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _tell(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[str | None], piece: str | None) -> None:
    """Hands a piece from the worker's thread to the loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(events.put_nowait, piece)


async def _disconnected(request: Request) -> None:
    """Returns when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, SeagullError)
    refusal = refusal_of(error)
    body = error_body(str(refusal), refusal.status, refusal.code, refusal.param)
    return JSONResponse(body, refusal.status, refusal.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:80]!r}: {error.detail}. Addresses: docs/server.md."
    return JSONResponse(error_body(message, error.status_code, "not_found"), error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """A fault of ours: the server's log has the traceback, the client no detail."""
    return JSONResponse(error_body("The server made a mistake; its log says which.", 500, "internal_error"), 500)
