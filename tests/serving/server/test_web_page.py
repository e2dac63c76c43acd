"""The page in a real browser."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from playwright.sync_api import sync_playwright

import inc_tf as inc
from inc_tf.serving import export
from inc_tf.serving.server.demonstration import LOOKS

pytestmark = pytest.mark.slow

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    with sync_playwright() as playwright:
        path = next((path for path in found if path), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("there is no chromium, chromium-browser, google-chrome or Playwright browser")
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser, server):
    """The page, ready; anything that it logs or throws fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(f"http://127.0.0.1:{server.port}/")
    opened.get_by_text("Ready.").wait_for()
    yield opened
    if folder := os.environ.get("INC_SCREENSHOTS"):
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        opened.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    opened.close()
    assert [text for text in complaints if "status of 429" not in text] == []


def attack(page, kind: str, epsilon: str) -> None:
    page.get_by_label("Attack", exact=True).select_option(kind)
    page.get_by_label("Strength ε").fill(epsilon)
    page.get_by_role("button", name="Attack and defend").click()
    page.locator("#result[data-state=done]").wait_for()


def painted(page, name: str) -> np.ndarray:
    """The red of a canvas, uint8 [H, W]."""
    script = "c => [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    width, height, *values = page.locator(f"#{name}").evaluate(script)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., 0]


@pytest.mark.parametrize("name", ["adam", "lm"])
def test_what_it_shows_is_what_the_library_says(page, defenses, digits, name):
    page.get_by_label("Model").select_option(name)
    number = np.flatnonzero(digits.labels[:200] == 3)[0]  # the samples are the first of each class
    page.get_by_label("Sample 4, a 3").check()
    attack(page, "fgsm", "0.3")

    defense = defenses[name]
    image = export.scaled(tf.constant(np.rint(digits.images[number : number + 1] * 255).astype(np.uint8)), (0.0, 1.0))
    attacked = inc.attacks.fgsm(defense.classifier, image, np.array([3]), bounds=(0.0, 1.0), epsilon=0.3)
    answer = defense(attacked)
    undefended = tf.nn.softmax(defense.classifier(attacked))[0].numpy()
    assert page.locator("#undefended-label").text_content() == str(np.argmax(undefended))
    assert page.locator("#defended-label").text_content() == str(int(answer.predictions[0]))
    shown = page.locator("#undefended-bars li > span:last-child").all_text_contents()
    assert shown == [f"{100 * share:.1f} %" for share in undefended]
    assert page.locator("#distance").text_content() == f"{float(answer.distances[0]):.2f}"
    assert page.locator("#badge").text_content() == ("rejected" if answer.rejected[0] else "accepted")
    for canvas, wanted in {"x": image, "adversarial": attacked, "projection": answer.projections}.items():
        np.testing.assert_allclose(painted(page, canvas), np.asarray(wanted)[0, ..., 0] * 255, atol=1)
    assert painted(page, "difference").max() > 0

    steps = defense.projector.solver.steps
    looks = [*(str(look) for look in LOOKS if look < steps), str(steps)]
    assert page.locator("#film figcaption").all_text_contents() == looks
    assert page.locator("#chart circle").count() == len(looks)
    heights = [float(circle.get_attribute("cy")) for circle in page.locator("#chart circle").all()]
    assert heights == sorted(heights)  # the distance falls, so the line goes down
    page.get_by_label("Model").select_option("adam" if name == "lm" else "lm")
    assert page.locator("#distance").text_content() == "–"
    assert page.locator("#film figcaption").count() == 0


def test_a_drawn_digit_is_attacked(page):
    page.get_by_label("Model").select_option("lm")
    pad = page.get_by_label("Drawing area")
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.15 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.85 * box["height"], steps=5)
    page.mouse.up()
    page.get_by_text("Drawn. It has no label").wait_for()
    attack(page, "pgd", "0")
    image = painted(page, "x") / 255
    rows = (image.max(axis=1) > 0.5).nonzero()[0]
    assert rows.tolist() == list(range(4, 24))  # twenty pixels, in the middle
    np.testing.assert_array_equal(painted(page, "adversarial"), painted(page, "x"))
    assert page.locator("#undefended-label").text_content() == "1"
    assert page.locator("#undefended-note").text_content() == "as before the attack"


def test_everything_can_be_named_and_fits_a_phone_in_the_dark(page):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for control in page.locator("input, select, button, canvas[role=img]").all():
        if control.is_visible():
            label = control.evaluate(
                "c => c.getAttribute('aria-label') || c.textContent.trim() || c.labels?.[0]?.textContent.trim()"
            )
            assert label, control
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in background[4:-1].split(",")) < 40


def test_a_refusal_is_shown(page):
    page.get_by_label("Model").select_option("lm")
    page.route("**/demonstrations/lm", lambda route: route.fulfill(status=429, json={"error": "The page is busy"}))
    page.get_by_role("button", name="Attack and defend").click()
    page.get_by_text("That failed: The page is busy").wait_for()
    assert page.get_by_role("button", name="Attack and defend").is_enabled()
