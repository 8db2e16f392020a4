"""Whether a swap's excess has an interval that covers 0 where names do not matter, and finds it where
they do; simulated rankers, no text is encoded.

Usage: python benchmarks/bench_swaps.py [audits] [resumes] [name sets]. Every audit draws its own
names and its own ranker of 40 resumes for 20 jobs. Three rankers:
ignores names: the score is the person's plus noise that every text draws anew (so that any edit, a
name's too, moves it), and a longer text costs .02;
names pull: the same, and every name has a pull of its own, whatever its gender;
goes by gender: the same as the second, and a woman's name costs .05.
All are in units of the score, whose noise is .05 a text and whose pull of a name is .05.
"""

import sys

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.analysis import controlled_swaps as swaps
from matchlib.data.names import unambiguous_names

N_JOBS = 20
TEXT_NOISE = 0.05
NAME_PULL = 0.05
GENDER_COST = 0.05
LENGTH_COST = 0.02
LOCALES = ["en_IN", "en_KE"]
RANKERS = {
    "ignores names": (0.0, 0.0),
    "names pull": (NAME_PULL, 0.0),
    "goes by gender": (NAME_PULL, GENDER_COST),
}


def make_scorer(seed, pull, gender_cost):
    """Scores (J, n) of texts; the same text gets the same score."""
    rng = np.random.default_rng(seed)
    women = set(unambiguous_names()["woman"])
    fit, noise, pulls = {}, {}, {}

    def score(text):
        name, _, body = text.partition("\n")
        person = body.split("\n")[0]
        value = fit.setdefault(person, rng.normal()) + noise.setdefault(
            text, TEXT_NOISE * rng.normal()
        )
        value += pull * pulls.setdefault(name, rng.normal()) - LENGTH_COST * text.count("\n")
        return value - gender_cost * (name.removeprefix(swaps.NAME_LINE) in women)

    def score_texts(texts):
        return np.tile([score(text) for text in texts], (N_JOBS, 1))

    return score_texts


def people(n):
    texts = [f"person {i}\nskills of {i}" for i in range(n)]
    return pd.DataFrame({"resume_id": [f"r{i}" for i in range(n)], "text": texts})


def covers_zero(seed, n_resumes, n_names, pull, gender_cost):
    """effect -> the interval of its excess covers 0."""
    variants = swaps.make_variants(
        people(n_resumes), n_resumes=n_resumes, n_names=n_names, locales=LOCALES, seed=seed
    )
    scored = swaps.score_variants(
        variants, make_scorer(seed, pull, gender_cost), np.zeros((N_JOBS, 2))
    )
    effects = swaps.controlled_effects(scored, LOCALES)
    effects = effects[effects["measure"] == swaps.SHIFT].set_index("effect")
    covers = (effects["low"] <= 0) & (effects["high"] >= 0)
    return covers.to_dict()


def main(n_audits=200, n_resumes=40, n_names=20):
    rows = []
    for ranker, (pull, gender_cost) in RANKERS.items():
        found = pd.DataFrame(
            covers_zero(seed, n_resumes, n_names, pull, gender_cost) for seed in range(n_audits)
        )
        for effect, covered in found.items():
            interval = stats.binomtest(int(covered.sum()), n_audits).proportion_ci()
            row = {"ranker": ranker, "effect": effect, "covers 0": covered.mean()}
            rows.append(row | {"low": interval.low, "high": interval.high})
    print(f"{n_audits} audits of {n_resumes} resumes and {n_names} sets of names")
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
