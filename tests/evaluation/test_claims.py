"""The paper's claims, held against scores that are made up."""

import numpy as np

from inc_tf.evaluation import claims

EPSILONS = (0.1, 0.3)


def scores_of(table: dict):
    return lambda *case: np.asarray(table[case], float)


def first(share: float, n: int = 100) -> np.ndarray:
    """The first share of n images right."""
    return np.arange(n) < share * n


def test_claim_is_judged_at_each_epsilon_on_the_same_images():
    table = {("inc", "pgd", 0.1): first(0.9), ("undefended", "pgd", 0.1): first(0.4)}
    table |= {("inc", "pgd", 0.3): first(0.5, 40), ("undefended", "pgd", 0.3): np.append(first(0.5, 40), first(1, 60))}
    (row,) = claims.hold(scores_of(table), EPSILONS)
    assert row["claim"].startswith("attacks on the classifier lose their force behind INC")
    # At ε 0.3 both have the same 20 of the 40 images that both have: too few to say that they are equal.
    assert row["verdicts"] == ["holds", "undecided"]
    assert row["images"] == 73
    assert row["n"] == 40
    assert row["finding"] == "90.0 % / 50.0 % beside 40.0 % / 50.0 %, undefended, PGD on C"


def test_half_of_clean_accuracy_is_that_of_the_same_images():
    # Right in half of the draws and more, of images that are right unattacked.
    clean, attacked = np.ones(100), np.full(100, 0.6)
    table = {
        ("inc", "clean", 0.0): clean,
        ("inc", "worst-case", 0.1): attacked,
        ("inc", "worst-case", 0.3): 0.4 * clean,
    }
    (row,) = claims.hold(scores_of(table), EPSILONS)
    assert row["claim"] == "INC withstands who knows it"
    assert row["verdicts"] == ["holds", "does not hold"]


def test_claim_on_a_defence_that_is_not_there_is_left_out():
    assert claims.hold(scores_of({("inc", "pgd", 0.1): first(0.9)}), EPSILONS) == []


def test_two_images_refute_no_claim():
    table = {(d, "pgd", e): first(share, 2) for d, share in (("inc", 1), ("undefended", 0)) for e in EPSILONS}
    (row,) = claims.hold(scores_of(table), EPSILONS)
    assert row["verdicts"] == ["undecided"] * 2
    assert row["images"] == 5
