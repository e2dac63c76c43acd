"""Ask two servers for the same images' classes, and say where they differ: python3 docker/ask_both.py URL URL"""

import json
import sys
import urllib.request

import numpy as np

import inc_tf as inc

MODEL = "digits"
N = 16


def ask(url: str, images: np.ndarray) -> list[dict]:
    """The server's prediction for each image; seed 0, which TensorFlow Serving wants in every row."""
    body = json.dumps({"instances": [{"images": image.tolist(), "seed": 0} for image in images]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/models/{MODEL}:predict", body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["predictions"]


def differences(one: list[dict], other: list[dict]) -> list[str]:
    """A line for each image on whose class or acceptance the two disagree, or whose distances differ by a percent."""
    found = []
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        same = all(a[part] == b[part] for part in ("label", "accepted"))
        if not same or abs(a["distance"] - b["distance"]) > 0.01 * a["distance"]:
            found.append(f"image {i}: {a['label']} at {a['distance']:.4g}, {b['label']} at {b['distance']:.4g}")
    return found


def main(urls: list[str]) -> int:
    """0 where both give the same."""
    images = inc.data.load("digits", "test").take(N).images
    one, other = (ask(url, images) for url in urls)
    found = differences(one, other)
    print("\n".join(found) or f"{N} images, the same from both.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
