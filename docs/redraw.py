"""Draw the tables and plots of `docs/results` again from their records, and put the tables into the pages.

`make redraw` runs it. A plot that shows more than a record holds (images, codes, ROC curves) stays as its script left
it. A page shows a table between `<!-- docs/results/NAME.md -->` and `<!-- end -->`.
"""

import importlib
import inspect
import json
import math
import re
from dataclasses import fields
from pathlib import Path

from inc_tf.evaluation import page
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import save

ROOT = Path(__file__).parent.parent
SHOWN = re.compile(r"(<!-- (docs/results/\S+\.md) -->\n).*?(?=<!-- end -->)", flags=re.DOTALL)


def redraw(path: Path) -> None:
    """Draw the table and the plot of one record, as its script does."""
    saved = json.loads(path.read_text())
    for row in saved["rows"]:
        row |= {end: math.nan for end in ("low", "high") if row[end] is None}
    record = Record(**{field.name: saved[field.name] for field in fields(Record) if field.name in saved})
    script = importlib.import_module(f"inc_tf.reproduce.{record.artefact}")
    drawn = page if record.artefact == "adaptive" else script
    if drawn is page and not record.claims:  # of before draws were scored
        return
    path.with_suffix(".md").write_text(drawn.table(record) + "\n")
    if _needs_only_the_record(drawn.draw):
        save(drawn.draw(record), path.with_suffix(""))


def _needs_only_the_record(draw) -> bool:
    parameters = list(inspect.signature(draw).parameters.values())
    return parameters[0].name == "record" and all(p.default is not p.empty for p in parameters[1:])


def show() -> None:
    """Put the tables into the README and the pages of docs/."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        drawn = SHOWN.sub(lambda found: found[1] + (ROOT / found[2]).read_text().strip() + "\n", text)
        if drawn != text:
            path.write_text(drawn)


if __name__ == "__main__":
    for record in sorted((ROOT / "docs" / "results").glob("*.json")):
        redraw(record)
    show()
