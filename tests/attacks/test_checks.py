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
