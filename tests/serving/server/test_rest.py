"""The answers are TensorFlow Serving's in form, and the library's in substance."""

import json

import numpy as np
import pytest
import tensorflow as tf
from serving_clients import serving

from inc_tf.serving.answer import fields
from inc_tf.serving.server import rest

pytestmark = [pytest.mark.system, pytest.mark.exact]

PREDICT = "/v1/models/adam:predict"


@pytest.fixture(scope="module")
def server(models):
    with serving(models, "--timeout", "100", "--max-body", "2", "--no-page") as started:
        yield started


def test_rows_and_columns_answer_what_the_library_does(ask, defenses, digits):
    images = digits.images[:4]
    answer = defenses["adam"](images)
    status, rows = ask(PREDICT, {"instances": images.tolist()})
    assert (status, set(rows)) == (200, {"predictions"})
    assert [row["label"] for row in rows["predictions"]] == answer.predictions.numpy().tolist()
    # Floats come through JSON to the last bit.
    assert [row["distance"] for row in rows["predictions"]] == answer.distances.numpy().tolist()
    assert [row["accepted"] for row in rows["predictions"]] == (~answer.rejected.numpy()).tolist()
    probabilities = tf.nn.softmax(answer.logits).numpy()
    assert [row["probabilities"] for row in rows["predictions"]] == probabilities.tolist()
    named = [{"images": image.tolist(), "seed": 0} for image in images]
    assert ask(PREDICT, {"instances": named}) == (200, rows)
    status, columns = ask(PREDICT, {"signature_name": "serving_default", "inputs": {"images": images.tolist()}})
    assert (status, set(columns)) == (200, {"outputs"})
    assert columns["outputs"]["distance"] == answer.distances.numpy().tolist()
    assert ask(PREDICT, {"inputs": images.tolist()}) == (200, columns)


@pytest.mark.parametrize("name", ["adam", "lm"])
def test_projections_take_a_seed(ask, defenses, digits, name):
    images = digits.images[:2]
    wanted = defenses[name](images, seed=7)
    document = {"signature_name": "project", "inputs": {"images": images.tolist(), "seed": 7}}
    status, answer = ask(f"/v1/models/{name}/versions/1:predict", document)
    assert status == 200
    np.testing.assert_array_equal(np.float32(answer["outputs"]["projection"]), wanted.projections)
    np.testing.assert_array_equal(np.float32(answer["outputs"]["code"]), wanted.codes)
    np.testing.assert_array_equal(np.float32(answer["outputs"]["distance"]), wanted.distances)


def test_each_row_may_have_its_own_seed(ask, defenses, digits):
    image = digits.images[0]
    rows = [{"images": image.tolist(), "seed": seed} for seed in (1, 2, 1)]
    _, answer = ask(PREDICT, {"signature_name": "project", "instances": rows})
    codes = np.float32([row["code"] for row in answer["predictions"]])
    np.testing.assert_array_equal(codes[1], defenses["adam"](image[np.newaxis], seed=2).codes[0])
    np.testing.assert_array_equal(codes[0], codes[2])
    assert not np.array_equal(codes[0], codes[1])


def test_an_odd_number_of_images_is_padded_and_cut(ask, defenses, digits, batch_of):
    images = digits.images[:5]
    wanted = defenses["adam"](batch_of(images)).distances.numpy()[:5]
    _, answer = ask(PREDICT, {"instances": images.tolist()})
    assert [row["distance"] for row in answer["predictions"]] == wanted.tolist()


def test_more_images_than_a_batch_takes_come_back_in_order(ask, defenses, digits):
    images = digits.images[:150]
    wanted = defenses["lm"](images).distances
    _, answer = ask("/v1/models/lm:predict", {"instances": images.tolist()})
    np.testing.assert_allclose([row["distance"] for row in answer["predictions"]], wanted, rtol=1e-3)


def test_status_and_metadata(ask):
    wanted = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/adam", "/v1/models/adam/versions/1"):
        assert ask(path) == (200, {"model_version_status": [wanted]})
    for path in ("/v1/models/adam/metadata", "/v1/models/adam/versions/1/metadata"):
        status, answer = ask(path)
        assert status == 200
        assert answer["model_spec"] == {"name": "adam", "signature_name": "", "version": "1"}
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        images = signatures["serving_default"]["inputs"]["images"]
        assert images["dtype"] == "DT_FLOAT"
        assert [dim["size"] for dim in images["tensor_shape"]["dim"]] == ["-1", "28", "28", "1"]
        assert set(signatures["project"]["outputs"]) == {field.name for field in fields("project")}
        assert signatures["serving_default"]["defaults"]["seed"]["int_val"] == [0]
        assert signatures["project"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/v1/models/nope", 404, "Servable not found for request: Latest(nope)"),
        ("/v1/models/adam/versions/2", 404, "Servable not found for request: Specific(adam, 2)"),
        ("/v1/models/adam/versions/x", 404, "Malformed request: a version is an int64, not 'x'"),
        ("/v1/models/adam/versions/" + "9" * 5000, 404, "Malformed request: a version is an int64, not '999"),
        ("/v1/model", 404, "Not Found: GET /v1/model"),
        ("/nothing", 404, "Not Found: GET /nothing"),
    ],
)
def test_what_is_not_there(ask, path, status, sentence):
    answered, answer = ask(path)
    assert answered == status
    assert answer["error"].startswith(sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"instances": None}, "Expecting 'instances' value to be a list; it is null"),
        ({"instances": []}, "images must be a list of shape [N, 28, 28, 1], N at least 1; it is []"),
        ({"inputs": 1}, "Request must have exactly one of the keys 'instances' (rows) and 'inputs' (columns)"),
        ({"signature_name": "no"}, 'Serving signature name: "no" not found in signature def: serving_default, project'),
        ({"signature_name": 7}, "'signature_name' key must be a string value; it is 7"),
        ({"signature_name": []}, "'signature_name' key must be a string value; it is []"),
        ({"instances": [[0.5]]}, "Image 0 has shape [1]; it must be [28, 28, 1]"),
        (
            {"instances": [{"x": 1}]},
            "Failed to process element: 0 of 'instances' list. Error: JSON object: does not have",
        ),
        ({"instances": [{"seed": 1}]}, "Failed to process element: 0 of 'instances' list. Error: Missing named input"),
    ],
)
def test_a_wrong_document_is_told_what_is_wrong(ask, image, change, sentence):
    status, answer = ask(PREDICT, {"instances": [image], **change})
    assert status == 400
    assert answer["error"].startswith(sentence)


@pytest.mark.parametrize(
    ("pixel", "sentence"),
    [
        ("NaN", "images has the value NaN; all must lie in [0, 1]"),
        ("1e999", "images has the value Infinity; all must lie in [0, 1]"),
        ("1.5", "images has the value 1.5; all must lie in [0, 1]"),
        ("true", "JSON Value: true is not of expected type: float32"),
        ('"0.5"', "JSON Value: 0.5 is not of expected type: float32"),
        ('{"b64": "AA=="}', 'JSON Value: {"b64": "AA=="} is not of expected type: float32'),
    ],
)
def test_a_wrong_pixel_is_quoted(server, image, pixel, sentence):
    body = json.dumps({"instances": [image]}).replace("0.0", pixel, 1)
    status, answer = server.ask("POST", PREDICT, body.encode())
    assert (status, json.loads(answer)) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (r'{"x": "\ud800", "instances": [IMAGE]}', "JSON Parse error: a lone surrogate is not a character"),
        (r'{"instances": [IMAGE], "\udfff": 0}', "JSON Parse error: a lone surrogate is not a character"),
        (r'{"instances": ["\udc00\ud800"]}', "JSON Parse error: a lone surrogate is not a character"),
        (r'{"instances": [IMAGE], "x": ["\ud83d\ude00"]}', None),
        ('{"x": "' + "x" * 2**16 + '", "instances": [IMAGE]}', "JSON Parse error: a value is longer than 65536 bytes"),
        ('{"instances": [IMAGE], "instances": [IMAGE]}', "JSON Parse error: The key instances is there twice"),
        ('{"x": 1, "x": 1, "instances": [IMAGE]}', "JSON Parse error: The key x is there twice"),
        ('{"instances": [{"images": IMAGE, "seed": 1, "seed": 2}]}', "JSON Parse error: The key seed is there twice"),
        (
            json.dumps({str(i): i for i in range(65)})[:-1] + ', "instances": [IMAGE]}',
            "JSON Parse error: the document has more than 64 keys",
        ),
        ('{"instances": [IMAGE,]}', "JSON Parse error: Expecting value"),
        ('{"instances": [IMAGE] "x": 1}', "JSON Parse error: Expecting ','"),
        ('{"instances": [IMAGE]}x', "JSON Parse error: Extra data"),
        ('{"instances": [IMAGE]', "JSON Parse error: Expecting ','"),
        ('{"instances": [IMAGE], "é": "é"} ', None),
        ('\ufeff{"instances": [IMAGE]}', "JSON Parse error"),
        ("", "JSON Parse error: The document is empty"),
        ("[" * 10**5, "JSON Parse error: the document is nested too deeply"),
        ('{"instances": [' + "9" * 5000 + "]}", "JSON Parse error: Exceeds the limit"),
        (" \n\t{ } ", "Request must have exactly one of the keys"),
    ],
)
def test_a_text_is_read_as_json_has_it(server, image, text, sentence):
    body = text.replace("IMAGE", json.dumps(image)).encode()
    status, answer = server.ask("POST", PREDICT, body)
    if sentence is None:
        assert status == 200
        whole = json.dumps({"instances": [image]}).encode()
        assert answer == server.ask("POST", PREDICT, whole)[1]
    else:
        assert status == 400
        assert json.loads(answer)["error"].startswith(sentence)


@pytest.mark.parametrize("signature", ["serving_default", "project"])
def test_any_cut_of_a_document_is_refused_and_any_spacing_is_not(signature):
    model = Model()
    image = [[[0.25], [1]], [[0], [1e-3]]]
    document = {"signature_name": signature, "instances": [image, {"images": image, "seed": 7}]}
    for indent in (None, 1, 4):
        body = json.dumps(document, indent=indent).encode()
        understood = read(body, model)
        assert (understood.signature, understood.seeds, understood.rows) == (signature, [0, 7], True)
        np.testing.assert_array_equal(understood.images, np.float32([image, image]))
        for end in range(len(body)):
            with pytest.raises(rest.Refused):
                read(body[:end], model)


def test_a_pause_comes_between_images():
    image = [[[0], [0]], [[0], [0]]]
    work = rest.prediction(json.dumps({"instances": [image] * 50}).encode(), Model(), 50)
    assert sum(1 for _ in work) >= 50


class Model:
    signatures = ("serving_default", "project")
    image_shape = (2, 2, 1)
    dtype = np.dtype(np.float32)
    range = (0.0, 1.0)


def read(body: bytes, model) -> rest.Prediction:
    work = rest.prediction(body, model, 10)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value
