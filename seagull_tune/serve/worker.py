"""The one thread that owns the model: it takes what waits, groups it, and answers it together.

Numbers: all regions that are asked about share the passes of the language model; each photograph and the shared text
are read once, and a region that several ask about is judged once. Conversations: all that wait are generated as one
padded batch, as long as the longest of them; an answer that ends earlier is given at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from seagull_tune.config.serve import Batching
from seagull_tune.errors import SeagullError
from seagull_tune.infer.assessor import AskedRegions
from seagull_tune.infer.chat import ChatSession
from seagull_tune.infer.generation import Answer, Prompt
from seagull_tune.records import Region, RegionAssessment
from seagull_tune.serve.jobs import AssessJob, ChatJob, ChatResult, Job
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.photographs import RememberingAssessor
from seagull_tune.serve.refusals import NOT_READY, TIMED_OUT, RefusedRequestError, refusal_of

State = Literal["loading", "ready", "failed", "stopped"]

_MOST_GATHERING = 1.0  # seconds


class ModelWorker:
    """Loads a model in a thread of its own, and answers jobs there.

    Args:
        load: makes the assessor.
        batching: what is answered together.
        metrics: counts it.
        on_failure: called in the worker's thread when the model cannot be loaded.

    Attributes:
        state: ``loading``, ``ready``, ``failed`` or ``stopped``.
        model_id: once it is ready.
        error: why it failed.
        expected: how many requests are at work, those that are still being read included.
    """

    def __init__(
        self,
        load: Callable[[], RememberingAssessor],
        batching: Batching,
        metrics: Metrics,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.state: State = "loading"
        self.model_id = ""
        self.error: BaseException | None = None
        self.expected: Callable[[], int] = lambda: 1
        self._load, self._batching, self._metrics, self._on_failure = load, batching, metrics, on_failure
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._current: list[Job] = []
        self._last_size, self._last_seconds = 1, 0.0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begins to load the model."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the batch at work, which is cut short; jobs that wait are refused. Waits for the thread."""
        if self.state != "failed":
            self.state = "stopped"
        for job in list(self._current):
            job.cut_short()
        self._queue.put(None)
        if self._thread.is_alive() and self.model_id:
            self._thread.join()

    def put(self, job: Job) -> None:
        """Queues a job.

        Raises:
            RefusedRequestError: the model is not there (yet).
        """
        self.require_ready()
        self._queue.put(job)

    def require_ready(self) -> None:
        """Refuses where the model is not there (yet).

        Raises:
            RefusedRequestError: with status 503.
        """
        if self.state != "ready":
            said = {"loading": "is being loaded; try again in a moment", "stopped": "is being stopped"}
            raise RefusedRequestError(
                f"The model {said.get(self.state, 'could not be loaded')}.", NOT_READY, "model_not_ready"
            )

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on yet."""
        return self._queue.qsize()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._assessor = self._load()
        except BaseException as error:
            self.error, self.state = error, "failed"
            self._on_failure()
            if isinstance(error, SeagullError | OSError):
                return  # whoever started the server says it in one sentence
            raise
        assessor = self._assessor
        assessor.remember(self._batching.encoding_bytes, self._batching.memory_bytes)
        memory = assessor.memory
        self._metrics.gauge("encodings_found", "Regions whose encoding was there when wanted.", lambda: assessor.hits)
        self._metrics.gauge("encodings_made", "Regions whose encoding was not.", lambda: assessor.misses)
        self._metrics.gauge("prompt_tokens_recalled", "Tokens of prompts that were known.", lambda: memory.recalled)
        self._metrics.gauge("prompt_tokens_read", "Tokens of prompts that had to be read.", lambda: memory.read)
        self.model_id = assessor.name
        if self.state == "loading":
            self.state = "ready"
        while (batch := self._next_batch()) is not None:
            begun = time.monotonic()
            self._current = [job for job in batch if not _too_late(job)]
            self._answer([job for job in self._current if isinstance(job, AssessJob)], self._assess)
            self._answer([job for job in self._current if isinstance(job, ChatJob)], self._chat)
            self._current, self._last_seconds = [], time.monotonic() - begun
        self._refuse_waiting()

    def _next_batch(self) -> list[Job] | None:
        """What waits, at least one job; None at the end.

        Requests that are still being read are waited for, for a moment; and after a batch of several, as many are
        likely to come again at once. The moment is short beside the time that a batch takes.
        """
        batch: list[Job] = []
        item = self._queue.get()
        until = time.monotonic() + gathering_seconds(self._batching, self._last_seconds)
        while item is not None and self.state != "stopped":
            batch.append(item)
            if len(batch) >= self._batching.requests:
                break
            patience = until - time.monotonic() if len(batch) < max(self._last_size, self.expected()) else 0.0
            try:
                item = self._queue.get(block=patience > 0, timeout=max(patience, 0.0))
            except queue.Empty:
                break
        else:
            for job in batch if item is None else [*batch, item]:
                self._refuse(job)
            return None
        self._last_size = len(batch)
        return batch

    def _answer(self, jobs: Sequence[Job], answer: Callable[[Sequence[Job]], None]) -> None:
        """Whatever goes wrong reaches those who wait; the thread goes on with the next batch."""
        if not jobs:
            return
        self._metrics.batch("chat" if isinstance(jobs[0], ChatJob) else "assess", len(jobs))
        try:
            with self._assessor.running():
                answer(jobs)
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is waited for
            for job in jobs:
                job.fail(refusal_of(error) if isinstance(error, SeagullError) else error)

    def _assess(self, jobs: Sequence[Job]) -> None:
        for job, answers in self._judged(jobs):
            job.finish(answers)

    def _judged(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, list[RegionAssessment]]]:
        """Numbers for all regions of the jobs; a photograph that cannot be used ends its own jobs only."""
        ready: list[tuple[list[Job], AskedRegions]] = []
        for together in _by_photograph(jobs):
            try:
                ready.append((together, self._asked(together)))
            except SeagullError as error:
                for job in together:
                    job.fail(refusal_of(error))
        if not ready:
            return
        found = self._assessor.judge([asked for _, asked in ready])
        for (together, asked), answers in zip(ready, found, strict=True):
            known = {region.counts: answer for region, answer in zip(asked.regions, answers, strict=True)}
            for job in together:
                yield job, [_as_asked(known[region.counts], job, region) for region in job.regions]

    def _asked(self, jobs: Sequence[Job]) -> AskedRegions:
        """All regions of jobs about one photograph, each once, after the vision side."""
        regions = {region.counts: region for job in jobs for region in job.regions}
        in_words = {region.counts for job in jobs if _wants_words(job) for region in job.regions}
        encoded = self._assessor.encode(jobs[0].image, list(regions.values()))
        return AskedRegions(
            encoded, list(regions.values()), [place for place, counts in enumerate(regions) if counts in in_words]
        )

    def _chat(self, jobs: Sequence[Job]) -> None:
        ready: dict[ChatJob, Prompt] = {}
        for job in jobs:
            assert isinstance(job, ChatJob)
            try:
                ready[job] = self._prompt(job)
            except SeagullError as error:
                job.fail(refusal_of(error, "messages"))
        numbers = dict(self._judged([job for job in ready if job.numbers and job.regions]))
        prompts = [
            self._ending(job, prompt, numbers.get(job, [])) for job, prompt in ready.items() if not job.future.done()
        ]
        if prompts:
            self._assessor.answer(prompts)

    def _ending(self, job: ChatJob, prompt: Prompt, numbers: list[RegionAssessment]) -> Prompt:
        """The prompt, whose answer goes to the job as soon as it ends."""

        def end(answer: Answer) -> None:
            self._metrics.tokens(answer.n_tokens)
            if answer.reason != "cancelled":
                job.finish(ChatResult(answer, len(prompt.embeddings), numbers))
            elif self.state == "stopped":
                self._refuse(job)
            else:
                job.fail(RefusedRequestError("The answer took too long.", TIMED_OUT, "timeout"))

        return replace(prompt, on_end=end)

    def _prompt(self, job: ChatJob) -> Prompt:
        session = ChatSession(self._assessor, job.image)
        for region in job.regions:
            session.add_region(region, region.name)
        about = job.about
        if about is None:
            session.use(1 if len(job.regions) == 1 else None)
        *earlier, question = job.texts
        for asked, answered in zip(earlier[::2], earlier[1::2], strict=True):
            session.remember(session.turn(asked, about), answered)
        turn = session.turn(question, about)
        return session.prompt(turn, job.max_new_tokens, job.on_text, lambda: job.unwanted)

    def _refuse_waiting(self) -> None:
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                self._refuse(job)

    @staticmethod
    def _refuse(job: Job) -> None:
        job.fail(RefusedRequestError("The server is being stopped.", NOT_READY, "model_not_ready"))


def _too_late(job: Job) -> bool:
    """Whether nobody waits for a job any more; then it is ended."""
    if unwanted := job.unwanted:
        job.fail(RefusedRequestError("The request waited too long.", TIMED_OUT, "timeout"))
    return unwanted


def gathering_seconds(batching: Batching, last_seconds: float) -> float:
    """How long a batch waits for requests that are expected, after one that took ``last_seconds``."""
    return max(batching.gather_seconds, min(_MOST_GATHERING, batching.gather_share * last_seconds))


def _wants_words(job: Job) -> bool:
    return isinstance(job, AssessJob) and job.text


def _as_asked(answer: RegionAssessment, job: Job, region: Region) -> RegionAssessment:
    """The answer to one of several who asked about a region: with its name for it, in words if it wants them."""
    text, unparsable = (answer.text, answer.unparsable) if _wants_words(job) else ("", False)
    return replace(answer, region=region, text=text, unparsable=unparsable)


def _by_photograph(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in groups about one photograph each, in the order of their first; equal files are one array (ByteCache)."""
    groups: dict[int, list[Job]] = {}
    for job in jobs:
        groups.setdefault(id(job.image), []).append(job)
    return list(groups.values())
