"""Any Keras model that people have: a table of models by entry points. Each pair works, or gets one sentence."""

import inspect
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import inc_tf as inc
from inc_tf import attacks, fit
from inc_tf.attacks import differentiable
from inc_tf.serving.export import export

SHAPE, K, CLASSES = (8, 8, 1), 3, 4
WORKS = None


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def images(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(n, *SHAPE)).astype(np.float32)


def classifier(*middle, shape=SHAPE, end=None, **kwargs) -> keras.Model:
    return keras.Sequential(
        [layers.Input(shape, **kwargs), *middle, layers.Flatten(), end or layers.Dense(CLASSES, name="logits")]
    )


def generator(*after, codes=(K,), activation="sigmoid", size=64, **kwargs) -> keras.Model:
    network = [layers.Input(codes, **kwargs), layers.Flatten(), layers.Dense(size, activation=activation)]
    return keras.Sequential([*network, layers.Reshape(SHAPE), *after] if size == 64 else network)


def nothing() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(images()[:0]).batch(2)


def encoder() -> keras.Model:
    return keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(K)])


class Subclassed(keras.Model):
    """Images to logits, or codes to images, as `end` has it."""

    def __init__(self, end: str = "logits", **kwargs):
        super().__init__(**kwargs)
        self.flat, self.dense = layers.Flatten(), layers.Dense(CLASSES if end == "logits" else 64)
        self.end = {"logits": layers.Identity(), "softmax": layers.Softmax(), "images": layers.Reshape(SHAPE)}[end]
        self.low = {"images": 0.0}.get(end)

    def call(self, inputs):
        found = self.end(self.dense(self.flat(inputs)))
        return found if self.low is None else tf.sigmoid(found)


class Unsaid(Subclassed):
    """A generator that does not tell the shape that it was built on, as a layer of a SavedModel."""

    def __init__(self, **kwargs):
        super().__init__("images", **kwargs)

    def get_build_config(self):
        return None


class SubclassedTanh(Subclassed):
    def call(self, inputs):
        return 2.0 * super().call(inputs) - 1.0


class ThroughNumPy(Subclassed):
    def call(self, inputs):
        return super().call(inputs.numpy())


class Noise(layers.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def called(model: keras.Model, shape) -> keras.Model:
    model(tf.zeros([2, *shape]))
    return model


def under(policy: str, make) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


def with_nan(model: keras.Model) -> keras.Model:
    weights = model.get_weights()
    weights[0][0] = np.nan
    model.set_weights(weights)
    return model


def of_two(shapes) -> keras.Model:
    taken = [layers.Input(shape) for shape in shapes]
    return keras.Model(
        taken, layers.Reshape(SHAPE)(layers.Dense(64, activation="sigmoid")(layers.Concatenate()(taken)))
    )


def to_many(make) -> keras.Model:
    x = layers.Input(SHAPE)
    flat = layers.Flatten()(x)
    return keras.Model(x, make(flat))


def of_a_name() -> keras.Model:
    x = layers.Input(SHAPE, name="image")
    return keras.Model({"image": x}, layers.Dense(CLASSES)(layers.Flatten()(x)))


def shared_layer() -> keras.Model:
    x, dense = layers.Input((K,)), layers.Dense(K)
    return keras.Model(x, generator()(dense(dense(x))))


def of_a_label_and_a_code(named: bool) -> keras.Model:
    label, code = layers.Input((1,), name="label"), layers.Input((K,), name="z")
    x = layers.Dense(64, activation="sigmoid")(layers.Concatenate()([label, code]))
    return keras.Model({"z": code, "label": label} if named else [label, code], layers.Reshape(SHAPE)(x))


def unknown_size() -> keras.Model:
    enlarged = layers.Lambda(lambda t: tf.repeat(tf.repeat(t, 2, axis=1), 2, axis=2), output_shape=(None, None, 1))
    return keras.Sequential(
        [layers.Input((K,)), layers.Dense(16, activation="sigmoid"), layers.Reshape((4, 4, 1)), enlarged]
    )


def of_a_batch() -> keras.Model:
    centred = layers.Lambda(lambda t: tf.sigmoid(5 * (t - tf.reduce_mean(t, axis=0, keepdims=True))))
    return generator(centred, activation=None)


def codes_1_1_k(size=1) -> keras.Model:
    return keras.Sequential([layers.Input((size, size, K)), layers.Conv2DTranspose(1, 8, activation="sigmoid")])


def trains_always() -> keras.Model:
    x = layers.Input((K,))
    normalized = layers.BatchNormalization()(layers.Dense(64)(x), training=True)
    return keras.Model(x, layers.Reshape(SHAPE)(layers.Activation("sigmoid")(normalized)))


PROBABILITIES = "returns probabilities, where attacks need logits: leave its softmax out"
CLASSIFIERS = {
    "as it should be": (classifier, WORKS),
    "subclassed, not built": (Subclassed, WORKS),
    "subclassed, called": (lambda: called(Subclassed(), SHAPE), WORKS),
    "sequential, not built": (lambda: keras.Sequential([layers.Flatten(), layers.Dense(CLASSES)]), WORKS),
    "sequential, called": (
        lambda: called(keras.Sequential([layers.Flatten(), layers.Dense(CLASSES)]), SHAPE),
        WORKS,
    ),
    "mixed_float16": (lambda: under("mixed_float16", classifier), WORKS),
    "mixed_bfloat16": (lambda: under("mixed_bfloat16", classifier), WORKS),
    "float64": (lambda: under("float64", classifier), WORKS),
    "of flat images": (lambda: classifier(shape=(64,)), WORKS),
    "of images without channels": (lambda: classifier(shape=(8, 8)), WORKS),
    "recurrent": (lambda: classifier(layers.LSTM(5), shape=(8, 8)), WORKS),
    "channels first": (lambda: classifier(shape=(1, 8, 8)), WORKS),
    "of any size": (lambda: classifier(layers.GlobalAveragePooling2D(), shape=(None, None, 1)), WORKS),
    "of a fixed batch": (lambda: classifier(batch_size=7), WORKS),
    "of a named input": (of_a_name, WORKS),
    "of a named output": (lambda: to_many(lambda x: {"logits": layers.Dense(CLASSES)(x)}), WORKS),
    "fully convolutional": (lambda: keras.Sequential([layers.Input(SHAPE), layers.Conv2D(CLASSES, 8)]), WORKS),
    "normalizes inside": (lambda: classifier(layers.Rescaling(2.0, -1.0), layers.BatchNormalization()), WORKS),
    "one sigmoid": (lambda: classifier(end=layers.Dense(1, activation="sigmoid")), WORKS),
    "one sigmoid, mixed_float16": (
        lambda: under("mixed_float16", lambda: classifier(end=layers.Dense(1, activation="sigmoid"))),
        WORKS,
    ),
    "one sigmoid, a layer": (
        lambda: classifier(layers.Flatten(), layers.Dense(1), end=layers.Activation("sigmoid")),
        WORKS,
    ),
    "one logit": (lambda: classifier(end=layers.Dense(1)), WORKS),
    "one number, unknown": (
        lambda: classifier(end=layers.Dense(1, activation="softplus")),
        "not known whether it is a logit or a probability",
    ),
    "softmax": (lambda: classifier(end=layers.Dense(CLASSES, activation="softmax")), PROBABILITIES),
    "softmax, mixed_float16": (
        lambda: under("mixed_float16", lambda: classifier(end=layers.Dense(CLASSES, activation="softmax"))),
        PROBABILITIES,
    ),
    "softmax, a layer": (lambda: classifier(layers.Flatten(), layers.Dense(4), end=layers.Softmax()), PROBABILITIES),
    "softmax, subclassed": (lambda: called(Subclassed("softmax"), SHAPE), PROBABILITIES),
    "softmax, subclassed, float16": (lambda: under("float16", lambda: Subclassed("softmax")), PROBABILITIES),
    "many sigmoids": (lambda: classifier(end=layers.Dense(CLASSES, activation="sigmoid")), PROBABILITIES),
    "two outputs": (
        lambda: to_many(lambda x: [layers.Dense(CLASSES)(x), x]),
        r"has 2 outputs.*classifier\.output\[0\]",
    ),
    "two named outputs": (
        lambda: to_many(lambda x: {"logits": layers.Dense(CLASSES)(x), "features": x}),
        r"has 2 outputs.*classifier\.output\['logits'\]",
    ),
    "to booleans": (
        lambda: to_many(lambda x: layers.Dense(CLASSES)(x) > 0),
        "returns bool; it must return float32",
    ),
    "NaN for every image": (lambda: classifier(layers.Lambda(lambda x: 0 * x / 0)), "returns NaN or infinity"),
    "that a graph cannot have": (ThroughNumPy, r"cannot be called on .* \(.*'?numpy.*; it must take one tensor"),
    "a class": (lambda: keras.Sequential, "is the class Sequential; it must be a keras.Model, an object"),
    "a folder": (lambda: Path(__file__).parent, "load it: keras.layers.TFSMLayer"),
    "of other images": (lambda: classifier(shape=(9, 9, 1)), r"Resizing\(9, 9\)"),
    "of coloured images": (lambda: classifier(shape=(8, 8, 3)), r"layers.Concatenate\(\)\(\[x, x, x\]\)"),
    "of integers": (lambda: classifier(layers.Rescaling(1 / 255), dtype="uint8"), "takes uint8; it must take float32"),
    "NaN weights": (lambda: with_nan(classifier()), "NaN or infinity in its weight"),
    "a generator": (generator, "swapped"),
    "a path": (lambda: "classifier.keras", "load it: keras.saving.load_model"),
    "nothing": (lambda: None, "it must be a keras.Model"),
}
GENERATORS = {
    "as it should be": (generator, WORKS),
    "subclassed, called": (lambda: called(Subclassed("images"), (K,)), WORKS),
    "subclassed, not built": (lambda: Subclassed("images"), r"call it once, generator\(tf.zeros\(\[1, k\]\)\)"),
    "mixed_float16": (lambda: under("mixed_float16", generator), WORKS),
    "mixed_bfloat16": (lambda: under("mixed_bfloat16", generator), WORKS),
    "float64": (lambda: under("float64", generator), WORKS),
    "of codes 1, 1, k": (codes_1_1_k, WORKS),
    "of codes of any size": (lambda: codes_1_1_k(None), "codes .None, k. to images"),
    "images without channels": (lambda: keras.Sequential([generator(), layers.Reshape((8, 8))]), WORKS),
    "channels first": (lambda: keras.Sequential([generator(), layers.Reshape((1, 8, 8))]), WORKS),
    "images of a size known at run time": (unknown_size, WORKS),
    "of a fixed batch": (lambda: generator(batch_size=5), WORKS),
    "a layer used twice": (shared_layer, WORKS),
    "batch normalization": (lambda: generator(layers.BatchNormalization(), layers.Activation("sigmoid")), WORKS),
    "tanh, rescaled": (lambda: generator(layers.Rescaling(0.5, 0.5), activation="tanh"), WORKS),
    "tanh": (lambda: generator(activation="tanh"), r"-1 to 1.*bounds are \[0, 1\].*Rescaling\(0.5, offset=0.5\)"),
    "tanh, subclassed": (lambda: called(SubclassedTanh("images"), (K,)), r"Rescaling\(0.5, offset=0.5\)"),
    "0 to 255": (lambda: generator(layers.Rescaling(255.0)), r"Rescaling\(0.00392157, offset=0\).*bounds=\(0, 255\)"),
    "flat images": (lambda: generator(size=49), r"layers.Reshape\(\(7, 7, 1\)\)"),
    "NaN weights": (lambda: with_nan(generator()), "NaN or infinity in its weight"),
    "two inputs": (lambda: of_two([(K,), (1,)]), r"has 2 inputs.*keras.Model\(x, generator\(\[x, label\]\)\)"),
    "a label and a code": (lambda: of_a_label_and_a_code(False), r"Input\(\(3,\)\).*generator\(\[label, x\]\)"),
    "a named code": (lambda: of_a_label_and_a_code(True), r"generator\(\{'label': label, 'z': x\}\)"),
    "of codes in rows": (lambda: generator(codes=(3, 2)), r"keras.Input\(\(6,\)\), keras.layers.Reshape\(\(3, 2\)\)"),
    "judged": (lambda: keras.Sequential([generator(), layers.Flatten(), layers.Dense(1)]), r"Reshape\(\(H, W, C\)\)"),
    "draws noise": (lambda: generator(Noise(), layers.Activation("sigmoid")), "another image of the same code"),
    "normalizes over the batch": (of_a_batch, "draws noise or normalizes over the batch"),
    "of integers": (lambda: generator(dtype="int32"), "takes int32; it must take float32"),
    "no gradient": (lambda: generator(layers.Lambda(tf.round)), "no gradient with respect to its code"),
    "a VAE": (lambda: inc.models.mnist.vae(), "which has one: give model.generator"),
    "an autoencoder": (lambda: keras.Sequential([encoder(), generator()]), r"inc.EncoderProjector\(encoder, decoder\)"),
    "a classifier": (classifier, "swapped"),
    "a function": (lambda: lambda codes: codes, "layers.Lambda"),
    "a compiled function": (lambda: tf.function(lambda codes: codes), "layers.Lambda"),
    "called, of an unknown shape": (
        lambda: called(Unsaid(), (K,)),
        r"keras.Sequential\(\[keras.Input\(\(k,\)\), generator",
    ),
    "of an unknown shape, in a Sequential": (lambda: keras.Sequential([layers.Input((K,)), Unsaid()]), WORKS),
    "trains its batch normalization": (trains_always, WORKS),
    "dropout": (lambda: generator(layers.Dropout(0.5)), WORKS),
}


def projector(network=None, solver=None, start=None) -> inc.LatentProjector:
    return inc.LatentProjector(network or generator(), solver or inc.LBFGS(steps=2), start or inc.Normal())


def answered(defense: inc.InvertAndClassify) -> None:
    """It answers a call and `predict` alike, in the types that it says."""
    answer, predicted = defense(images()), defense.predict(images(), verbose=0)
    assert [part.dtype.name for part in answer] == ["int64", "bool", *["float32"] * 4]
    np.testing.assert_allclose(answer.distances, predicted.distances, rtol=1e-2)  # some compute in bfloat16
    assert np.isfinite(answer.logits).all()
    assert not np.any(answer.rejected)
    squared = np.sum(np.square(answer.projections - images()), axis=(1, 2, 3))
    np.testing.assert_allclose(answer.distances, np.sqrt(squared), rtol=2e-2)


def works_or_says(sentence, act) -> None:
    if sentence is WORKS:
        act()
        return
    with pytest.raises(inc.InputError, match=sentence) as error:
        act()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def one_projector() -> inc.LatentProjector:
    """One for all classifiers, which do not change it."""
    return projector()


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classifiers_behind_a_projector(kind, one_projector):
    make, sentence = CLASSIFIERS[kind]
    network = make()
    works_or_says(sentence, lambda: answered(inc.InvertAndClassify(network, one_projector)))


@pytest.mark.slow
@pytest.mark.parametrize("search", ["lbfgs", "lm", "autoencode"])
@pytest.mark.parametrize("kind", GENERATORS)
def test_generators_of_each_projector(kind, search):
    make, sentence = GENERATORS[kind]
    network = make()
    project = {
        "lbfgs": lambda: projector(network),
        "lm": lambda: projector(network, inc.LevenbergMarquardt(2), inc.Nearest(candidates=8)),
        "autoencode": lambda: inc.EncoderProjector(encoder(), network),
    }[search]
    works_or_says(sentence, lambda: answered(inc.InvertAndClassify(classifier(), project())))


@pytest.mark.slow
@pytest.mark.parametrize(
    "enlarging",
    [layers.UpSampling2D(2, interpolation="bilinear"), layers.Resizing(8, 8)],
    ids=["upsampling", "resizing"],
)
def test_levenberg_marquardt_says_what_it_cannot_differentiate(enlarging):
    small = [layers.Input((K,)), layers.Dense(16, activation="sigmoid"), layers.Reshape((4, 4, 1)), enlarging]
    network = keras.Sequential(small)
    answered(inc.InvertAndClassify(classifier(), projector(network)))
    works_or_says("gradient cannot be differentiated", lambda: projector(network, inc.LevenbergMarquardt()))


BUDGETS: dict[str, dict] = {
    "fgsm": {"epsilon": 1},
    "bim": {"epsilon": 0.2, "steps": 2},
    "pgd": {"epsilon": 0.2, "steps": 2},
    "auto_pgd": {"epsilon": 1, "steps": 3},
    "cw_l2": {"iterations": 2, "binary_search_steps": 1},
    "cw_l0": {"iterations": 2, "largest_const": 0.01},
    "cw_linf": {"iterations": 2, "largest_const": 0.01},
    "spsa": {"epsilon": 0.2, "steps": 1, "samples": 2},
    "square": {"epsilon": 1, "queries": 2},
    "boundary": {"epsilon": 0.2, "steps": 1, "probes": 2},
}
UNLIKE = [
    "subclassed, not built",
    "mixed_float16",
    "float64",
    "of flat images",
    "of a named output",
    "one sigmoid",
    "one number, unknown",
    "softmax, subclassed, float16",
    "two outputs",
    "of other images",
    "NaN weights",
    "a generator",
    "nothing",
]


@pytest.mark.slow
@pytest.mark.parametrize("attack", BUDGETS)
def test_attacks_on_classifiers_of_each_kind(attack):
    for kind in UNLIKE:
        make, sentence = CLASSIFIERS[kind]
        network = make()

        def act(network=network):
            found = getattr(attacks, attack)(network, images(), np.zeros(3, int), bounds=[0, 1], **BUDGETS[attack])
            assert found.dtype == tf.float32
            assert np.isfinite(found).all()

        works_or_says(sentence and sentence.replace(r"Resizing\(9, 9\)", "the classifier takes"), act)


@pytest.mark.parametrize("attack", BUDGETS)
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("seed", "a", "seed is 'a'; it must be a whole number"),
        ("seed", 1.5, "seed is 1.5; it must be a whole number"),
        ("seed", True, "seed is True; it must be a whole number"),
        ("seed", [1, 2, 3], r"seed is \[1, 2, 3\]"),
        ("steps", 1.5, "steps is 1.5; it must be a whole number"),
        ("steps", None, "steps is None"),
        ("iterations", "many", "iterations is 'many'"),
        ("queries", 2.0, "queries is 2.0"),
        ("step_size", "small", "step_size is 'small'; it must be a number"),
        ("norm", "l2", "norm is 'l2'; it must be a number"),
        ("epsilon", 10**400, "it must be a number"),
        ("epsilon", "0.1", "epsilon is '0.1'; it must be a number"),
    ],
)
def test_attacks_settings_are_of_the_declared_types(attack, name, value, sentence):
    function = getattr(attacks, attack)
    if name not in inspect.signature(function).parameters:
        return
    settings = {**BUDGETS[attack], name: value}
    works_or_says(sentence, lambda: function(classifier(), images(), np.zeros(3, int), bounds=(0, 1), **settings))


@pytest.mark.parametrize(
    ("returned", "kind"),
    [(None, "NoneType"), ("logits", "str"), ({}, "dict"), (np.array([[None, 1.0]] * 3), "array of object")],
    ids=["None", "str", "dict", "objects"],
)
def test_attacks_say_what_is_not_logits(returned, kind):
    works_or_says(
        f"returns a {kind}, where logits are needed",
        lambda: attacks.square(lambda x: returned, images(), np.zeros(3, int), bounds=(0, 1), epsilon=0.1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["straight_through", "unrolled", "implicit"])
def test_stand_ins_refuse_images_of_another_form_or_range(name):
    stand_in = getattr(differentiable, name)(inc.InvertAndClassify(classifier(), projector()))
    works_or_says("Images are uint8", lambda: stand_in((255 * images()).astype(np.uint8)))
    works_or_says(r"must lie in \[0, 1\]", lambda: stand_in(255 * images()))
    works_or_says("a batch of them", lambda: stand_in(images()[..., 0]))
    assert stand_in(images() * np.float32(1.0001)).shape == (3, CLASSES)  # as an attack rounds


def test_a_model_that_is_put_together_on_another_shape_gets_one_sentence():
    defense = inc.InvertAndClassify(classifier(), projector())
    works_or_says(r"shape \[None, 9, 9, 1\]; they must be", lambda: defense(layers.Input((9, 9, 1))))
    works_or_says("Images are int32", lambda: defense(layers.Input(SHAPE, dtype="int32")))
    x = layers.Input(SHAPE)
    whole = keras.Model(x, defense(x).logits)
    np.testing.assert_allclose(whole(images()), defense(images()).logits, rtol=1e-5)


def test_models_that_share_a_weight_are_not_saved_as_what_cannot_be_loaded(tmp_path):
    shared = encoder()
    search = projector(start=inc.FromEncoder(shared))
    defense = inc.InvertAndClassify(keras.Sequential([shared, layers.Dense(CLASSES)]), search)
    works_or_says(
        r"The classifier and the encoder share the weight .*clone_model\(encoder\)",
        lambda: defense.save(tmp_path / "defense.keras"),
    )
    assert list(tmp_path.iterdir()) == []
    copied = keras.models.clone_model(shared)
    copied.set_weights(shared.get_weights())
    apart = inc.InvertAndClassify(keras.Sequential([copied, *defense.classifier.layers[1:]]), search)
    apart.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    np.testing.assert_array_equal(loaded(images()).logits, defense(images()).logits)


@pytest.mark.slow
@pytest.mark.parametrize("attack", BUDGETS)
def test_attacks_given_a_whole_defense_say_what_they_take(attack, one_projector):
    defense = inc.InvertAndClassify(classifier(), one_projector)
    works_or_says(
        "is a whole defence: attack defense.classifier",
        lambda: getattr(attacks, attack)(defense, images(), np.zeros(3, int), bounds=(0, 1), **BUDGETS[attack]),
    )
    works_or_says(
        "returns a Classification",
        lambda: getattr(attacks, attack)(
            lambda x: defense(x), images(), np.zeros(3, int), bounds=(0, 1), **BUDGETS[attack]
        ),
    )


@pytest.mark.parametrize(
    "function",
    [
        differentiable.straight_through,
        differentiable.unrolled,
        differentiable.implicit,
        inc.to_art,
        inc.to_foolbox,
        lambda network: attacks.latent(network, images(), np.zeros(3, int), bounds=(0, 1), epsilon=0.1),
    ],
)
def test_what_needs_a_whole_defense_says_so_of_a_classifier(function):
    works_or_says("it must be an inc.InvertAndClassify", lambda: function(classifier()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["straight_through", "unrolled", "implicit"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
def test_stand_ins_follow_defenses_of_any_type_on_images_of_any_type(name, policy):
    search = under(policy, lambda: projector(generator(), inc.LevenbergMarquardt(3), inc.FromEncoder(encoder())))
    defense = inc.InvertAndClassify(under(policy, classifier), search)
    stand_in = getattr(differentiable, name)(defense)
    assert stand_in(images().astype(np.float64)).dtype == tf.float32
    found = attacks.pgd(stand_in, images().astype(np.float64), np.zeros(3, int), bounds=(0, 1), epsilon=0.5, steps=2)
    assert found.dtype == tf.float32
    assert np.any(found != images())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["subclassed, called", "of codes 1, 1, k", "channels first", "mixed_float16", "float64"]
)
def test_what_was_made_to_fit_is_saved_and_exported(kind, tmp_path, monkeypatch):
    registered = keras.saving.register_keras_serializable("test_fit")(type("Registered", (Subclassed,), {}))
    make = (lambda: called(registered("images"), (K,))) if "subclassed" in kind else GENERATORS[kind][0]
    if "subclassed" in kind:
        monkeypatch.setattr(registered, "get_config", lambda self: {"end": "images"})
    one_sigmoid = CLASSIFIERS["one sigmoid"][0]()
    defense = inc.InvertAndClassify(one_sigmoid, projector(make()), threshold=2.5, class_names=["no", "yes"])
    before = defense(images(), seed=4)
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras", safe_mode=True)
    for a, b in zip(before, loaded(images(), seed=4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (loaded.threshold, loaded.bounds, loaded.class_names) == (2.5, (0.0, 1.0), ("no", "yes"))
    served = tf.saved_model.load(str(export(defense, tmp_path, "defense"))).signatures["serving_default"]
    answer = served(images=tf.constant(images()), seed=tf.constant(4))
    np.testing.assert_allclose(answer["distance"], before.distances, rtol=1e-5)
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(before.logits), rtol=1e-5)


def test_a_binary_classifier_keeps_the_logit_that_its_sigmoid_loses():
    network = classifier(end=layers.Dense(1, activation="sigmoid"))
    network.layers[-1].set_weights([np.full((64, 1), 0.1), np.array([20.0])])
    x = images()
    assert (network(x).numpy() == 1.0).all()  # saturated
    logits = fit.fitted_classifier(network, SHAPE)(x).numpy()
    np.testing.assert_allclose(logits, np.stack([np.zeros(3), 0.1 * x.sum(axis=(1, 2, 3)) + 20], axis=1), rtol=1e-6)
    found = attacks.fgsm(network, x, np.ones(3, int), bounds=(0, 1), epsilon=0.25)
    np.testing.assert_allclose(found, np.clip(x - 0.25, 0, 1), atol=1e-7)


def test_what_fits_is_left_as_it_is():
    parts = classifier(), generator(), encoder()
    assert fit.fitted_classifier(parts[0], SHAPE) is parts[0]
    assert fit.fitted_generator(parts[1]) is parts[1]
    assert fit.fitted_encoder(parts[2], parts[1]) is parts[2]


def linear(share: float, beyond: float) -> keras.Model:
    """A generator without a last activation, `share` of whose values are `beyond`, the others 0.5."""
    network = generator(activation=None)
    values = np.where(np.arange(64) < share * 64, beyond, 0.5)
    network.layers[1].set_weights([np.full((K, 64), 1e-6), values])
    return network


@pytest.mark.parametrize(
    ("share", "beyond", "said"), [(0.2, 3.0, "warning"), (1.0, 1.04, "warning"), (0.3, 3.0, "error")]
)
def test_a_generator_that_leaves_the_bounds_by_little_is_warned_of(share, beyond, said):
    make = lambda: inc.InvertAndClassify(classifier(), projector(linear(share, beyond)))  # noqa: E731
    if said == "error":
        works_or_says("The generator makes values from", make)
    else:
        with pytest.warns(UserWarning, match=r"% lie outside the bounds \[0, 1\], from"):
            make()


def test_a_classifier_that_draws_is_warned_of():
    with pytest.warns(UserWarning, match="returns other logits for the same image in another call"):
        inc.InvertAndClassify(classifier(Noise()), projector())


def test_probabilities_that_no_activation_names_are_warned_of():
    hidden = classifier(layers.Flatten(), layers.Dense(CLASSES), end=layers.Lambda(tf.sigmoid))
    with pytest.warns(UserWarning, match=r"logits .* lie between .*, as probabilities do"):
        inc.InvertAndClassify(hidden, projector())


def test_a_grey_classifier_behind_a_coloured_generator_works_by_the_line_that_is_said():
    x = layers.Input((K,))
    coloured = keras.Model(x, layers.Reshape((8, 8, 3))(layers.Dense(192, activation="sigmoid")(x)))
    with pytest.raises(inc.InputError, match=r"classifier\(keras.ops.image.rgb_to_grayscale\(x\)\)"):
        inc.InvertAndClassify(classifier(), projector(coloured))
    x = keras.Input((8, 8, 3))
    grey = keras.Model(x, classifier()(keras.ops.image.rgb_to_grayscale(x)))
    assert inc.InvertAndClassify(grey, projector(coloured)).image_shape == (8, 8, 3)


def test_a_generator_of_another_scale_is_warned_of():
    with pytest.warns(UserWarning, match="a small part of the bounds"):
        inc.InvertAndClassify(classifier(), projector(linear(0.5, 1.0)), bounds=(0, 255))


def test_loading_concludes_nothing_from_weights_that_are_still_to_come(tmp_path):
    """A generator without a last activation, fresh, would leave the bounds."""
    with pytest.warns(UserWarning, match="a small part of the bounds"):  # it makes one grey image
        defense = inc.InvertAndClassify(classifier(), projector(linear(0.0, 0.0)))
    defense.save(tmp_path / "defense.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = keras.saving.load_model(tmp_path / "defense.keras")
    np.testing.assert_array_equal(loaded(images()).distances, defense(images()).distances)


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (0, 1, 2), 5, "01", (0, np.inf), (np.nan, 1)])
def test_refuses_bounds(bounds):
    works_or_says("The bounds are", lambda: inc.InvertAndClassify(classifier(), projector(), bounds=bounds))


def test_takes_bounds_of_any_type():
    assert inc.InvertAndClassify(classifier(), projector(), bounds=np.array([0, 1])).bounds == (0.0, 1.0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: inc.Adam(steps=0), "steps is 0; it must be a whole number, at least 1"),
        (lambda: inc.Adam(steps=2**31), "steps is 2147483648; it must be below"),
        (lambda: inc.Adam(steps=-5), "steps is -5"),
        (lambda: inc.Adam(steps=1.5), "steps is 1.5"),
        (lambda: inc.Adam(learning_rate=float("nan")), "learning_rate is nan; it must be a finite number above 0"),
        (lambda: inc.Adam(tolerance=-0.1), "tolerance is -0.1; it must be between 0 and 1"),
        (lambda: inc.LBFGS(steps=0), "steps is 0"),
        (lambda: inc.LevenbergMarquardt(tolerance=float("nan")), "tolerance is nan"),
        (lambda: inc.Normal(restarts=0), "restarts is 0"),
        (lambda: inc.Normal(stddev=-1.0), "stddev is -1.0"),
        (lambda: inc.Nearest(candidates=0), "candidates is 0"),
        (lambda: inc.Nearest(5, candidates=3), "5 restarts of 3 candidates"),
        (lambda: inc.InvertAndClassify(classifier(), generator()), r"inc.LatentProjector\(generator\)"),
        (lambda: inc.EncoderProjector(generator(), encoder()), "swapped"),
        (
            lambda: inc.InvertAndClassify(classifier(), layers.Rescaling(1.0)),
            r"The projector is a Rescaling, which takes no seed; .* inc.EncoderProjector\(encoder, decoder\)",
        ),
        (lambda: projector(solver="adam"), r"The solver is 'adam'; it must be a solver of inc, inc.Adam\(\) say"),
        (lambda: projector(solver=inc.LBFGS), "it must be a solver of inc"),
        (lambda: projector(solver=keras.optimizers.Adam()), "it must be a solver of inc"),
        (lambda: projector(solver=inc.Normal(), start=inc.Adam()), "it must be a solver of inc"),
        (lambda: projector(start=inc.Normal), "it must be a start of inc"),
        (lambda: projector()(images(), seed=2**40), "The seed is 1099511627776; it must be a whole number"),
        (lambda: projector()(images(), seed=0.5), "The seed is 0.5"),
        (lambda: projector(start=inc.FromEncoder(classifier())), "each must take what the other returns"),
        (lambda: inc.EncoderProjector(inc.models.mnist.vae(), generator()), "give model.encoder"),
        (lambda: projector()(images(), seed=[1, 2]), "There are 2 seeds and 3 images"),
        (lambda: projector()(images(), seed=tf.constant(2.5)), "The seed is .*; it must be a whole number"),
        (lambda: differentiable.unrolled(inc.InvertAndClassify(classifier(), projector()), steps=0), "steps is 0"),
        (
            lambda: inc.to_foolbox(inc.InvertAndClassify(classifier(), projector()), "implicit"),
            "The stand-in is 'implicit'",
        ),
        (
            lambda: inc.to_foolbox(inc.InvertAndClassify(classifier(), projector()), differentiable.implicit),
            "The stand-in is <function implicit",
        ),
        (
            lambda: differentiable.implicit(inc.InvertAndClassify(classifier(), projector()), seeds=3),
            "seeds is 3; it must be whole numbers, one for each draw",
        ),
        (
            lambda: differentiable.unrolled(
                inc.InvertAndClassify(classifier(), inc.EncoderProjector(encoder(), generator()))
            ),
            "a EncoderProjector, has no solver",
        ),
        (lambda: export(classifier(), Path("models"), "name"), "it must be an inc.InvertAndClassify"),
        (lambda: inc.DeepImagePrior((8, 8, 1)), "The network is a tuple; it must be a keras.Model"),
        (lambda: inc.InvertAndClassify(classifier(), projector()).predict(images(), batch_size=-1), "batch_size is -1"),
        (
            lambda: inc.InvertAndClassify(classifier(), projector()).predict(nothing()),
            "The data set of images is empty",
        ),
        (lambda: inc.threshold_at(3.0, 0.1), r"must be \[N\]"),
        (lambda: inc.threshold_at(["a"], 0.1), "The distances are a list; they must be numbers"),
        (lambda: inc.threshold_at([1.0], "much"), "The false-rejection rate is much"),
    ],
)
def test_refuses_parts(make, sentence):
    works_or_says(sentence, make)
