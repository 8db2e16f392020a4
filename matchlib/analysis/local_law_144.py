"""The sheet of New York City's Local Law 144: rates and impact ratios as its rule defines them.

Rates of selection and of scores above the median, by sex, race/ethnicity and their intersections,
with the column names of the examples in 6 RCNY 5-301. The rule asks for no test: Fisher's exact,
chi-squared and a permutation test stand beside it here, and the four-fifths rule is a description.
A bias audit under that law is made by an independent auditor on data of real use; this sheet is the
arithmetic, and certifies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.analysis.bias import FOUR_FIFTHS
from matchlib.analysis.intersections import STANDING, person_outcomes
from matchlib.data.missing import is_missing

SEX, RACE = "Sex Categories", "Race/Ethnicity Categories"
INTERSECTIONAL = "Intersectional Categories"
APPLICANTS, SELECTED, RATE = "# of Applicants", "# Selected", "Selection Rate"
SCORING_RATE, IMPACT_RATIO = "Scoring Rate", "Impact Ratio"
FISHER, CHI_SQUARED, PERMUTATION = "Fisher's exact p", "chi-squared p", "permutation p"
NOTE = "Note"
_TEST_COLUMNS = [FISHER, CHI_SQUARED, PERMUTATION, NOTE]
SELECTION_COLUMNS = ["Categories", "Category", APPLICANTS, SELECTED, RATE, IMPACT_RATIO]
SELECTION_COLUMNS += _TEST_COLUMNS
SCORING_COLUMNS = ["Categories", "Category", APPLICANTS, SCORING_RATE, IMPACT_RATIO]
SCORING_COLUMNS += _TEST_COLUMNS
SMALL_SHARE = 0.02
"""Share of the data below which 5-301(d) lets an auditor leave a category out of impact ratios."""
SEX_NAMES = ("sex", "gender")
RACE_NAMES = ("race/ethnicity", "race_ethnicity", "ethnicity", "race")


@dataclass(frozen=True)
class Sheet:
    """selection: SELECTION_COLUMNS; scoring: SCORING_COLUMNS; facts: item, value: dates, data source,
    unknown categories, the median score."""

    selection: pd.DataFrame
    scoring: pd.DataFrame
    facts: pd.DataFrame


def find_column(resumes: pd.DataFrame, names: tuple[str, ...]) -> str:
    """The first of the names that is a column, whatever its case; "" if none is."""
    by_name = {column.lower(): column for column in resumes.columns}
    for name in names:
        if name in by_name:
            return by_name[name]
    return ""


def applicants_of_ranking(
    ranking: pd.DataFrame, resumes: pd.DataFrame, *, cutoff: int, sex: str, race: str
) -> pd.DataFrame:
    """Everyone whom the ranking holds, once: resume_id, sex, race, selected, score.

    sex, race: columns of the resumes, "" if there is none (then all are ""). selected: in the top of
    at least one pool; score: mean place in the person's pools (0 last, 1 first), since scores of
    different jobs have no common scale.
    """
    score = person_outcomes(ranking, cutoff)[STANDING]
    in_top = ranking.loc[ranking["rank"] <= cutoff, "candidate_id"].unique()
    people = resumes.set_index("resume_id").loc[score.index]
    return pd.DataFrame(
        {
            "resume_id": score.index,
            "sex": people[sex].to_numpy() if sex else "",
            "race": people[race].to_numpy() if race else "",
            "selected": score.index.isin(in_top),
            "score": score.to_numpy(),
        }
    )


def make_sheet(
    applicants: pd.DataFrame,
    *,
    audit_date: str,
    data_source: str,
    distribution_date: str = "not stated",
    exclude_under: float = 0.0,
    n_permutations: int = 1_000,
    seed: int = 0,
) -> Sheet:
    """The sheet of a table of applicants, one row each: sex, race, selected (bool), score.

    Selection rate: selected / applicants of a category; scoring rate: the share whose score is above
    the median of the whole sample; impact ratio: a rate by the highest rate of the same table's
    categories. Applicants whose category is unknown (`missing.MISSING_SPELLINGS`) are in no
    category, and are counted. exclude_under: share of the categorised applicants below which a
    category has no impact ratio and sets none; its count and rate stay, as the rule asks. The tests
    compare a category with all other categorised applicants; permutations are of all applicants.
    Source: 6 RCNY 5-300 to 5-303.
    """
    median = float(applicants["score"].median())
    outcomes = applicants.assign(above=applicants["score"] > median)
    selection, scoring, facts = [], [], []
    for table, columns in ((SEX, ["sex"]), (RACE, ["race"]), (INTERSECTIONAL, ["sex", "race"])):
        missing = outcomes[columns].apply(is_missing).any(axis=1)
        known = outcomes[~missing]
        facts.append((f"applicants of unknown category, {table}", f"{int(missing.sum()):,}"))
        if known.empty:
            continue
        texts = known[columns].astype(str).apply(lambda column: column.str.strip())
        category = texts[columns[0]] if len(columns) == 1 else texts["sex"] + ", " + texts["race"]
        options = {"table": table, "exclude_under": exclude_under}
        options |= {"n_permutations": n_permutations, "seed": seed}
        selection.append(_rates(known["selected"], category, **options))
        scoring.append(_rates(known["above"], category, **options))
    facts = [
        ("date of the bias audit", audit_date),
        ("distribution date of the tool", distribution_date),
        ("source and explanation of the data", data_source),
        ("applicants", f"{len(applicants):,}"),
        ("selected", f"{int(applicants['selected'].sum()):,}"),
        ("median score of the sample", f"{median:.4f}"),
        *facts,
    ]
    return Sheet(
        _joined(selection, SELECTION_COLUMNS),
        _joined(scoring, SCORING_COLUMNS),
        pd.DataFrame(facts, columns=["item", "value"]),
    )


def _joined(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """The tables as one, its rate named as the columns name it."""
    if not tables:
        return pd.DataFrame(columns=columns)
    joined = pd.concat(tables, ignore_index=True)
    return joined.rename(columns={"rate": columns[-len(_TEST_COLUMNS) - 2]})[columns]


def _rates(
    hits: pd.Series,
    category: pd.Series,
    *,
    table: str,
    exclude_under: float,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """A row for every category; hits: (n,) bool."""
    counts = hits.groupby(category).agg(["size", "sum"])
    frame = pd.DataFrame(
        {
            "Categories": table,
            "Category": counts.index,
            APPLICANTS: counts["size"].to_numpy(),
            SELECTED: counts["sum"].to_numpy().astype(int),
        }
    )
    frame["rate"] = frame[SELECTED] / frame[APPLICANTS]
    is_small = frame[APPLICANTS] / len(hits) < exclude_under
    highest = frame["rate"][~is_small].max()
    ratio = frame["rate"] / highest if highest > 0 else np.nan
    frame[IMPACT_RATIO] = pd.Series(ratio, index=frame.index).mask(is_small)
    tests = [_tests(row, hits) for row in frame.to_dict("records")]
    frame[[FISHER, CHI_SQUARED]] = tests
    frame[PERMUTATION] = _permutation_p(frame, hits, n_permutations, seed)
    note = pd.Series("", index=frame.index).mask(
        frame[IMPACT_RATIO] < FOUR_FIFTHS, "under four fifths"
    )
    excluded = f"under {exclude_under:.0%} of the data: left out of impact ratios"
    frame[NOTE] = note.mask(is_small, excluded)
    return frame


def _tests(row: dict[str, object], hits: pd.Series) -> tuple[float, float]:
    """p of Fisher's exact test and of Pearson's chi-squared (no continuity correction)."""
    n, n_hits = row[APPLICANTS], row[SELECTED]
    others = len(hits) - n
    other_hits = int(hits.sum()) - n_hits
    table = np.array([[n_hits, n - n_hits], [other_hits, others - other_hits]])
    fisher = float(stats.fisher_exact(table).pvalue)
    if (table.sum(axis=0) == 0).any() or (table.sum(axis=1) == 0).any():
        return fisher, np.nan
    return fisher, float(stats.chi2_contingency(table, correction=False).pvalue)


def _permutation_p(
    frame: pd.DataFrame, hits: pd.Series, n_permutations: int, seed: int
) -> np.ndarray:
    """(C,) two-sided p of every category's hits under permutation of all applicants.

    How many hits a category has after a permutation is hypergeometric: drawn, not permuted.
    """
    rng = np.random.default_rng(seed)
    sizes = frame[APPLICANTS].to_numpy()
    n_hits = int(hits.sum())
    drawn = rng.hypergeometric(n_hits, len(hits) - n_hits, sizes, size=(n_permutations, len(sizes)))
    expected = sizes * hits.mean()
    distance = np.abs(frame[SELECTED].to_numpy() - expected)
    n_as_far = (np.abs(drawn - expected) >= distance - 1e-9).sum(axis=0)
    return (n_as_far + 1) / (n_permutations + 1)
