"""The server under load: eight clients against one, and a thousand good and bad requests.

    python -m benchmarks.serve_load [--model runs/quickstart/model] [--requests 32] [--mixed 1000] [--tiny]

Throughput is measured for several mixes, because what batching can give depends on them. Before the server is started,
the model itself is timed with one and with eight such requests at once: eight times the one over the eight is the most
that batching gives on this machine ("floor"); the server's ratio is set beside it. Clients send the next request when
the answer to the last has come. Every region is drawn anew, so that no request is found again as a whole; photographs
and, in conversations, what was said before are, for a single client as for eight.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from rich.console import Console
from rich.table import Table

CLIENTS = 8
LEAST_RATIO = 2.5
MOST_DRIFT = 0.05
TOKENS = 32
CHAT, ASSESS = "/v1/chat/completions", "/v1/assess"
SCENES = ("astronaut", "chelsea", "coffee", "rocket")
QUESTIONS = ("How is the quality of this region?", "Which distortions, and how severe, are there in this region?")
TURNS = (*QUESTIONS, "How important is this region?", "Why is that so?")
Request = tuple[str, bytes]
Talk = Generator[Request, bytes, None]
"""What one client sends in turn; it is given the answer to each."""
Mix = Callable[[random.Random], Talk]


def photographs() -> dict[str, np.ndarray]:
    """Built-in photographs of scikit-image, uint8 (H, W, 3)."""
    return {name: np.ascontiguousarray(getattr(skimage.data, name)()[..., :3]) for name in SCENES}


def data_url(image: np.ndarray) -> str:
    """A photograph as clients send it: a JPEG of quality 90."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def random_box(rng: random.Random, image: np.ndarray) -> list[int]:
    """A box of a quarter to a half of each side."""
    height, width = image.shape[:2]
    w, h = (rng.randrange(side // 4, side // 2) for side in (width, height))
    x, y = rng.randrange(width - w), rng.randrange(height - h)
    return [x, y, x + w, y + h]


def mixes(images: dict[str, np.ndarray]) -> dict[str, Mix]:
    """What clients ask, by name; boxes are drawn anew for every request, and for every conversation."""
    urls = {name: data_url(image) for name, image in images.items()}

    def assess(rng: random.Random, names: Sequence[str]) -> Talk:
        name = rng.choice(names)
        body = {"image": urls[name], "regions": [{"box": random_box(rng, images[name])}]}
        yield ASSESS, json.dumps(body).encode()

    def chat(rng: random.Random, names: Sequence[str], questions: Sequence[str]) -> Talk:
        name = rng.choice(names)
        regions = [{"box": random_box(rng, images[name])}]
        picture = {"type": "image_url", "image_url": {"url": urls[name]}}
        messages: list[dict[str, Any]] = []
        for question in questions:
            text = {"type": "text", "text": question}
            messages.append({"role": "user", "content": [text] if messages else [picture, text]})
            body = {"model": "seagull-tune", "max_tokens": TOKENS, "regions": regions, "messages": messages}
            reply = yield CHAT, json.dumps(body).encode()
            messages.append(json.loads(reply)["choices"][0]["message"])

    def question(rng: random.Random) -> Talk:
        return chat(rng, SCENES, [rng.choice(QUESTIONS)])

    return {
        "conversations of four turns": lambda rng: chat(rng, SCENES, TURNS),
        "chat, four photographs": question,
        "numbers, one photograph": lambda rng: assess(rng, SCENES[:1]),
        "numbers, four photographs": lambda rng: assess(rng, SCENES),
        "half chat, half numbers": lambda rng: question(rng) if rng.random() < 0.5 else assess(rng, SCENES),
    }


def floors(model: str, images: dict[str, np.ndarray]) -> dict[str, float]:
    """Per mix that is of one kind: 8 t(1) / t(8) of the language model itself, without a server.

    As in the server, the photograph is known and the regions are new.
    """
    from seagull_tune.infer.assessor import AskedRegions, RegionAssessor
    from seagull_tune.infer.chat import ChatSession
    from seagull_tune.records import Region
    from seagull_tune.regions.boxes import box_region

    assessor = RegionAssessor.from_pretrained(model)
    image = images[SCENES[0]]
    rng = random.Random(0)

    def regions(count: int) -> list[Region]:
        return [box_region(random_box(rng, image), *image.shape[:2]) for _ in range(count)]

    def chat(count: int) -> Callable[[], object]:
        prompts = []
        for i, region in enumerate(regions(count)):
            session = ChatSession(assessor, image)
            session.add_region(region)
            prompts.append(session.prompt(session.turn(QUESTIONS[i % 2]), TOKENS))
        return lambda: assessor.answer(prompts)

    def numbers(count: int) -> Callable[[], object]:
        asked = regions(count)
        encoded = assessor.encode(image, asked)
        return lambda: list(assessor.judge([AskedRegions(encoded, asked)]))

    with assessor.running():
        return {"chat, four photographs": _ratio(chat), "numbers, one photograph": _ratio(numbers)}


def _ratio(prepare: Callable[[int], Callable[[], object]]) -> float:
    seconds: dict[int, list[float]] = {1: [], CLIENTS: []}
    for repeat in range(3):
        for count, times in seconds.items():
            work = prepare(count)
            begun = time.perf_counter()
            work()
            if repeat:  # the first one warms up
                times.append(time.perf_counter() - begun)
    one, many = (float(np.median(times)) for times in seconds.values())
    return CLIENTS * one / many


@contextmanager
def server(model: str) -> Iterator[tuple[str, int]]:
    """A server process on a free port, once it is ready: host and port."""
    command = [sys.executable, "-m", "seagull_tune.cli", "serve", "--model", model, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        found = re.search(r"http://(.+):(\d+)", first)
        if found is None:
            raise SystemExit(f"The server did not start: {first}{process.stderr.read()}")
        address = found[1], int(found[2])
        while send(address, ("/health", b""))[0] != 200:
            if process.poll() is not None:
                raise SystemExit(f"The server ended: {process.stderr.read()}")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def send(address: tuple[str, int], request: Request) -> tuple[int, bytes]:
    """Sends one request; status and body of the answer."""
    connection = http.client.HTTPConnection(*address, timeout=600)
    path, body = request
    try:
        if body:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
        else:
            connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def hold(address: tuple[str, int], talk: Talk) -> list[tuple[int, bytes]]:
    """Sends one request after the other; the answers. A refusal ends it."""
    answers = [send(address, next(talk))]
    while answers[-1][0] == 200:
        try:
            request = talk.send(answers[-1][1])
        except StopIteration:
            break
        answers.append(send(address, request))
    return answers


def load(address: tuple[str, int], talks: Sequence[Talk], clients: int) -> tuple[float, list[list[tuple[int, bytes]]]]:
    """So many clients, each of which takes the next talk when its last one has ended; seconds, and the answers."""
    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        answers = list(pool.map(lambda talk: hold(address, talk), talks))
        return time.perf_counter() - begun, answers


@dataclass
class Rate:
    """What so many clients got: seconds and the server's processor seconds for all their requests."""

    requests: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def a_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_each(self) -> float:
        """Processor seconds of one request: what a busy machine does not change much."""
        return self.cpu_seconds / self.requests


def throughput(address: tuple[str, int], mix: Mix, count: int) -> tuple[Rate, Rate]:
    """One client and eight, taken in turn."""
    rates = {1: Rate(), CLIENTS: Rate()}
    _, first = load(address, [mix(random.Random(i)) for i in range(CLIENTS)], CLIENTS)
    length = max(map(len, first))  # requests of one talk
    for repeat in range(2):
        for clients, rate in rates.items():
            share = max(clients, round(count / length / (2 if clients > 1 else 4)))
            talks = [mix(random.Random(1000 * repeat + 100 * clients + i)) for i in range(share)]
            before = measured(address, "cpu_seconds_total")
            seconds, answers = load(address, talks, clients)
            wrong = [answer for talk in answers for answer in talk if answer[0] != 200]
            if wrong:
                raise SystemExit(f"A good request was refused: {wrong[0]}")
            rate.requests += sum(map(len, answers))
            rate.seconds += seconds
            rate.cpu_seconds += measured(address, "cpu_seconds_total") - before
    return rates[1], rates[CLIENTS]


def bad_requests(image: np.ndarray) -> list[Request]:
    """One of every kind that has to be refused."""
    url = data_url(image)
    box = [{"box": [0, 0, 50, 50]}]

    def assess(**change: Any) -> Request:
        return ASSESS, json.dumps({"image": url, "regions": box} | change).encode()

    def chat(content: Any, **change: Any) -> Request:
        body = {"model": "seagull-tune", "messages": [{"role": "user", "content": content}]} | change
        return CHAT, json.dumps(body).encode()

    picture = {"type": "image_url", "image_url": {"url": url}}
    return [
        assess(image="https://example.org/a.jpg"), assess(image="/etc/passwd"), assess(image="data:image/png;base64,@"),
        assess(image="data:image/png;base64,aGVsbG8="), assess(image=url[: len(url) // 8 * 4]), assess(regions=[]),
        assess(regions=[{"box": [0, 0, 9000, 9]}]), assess(regions=[{"rle": {"size": [1, 1], "counts": "0"}}]),
        assess(regions=box * 2000), assess(more=1), (ASSESS, b"{"), (CHAT, b"[" * 50_000), (ASSESS, b"\xff"),
        chat("How is it?"), chat([picture, {"type": "text", "text": ""}]), chat([picture], model="gpt-4o"),
        chat([picture, {"type": "text", "text": "a" * 100_000}]), chat([picture], max_tokens=10**6),
        chat([picture, {"type": "text", "text": "How is <region 9>?"}]), ("/../../etc/passwd", b"{}"),
    ]  # fmt: skip


def once(request: Request) -> Talk:
    """A talk of one request."""
    yield request


def endure(address: tuple[str, int], good: Mix, image: np.ndarray, count: int, console: Console) -> bool:
    """Good and bad requests in turn; whether nothing broke, every bad one was told why, and memory stayed."""
    rng = random.Random(7)
    bad = bad_requests(image)
    plan = [(True, next(good(rng))) if rng.random() < 0.4 else (False, rng.choice(bad)) for _ in range(count)]
    warm = count // 5
    _, first = load(address, [once(request) for _, request in plan[:warm]], CLIENTS)
    before = measured(address, "resident_memory_bytes")
    seconds, rest = load(address, [once(request) for _, request in plan[warm:]], CLIENTS)
    after = measured(address, "resident_memory_bytes")
    faults: Counter[str] = Counter()
    for (fine, request), ((status, body),) in zip(plan, [*first, *rest], strict=True):
        told = 400 <= status < 500 and bool(json.loads(body).get("error", {}).get("message"))
        if status != 200 if fine else not told:
            faults[f"{'good' if fine else 'bad'} request {request[1][:60]!r}: {status} {body[:80]!r}"] += 1
    drift = after / before - 1
    kept = not faults and abs(drift) <= MOST_DRIFT
    good_ones, rate = sum(fine for fine, _ in plan), len(plan[warm:]) / seconds
    console.print(
        f"{count} requests, {good_ones} of them good, {CLIENTS} at a time: {rate:.1f} a second; "
        f"resident memory {before / 2**20:.0f} MiB after {warm}, {after / 2**20:.0f} MiB at the end "
        f"({drift:+.1%}; bar: {MOST_DRIFT:.0%}); answered wrongly: {sum(faults.values())}"
    )
    for fault, times in faults.most_common(5):
        console.print(f"  {times} x {fault}", markup=False)
    return kept


def measured(address: tuple[str, int], name: str) -> float:
    """A figure of the server's process: ``resident_memory_bytes``, ``cpu_seconds_total``."""
    text = send(address, ("/metrics", b""))[1].decode()
    return float(text.partition(f"\nprocess_{name} ")[2].split()[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/quickstart/model")
    parser.add_argument("--requests", type=int, default=32, help="of a mix, about")
    parser.add_argument("--mixed", type=int, default=1000, help="good and bad requests; 0 leaves them out")
    parser.add_argument("--tiny", action="store_true", help="a tiny random model: shows that it runs, measures nothing")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console(width=120)
    images = photographs()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.tiny:
            from tests.tiny import make_tiny_checkpoint

            chosen.model = str(make_tiny_checkpoint(Path(folder) / "model"))
        most = floors(chosen.model, images)
        for name, ratio in most.items():
            console.print(f"{name}: eight at once can be {ratio:.2f} times as fast, without a server")
        table = Table(
            "mix", "1 client, req/s", f"{CLIENTS} clients, req/s", "ratio", "most that batching can give",
            "processor seconds a request", "ratio",
        )  # fmt: skip
        best, kept = 0.0, True
        with server(chosen.model) as address:
            for name, mix in mixes(images).items():
                one, many = throughput(address, mix, chosen.requests)
                ratio, cpu_ratio = many.a_second / one.a_second, one.cpu_each / many.cpu_each
                best = max(best, ratio)
                console.print(
                    f"{name}: {one.a_second:.2f} and {many.a_second:.2f} requests a second, {ratio:.2f} times"
                )
                table.add_row(
                    name, f"{one.a_second:.2f}", f"{many.a_second:.2f}", f"{ratio:.2f}",
                    f"{most[name]:.2f}" if name in most else "-", f"{one.cpu_each:.2f}, {many.cpu_each:.2f}",
                    f"{cpu_ratio:.2f}",
                )  # fmt: skip
            console.print(table)
            console.print(f"Best mix: {best:.2f} (bar: {LEAST_RATIO})")
            if chosen.mixed:
                good = mixes(images)["half chat, half numbers"]
                kept = endure(address, good, images[SCENES[0]], chosen.mixed, console)
    return 0 if chosen.tiny or (kept and best >= LEAST_RATIO) else 1


if __name__ == "__main__":
    sys.exit(main())
