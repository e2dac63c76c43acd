"""What the page is told of defences that do not search for codes."""

import json

import numpy as np
import pytest

from inc_tf.serving import export
from inc_tf.serving.server.demonstration import Demonstration, possible

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``made(name)``: the demonstration of a defence of the zoo."""

    def of(name: str) -> Demonstration:
        written = export.export_named(name, tmp_path_factory.mktemp("models"))
        card = json.loads((written / export.CARD).read_text())
        assert possible(card)
        return Demonstration(written / export.KERAS_FILE, card)

    return of


@pytest.mark.parametrize(
    ("name", "knowing", "generates"),
    [
        ("digits-jpeg", "bpda", False),
        ("digits-median", "end-to-end", False),
        ("digits-diffusion", "surrogate-reverse", False),
        ("digits-autoencode", "end-to-end", True),
    ],
)
def test_every_projection_is_shown_saving_an_image_and_broken(made, name, knowing, generates):
    shown = made(name)
    described = json.loads(shown.description)
    assert [attack["name"] for attack in described["attacks"] if attack["knows_defense"]] == [knowing]
    assert (described["generates"], described["solver"]) == (generates, None)
    attacked, look = described["first"]["events"]
    assert look["steps"] is None
    assert np.argmax(attacked["undefended"]) != attacked["label"] == np.argmax(look["defended"])
    sample = described["samples"][0]
    wanted = {"image": sample["image"], "label": sample["label"], "attack": knowing, "epsilon": 0.4}
    *_, look = shown.work(wanted)
    assert np.argmax(look["defended"]) != sample["label"]


@pytest.mark.parametrize(
    ("dataset", "projector", "shown"),
    [
        ("digits", {}, True),
        ("celeb_a", {}, False),
        ("celeb_a", {"generator": "a0"}, True),
        (None, {}, False),
    ],
)
def test_only_images_that_may_be_shown_are(dataset, projector, shown):
    assert possible({"dataset": dataset, "projector": projector}) == shown
