"""What the paper claims, held against an evaluation's record."""

from inc_tf.evaluation.records import Record


def claims(record: Record) -> list[list[str]]:
    """What the paper claims, whether it holds at every, some or no ε beyond the intervals, and the figures."""
    epsilons = [row["epsilon"] for row in record.select(defense="inc", attack="worst-case", metric="accuracy")]
    if not epsilons:
        return []

    def cells(defense: str, attack: str) -> list[dict]:
        return [record.one(defense=defense, attack=attack, epsilon=e, metric="accuracy") for e in epsilons]

    def verdict(claim: str, more: list[dict], less: list[dict], what: str) -> list[str]:
        held = [one["low"] > other["high"] for one, other in zip(more, less, strict=True)]
        said = "holds" if all(held) else "holds in part" if any(held) else "does not hold"
        return [claim, said, f"{_row(more)} beside {_row(less)} {what}"]

    clean = record.one(defense="inc", attack="clean", epsilon=0.0, metric="accuracy")
    half = [{part: clean[part] / 2 for part in ("value", "low", "high")}] * len(epsilons)

    found = [
        verdict(
            "attacks on the classifier lose their force behind INC (4.1)",
            cells("inc", "pgd"),
            cells("undefended", "pgd"),
            "undefended, PGD on C",
        ),
        verdict(
            "no gradient attack through the search can be made to work (4.2.2)",
            cells("inc", "implicit"),
            half,
            "half of clean accuracy",
        ),
        verdict("INC withstands who knows it", cells("inc", "worst-case"), half, "half of clean accuracy"),
    ]
    if record.select(defense="autoencode"):
        carried, own = cells("inc", "autoencode-pgd"), cells("autoencode", "end-to-end")
        what = "of the autoencoder itself"
        found.append(verdict("attacks on the autoencoder do not carry over to INC (Appendix A)", carried, own, what))
    if record.select(defense="manifold-trained"):
        trained, bare = cells("manifold-trained", "worst-case"), cells("undefended", "worst-case")
        found.append(verdict("training against pairs on the manifold makes C robust (4.3)", trained, bare, "untrained"))
    return found


def _row(rows: list[dict]) -> str:
    return " / ".join(f"{100 * row['value']:.0f}" for row in rows) + " %"
