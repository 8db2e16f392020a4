"""Strata that widen where nobody is comparable: how many people an audit then says something about.

Within occupation and seniority many people have nobody of another group beside them. They are
compared in wider strata, occupation alone, then industry, and every step is a weaker comparison:
what the wider stratum leaves open (seniority, occupation) may be what a gap comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from matchlib.analysis.bias import codes_of
from matchlib.data.schema import DataError

LADDER = (("occupation", "seniority"), ("occupation",), ("industry",))
STRATUM = "audit_stratum"
"""Column that `widen_strata` adds."""
FIT_BAND = "jobs truly fitted"
"""Column that `add_fit_bands` adds: how many jobs a person truly fits, in bands."""
_FIT_EDGES = (0, 1, 3, 10)


def known_ladder(
    resumes: pd.DataFrame, ladder: Sequence[Sequence[str]] = LADDER
) -> list[list[str]]:
    """The steps of a ladder all of whose columns the resumes have."""
    return [list(step) for step in ladder if all(column in resumes for column in step)]


def add_fit_bands(resumes: pd.DataFrame, true_fits: pd.DataFrame) -> pd.DataFrame:
    """The resumes with FIT_BAND, so that people can be matched on fit where the truth is known.

    true_fits: job_id, resume_id of pairs that truly fit. Bands: 0, 1 to 2, 3 to 9, 10 and more jobs.
    """
    n_jobs = true_fits.groupby("resume_id").size()
    counts = n_jobs.reindex(resumes["resume_id"]).fillna(0).to_numpy()
    names = [str(low) for low in _FIT_EDGES]
    return resumes.assign(
        **{FIT_BAND: np.array(names)[np.searchsorted(_FIT_EDGES, counts, side="right") - 1]}
    )


def widen_strata(
    resumes: pd.DataFrame, groups: pd.Series, ladder: Sequence[Sequence[str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The resumes with STRATUM, and what each step of the ladder adds.

    groups: (n,) each resume's group, in the resumes' order; ladder: columns of ever wider strata. A
    person stays in the first stratum that holds another group; those who are left form the wider
    strata among themselves, so that a fine comparison is never mixed with a coarse one. The table
    has strata, people (compared for the first time here), share, without_statement (the share of
    all people that is still compared with nobody).
    Raises DataError on an empty ladder.
    """
    if not ladder:
        raise DataError("the resumes have none of the columns of the ladder; name strata of theirs")
    group_codes = pd.factorize(groups.to_numpy())[0]
    stratum = np.full(len(resumes), "", dtype=object)
    is_left = np.ones(len(resumes), bool)
    rows = []
    for number, columns in enumerate(ladder):
        codes = codes_of(resumes, columns)
        left_groups = pd.Series(group_codes[is_left]).groupby(codes[is_left])
        is_compared = is_left.copy()
        is_compared[is_left] = left_groups.transform("nunique").to_numpy() > 1
        stratum[is_compared] = [f"{number}/{code}" for code in codes[is_compared]]
        is_left &= ~is_compared
        row = {"strata": ", ".join(columns) or "all people", "people": int(is_compared.sum())}
        row["share"] = float(is_compared.mean())
        rows.append(row | {"without_statement": float(is_left.mean())})
    stratum[is_left] = [f"alone/{code}" for code in codes[is_left]]
    return resumes.assign(**{STRATUM: stratum}), pd.DataFrame(rows)
