"""Anyone's logs: mapped, checked, split by time; what they lack is said."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.talent.logs import check_log, mature_outcomes, read_log, split_by_time

OBD = Path(__file__).parents[4] / "shared" / "data" / "obd" / "random_men" / "men.csv"


def impressions(**columns):
    base = {
        "request_id": ["a", "a", "b", "b"],
        "resume_id": ["1", "2", "1", "2"],
        "role": ["x", "x", "y", "y"],
        "position": [1, 2, 1, 2],
        "shown_at": pd.to_datetime(["2026-01-01", "2026-01-01", "2026-01-02", "2026-01-02"]),
        "clicked": [1, 0, 0, 1],
        "converted": [1, 0, 0, 0],
        "converted_at": pd.to_datetime(["2026-01-03", None, None, None]),
    }
    return pd.DataFrame({**base, **columns})


def check(frame, features=None):
    if features is None:
        features = pd.DataFrame({"f": np.arange(len(frame), dtype=float)})
    return check_log(frame, features, source="log")


def test_a_log_without_faults_is_kept_as_it_is():
    log = check(impressions())
    assert len(log.impressions) == 4 and log.exclusions.empty
    assert not [limit for limit in log.limits if "no roles" in limit or "no positions" in limit]


@pytest.mark.parametrize(
    "columns, reason, rows, kept",
    [
        ({"resume_id": ["1", "1", "1", "2"]}, "the same resume a second time", 1, 3),
        ({"clicked": [0, 0, 0, 1]}, "converted without a click", 1, 3),
        (
            {"converted_at": pd.to_datetime(["2025-12-01", None, None, None])},
            "converted before it was shown",
            1,
            3,
        ),
        ({"position": [0, 1, 0, 1]}, "positions from 0", 4, 4),
    ],
)
def test_faulty_rows_are_counted(columns, reason, rows, kept):
    log = check(impressions(**columns))
    found = log.exclusions.set_index("reason")["rows"]
    assert found[[name for name in found.index if name.startswith(reason)][0]] == rows
    assert len(log.impressions) == kept == len(log.features)
    assert log.impressions["position"].min() == 1


def test_rows_out_of_order_are_sorted_with_their_features():
    mixed = impressions().iloc[[2, 3, 0, 1]]
    log = check(mixed, pd.DataFrame({"f": [2.0, 3.0, 0.0, 1.0]}))
    assert log.features["f"].tolist() == [0, 1, 2, 3]
    assert log.impressions["shown_at"].is_monotonic_increasing
    assert "out of order, sorted by time (kept)" in set(log.exclusions["reason"])


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"clicked": [1, 1, 1, 1]}, "every row that is left is clicked; a log needs both"),
        ({"clicked": [0, 0, 0, 0], "converted": 0}, "every row that is left is not clicked"),
        ({"clicked": [2, 0, 0, 1]}, "clicked is 2 in a row, neither 0 nor 1"),
        ({"position": [1.5, 1, 1, 1]}, "position is 1.5 in a row"),
        ({"position": [-1, 1, 1, 1]}, "position is -1 in a row"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(columns, message):
    with pytest.raises(DataError, match=message):
        check(impressions(**columns))


def test_a_feature_that_is_not_finite_is_named():
    with pytest.raises(DataError, match="feature 'f' is not a finite number"):
        check(impressions(), pd.DataFrame({"f": [1.0, np.nan, 0, 0]}))


def test_what_a_log_lacks_is_said():
    bare = impressions()[["clicked"]]
    log = check(bare)
    assert log.impressions["role"].eq("any").all() and log.impressions["position"].eq(0).all()
    for words in ("no positions", "no roles", "no request ids", "no conversions", "no times"):
        assert [limit for limit in log.limits if limit.startswith(words)], words
    none = check(impressions(converted=0, converted_at=pd.NaT))
    assert "nobody converted: clicks alone are learned" in none.limits


def test_requests_stay_together_and_the_last_are_the_test():
    frame = pd.DataFrame({"request_id": np.repeat([f"q{i}" for i in range(10)], 3)})
    part = split_by_time(frame, valid_share=0.1, test_share=0.3)
    assert part.tolist() == ["train"] * 18 + ["valid"] * 3 + ["test"] * 9


def test_a_conversion_of_tomorrow_is_not_known_today():
    frame = impressions()
    converted, is_mature = mature_outcomes(frame, until=pd.Timestamp("2026-01-02"), maturity_days=1)
    assert converted.tolist() == [0, 0, 0, 0] and is_mature.tolist() == [True, True, False, False]
    converted, is_mature = mature_outcomes(frame, until=pd.Timestamp("2026-01-05"), maturity_days=1)
    assert converted.tolist() == [1, 0, 0, 0] and is_mature.all()


def write_kuairand(path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "user_id": i % 7,
            "video_id": i,
            "time_ms": 1_649_000_000_000 + 1000 * i,
            "is_click": int(rng.random() < 0.4),
            "long_view": int(rng.random() < 0.2),
            "tab": i % 3,
            "is_rand": "random" if i % 5 == 0 else "production",
            "duration_ms": int(rng.integers(1000, 9000)),
            "video_type": ["NORMAL", "AD"][i % 2],
        }
        for i in range(60)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


KUAIRAND = {
    "clicked": "is_click",
    "role": "tab",
    "recruiter_id": "user_id",
    "resume_id": "video_id",
    "shown_at": "time_ms",
    "ordering": "is_rand",
}


def test_a_log_of_kuairands_form(tmp_path):
    path = tmp_path / "log_standard.csv"
    write_kuairand(path)
    log = read_log(path, columns=KUAIRAND, features=["duration_ms", "video_type"])
    assert len(log.impressions) == 60 and log.impressions["role"].nunique() == 3
    assert list(log.features) == ["duration_ms", "video_type = NORMAL", "video_type = AD"]
    assert log.impressions["shown_at"].dt.year.eq(2022).all()
    assert (log.impressions["ordering"] == "random").sum() == 12
    assert [limit for limit in log.limits if limit.startswith("no positions")]


def test_times_since_1970_may_be_blank_and_the_rankers_own_choice_is_no_feature(tmp_path):
    path = tmp_path / "log.csv"
    rows = [
        (i, i % 2, i % 3, 1_649_000_000 + i, 1_649_000_500 if i == 3 else "") for i in range(20)
    ]
    names = ["clicked", "age", "shown_at", "converted_at"]
    frame = pd.DataFrame([(i % 2, a, t, c) for i, _, a, t, c in rows], columns=names)
    frame["converted"] = (frame["converted_at"] != "").astype(int)
    frame["rank"] = 1
    frame.to_csv(path, index=False)
    log = read_log(path, columns={"position": "rank"}, features=["age"])
    assert log.impressions["converted_at"].notna().sum() == 1
    assert log.impressions["shown_at"].dt.year.eq(2022).all()
    with pytest.raises(DataError, match="'rank' is an outcome, or says how the resume was shown"):
        read_log(path, columns={"position": "rank"}, features=["age", "rank"])


@pytest.mark.parametrize("name", ["is_click", "long_view", "play_time_ms", "Purchase", "label"])
def test_an_outcome_among_the_features_is_refused_by_name(tmp_path, name):
    path = tmp_path / "log.csv"
    write_kuairand(path)
    if name == "long_view":
        name = "long_view_watch"
    with pytest.raises(DataError, match=f"{name}' is an outcome"):
        read_log(path, columns=KUAIRAND, features=["duration_ms", name])


def test_a_log_of_aliexpress_form(tmp_path):
    """Features as numbers, click and conversion at the end of a line, a country for a role."""
    path = tmp_path / "train.jsonl"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for i in range(50):
            click = int(rng.random() < 0.5)
            row = {"search_id": f"s{i // 5}", "country": ["NL", "ES"][i // 25]}
            row |= {f"numerical_{k}": float(rng.normal()) for k in range(3)}
            row |= {"click": click, "conversion": click * int(rng.random() < 0.5)}
            file.write(json.dumps(row) + "\n")
    columns = {
        "clicked": "click",
        "converted": "conversion",
        "role": "country",
        "request_id": "search_id",
    }
    log = read_log(path, columns=columns, features=[f"numerical_{k}" for k in range(3)])
    assert len(log.impressions) == 50 and log.features.shape == (50, 3)
    assert log.impressions["request_id"].nunique() == 10


def test_a_column_that_is_missing_is_named(tmp_path):
    path = tmp_path / "log.csv"
    write_kuairand(path)
    with pytest.raises(DataError, match="column 'age' is missing; found user_id"):
        read_log(path, columns=KUAIRAND, features=["age"])
    with pytest.raises(DataError, match="log_columns: 'click' is not one of clicked"):
        read_log(path, columns={"click": "is_click"}, features=["duration_ms"])
    with pytest.raises(DataError, match="log_features names no column"):
        read_log(path, columns=KUAIRAND, features=[])


@pytest.mark.parametrize("propensity", [0, 1.5, -0.2])
def test_a_propensity_is_a_probability(tmp_path, propensity):
    path = tmp_path / "log.csv"
    path.write_text(f"clicked,propensity,x\n1,0.5,1\n0,{propensity},2\n")
    with pytest.raises(DataError, match="propensity is .* in a row; it is above 0 and at most 1"):
        read_log(path, columns={}, features=["x"])


@pytest.mark.skipif(not OBD.exists(), reason="the Open Bandit sample is not there")
def test_open_bandits_sample_is_read():
    columns = {
        "clicked": "click",
        "resume_id": "item_id",
        "shown_at": "timestamp",
        "propensity": "propensity_score",
    }
    features = ["user_feature_0", "user-item_affinity_0", "user-item_affinity_1"]
    log = read_log(OBD, columns=columns, features=features)
    assert len(log.impressions) == 10_000 and set(log.impressions["position"]) == {1, 2, 3}
    assert log.impressions["propensity"].between(0, 1).all()
    assert 0 < log.impressions["clicked"].mean() < 0.02
