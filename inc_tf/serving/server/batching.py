"""Dynamic batching: requests that wait at the same time are answered together."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np


class Full(Exception):
    """The queue has no room for the rows."""


class _Row(NamedTuple):
    key: Hashable
    image: np.ndarray
    answer: asyncio.Future


class Batcher:
    """Runs rows of the same key together, first come first served, one batch at a time.

    There is no wait for a batch to fill: while one runs, the rows that come gather in the queue, and the next batch
    takes all it can of them. So one client alone loses nothing and many lose nothing by waiting.

    Args:
      run: ``run(key, images) -> answers``, arrays [N, …] by name for images [N, …], called in the executor's thread.
      executor: where batches run; one thread, so that they do not fight for the cores.
      largest: the most rows of a batch.
      capacity: the most rows that wait; more are refused with `Full`.
      observe: told each batch's size.
    """

    def __init__(
        self,
        run: Callable[[Any, np.ndarray], dict[str, np.ndarray]],
        executor: Executor,
        largest: int,
        capacity: int,
        observe: Callable[[int], None] = lambda size: None,
    ):
        self._run, self._executor, self._observe = run, executor, observe
        self._largest, self.capacity = largest, capacity
        self._queue: deque[_Row] = deque()
        self._worker: asyncio.Task | None = None

    def __len__(self) -> int:
        """How many rows wait."""
        return len(self._queue)

    async def submit(self, keys: Sequence[Hashable], images: np.ndarray) -> list[dict[str, np.ndarray]]:
        """The answer for each image, [N, …], under its key, in order. Cancelled, its rows leave the queue.

        Raises `Full`, or what `run` raised.
        """
        if len(self._queue) + len(images) > self.capacity:
            raise Full
        loop = asyncio.get_running_loop()
        rows = [_Row(key, image, loop.create_future()) for key, image in zip(keys, images, strict=True)]
        self._queue.extend(rows)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        try:
            return await asyncio.gather(*(row.answer for row in rows))
        finally:
            if any(row.answer.cancelled() or not row.answer.done() for row in rows):
                gone = {id(row.answer) for row in rows}
                self._queue = deque(row for row in self._queue if id(row.answer) not in gone)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = self._next_batch()
            self._observe(len(batch))
            images = np.stack([row.image for row in batch])
            try:
                answers = await loop.run_in_executor(self._executor, self._run, batch[0].key, images)
            except Exception as error:  # whoever waits for it shall hear of it
                for row in _awaited(batch).values():
                    row.answer.set_exception(error)
            else:
                for i, row in _awaited(batch).items():
                    row.answer.set_result({name: part[i] for name, part in answers.items()})
        self._worker = None

    def _next_batch(self) -> list[_Row]:
        """The rows with the first one's key, in order, as many as a batch takes; the others stay."""
        key = self._queue[0].key
        batch: list[_Row] = []
        others: deque[_Row] = deque()
        while self._queue and len(batch) < self._largest:
            row = self._queue.popleft()
            (batch if row.key == key else others).append(row)
        self._queue.extendleft(reversed(others))
        return batch


def _awaited(batch: list[_Row]) -> dict[int, _Row]:
    """The rows, by number, that somebody still waits for."""
    return {i: row for i, row in enumerate(batch) if not row.answer.done()}
