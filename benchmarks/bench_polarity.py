"""Polarity of skills (extraction/polarity.py) against marked sentences and generated ones.

"own" has the writer of the rules, "second" and "third" other ones, who did not know them. All were read
while the rules were mended but the templates "second, unread" and the sentences of the third writer,
after which no rule was changed: these say what to expect of texts that nobody looked at. Intervals
redraw templates or sentences. A reader that calls every skill held stands beside.
"""

import csv
import random
from collections import Counter
from pathlib import Path

from matchlib.data.skills import load_graph
from matchlib.extraction.polarity import DENIED, HELD, polarity_of

DATA = Path(__file__).parents[1] / "tests" / "data"
N_GENERATED = 1_000
N_REDRAWN = 400


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a file of tests/data."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def generate(part: str, n: int, seed: int) -> list[dict[str, str]]:
    """n sentences of a part's templates with two skills of the graph each."""
    templates = [row for row in read_rows("polarity_templates.csv") if row["part"] == part]
    names = [skill.name for skill in load_graph("seen").skills.values()]
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        template = rng.choice(templates)
        skill, other = rng.sample(names, 2)
        sentence = template["template"].format(skill=skill, other=other)
        rows.append(
            {
                "polarity": template["polarity"],
                "skill": skill,
                "sentence": sentence,
                "cluster": template["template"],
            }
        )
    return rows


def found(row: dict[str, str]) -> str:
    """The polarity that the rules give a row's skill."""
    start = row["sentence"].lower().index(row["skill"].lower())
    return polarity_of(row["sentence"], start, start + len(row["skill"]))


def figures(rows: list[dict[str, str]]) -> dict[str, float]:
    """Accuracy, F1 of "denied", and the share of denied skills that are read as held."""
    pairs = Counter((row["polarity"], row["found"]) for row in rows)
    right = pairs[DENIED, DENIED]
    n_denied = sum(n for (true, _), n in pairs.items() if true == DENIED)
    n_found = sum(n for (_, own), n in pairs.items() if own == DENIED)
    return {
        "accuracy": sum(n for (true, own), n in pairs.items() if true == own) / len(rows),
        "F1 of denied": 2 * right / max(1, n_denied + n_found),
        "denied read as held": pairs[DENIED, HELD] / max(1, n_denied),
        "accuracy of always held": sum(row["polarity"] == HELD for row in rows) / len(rows),
    }


def report(name: str, rows: list[dict[str, str]]) -> None:
    """Print the figures of a set with 95% intervals over its clusters."""
    by_cluster: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        own = row | {"found": found(row)}
        by_cluster.setdefault(row.get("cluster", row["sentence"]), []).append(own)
    clusters = list(by_cluster.values())
    rng = random.Random(0)
    redrawn = [
        figures([row for one in rng.choices(clusters, k=len(clusters)) for row in one])
        for _ in range(N_REDRAWN)
    ]
    told = []
    for key, value in figures([row for one in clusters for row in one]).items():
        values = sorted(one[key] for one in redrawn)
        low, high = values[int(0.025 * N_REDRAWN)], values[int(0.975 * N_REDRAWN)]
        told.append(f"{key} {value:.3f} [{low:.3f}, {high:.3f}]")
    print(f"{name} ({len(rows)} in {len(clusters)}): {', '.join(told)}")


def main() -> None:
    marked = read_rows("polarity_sentences.csv")
    for part in ("development", "test"):
        report(f"marked, own, {part}", [row for row in marked if row["part"] == part])
    report("marked, second", read_rows("polarity_sentences_second.csv"))
    report("marked, third", read_rows("polarity_sentences_third.csv"))
    for part in ("own", "second, read", "second, unread"):
        report(f"generated, {part}", generate(part, N_GENERATED, seed=1))


if __name__ == "__main__":
    main()
