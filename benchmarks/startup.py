"""How long it takes to start: the library beside TensorFlow alone, and the command line.

    python benchmarks/startup.py

Each command is a process of its own, the commands in turn, and the median of `--repeats` counts. Writes
`benchmarks/results/startup.json`.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from machine import RESULTS, watched
from projection import table

INC = str(Path(sys.executable).with_name("inc"))
DIGIT = str(Path(__file__).parents[1] / "examples" / "seven.png")
COMMANDS = {
    "import tensorflow, keras": (sys.executable, "-c", "import tensorflow, keras"),
    "import inc_tf": (sys.executable, "-c", "import inc_tf"),
    "from inc_tf import InvertAndClassify": (sys.executable, "-c", "from inc_tf import InvertAndClassify"),
    "inc --version": (INC, "--version"),
    "inc --help": (INC, "--help"),
    "inc reproduce --help": (INC, "reproduce", "--help"),
    "inc defend seven.png --defense digits": (INC, "defend", DIGIT, "--defense", "digits"),
}


@click.command()
@click.option("--repeats", default=7, show_default=True)
def main(repeats: int) -> None:
    """Time each command."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with watched(RESULTS / "startup.json") as record:
        for _ in range(repeats):
            for name, command in COMMANDS.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                taken[name].append(time.perf_counter() - started)
        record["rows"] = [{"command": name, "seconds": statistics.median(times)} for name, times in taken.items()]
        click.echo(table(record["rows"]))


if __name__ == "__main__":
    main()
