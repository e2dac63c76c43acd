"""One attack on one named defence: what `inc attack` does."""

import json

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.evaluation import single

N = 6


@pytest.mark.slow
def test_counts_what_is_left_right(digits):
    few = digits.take(N)
    defense = inc.load("digits-inc-fast")
    found = single.attack("pgd", "digits", n=N)
    attacked = inc.attacks.pgd(defense.classifier, few.images, few.labels, bounds=few.bounds, epsilon=0.3, seed=0)
    right = np.argmax(defense.classifier.predict(attacked, verbose=0), axis=1) == few.labels
    assert found["undefended"]["attacked"]["value"] == np.mean(right)
    behind = tf.equal(defense(attacked).predictions, few.labels)
    assert found["defended"]["attacked"]["value"] == pytest.approx(np.mean(behind))
    assert (found["defense"], found["epsilon"], found["n"]) == ("digits-inc-fast", 0.3, N)


@pytest.mark.slow
def test_attack_on_the_search_finds_what_pgd_on_the_classifier_does_not(short_runs):
    found = {name: single.attack(name, "digits", n=4, epsilon=0.2) for name in ("bpda", "implicit")}
    for one in found.values():
        assert one["defended"]["attacked"]["value"] < one["defended"]["clean"]["value"] == 1.0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["psd"], "There is no attack 'psd'; there are fgsm, bim"),
        (["cw-l2", "--epsilon", "0.3"], "epsilon is 0.3, but cw-l2 has none"),
        (["pgd", "--defense", "digtis"], "There is no defence 'digtis'"),
        (["pgd", "--defense", "digits-incfast"], "Did you mean 'digits-inc-fast'?"),
        (["implicit", "--defense", "digits-undefended"], "has no search of the kind that implicit goes through"),
        (["latent", "--defense", "digits-undefended"], "has no search of the kind that latent goes through"),
        (["bpda", "--defense", "digits-undefended"], "has no search of the kind that bpda goes through"),
        (["unrolled", "--defense", "digits-autoencode"], "has no search of the kind that unrolled goes through"),
        (["autoencode-pgd", "--defense", "digits-undefended"], "needs an encoder"),
        (["substitute-fgsm", "--defense", "digits"], "There is no target 'substitute'"),
    ],
)
def test_mistake_is_one_sentence(words, sentence):
    done = CliRunner().invoke(main, ["attack", "--defense", "digits", "--n", "2", *words])
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_command_line_prints_table_or_json(short_runs):
    words = ["attack", "fgsm", "--defense", "digits", "--n", "4", "--epsilon", "0.1"]
    found = json.loads(CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False).stdout)
    assert found == single.attack("fgsm", "digits", n=4, epsilon=0.1)
    printed = CliRunner().invoke(main, words, catch_exceptions=False).stdout
    assert printed == single.table(found) + "\n"
    assert "FGSM on C, ε = 0.1, n = 4" in printed
    with pytest.raises(InputError, match="401 images were asked for"):
        single.attack("fgsm", "digits", n=401)
