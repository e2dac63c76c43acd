"""What attacks refuse: one sentence each, before any work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf import InputError, attacks

BUDGETS: dict[str, dict] = {
    "fgsm": {"epsilon": 0.1},
    "bim": {"epsilon": 0.1},
    "pgd": {"epsilon": 0.1},
    "auto_pgd": {"epsilon": 0.1},
    "cw_l2": {},
    "cw_l0": {},
    "cw_linf": {},
}
CASES = [(getattr(attacks, name), budget) for name, budget in BUDGETS.items()]
IDS = list(BUDGETS)


@pytest.fixture(params=CASES, ids=IDS)
def attack(request):
    function, budget = request.param
    return lambda model, images, labels, bounds=(-1.0, 1.0): function(model, images, labels, bounds=bounds, **budget)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2, 0], "The labels contain 2; the classifier has classes 0 to 1."),
        ([-1, 0, 0], "The labels contain -1; the classifier has classes 0 to 1."),
        ([0, 0], r"The labels have shape \[2\]; they must be \[3\]"),
        ([[0, 1]] * 3, r"The labels have shape \[3, 2\]; they must be \[3\]"),
        ([0.0, 1.0, 0.0], "The labels are float64; they must be integers."),
    ],
)
def test_refuses_labels(attack, planted, planted_images, labels, message):
    with pytest.raises(InputError, match=message):
        attack(planted, planted_images, np.array(labels))


def test_refuses_probabilities(attack, planted, planted_images):
    model = keras.Sequential([planted, keras.layers.Softmax()])
    with pytest.raises(InputError, match="returns probabilities, where attacks need logits"):
        attack(model, planted_images, np.zeros(3, np.int64))


@pytest.mark.parametrize("gap", [tf.round, tf.stop_gradient])
def test_refuses_a_model_without_gradient(attack, planted, planted_images, gap):
    with pytest.raises(InputError, match="The classifier is not differentiable"):
        attack(lambda x: planted(gap(x)), planted_images, np.zeros(3, np.int64))


def test_refuses_a_model_of_another_output(attack, planted_images):
    with pytest.raises(InputError, match=r"it must map them to logits, \[2, classes\]"):
        attack(lambda x: tf.reduce_sum(x, axis=[1, 2, 3]), planted_images, np.zeros(3, np.int64))


@pytest.mark.parametrize("bounds", [(1.0, -1.0), (0.0, 0.0)])
def test_refuses_bounds(attack, planted, planted_images, bounds):
    with pytest.raises(InputError, match="The bounds are"):
        attack(planted, planted_images, np.zeros(3, np.int64), bounds=bounds)


def test_refuses_images_outside_the_bounds(attack, planted, planted_images):
    with pytest.raises(InputError, match=r"they must lie in \[0, 1\]"):
        attack(planted, planted_images, np.zeros(3, np.int64), bounds=(0.0, 1.0))


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "auto_pgd"])
@pytest.mark.parametrize("epsilon", [-0.1, 2.1, float("nan")])
def test_refuses_an_epsilon(planted, planted_images, name, epsilon):
    with pytest.raises(InputError, match=f"epsilon is {epsilon}; it must be between 0 and the bounds' width, 2"):
        getattr(attacks, name)(planted, planted_images, np.zeros(3, np.int64), bounds=(-1.0, 1.0), epsilon=epsilon)


@pytest.mark.parametrize("name", ["bim", "pgd", "auto_pgd"])
def test_refuses_no_steps(planted, planted_images, name):
    with pytest.raises(InputError, match="steps is 0; it must be above 0"):
        getattr(attacks, name)(planted, planted_images, np.zeros(3, np.int64), bounds=(-1.0, 1.0), epsilon=0.1, steps=0)


@pytest.mark.parametrize("name", ["cw_l2", "cw_l0", "cw_linf"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": [1, 2, 1]}, "The targets contain 2; the classifier has classes 0 to 1."),
        ({"targets": [1, 1]}, r"The targets have shape \[2\]; they must be \[3\]"),
        ({"targets": [1, 0, 1]}, "Some targets are the images' own labels"),
        ({"iterations": 0}, "iterations is 0; it must be above 0"),
        ({"initial_const": -1.0}, "initial_const is -1.0; it must be above 0"),
        ({"confidence": -1.0}, "confidence is -1.0; it must be at least 0"),
    ],
)
def test_refuses_targets_and_budgets(planted, planted_images, name, options, message):
    with pytest.raises(InputError, match=message):
        getattr(attacks, name)(planted, planted_images, np.zeros(3, np.int64), bounds=(-1.0, 1.0), **options)


def test_refuses_a_model_of_half_precision_probabilities(attack, planted, planted_images):
    probabilities = keras.Sequential([planted, keras.layers.Softmax()])
    with pytest.raises(InputError, match="returns probabilities, where attacks need logits"):
        attack(lambda x: tf.cast(probabilities(x), tf.bfloat16), planted_images, np.zeros(3, np.int64))


def test_refuses_a_model_of_nan(attack, planted, planted_images):
    with pytest.raises(InputError, match="returns NaN or infinity"):
        attack(lambda x: planted(x) * float("nan"), planted_images, np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(2)[[0, 0, 0]], r"labels.argmax\(axis=1\)"),
        (np.zeros((3, 1), int), r"one for each image, labels\[:, 0\]"),
        (np.zeros(3), r"labels.astype\(int\)"),
        (["a", "b", "c"], "The labels are strings; they must be integers"),
        (None, r"The labels have shape \[\]"),
    ],
)
def test_says_how_labels_of_other_forms_become_labels(attack, planted, planted_images, labels, message):
    with pytest.raises(InputError, match=message):
        attack(planted, planted_images, labels)


@pytest.mark.parametrize("epsilon", [None, "much", [0.1, 0.2]])
def test_refuses_an_epsilon_that_is_not_a_number(planted, planted_images, epsilon):
    with pytest.raises(InputError, match=r"epsilon is .*; it must be a number"):
        attacks.fgsm(planted, planted_images, np.zeros(3, np.int64), bounds=(-1.0, 1.0), epsilon=epsilon)


def test_takes_lists_and_whole_numbers(planted, planted_images):
    found = attacks.fgsm(planted, planted_images.tolist(), [0, 0, 0], bounds=np.array([-1, 1]), epsilon=1)
    np.testing.assert_allclose(found[:, 0, 0], np.minimum(planted_images[:, 0, 0] + 1, 1), atol=1e-6)


# Each attack with ε and its steps where the bounds are 1 apart.
SCALED: dict[str, tuple] = {
    "fgsm": (attacks.fgsm, {"epsilon": 0.06}),
    "bim": (attacks.bim, {"epsilon": 0.06, "steps": 3}),
    "pgd": (attacks.pgd, {"epsilon": 0.06, "steps": 5}),
    "pgd-l2": (attacks.pgd, {"epsilon": 0.12, "steps": 5, "norm": 2}),
    "auto_pgd": (attacks.auto_pgd, {"epsilon": 0.06, "steps": 6}),
    "auto_pgd-l2": (attacks.auto_pgd, {"epsilon": 0.12, "steps": 6, "norm": 2}),
    "cw_l2": (attacks.cw_l2, {"iterations": 200, "binary_search_steps": 4, "confidence": 0.0}),
    "cw_l0": (attacks.cw_l0, {"iterations": 50, "initial_const": 1.0, "largest_const": 100.0}),
    "cw_linf": (attacks.cw_linf, {"iterations": 50, "initial_const": 0.01, "largest_const": 10.0}),
    "square": (attacks.square, {"epsilon": 0.06, "queries": 60}),
    "square-l2": (attacks.square, {"epsilon": 0.2, "queries": 200, "norm": 2}),
    "spsa": (attacks.spsa, {"epsilon": 0.06, "steps": 10, "samples": 16}),
    "boundary": (attacks.boundary, {"epsilon": 0.08, "steps": 5, "probes": 40}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALED)
def test_finds_the_same_in_any_bounds(name, planted, planted_images):
    """Class 0 is 0.1 or less of [−1, 1] from the boundary; from −0.5 on nothing within ε reaches it."""
    attack, own = SCALED[name]
    units = np.concatenate([planted_images, planted_images - [0.4, 0, 0], -planted_images]).astype(np.float32) / 2 + 0.5
    labels = np.array([0] * 6 + [1] * 3)
    found = {}
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0, 255)):
        width = high - low
        model = keras.Sequential(
            [keras.Input((2, 2, 3)), keras.layers.Rescaling(2 / width, -1 - 2 * low / width), planted]
        )
        given = {key: value * width if key == "epsilon" else value for key, value in own.items()}
        attacked = attack(model, (low + units * width).astype(np.float32), labels, bounds=(low, high), **given)
        found[high, low] = (np.asarray(attacked) - low) / width
        assert np.any(np.argmax(model(attacked), axis=1) != labels)
    first, *others = found.values()
    assert np.abs(first - units).max() > 1e-3
    for other in others:
        # SPSA's Adam follows rounding where the class does not depend on a pixel.
        np.testing.assert_allclose(other, first, atol=0.03 if name == "spsa" else 3e-3)


def test_a_sure_classifier_is_climbed_in_l2_too(planted, planted_images):
    """At a margin of 40 the gradient is e⁻⁴⁰, far below what cleverhans takes for the least length."""
    sure = keras.Sequential([planted, keras.layers.Rescaling(7.0)])
    start = planted_images - np.float32(0.1) * (np.arange(4).reshape(1, 2, 2, 1) == 0)
    assert np.ptp(sure(start), axis=1).min() > 40
    found = attacks.pgd(
        sure, start, np.zeros(3, np.int64), bounds=(-1.0, 1.0), epsilon=0.5, norm=2, steps=5, loss="margin"
    )
    assert (np.argmax(sure(found), axis=1) == 1).all()
    by_entropy = attacks.pgd(sure, start, np.zeros(3, np.int64), bounds=(-1.0, 1.0), epsilon=0.5, norm=2, steps=5)
    assert (np.argmax(sure(by_entropy), axis=1) == 1).all()
