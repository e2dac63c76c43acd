"""The Compose and KubeRay files are valid, and the commands in them exist."""

import json
import shlex
from importlib import metadata
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from inc_tf.cli.main import main

ROOT = Path(__file__).parents[1]
COMPOSE = ["compose.yaml", "deploy/compose.yaml"]


def schema(name: str) -> dict:
    return json.loads((ROOT / "tests" / "schemas" / f"{name}.json").read_text())


def check_command(words: list[str]) -> None:
    """Parse what follows `inc`, as the command line does before it starts any work."""
    name, command, words = main.resolve_command(click.Context(main), words)
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(click.Context(command), words)
    command.make_context(name, words)


@pytest.fixture(scope="module")
def rayjob() -> dict:
    job, claim = yaml.safe_load_all((ROOT / "deploy" / "rayjob.yaml").read_text())
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    (volume,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    return job


@pytest.mark.parametrize("path", COMPOSE)
def test_compose_files_meet_the_specification(path, tmp_path):
    document = yaml.safe_load((ROOT / path).read_text())
    jsonschema.validate(document, schema("compose"))
    for service in document["services"].values():
        assert set(service.get("depends_on", {})) <= document["services"].keys()
        if service.get("image", "inc-tf").startswith("inc-tf") and "entrypoint" not in service:
            check_command([str(tmp_path) if word == "/models" else word for word in service["command"]])


def test_rayjob_meets_kuberays_schema_and_names_our_ray(rayjob):
    jsonschema.validate(rayjob, schema("rayjob"))
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == metadata.version("ray")
    inc, *words = shlex.split(rayjob["spec"]["entrypoint"])
    assert inc == "inc"
    check_command(words)


@pytest.mark.parametrize("wrong", ["entrypont", "template"])
def test_schema_rejects_unknown_fields(rayjob, wrong):
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate({**rayjob, "spec": {**rayjob["spec"], wrong: {}}}, schema("rayjob"))
