"""Which requests the worker answers together, in one pass; what goes wrong with one is not the others'."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from torch import Tensor

from seagull_tune.config.serve import Batching
from seagull_tune.errors import DataError
from seagull_tune.infer.prefix import SharedPrefix
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.serve.jobs import AssessJob, ChatJob, Job
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.photographs import RememberingAssessor
from seagull_tune.serve.refusals import RefusedRequestError
from seagull_tune.serve.worker import ModelWorker, gathering_seconds

WAIT = 60.0


@contextmanager
def working(assessor: RememberingAssessor, **batching: float) -> Iterator[ModelWorker]:
    """A worker that is ready, and waits a second for those that are expected."""
    worker = ModelWorker(lambda: assessor, Batching.model_validate({"gather_seconds": 1.0} | batching), Metrics())
    worker.start()
    while worker.state == "loading":
        time.sleep(0.01)
    yield worker
    worker.stop()


def region(x0: int, image: np.ndarray) -> Region:
    height, width = image.shape[:2]
    return box_region((x0, 10, x0 + 60, 90), height, width, f"from {x0}")


def numbers(image: np.ndarray, *starts: int) -> AssessJob:
    return AssessJob(image, [region(x0, image) for x0 in starts], time.monotonic() + WAIT)


def put_all(worker: ModelWorker, jobs: Sequence[Job]) -> None:
    worker.expected = lambda: len(jobs)
    for job in jobs:
        worker.put(job)


def test_regions_of_several_photographs_are_read_in_one_pass(
    assessor: RememberingAssessor, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SharedPrefix.read
    batches: list[int] = []

    def counted(prefix: SharedPrefix, embeddings: Tensor, places: Sequence[int]) -> Tensor:
        batches.append(len(embeddings))
        return read(prefix, embeddings, places)

    monkeypatch.setattr(SharedPrefix, "read", counted)
    pictures = [image, np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(image[:100])]
    jobs = [numbers(pictures[0], 10, 40), numbers(pictures[1], 10), numbers(pictures[2], 5), numbers(pictures[0], 40)]
    with working(assessor) as worker:
        put_all(worker, jobs)
        found = [job.future.result(WAIT) for job in jobs]
    assert batches == [4]  # the region that two ask about is read once
    for job, answers in zip(jobs, found, strict=True):
        assert [answer.region for answer in answers] == job.regions
        for got, want in zip(answers, assessor.assess(job.image, job.regions), strict=True):
            assert got.scores.quality_levels == pytest.approx(want.scores.quality_levels, abs=1e-4)


def test_one_photograph_that_cannot_be_used_ends_its_own_jobs_only(
    assessor: RememberingAssessor, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = np.ascontiguousarray(image[::-1])
    encode = assessor.encode

    def picky(picture: np.ndarray, regions: Sequence[Region]) -> object:
        if picture is bad:
            raise DataError("This photograph cannot be used.")
        return encode(picture, regions)

    monkeypatch.setattr(assessor, "encode", picky)
    good, wrong = numbers(image, 10), numbers(bad, 10)
    chat = ChatJob(bad, [region(10, bad)], time.monotonic() + WAIT, texts=["How is it?"], numbers=True)
    fine = ChatJob(image, [region(10, image)], time.monotonic() + WAIT, texts=["How is it?"], max_new_tokens=2)
    with working(assessor) as worker:
        put_all(worker, [wrong, chat, good, fine])
        assert len(good.future.result(WAIT)) == 1 and fine.future.result(WAIT).answer.n_tokens == 2
        for job in (wrong, chat):
            with pytest.raises(RefusedRequestError, match="cannot be used"):
                job.future.result(WAIT)


def test_who_leaves_before_the_batch_is_passed_over(assessor: RememberingAssessor, image: np.ndarray) -> None:
    gone, stays = numbers(image, 10), numbers(image, 40)
    gone.cancel()
    with working(assessor) as worker:
        put_all(worker, [gone, stays])
        assert stays.future.result(WAIT)[0].region == stays.regions[0]
    assert gone.future.cancelled()


def test_a_batch_waits_by_the_time_that_the_last_one_took() -> None:
    settings = Batching(gather_seconds=0.05, gather_share=0.2)
    waits = [gathering_seconds(settings, last) for last in (0.0, 0.1, 2.0, 30.0)]
    assert waits == pytest.approx([0.05, 0.05, 0.4, 1.0])


def test_who_is_expected_is_waited_for(assessor: RememberingAssessor, image: np.ndarray) -> None:
    worker = ModelWorker(lambda: assessor, Batching(gather_seconds=0.0, gather_share=1.0), Metrics())
    worker._last_seconds, worker.expected = 1000.0, lambda: 2
    first, second = numbers(image, 10), numbers(image, 40)
    worker._queue.put(first)
    late = threading.Timer(0.05, worker._queue.put, [second])
    late.start()
    assert worker._next_batch() == [first, second]
    late.join()
