"""Polarity of skills (extraction/polarity.py) against marked sentences and generated ones.

The rules, the marked sentences and the templates have the same writer, so all three figures are
optimistic; `development` was looked at while the rules were written. A reader that calls every skill
held stands beside them.
"""

import csv
import random
from collections import Counter
from pathlib import Path

from matchlib.data.skills import load_graph
from matchlib.extraction.polarity import DENIED, HELD, polarity_of

DATA = Path(__file__).parents[1] / "tests" / "data"
N_GENERATED = 2_000


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a file of tests/data."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def generate(n: int, seed: int) -> list[dict[str, str]]:
    """n sentences of the templates with two skills of the graph each."""
    templates = read_rows("polarity_templates.csv")
    names = [skill.name for skill in load_graph("seen").skills.values()]
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        template = rng.choice(templates)
        skill, other = rng.sample(names, 2)
        sentence = template["template"].format(skill=skill, other=other)
        rows.append({"polarity": template["polarity"], "skill": skill, "sentence": sentence})
    return rows


def found(row: dict[str, str]) -> str:
    """The polarity that the rules give a row's skill."""
    start = row["sentence"].lower().index(row["skill"].lower())
    return polarity_of(row["sentence"], start, start + len(row["skill"]))


def score(rows: list[dict[str, str]]) -> dict[str, float]:
    """Accuracy, F1 of "denied", and the share of denied skills that are read as held."""
    pairs = Counter((row["polarity"], found(row)) for row in rows)
    right = pairs[DENIED, DENIED]
    n_denied = sum(n for (true, _), n in pairs.items() if true == DENIED)
    n_found = sum(n for (_, own), n in pairs.items() if own == DENIED)
    return {
        "n": len(rows),
        "accuracy": sum(n for (true, own), n in pairs.items() if true == own) / len(rows),
        "F1 of denied": 2 * right / (n_denied + n_found),
        "denied read as held": pairs[DENIED, HELD] / n_denied,
        "accuracy of always held": sum(row["polarity"] == HELD for row in rows) / len(rows),
    }


def main() -> None:
    marked = read_rows("polarity_sentences.csv")
    sets = {f"marked, {part}": [] for part in ("development", "test")}
    for row in marked:
        sets[f"marked, {row['part']}"].append(row)
    sets["marked, all"] = marked
    sets["generated"] = generate(N_GENERATED, seed=1)
    for name, rows in sets.items():
        figures = ", ".join(f"{key} {value:.3f}" for key, value in score(rows).items())
        print(f"{name}: {figures}")


if __name__ == "__main__":
    main()
