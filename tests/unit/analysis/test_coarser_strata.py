"""Strata that widen, by hand."""

import pandas as pd
import pytest

from matchlib.analysis import coarser_strata
from matchlib.analysis.bias import AuditSettings, audit_ranking
from matchlib.data.schema import DataError


@pytest.fixture
def resumes():
    return pd.DataFrame(
        {
            "resume_id": list("abcdefgh"),
            "gender": ["f", "m", "f", "f", "m", "f", "m", "f"],
            "occupation": ["x", "x", "x", "y", "y", "z", "v", "w"],
            "seniority": ["1", "1", "2", "1", "2", "1", "1", "1"],
            "industry": ["i", "i", "i", "i", "i", "j", "j", "k"],
        }
    )


def test_people_are_compared_in_the_finest_stratum_that_holds_another_group(resumes):
    ladder = coarser_strata.known_ladder(resumes)
    widened, table = coarser_strata.widen_strata(resumes, resumes["gender"], ladder)
    # a and b in x/1; d and e in y; c, alone of x now, has nobody left in i; f and g in j; h in k
    assert table["people"].tolist() == [2, 2, 2]
    assert table["without_statement"].tolist() == [6 / 8, 4 / 8, 2 / 8]
    stratum = widened.set_index("resume_id")[coarser_strata.STRATUM]
    assert stratum["a"] == stratum["b"] != stratum["c"]
    assert stratum["d"] == stratum["e"]
    assert stratum["f"] == stratum["g"] != stratum["h"]


def test_an_audit_within_widened_strata_compares_more_people(resumes):
    ladder = coarser_strata.known_ladder(resumes)
    widened, _ = coarser_strata.widen_strata(resumes, resumes["gender"], ladder)
    ranking = pd.DataFrame({"query_id": "j", "candidate_id": list("abcdefgh"), "rank": range(1, 9)})
    compared = {}
    for name, strata in (("fine", ladder[0]), ("wide", [coarser_strata.STRATUM])):
        settings = AuditSettings(cutoff=2, strata=strata, min_group_size=1, n_permutations=10)
        audit = audit_ranking(ranking, widened, {}, column="gender", settings=settings)
        compared[name] = audit.set_index("group")["comparable"].groupby(level=0).first()
    assert compared["fine"].to_dict() == {"f": 1 / 5, "m": 1 / 3}
    assert compared["wide"].to_dict() == {"f": 3 / 5, "m": 1}


def test_fit_bands_count_the_jobs_that_a_person_truly_fits(resumes):
    pairs = [("a", 1), ("b", 2), ("c", 3), ("d", 9), ("e", 12)]
    fits = pd.DataFrame({"resume_id": [name for name, n in pairs for _ in range(n)]})
    banded = coarser_strata.add_fit_bands(resumes, fits)
    bands = banded[coarser_strata.FIT_BAND].tolist()
    assert bands == ["1", "1", "3", "3", "10", "0", "0", "0"]


def test_an_empty_ladder_is_an_error(resumes):
    bare = resumes[["resume_id", "gender"]]
    with pytest.raises(DataError, match="none of the columns"):
        coarser_strata.widen_strata(bare, bare["gender"], coarser_strata.known_ladder(bare))
