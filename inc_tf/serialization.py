"""How the library's parts go into a `.keras` file and come out of it again."""

from dataclasses import asdict, dataclass

import keras


@dataclass(frozen=True)
class Settings:
    """Makes a frozen dataclass of plain values serializable by Keras; register it beside."""

    def get_config(self) -> dict:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


def serialized(**parts) -> dict:
    """The configurations of models, layers and settings, by name."""
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def deserialized(config: dict, *names: str) -> dict:
    """`config` with the parts of these names made objects again."""
    return {
        name: keras.saving.deserialize_keras_object(value) if name in names else value for name, value in config.items()
    }
