"""The audit of intersections on simulated rankings: bias that only an intersection shows, false
alarms, and whether the stated smallest gap is found as often as stated.

Usage: python benchmarks/bench_intersections.py [bias|power|strata|all] [audits] [first seed]. Nothing is trained
and no text is encoded. Every audit has a market of its own (14 occupations, 200 jobs, 600 resumes);
a ranker scores true score + noise (one draw a pair, one a resume). Half of the people of every
occupation are women; four ethnicities whose shares lean by occupation (b: 15 to 35%) and two age
bands that lean by seniority give 44 groups, of which those of 20 people and more are audited, two
outcomes each, within occupation and seniority.

bias: the scores of women of ethnicity b are .1 lower, and those of the other three combinations are
moved so that within an occupation neither women nor b have another mean (b women are about 75 of
the 600). Found: an audit that names them as lower; a false alarm: one of the same rankings without
the planted bias that names anybody.
power: before the audit the smallest gap that a group could show is taken from the ranking; then the
scores of the group are lowered until its gap in this very ranking has fallen by that much (found by
bisection). Found: the audit names the group, in that outcome, as lower.
strata: how many of 600 people have anyone of the other gender beside them as strata widen, with 14 and
with 112 segregated occupations, means of so many markets as audits / 40.
"""

import sys

import numpy as np
import pandas as pd
from bench_audit import CUTOFF, PAIR_NOISE, RESUME_NOISE, make_world, rank_by
from scipy import stats

from matchlib.analysis import coarser_strata, intersections
from matchlib.analysis.bias import codes_of, groups_of
from matchlib.analysis.intersections import SELECTION, STANDING

BIAS = 0.1
N_PERMUTATIONS = 1_000
OCCUPATIONS = 14
COLUMNS = ["gender", "ethnicity", "age"]
WOMAN = ("gender", "woman")
CELL = ("gender × ethnicity", "woman × b")
POWER_TARGETS = [(WOMAN, STANDING), (CELL, STANDING), (WOMAN, SELECTION), (CELL, SELECTION)]
N_BISECTIONS = 14
LARGEST_SHIFT = 1.5


def add_groups(resumes, rng):
    """The resumes with gender, ethnicity and age; share_b: each one's occupation's share of b."""
    occupation = codes_of(resumes, ["occupation"])
    share_b = rng.uniform(0.15, 0.35, occupation.max() + 1)[occupation]
    is_b = rng.random(len(resumes)) < share_b
    others = rng.choice(["a", "c", "d"], len(resumes), p=[0.6, 0.25, 0.15])
    is_senior = resumes["seniority"].isin(["senior", "lead"])
    is_older = rng.random(len(resumes)) < np.where(is_senior, 0.7, 0.3)
    gender = np.where(rng.random(len(resumes)) < 0.5, "woman", "man")
    return resumes.assign(
        gender=gender,
        ethnicity=np.where(is_b, "b", others),
        age=np.where(is_older, "40 and over", "under 40"),
        share_b=share_b,
    )


def intersection_bias(resumes):
    """(R,) what is added to scores: -1 for women of b, margins of every occupation unmoved."""
    is_woman = (resumes["gender"] == "woman").to_numpy()
    is_b = (resumes["ethnicity"] == "b").to_numpy()
    odds = resumes["share_b"].to_numpy() / (1 - resumes["share_b"].to_numpy())
    return np.where(is_b, np.where(is_woman, -1, 1), np.where(is_woman, odds, -odds))


def outcomes_of(scores):
    """`intersections.person_outcomes` of whole pools from (J, R) scores, without a frame of pairs."""
    n_jobs, n_people = scores.shape
    ranks = np.empty(scores.shape)
    order = np.argsort(-scores, axis=1)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(1, n_people + 1.0), scores.shape), 1)
    selected = (ranks <= CUTOFF).mean(axis=0) - CUTOFF / n_people
    standing = ((n_people - ranks) / (n_people - 1)).mean(axis=0)
    return pd.DataFrame({SELECTION: selected, STANDING: standing})


class Audited:
    """A market with its people's groups, and the audit of any scores of theirs."""

    def __init__(self, seed):
        world = make_world(seed, OCCUPATIONS, segregation=0.0)
        self.resumes = add_groups(world.resumes, world.rng)
        pair_noise = PAIR_NOISE * world.rng.normal(size=world.scores.shape)
        resume_noise = RESUME_NOISE * world.rng.normal(size=len(self.resumes))
        self.scores = world.scores + pair_noise + resume_noise
        self.jobs = world.jobs
        self.seed = seed
        self.strata = codes_of(self.resumes, ["occupation", "seniority"])
        self.groups = intersections.protected_groups(
            self.resumes,
            COLUMNS,
            pooled=self.resumes["resume_id"],
            settings=intersections.GroupSettings(),
        )

    def permute(self, scores, n_permutations=N_PERMUTATIONS):
        settings = intersections.GroupSettings()
        gaps_to_find = {
            SELECTION: settings.relative_gap * CUTOFF / len(self.resumes),
            STANDING: settings.standing_gap,
        }
        return intersections.permute_outcomes(
            outcomes_of(scores),
            self.strata,
            self.groups.membership,
            gaps_to_find=gaps_to_find,
            n_permutations=n_permutations,
            seed=self.seed,
        )

    def check(self):
        """That the fast outcomes are those of the package."""
        ranking = rank_by(self.scores, self.jobs, self.resumes)
        own = intersections.person_outcomes(ranking, CUTOFF).loc[self.resumes["resume_id"]]
        assert np.allclose(own[[SELECTION, STANDING]], outcomes_of(self.scores))

    def shift_for(self, target, outcome, gap):
        """The scores with the target group's lowered so that its gap falls by `gap`; None if even
        LARGEST_SHIFT is too little."""
        is_member = self.groups.membership[target].to_numpy().astype(float)
        before = self.gap_of(self.scores, target, outcome)
        low, high = 0.0, LARGEST_SHIFT
        if before - self.gap_of(self.scores - high * is_member, target, outcome) < gap:
            return None
        for _ in range(N_BISECTIONS):
            middle = (low + high) / 2
            fallen = before - self.gap_of(self.scores - middle * is_member, target, outcome)
            low, high = (middle, high) if fallen < gap else (low, middle)
        return self.scores - high * is_member

    def gap_of(self, scores, target, outcome):
        """A group's gap, without a test."""
        values = outcomes_of(scores)[outcome]
        values = values - values.groupby(self.strata).transform("mean")
        is_member = self.groups.membership[target].astype(float).reset_index(drop=True)
        share = is_member.groupby(self.strata).transform("mean")
        return float((is_member * values).sum() / (is_member * (1 - share)).sum())


def names(results, target, outcomes):
    """True if the target is named as lower in any of the outcomes."""
    is_own = (results["column"] == target[0]) & (results["group"] == target[1])
    own = results[is_own & results["outcome"].isin(outcomes)]
    return bool((own["finding"] == intersections.FOUND_LOWER).any())


def rate(name, found):
    interval = stats.binomtest(int(sum(found)), len(found)).proportion_ci()
    return {
        "what": name,
        "audits": len(found),
        "share": np.mean(found),
        "low": interval.low,
        "high": interval.high,
    }


def measure_bias(n_audits, first_seed):
    """False alarms of all audits, and what is found in the first half of them."""
    alarms, found, rejected, margins, sizes = [], [], [], [], []
    for seed in range(first_seed, first_seed + n_audits):
        world = Audited(seed)
        if seed == first_seed:
            world.check()
        sizes.append(int(world.groups.membership[CELL].sum()))
        results = intersections.read_gaps(world.permute(world.scores))
        alarms.append(results["p_adjusted"].min() < 0.05)
        if len(found) >= n_audits / 2:
            continue
        biased = world.scores + BIAS * intersection_bias(world.resumes)
        results = intersections.read_gaps(world.permute(biased))
        found.append(names(results, CELL, [SELECTION, STANDING]))
        rejected.append(results["p_adjusted"].min() < 0.05)
        margins.append(
            any(names(results, key, [SELECTION, STANDING]) for key in (WOMAN, ("ethnicity", "b")))
        )
    print(
        f"people of the planted intersection: {min(sizes)} to {max(sizes)} of {len(world.resumes)}"
    )
    rows = [
        rate("no bias: anybody named", alarms),
        rate("bias: the intersection named as lower", found),
    ]
    rows += [
        rate("bias: one test of all", rejected),
        rate("bias: women or b named as lower", margins),
    ]
    return pd.DataFrame(rows)


def measure_power(n_audits, first_seed):
    """How often a planted gap of the stated size is found, by group and outcome."""
    found = {target: [] for target in POWER_TARGETS}
    stated = {target: [] for target in POWER_TARGETS}
    for seed in range(first_seed, first_seed + n_audits):
        world = Audited(seed)
        before = intersections.smallest_gaps(world.permute(world.scores))
        before = before.set_index(["column", "group", "outcome"])["smallest_gap"]
        for target, outcome in POWER_TARGETS:
            gap = before[(*target, outcome)]
            stated[target, outcome].append(gap)
            shifted = world.shift_for(target, outcome, gap)
            if shifted is not None:
                results = intersections.read_gaps(world.permute(shifted))
                found[target, outcome].append(names(results, target, [outcome]))
    rows = []
    for (target, outcome), hits in found.items():
        gaps = stated[target, outcome]
        row = {"group": target[1], "outcome": outcome, "median stated gap": np.median(gaps)}
        row["not plantable"] = len(gaps) - len(hits)
        rows.append(row | (rate("found", hits) if hits else {}))
    return pd.DataFrame(rows)


def measure_strata(n_audits, first_seed):
    """The ladder of strata, by number of occupations."""
    tables = []
    for occupations in (14, 112):
        for seed in range(first_seed, first_seed + max(1, n_audits // 40)):
            world = make_world(seed, occupations)
            people = coarser_strata.add_fit_bands(world.resumes, world.judgment_sets["true_fit"])
            ladder = [*coarser_strata.LADDER, (coarser_strata.FIT_BAND,)]
            _, steps = coarser_strata.widen_strata(people, groups_of(people, "gender"), ladder)
            tables.append(steps.assign(occupations=occupations))
    steps = pd.concat(tables).groupby(["occupations", "strata"], sort=False)
    return steps[["share", "without_statement"]].mean().reset_index()


PARTS = {"bias": [measure_bias], "power": [measure_power], "strata": [measure_strata]}
PARTS["all"] = [measure_bias, measure_power, measure_strata]


def main(part="all", n_audits=400, first_seed=0):
    for measure in PARTS[part]:
        table = measure(int(n_audits), int(first_seed))
        print(table.round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
