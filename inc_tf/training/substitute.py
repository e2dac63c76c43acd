"""Training a substitute for a protected classifier on the answers that it gave; section 4.2.2."""

from pathlib import Path

import keras

from inc_tf.data import Dataset
from inc_tf.errors import InputError
from inc_tf.seeds import derive
from inc_tf.training import classifier as classifiers

_VALIDATION = 0.1


def train_substitute(
    classifier: keras.Model,
    answers: Dataset,
    *,
    seed: int | None = None,
    steps: int = 4000,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    directory: Path,
) -> keras.Model:
    """A fresh network of `classifier`'s architecture, trained on the protected classifier's answers.

    Args:
      classifier: C, the inner one; its architecture is taken, not its weights.
      answers: what `query` returns; its last tenth is kept back to watch the agreement.
      seed: of the weights and the batches; None is 0. Sets Keras's global seed.
      steps: of Adam.
      batch_size: images a step.
      learning_rate: of Adam.
      directory: gets the state, from which the same call carries on, and TensorBoard's logs.

    Returns: a keras.Model, images → logits. Raises `InputError` where a batch is larger than the answers, or the
    directory holds another run.
    """
    seed = 0 if seed is None else seed
    kept = len(answers) - int(_VALIDATION * len(answers))
    if kept == len(answers):
        raise InputError(f"There are {len(answers)} answers; there must be at least {int(1 / _VALIDATION)}.")
    keras.utils.set_random_seed(derive(seed, "substitute"))
    substitute = keras.models.clone_model(classifier)
    classifiers.train(
        substitute,
        Dataset(answers.name, "train", answers.images[:kept], answers.labels[:kept], answers.bounds),
        Dataset(answers.name, "validation", answers.images[kept:], answers.labels[kept:], answers.bounds),
        settings={
            "substitute": classifier.name,
            "answers": len(answers),
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
        },
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        directory=directory,
    )
    return substitute
