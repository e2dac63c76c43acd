"""The page of attacks on a search that draws its start, beside one that does not: a generator of two brightnesses."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest

import inc_tf as inc
from inc_tf import attacks
from inc_tf.attacks import METHODS
from inc_tf.evaluation import page
from inc_tf.evaluation.evaluate import OWN
from inc_tf.evaluation.page import OUTCOMES, verdict

pytestmark = pytest.mark.slow

ETA = 0.5


@pytest.fixture(scope="module")
def record():
    """Of 12 images, 4 of them attacked by searches, every attack of two steps."""
    declared = list(METHODS.values())
    for method in declared:
        efforts = {"queries", "steps", "probes", "restarts"} & method.settings().keys()
        attacks.register(replace(method, arguments={**method.arguments, **dict.fromkeys(efforts, 2)}))
    above = np.zeros((6, 6, 1), np.float32)
    above[:3] = 1 / 18
    basis = np.stack([above.ravel(), above[::-1].ravel()])
    layers = keras.layers
    generator = keras.Sequential(
        [layers.Input((2,)), layers.Dense(36, activation="sigmoid"), layers.Reshape((6, 6, 1))]
    )
    generator.layers[0].set_weights([18 * basis, np.zeros(36, np.float32)])
    classifier = keras.Sequential([layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    classifier.layers[1].set_weights([20 * basis.T])
    means = np.random.default_rng(0).uniform(0.3, 0.7, (12, 2)).astype(np.float32)
    images = np.repeat(means, 18, axis=1).reshape(-1, 6, 6, 1)
    labels = (means[:, 1] > means[:, 0]).astype(np.int64)
    search = inc.LatentProjector(generator, inc.Adam(steps=20), inc.Normal())
    defense = inc.InvertAndClassify(classifier, search, threshold=ETA)
    shorter = functools.partial(page.budget, steps=(1, 2), restarts=(1, 2))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page, "budget", shorter)
            found = inc.evaluate(defense, images, labels, epsilons=(0.05, 0.3), searched=4, quiet=True)
        yield found.record
    finally:
        for method in declared:
            attacks.register(method)


def shown(record, defense: str) -> set[str]:
    return {row["attack"] for row in record.select(defense=defense, metric="accuracy")}


def test_who_draws_lots_is_found_by_asking(record):
    assert record.draws[OWN] == 8
    assert record.draws["undefended"] == 1
    assert {row["n"] for row in record.select(defense=OWN, attack="worst-case", metric="accuracy")} == {4}


def test_every_search_is_attacked_on_its_own_ground_and_on_the_others(record):
    for attack in ("implicit", "implicit-l2", "unrolled", "bpda", "square", "boundary", "latent"):
        assert {attack, f"{attack} from inc-fast"} <= shown(record, OWN)
        assert {attack, f"{attack} from {OWN}"} <= shown(record, "inc-fast")


def test_control_meets_auto_pgd_in_both_norms(record):
    assert {"end-to-end", "end-to-end-l2", "square", "square-l2", "boundary"} <= shown(record, "undefended")


def test_every_attack_is_shown_or_named_with_a_reason(record):
    for defense in record.draws:
        missing = [row["attack"] for row in record.left_out if defense in row["defenses"]]
        assert {method.name for method in METHODS.values()} <= shown(record, defense) | set(missing)
    assert all(row["reason"] for row in record.left_out)


def test_worst_case_is_no_better_than_any_attack_of_one_draw(record):
    for epsilon in (0.05, 0.3):
        rows = record.select(defense="undefended", epsilon=epsilon, metric="accuracy")
        left = {row["attack"]: row["value"] for row in rows if row["n"] == 4}
        assert left["worst-case"] == min(left.values())


def test_clean_images_go_through_the_same_choice(record):
    control = record.one(defense=OWN, attack="worst-case-control", metric="accuracy")["value"]
    clean = record.one(defense=OWN, attack="clean", metric="accuracy")["value"]
    # So short a search draws one image in nine wrong; were every draw to be right, hardly any image would be.
    assert 0.8 < clean < 0.95
    assert control == pytest.approx(clean, abs=0.1)
    assert not record.select(defense="undefended", attack="worst-case-control")


def test_behind_a_threshold_every_image_has_one_outcome(record):
    assert record.one(defense=OWN, metric="threshold")["value"] == ETA
    for attack, epsilon in (("clean", 0.0), ("worst-case", 0.05), ("worst-case", 0.3)):
        rows = [record.one(defense=OWN, attack=attack, epsilon=epsilon, metric=metric) for metric in OUTCOMES]
        assert sum(row["value"] for row in rows) == pytest.approx(1.0)
    accepted = record.one(defense=OWN, attack="clean", epsilon=0.0, metric="accepted_right")["value"]
    assert 0.5 < accepted <= record.one(defense=OWN, attack="clean", metric="accuracy")["value"]
    wrong = [record.one(defense=OWN, epsilon=e, metric="accepted_wrong", attack="worst-case") for e in (0.05, 0.3)]
    assert wrong[0]["value"] < wrong[1]["value"]


def test_four_images_leave_checks_undecided_and_say_how_many_would_decide(record):
    checks = {check["check"]: check for check in record.checks}
    assert checks["a planted hole is found"]["verdict"] == "holds"
    assert checks["gradients are not zero"]["verdict"] == "undecided"
    assert checks["gradients are not zero"]["images"] == 73


def test_verdict_is_said_once_where_all_agree():
    assert verdict(["holds", "holds"], None) == "holds"
    assert verdict(["holds", "undecided"], 1200) == "holds / undecided (1,200 images would decide)"
