"""The signatures of a SavedModel as its file has them.

TensorFlow has no public function that tells the default of an input, so this module reads the protobuf itself.
"""

from pathlib import Path

from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2


def definitions(folder: Path) -> dict[str, dict]:
    """The SavedModel's signatures by name, each a SignatureDef as JSON has it."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    found = saved.meta_graphs[0].signature_def
    return {name: json_format.MessageToDict(definition, **options) for name, definition in found.items()}
