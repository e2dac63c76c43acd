"""The page in a real browser."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from playwright.sync_api import sync_playwright

import inc_tf as inc
from inc_tf.serving import export
from inc_tf.serving.server.demonstration import LOOKS

pytestmark = [pytest.mark.system, pytest.mark.exact]

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
    opened.locator("#result[data-state=done]").wait_for()
    yield opened
    if folder := os.environ.get("INC_SCREENSHOTS"):
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        opened.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    opened.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


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
    order = np.argsort(-undefended, kind="stable")[:3]
    rows = [(str(c), undefended[c]) for c in order] + [("others", 1 - undefended[order].sum())]
    shown = page.locator("#undefended-bars li").all_inner_texts()
    assert [text.split("\n") for text in shown] == [[name, f"{100 * share:.1f} %"] for name, share in rows]
    assert page.locator("#distance").text_content() == f"{float(answer.distances[0]):.2f}"
    assert page.locator("#badge").text_content() == ("refused" if answer.rejected[0] else "accepted")
    for canvas, wanted in {"x": image, "adversarial": attacked, "projection": answer.projections}.items():
        np.testing.assert_allclose(painted(page, canvas), np.asarray(wanted)[0, ..., 0] * 255, atol=1)
    assert painted(page, "difference").max() > 0

    steps = defense.projector.solver.steps
    looks = [*(str(look) for look in LOOKS if look < steps), str(steps)]
    assert page.locator("#film figcaption").all_text_contents() == looks
    assert page.locator("#chart circle").count() == len(looks)
    heights = [float(circle.get_attribute("cy")) for circle in page.locator("#chart circle").all()]
    assert heights == sorted(heights)  # the distance falls, so the line goes down
    verdict = page.locator("#verdict")
    behind, alone = int(answer.predictions[0]), int(np.argmax(undefended))
    if answer.rejected[0]:
        assert verdict.text_content().startswith("Refused: too far from anything the generator can make.")
    elif behind == 3:
        assert (
            verdict.text_content()
            == f"Alone: {alone}, {'right' if alone == 3 else 'fooled'}. Behind the projection: 3, right."
        )
    else:
        assert f"Behind the projection: {behind}, where 3 is right." in verdict.text_content()


def test_a_drawn_digit_is_attacked(page, defenses):
    page.get_by_label("Model").select_option("lm")
    page.get_by_role("button", name="Draw one").click()
    button = page.get_by_role("button", name="Attack and defend").bounding_box()
    assert button["y"] + button["height"] <= page.viewport_size["height"]
    box = page.get_by_label("Drawing area").bounding_box()
    assert box["y"] >= 0
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.15 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.85 * box["height"], steps=5)
    page.mouse.up()
    page.get_by_text("Drawn. What the classifier says before the attack counts as right.").wait_for()
    assert page.locator("#undefended-label").text_content() == "–"
    attack(page, "pgd", "0")
    image = painted(page, "x") / 255
    rows = (image.max(axis=1) > 0.5).nonzero()[0]
    assert rows.tolist() == list(range(4, 24))  # twenty pixels, in the middle
    np.testing.assert_array_equal(painted(page, "adversarial"), painted(page, "x"))
    label = int(np.argmax(defenses["lm"].classifier(np.float32(image)[np.newaxis, ..., np.newaxis])))
    assert page.locator("#undefended-label").text_content() == str(label)
    assert page.locator("#undefended-note").text_content() == f"{label}, right"
    page.get_by_role("button", name="Clear").click()
    assert page.get_by_label("Sample 1, a 0").is_checked()
    assert page.locator("#x-note").text_content() == "a 0"
    assert page.locator("#undefended-label").text_content() == "–"


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


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_first_view_shows_an_attack_that_the_projection_undoes(page, size):
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_label("Model").select_option("lm")
    assert re.fullmatch(
        r"Alone: \d, fooled. Behind the projection: \d, right.", page.locator("#verdict").text_content()
    )
    button = page.get_by_role("button", name="Attack and defend").bounding_box()
    assert button["y"] + button["height"] <= height
    assert page.get_by_text("an attack that knows this defence breaks it").is_visible()
    for canvas in ("x", "adversarial", "projection", "difference"):
        assert painted(page, canvas).max() > 0


def test_what_is_refused_is_not_green(page):
    page.get_by_label("Model").select_option("adam")
    attack(page, "fgsm", "0.5")
    verdict = page.locator("#verdict")
    assert verdict.text_content().startswith("Refused: too far from anything the generator can make.")
    assert verdict.get_attribute("data-verdict") == "refused"
    red, green, blue = map(int, re.findall(r"\d+", verdict.evaluate("v => getComputedStyle(v).color"))[:3])
    assert red > green > blue  # amber
    assert "right" not in page.locator("#defended-label").get_attribute("class")


def test_the_attack_that_knows_the_defence_is_run_on_it(page, defenses):
    page.get_by_label("Model").select_option("lm")
    page.get_by_label("Sample 1, a 0").check()
    attack(page, "implicit", "0.3")
    changed = np.abs(painted(page, "adversarial").astype(int) - painted(page, "x"))
    assert 0 < changed.max() <= round(0.3 * 255) + 1
    defense = defenses["lm"]
    adversarial = np.float32(painted(page, "adversarial"))[np.newaxis, ..., np.newaxis] / 255
    assert page.locator("#defended-label").text_content() == str(int(defense(adversarial).predictions[0]))


def test_one_that_the_attack_breaks_is_a_click_away(page, server):
    described = {model["name"]: model for model in json.loads(server.ask("GET", "/demonstrations")[1])}
    name = next(name for name, model in described.items() if model["broken"])
    page.get_by_label("Model").select_option(name)
    button = page.get_by_role("button", name="Show one that it breaks")
    assert not button.is_visible()
    page.get_by_label("Attack", exact=True).select_option("implicit")
    button.click()
    page.locator("#result[data-state=done]").wait_for()
    label = described[name]["samples"][described[name]["broken"]["sample"]]["label"]
    verdict = page.locator("#verdict")
    assert re.fullmatch(rf"The attack won. Behind the projection: \d, where {label} is right.", verdict.text_content())
    assert verdict.get_attribute("data-verdict") == "bad"


def test_a_result_does_not_stay_beside_another_image_or_setting(page):
    page.get_by_label("Strength ε").fill("0.01")
    page.get_by_text("Changed: attack again.").wait_for()
    assert page.locator("#result").get_attribute("data-state") == "stale"
    page.get_by_label("Sample 3, a 2").check()
    assert page.locator("#undefended-label").text_content() == "–"
    assert page.locator("#film figure").count() == 0
    assert page.locator("figure[data-empty]").count() == 3


def test_another_image_ends_the_run_before_it(page):
    waiting = []
    page.route("**/demonstrations/*", lambda route: waiting.append(route))
    page.get_by_role("button", name="Attack and defend").click()
    page.get_by_text("Attacking …").wait_for()
    page.get_by_label("Sample 5, a 4").check()
    page.get_by_text("Ready to attack.").wait_for()
    page.unroute("**/demonstrations/*")
    attack(page, "fgsm", "0.1")
    assert page.locator("#x-note").text_content() == "a 4"
    assert page.locator("#film figcaption").all_text_contents() == sorted(
        set(page.locator("#film figcaption").all_text_contents()), key=int
    )


def test_the_keyboard_keeps_its_place(page):
    page.get_by_role("button", name="Attack and defend").focus()
    page.keyboard.press("Enter")
    page.locator("#result[data-state=done]").wait_for()
    assert page.evaluate("document.activeElement.id") == "run"


def test_it_waits_for_a_server_that_is_away(page):
    asked = []

    def away_once(route):
        asked.append(route)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/demonstrations/*", away_once)
    page.get_by_role("button", name="Attack and defend").click()
    page.get_by_text("The server is away; trying again …").wait_for()
    page.locator("#result[data-state=done]").wait_for()
    assert len(asked) == 2


def test_it_says_who_is_ahead(page):
    lines = '{"event": "queued", "ahead": 3}\n{"event": "failed", "error": "the page is busy"}\n'
    page.route("**/demonstrations/*", lambda route: route.fulfill(body=lines))
    page.evaluate("""() => {
        window.said = [];
        new MutationObserver(() => said.push(document.getElementById("verdict").textContent)).observe(
            document.getElementById("verdict"), {childList: true});
    }""")
    page.get_by_role("button", name="Attack and defend").click()
    page.get_by_text("That failed: the page is busy").wait_for()
    assert "Waiting: 3 visitors are ahead of you." in page.evaluate("said")


def test_without_javascript_it_says_so(browser, server):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"http://127.0.0.1:{server.port}/")
    assert opened.locator("noscript p").is_visible()
    context.close()


def test_a_refusal_is_shown(page):
    page.get_by_label("Model").select_option("lm")
    page.route("**/demonstrations/lm", lambda route: route.fulfill(status=429, json={"error": "The page is busy"}))
    page.get_by_role("button", name="Attack and defend").click()
    page.get_by_text("That failed: The page is busy").wait_for()
    assert page.get_by_role("button", name="Attack and defend").is_enabled()
