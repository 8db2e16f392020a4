"""Polarity of skills (extraction/polarity.py) on sentences and templates that it was not trained on.

Sentences are by writers who are not in the training set (a dozen short ones, "Eager to learn Rust", stand
there in the same words); templates are filled with the graph's skills, and others by their writer were
trained on. Intervals redraw sentences or templates. A reader that calls every skill held stands beside.

`python benchmarks/bench_polarity.py resumes.jsonl` (a field "text" each) prints instead what is not
read as held in resumes of one's own: most of that is a mistake, since people list what they can.
"""

import csv
import json
import random
import sys
from collections import Counter
from pathlib import Path

from matchlib.data.skills import load_graph
from matchlib.extraction.facts import read_polarities, statements_of
from matchlib.extraction.polarity import DENIED, HELD
from matchlib.extraction.polarity_reader import polarities_of
from matchlib.extraction.train_polarity import place_of

DATA = Path(__file__).parents[1] / "tests" / "data"
UNREAD = "second, unread"
N_GENERATED = 1_000
N_REDRAWN = 400


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a file of tests/data."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def generate(n: int, seed: int) -> list[dict[str, str]]:
    """n sentences of the templates that are not in the training set, with two skills of the graph each."""
    templates = [row for row in read_rows("polarity_templates.csv") if row["part"] == UNREAD]
    names = [skill.name for skill in load_graph("seen").skills.values()]
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        template = rng.choice(templates)
        skill, other = rng.sample(names, 2)
        rows.append(
            {
                "polarity": template["polarity"],
                "skill": skill,
                "sentence": template["template"].format(skill=skill, other=other),
                "cluster": template["template"],
            }
        )
    return rows


def figures(rows: list[dict[str, str]]) -> dict[str, float]:
    """Accuracy, F1 of "denied", and the share of denied skills that are read as held."""
    pairs = Counter((row["polarity"], row["found"]) for row in rows)
    right = pairs[DENIED, DENIED]
    n_denied = sum(n for (true, _), n in pairs.items() if true == DENIED)
    n_found = sum(n for (_, own), n in pairs.items() if own == DENIED)
    n_held = sum(n for (true, _), n in pairs.items() if true == HELD)
    return {
        "accuracy": sum(n for (true, own), n in pairs.items() if true == own) / len(rows),
        "F1 of denied": 2 * right / max(1, n_denied + n_found),
        "denied read as held": pairs[DENIED, HELD] / max(1, n_denied),
        "held read as held": pairs[HELD, HELD] / max(1, n_held),
        "accuracy of always held": n_held / len(rows),
    }


def report(name: str, rows: list[dict[str, str]]) -> None:
    """Print the figures of a set with 95% intervals over its clusters."""
    places = [place_of(row["sentence"], row["skill"]) for row in rows]
    by_cluster: dict[str, list[dict[str, str]]] = {}
    for row, found in zip(rows, polarities_of(places), strict=True):
        cluster = row.get("cluster", row["sentence"])
        by_cluster.setdefault(cluster, []).append(row | {"found": found})
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


def report_resumes(path: Path) -> None:
    """Print what is not read as held in the resumes of a JSONL file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    polarities = read_polarities([statements_of(json.loads(line)["text"]) for line in lines])
    for (statement, start, end), polarity in polarities.items():
        if polarity != HELD:
            shown = statement[max(0, start - 80) : start], statement[start:end], statement[end:]
            print(f"{polarity}: {shown[0]}[{shown[1]}]{shown[2][:80]}")
    counts = Counter(polarities.values())
    print(f"{len(lines)} resumes, {len(polarities):,} distinct places of skills: {dict(counts)}")


def main() -> None:
    if len(sys.argv) > 1:
        report_resumes(Path(sys.argv[1]))
        return
    sets = {
        "a third writer's sentences": read_rows("polarity_sentences_third.csv"),
        "a tenth writer's sentences": read_rows("polarity_sentences_tenth.csv"),
        "a twelfth writer's sentences": read_rows("polarity_sentences_twelfth.csv"),
        "a thirteenth writer's sentences": read_rows("polarity_sentences_thirteenth.csv"),
        "unread templates": generate(N_GENERATED, seed=1),
    }
    for name, rows in sets.items():
        report(name, rows)


if __name__ == "__main__":
    main()
