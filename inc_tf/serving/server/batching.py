"""Dynamic batching: requests that wait at the same time are answered together, and none delays the others for long."""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np


class Full(Exception):
    """The queue has no room for these rows."""


class _Request:
    """The rows of one request; `rows[taken:]` are still waiting."""

    def __init__(self, keys: Sequence[Hashable], images: np.ndarray, answer: asyncio.Future):
        first: dict[Hashable, int] = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        # Rows of the same key come together, so that a batch takes them in one go.
        self.rows = [(keys[i], i) for i in sorted(range(len(keys)), key=lambda i: first[keys[i]])]
        self.images = images
        self.answer = answer
        self.answers: list[dict[str, np.ndarray]] = [{} for _ in keys]
        self.taken = self.done = 0
        self.since = time.monotonic()

    def take(self, key: Hashable, most: int) -> list[int]:
        """The indices of the next rows with this key, at most `most`."""
        start = self.taken
        while self.taken < min(len(self.rows), start + most) and self.rows[self.taken][0] == key:
            self.taken += 1
        return [i for _, i in self.rows[start : self.taken]]


class Batcher:
    """Runs rows of the same key together, one batch at a time.

    No batch waits until it is full: rows that arrive while a batch runs gather in the queue, and the next batch takes
    as many as it can. The request that has had the fewest rows taken comes first, then the smallest, then the oldest.
    The room that it leaves goes to other requests with the same key, in the same order. So a request of many images
    waits for requests of few, never the other way round.

    Args:
      run: ``run(key, images) -> answers``, arrays [N, …] by name for images [N, …], called in the executor's thread.
      executor: runs the batches; one thread, so that they do not compete for cores.
      largest: the largest number of rows in a batch.
      capacity: the largest number of waiting rows; more are refused with `Full`.
      observe: called with each batch's key and size, the seconds that its oldest row waited, and the batch's seconds.

    Attributes:
      running: the number of batches that are running, 0 or 1.
    """

    def __init__(
        self,
        run: Callable[[Any, np.ndarray], dict[str, np.ndarray]],
        executor: Executor,
        largest: int,
        capacity: int,
        observe: Callable[[Any, int, float, float], None] = lambda key, size, waited, ran: None,
    ):
        self._run, self._executor, self._observe = run, executor, observe
        self._largest, self.capacity = largest, capacity
        self._queue: list[_Request] = []
        self._waiting = 0
        self._worker: asyncio.Task | None = None
        self.running = 0

    def __len__(self) -> int:
        """The number of waiting rows."""
        return self._waiting

    async def submit(self, keys: Sequence[Hashable], images: np.ndarray) -> list[dict[str, np.ndarray]]:
        """The answers for the images, [N, …], in order. If this is cancelled, the rows leave the queue.

        Raises `Full`, or what `run` raised for any of its rows.
        """
        if self._waiting + len(images) > self.capacity:
            raise Full
        loop = asyncio.get_running_loop()
        request = _Request(keys, images, loop.create_future())
        self._queue.append(request)
        self._waiting += len(images)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        try:
            return await request.answer
        finally:
            if request in self._queue:
                self._queue.remove(request)
                self._waiting -= len(request.rows) - request.taken

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            key, batch = self._next_batch()
            images = np.stack([request.images[i] for request, i in batch])
            started = time.monotonic()
            waited = started - min(request.since for request, _ in batch)
            self.running = 1
            try:
                answers = await loop.run_in_executor(self._executor, self._run, key, images)
            except Exception as error:  # whoever waits for it shall hear of it
                for request in {request for request, _ in batch}:
                    self._fail(request, error)
            else:
                for n, (request, i) in enumerate(batch):
                    request.answers[i] = {name: part[n] for name, part in answers.items()}
                    request.done += 1
                    if request.done == len(request.rows) and not request.answer.done():
                        request.answer.set_result(request.answers)
            self.running = 0
            self._observe(key, len(batch), waited, time.monotonic() - started)
        self._worker = None

    def _next_batch(self) -> tuple[Hashable, list[tuple[_Request, int]]]:
        """A key and its rows for the next batch, each as a request and an index."""
        waiting = sorted(self._queue, key=lambda request: (request.taken, len(request.rows)))  # stable: oldest first
        first = waiting[0]
        key = first.rows[first.taken][0]
        batch: list[tuple[_Request, int]] = []
        for request in waiting:
            room = self._largest - len(batch)
            if not room:
                break
            if request.rows[request.taken][0] == key:
                batch += [(request, i) for i in request.take(key, room)]
        self._waiting -= len(batch)
        self._queue = [request for request in self._queue if request.taken < len(request.rows)]
        return key, batch

    def _fail(self, request: _Request, error: Exception) -> None:
        if request in self._queue:
            self._queue.remove(request)
            self._waiting -= len(request.rows) - request.taken
        if not request.answer.done():
            request.answer.set_exception(error)
