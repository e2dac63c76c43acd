"""Does it hold? Attacks that know the defence, on every defence, and the worst of them image by image.

Not in the paper, whose attacks know the classifier alone.
"""

from typing import Any

import click

from inc_tf import zoo
from inc_tf.cli.scripts import script
from inc_tf.evaluation import page
from inc_tf.evaluation.run import Options, experiment

SEARCHES = ("inc", "inc-fast")
THOROUGH = {"votes": 4, "settings": {"implicit": {"restarts": 2}, "implicit-l2": {"restarts": 2}}}
CONTROLS = ("undefended", "autoencode", "manifold-trained", "pgd-trained")


@script("adaptive", quick=100)
@click.option("--n-search", default=10, show_default=True, help="Images for the attacks that query a search.")
@click.option(
    "--thorough", is_flag=True, help="Attack the paper's search with all declared steps and queries; takes hours."
)
@click.option(
    "--epsilon", "epsilons", multiple=True, type=float, help="ε of the attacks. Repeatable.  [default: 0.1, 0.2, 0.3]"
)
def main(options: Options, n_search: int, thorough: bool, epsilons: tuple[float, ...]) -> None:
    """Attacks that know the defence, every defence, and the worst case."""
    run = experiment(options, "classifier", "generative", optional=("manifold-trained", "pgd-trained"))
    run.record.deviations.append("Not in the paper: it attacks the classifier, not the search.")
    controls = tuple(name for name in CONTROLS if set(zoo.DEFENSES[name].parts) <= run.bench.parts.models.keys())
    effort: dict[str, Any] = dict(THOROUGH) if thorough else {"slow": ("inc",)}
    spend = page.budget(run.images.bounds, run.images.images.shape[1:], n_search, epsilons, **effort)
    page.page(run, spend, page.Cast(SEARCHES, controls))
    run.finish(page.table(run.record), page.draw)


if __name__ == "__main__":
    main()
