"""The simulation against what can be said without it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import simulation
from simulation import Cluster, Job, bend, curve, queued


@pytest.mark.parametrize(("units", "workers"), [(1, 1), (12, 3), (13, 3), (14, 3), (2, 5)])
def test_equal_units_take_as_many_rounds_as_are_needed(units, workers):
    outcome = queued([[7.0] * units], Cluster(workers, startup=5.0))
    assert outcome.seconds == pytest.approx(5.0 + math.ceil(units / workers) * 7.0)
    assert (outcome.done, outcome.lost, outcome.again) == (units, 0, 0)


def test_a_phase_waits_for_the_one_before():
    assert queued([[3.0, 1.0], [2.0, 2.0]], Cluster(2)).seconds == pytest.approx(3.0 + 2.0)


def test_the_next_unit_goes_to_the_worker_that_is_free_first():
    assert queued([[5.0, 1.0, 1.0, 1.0, 1.0]], Cluster(2)).seconds == pytest.approx(5.0)


def test_a_slow_driver_is_what_many_workers_wait_for():
    # The last unit is asked for after 50 of the driver's turns.
    assert queued([[4.0] * 50], Cluster(1000, dispatch=0.5)).seconds == pytest.approx(50 * 0.5 + 4.0)


def test_units_are_asked_for_while_others_are_computed():
    # Only the first one's dispatch is waited for: 0.5 s of the driver fit into 4 s of a unit.
    assert queued([[4.0] * 10], Cluster(1, dispatch=0.5)).seconds == pytest.approx(0.5 + 10 * 4.0)


def test_all_units_are_read_at_the_end():
    assert queued([[1.0] * 4, [1.0] * 4], Cluster(4, read=0.25)).seconds == pytest.approx(2.0 + 8 * 0.25)


@pytest.mark.parametrize("seed", range(5))
def test_lost_workers_cost_time_and_no_unit(seed):
    phases = [[10.0] * 200, [10.0] * 100]
    sound = Cluster(7, startup=3.0)
    failing = Cluster(7, startup=3.0, mean_life=60.0, cap=100.0, replacement=5.0)
    outcome = queued(phases, failing, seed)
    assert outcome.done == 300
    assert outcome.lost > 10
    assert outcome.seconds > queued(phases, sound).seconds
    assert outcome.seconds == queued(phases, failing, seed).seconds


def test_one_worker_loses_what_it_had_begun():
    # It lives for 25 s from when it is up: two units and half of a third, which is then done by its replacement.
    outcome = queued([[10.0] * 4], Cluster(1, startup=1.0, cap=25.0, replacement=2.0))
    assert outcome.seconds == pytest.approx(1.0 + 25.0 + 2.0 + 1.0 + 20.0)
    assert (outcome.done, outcome.lost) == (4, 1)


def test_a_unit_that_outlives_all_workers_is_refused():
    with pytest.raises(ValueError, match="A unit takes 30 s, and a worker lives for at most 25"):
        queued([[10.0, 30.0]], Cluster(2, cap=25.0))


def test_a_unit_that_is_lost_four_times_is_tried_by_the_next_command():
    outcome = queued([[10.0] * 30], Cluster(3, mean_life=6.0), seed=1)
    assert outcome.done == 30
    assert outcome.again > 0
    assert outcome.lost >= 4


def test_efficiency_is_the_share_of_the_workers_time_that_is_work(monkeypatch):
    monkeypatch.setattr(simulation, "WORKERS", (1, 2, 4))
    monkeypatch.setitem(simulation.ASSUMED, "slow_share", (0.0, ""))
    monkeypatch.setitem(simulation.ASSUMED, "dollars_a_worker_hour", (3.0, ""))
    job = Job("ten", [[360.0] * 10], "")
    rows = curve(job, Cluster(1), np.ones(1))
    assert [row["hours"] for row in rows] == pytest.approx([1.0, 0.5, 0.3])
    assert [row["efficiency"] for row in rows] == pytest.approx([1.0, 1.0, 1 / 1.2])
    assert [row["dollars"] for row in rows] == pytest.approx([3.0, 3.0, 3.6])


def test_the_bend_names_what_costs_most(monkeypatch):
    monkeypatch.setattr(simulation, "WORKERS", (1, 10, 100))
    monkeypatch.setitem(simulation.ASSUMED, "slow_share", (0.0, ""))
    slow_start, slow_driver = Cluster(1, startup=500.0), Cluster(1, dispatch=1.0)
    many, few = Job("many", [[10.0] * 1000], ""), Job("few", [[1000.0] * 11], "")
    for job, one, workers, cause in (
        (many, slow_start, 10, "start-up"),
        (many, slow_driver, 100, "dispatch"),
        (few, Cluster(1), 10, "size of units"),
    ):
        found = bend(job, curve(job, one, np.ones(1)), one, np.ones(1))
        assert (found["workers"], found["because_of"]) == (workers, cause)
    assert found["shares"]["size of units"] == pytest.approx(1 - 11 / 20)
    assert bend(many, curve(many, Cluster(1), np.ones(1)), Cluster(1), np.ones(1))["workers"] is None


def test_stretched_units_follow_the_measured_spread_and_a_few_are_slow():
    spread = np.array([0.5, 1.5])
    (units,) = simulation.stretched([[2.0] * 20_000], spread, seed=0)
    usual = [unit for unit in units if unit in (1.0, 3.0)]
    assert len(usual) / 20_000 == pytest.approx(0.98, abs=0.005)
    assert np.mean(usual) == pytest.approx(2.0, rel=0.02)
    assert max(units) == pytest.approx(15 * 2.0)


def test_table_1_has_every_unit_of_the_script():
    rows = [
        {"attack": attack, "defense": defense, "images": 50, "seconds": 50.0}
        for attack in ("clean", "fgsm", "cw-l2", "cw-l0", "cw-linf")
        for defense in (None, "undefended", "inc", "inc-fast")
    ]
    rows.append({"attack": "fgsm", "defense": "inc", "images": 10, "seconds": 30.0})
    rows.append({"attack": "fgsm", "defense": "inc", "images": 10, "seconds": 30.0})
    phases = simulation.table_1(rows, n=1000, shard=50)
    # Attacks at three ε; two defences on four; one; three attacks; three defences.
    assert [len(phase) for phase in phases] == [20 * units for units in (3, 8, 4, 3, 9)]
    # 3 s an image is the median of the paper's search on FGSM.
    assert sum(phases[2]) == pytest.approx(1000 * (1 + 3 * 3))


def test_the_committed_record_is_of_the_committed_measurements():
    results = Path(simulation.__file__).parent / "results"
    rows = json.loads((results / "scale-simulation.json").read_text())["rows"]
    again = simulation.check(json.loads((results / "scale-speedup.json").read_text()))
    assert [row["error"] for row in rows if row["what"] == "check"] == pytest.approx([row["error"] for row in again])
