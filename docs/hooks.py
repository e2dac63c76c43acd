"""What MkDocs does beyond its own: the records of `benchmarks/results`, outside docs/, join the site.

Pages link to them as they lie in the repository, so that the links work there too.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_FOLDER = "benchmarks/results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the benchmarks' records and plots."""
    for path in sorted((Path(config.config_file_path).parent / _FOLDER).iterdir()):
        files.append(File.generated(config, f"{_FOLDER}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to them, from one folder further up: in the site they are within docs/."""
    return re.sub(rf"\]\(\.\./((?:\.\./)*{_FOLDER}/)", r"](\1", markdown)
