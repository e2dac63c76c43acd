import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inc_tf.serving.server.batching import Batcher, Full


class Engine:
    """Adds its key to each row; waits at a gate, so that a test decides when a batch ends."""

    def __init__(self):
        self.batches: list[tuple] = []
        self.gate = threading.Semaphore(0)

    def __call__(self, key, images):
        self.batches.append((key, images.tolist()))
        self.gate.acquire()
        if key < 0:
            raise ValueError("below 0")
        return {"sum": images + key}


def run(scenario, largest=4, capacity=8):
    engine = Engine()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            await scenario(engine, Batcher(engine, executor, largest, capacity))

    asyncio.run(main())


async def settle():
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def submitted(batcher, key, *rows):
    task = asyncio.create_task(batcher.submit([key] * len(rows), np.array(rows)))
    await settle()
    return task


def sums(answers):
    return [int(answer["sum"]) for answer in answers]


def test_what_waits_together_runs_together_and_each_gets_its_own():
    async def scenario(engine, batcher):
        tasks = [await submitted(batcher, 100, i) for i in range(6)]
        assert len(batcher) == 5  # the first runs
        engine.gate.release(3)
        assert [sums(await task) for task in tasks] == [[100 + i] for i in range(6)]
        assert engine.batches == [(100, [0]), (100, [1, 2, 3, 4]), (100, [5])]

    run(scenario)


def test_other_keys_wait_their_turn_in_order():
    async def scenario(engine, batcher):
        first = await submitted(batcher, 0, 1)
        tasks = [await submitted(batcher, key, i) for i, key in enumerate([10, 20, 10, 20])]
        engine.gate.release(3)
        assert sums(await first) == [1]
        assert [sums(await task) for task in tasks] == [[10], [21], [12], [23]]
        assert engine.batches[1:] == [(10, [0, 2]), (20, [1, 3])]

    run(scenario)


def test_rows_of_one_request_may_have_keys_of_their_own():
    async def scenario(engine, batcher):
        engine.gate.release(2)
        assert sums(await batcher.submit([10, 20, 10], np.array([1, 2, 3]))) == [11, 22, 13]
        assert engine.batches == [(10, [1, 3]), (20, [2])]

    run(scenario)


def test_a_full_queue_refuses_whole_requests():
    async def scenario(engine, batcher):
        first = await submitted(batcher, 0, 0)
        tasks = [await submitted(batcher, 0, 1, 2, 3), await submitted(batcher, 0, 4, 5, 6)]
        with pytest.raises(Full):
            await batcher.submit([0] * 3, np.array([7, 8, 9]))
        tasks.append(await submitted(batcher, 0, 7, 8))  # there is room for two
        engine.gate.release(3)
        assert [sums(await task) for task in [first, *tasks]] == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]

    run(scenario)


def test_a_request_of_few_images_goes_before_the_rest_of_one_of_many():
    async def scenario(engine, batcher):
        many = await submitted(batcher, 0, *range(1, 9))  # its first four run
        other, same = await submitted(batcher, 50, 9), await submitted(batcher, 0, 10)
        engine.gate.release(4)
        assert sums(await other) == [59]
        assert sums(await same) == [10]
        assert sums(await many) == [*range(1, 9)]
        assert engine.batches == [(0, [1, 2, 3, 4]), (50, [9]), (0, [10, 5, 6, 7]), (0, [8])]

    run(scenario, capacity=20)


def test_a_request_of_many_seeds_does_not_hold_up_one_of_one():
    async def scenario(engine, batcher):
        many = asyncio.create_task(batcher.submit([1, 2, 3], np.array([0, 0, 0])))
        await settle()
        one = await submitted(batcher, 9, 0)
        engine.gate.release(4)
        assert sums(await one) == [9]
        assert sums(await many) == [1, 2, 3]
        assert [key for key, _ in engine.batches] == [1, 9, 2, 3]

    run(scenario)


def test_an_error_reaches_those_of_its_batch_alone():
    async def scenario(engine, batcher):
        first = await submitted(batcher, 0, 0)
        wrong, right = await submitted(batcher, -1, 1, 2), await submitted(batcher, 1, 3)
        engine.gate.release(3)
        assert sums(await first) == [0]
        with pytest.raises(ValueError, match="below 0"):
            await wrong
        assert sums(await right) == [4]
        again = await submitted(batcher, 5, 5)
        engine.gate.release()
        assert sums(await again) == [10]

    run(scenario)


def test_who_gives_up_leaves_the_queue():
    async def scenario(engine, batcher):
        first, gone, stays = [await submitted(batcher, 0, i) for i in range(3)]
        for task in (first, gone):  # one runs already, one waits
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert len(batcher) == 1
        engine.gate.release(2)
        assert sums(await stays) == [2]
        assert engine.batches == [(0, [0]), (0, [2])]

    run(scenario)
