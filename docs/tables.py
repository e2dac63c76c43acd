"""Put the tables of the records into the pages that show them: after `<!-- docs/results/NAME.md -->`, what NAME.md has.

`make report` runs it, after the records have changed.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHOWN = re.compile(r"(<!-- (docs/results/\S+\.md) -->\n)((?:\|.*\n|\n(?=\|))*)")


def main() -> None:
    """Rewrite the README and the pages of docs/ in place."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        drawn = SHOWN.sub(lambda found: found[1] + (ROOT / found[2]).read_text().strip() + "\n", text)
        if drawn != text:
            page.write_text(drawn)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
