"""Logs of impressions: anyone's files mapped to our columns, checked, split by time.

What a log lacks cannot be said of it: without positions no examination, without roles no tastes,
without requests no measure by request. `Log.limits` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.readers import read_columns
from matchlib.data.schema import DataError

REQUIRED = ("clicked",)
OPTIONAL = (
    "request_id",
    "recruiter_id",
    "role",
    "job_id",
    "resume_id",
    "position",
    "shown_at",
    "converted",
    "converted_at",
    "relevance",
    "ordering",
    "propensity",
)
WITHOUT = {
    "request_id": "no request ids: nothing is said by request (GAUC, nDCG, rank correlation)",
    "recruiter_id": "no recruiter ids: nothing is said by recruiter",
    "role": "no roles: every row has the same one, and nothing is said about roles",
    "position": "no positions: examination cannot be told from liking",
    "shown_at": "no times: rows are taken in the order of the file, conversions as mature",
    "converted": "no conversions: clicks alone are learned",
    "relevance": "no relevance: the task is left out",
    "ordering": "no slice in random order: what is said of the logged order favours its ranker",
}
OUTCOME_NAME = re.compile(
    r"click|conver|purchas|hire[ds]?\b|accept|interview|invit|like|follow|forward|comment|hate"
    r"|play_time|watch|dwell|reward|label|relevance|outcome",
    re.IGNORECASE,
)
"""Names of columns that are known only after a resume was shown."""
MAX_CATEGORIES = 30
"""Values of a text column that get a feature of their own, the most frequent first."""


@dataclass(frozen=True)
class Log:
    """A checked log.

    impressions: rows ordered by time with the columns of OPTIONAL that there are, and clicked;
    role and position always (position from 1, or 0 where unknown). features: (rows, F) numbers by
    name. exclusions: reason, rows. limits: sentences on what this log cannot say.
    """

    impressions: pd.DataFrame
    features: pd.DataFrame
    exclusions: pd.DataFrame
    limits: list[str]

    def rows(self, index: np.ndarray) -> Log:
        """The same log with the rows of a mask or of positions."""
        positions = np.flatnonzero(index) if index.dtype == bool else index
        return Log(
            self.impressions.iloc[positions].reset_index(drop=True),
            self.features.iloc[positions].reset_index(drop=True),
            self.exclusions,
            self.limits,
        )


def read_log(
    path: Path,
    *,
    columns: Mapping[str, str],
    features: Sequence[str],
    encoding: str = "utf-8",
) -> Log:
    """Read a CSV, TSV, JSONL or Parquet file of impressions.

    columns: ours -> the file's; a name that is not mapped keeps its own. features: the file's
    columns that may predict; text becomes one column for each frequent value. Raises DataError on a
    missing column, an outcome among the features, a value that is no number where one is due.
    """
    unknown = sorted({*columns} - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise DataError(
            f"log_columns: {unknown[0]!r} is not one of {', '.join(REQUIRED + OPTIONAL)}"
        )
    refuse_outcomes(features, columns)
    frame = read_columns(path, columns={}, encoding=encoding)
    wanted = {name: columns.get(name, name) for name in REQUIRED + OPTIONAL}
    needed = [wanted[name] for name in (*REQUIRED, *columns)] + list(features)
    missing = [name for name in needed if name not in frame]
    if missing:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; found {', '.join(frame.columns)}; map it by "
            f"log_columns or take it out of log_features"
        )
    impressions = pd.DataFrame(index=frame.index)
    for name, theirs in wanted.items():
        if theirs in frame:
            impressions[name] = frame[theirs].to_numpy()
    for name in ("clicked", "converted", "position", "relevance", "propensity"):
        if name in impressions:
            impressions[name] = _numbers(frame[wanted[name]], path)
    for name in ("shown_at", "converted_at"):
        if name in impressions:
            impressions[name] = _moments(impressions[name], f"{path}: {wanted[name]}")
    return check_log(impressions, _feature_columns(frame, features, path), source=str(path))


def refuse_outcomes(features: Sequence[str], columns: Mapping[str, str]) -> None:
    """Raise DataError where a feature is known only after the resume was shown."""
    known_later = ("clicked", "converted", "converted_at", "relevance")
    of_the_ranker = ("position", "ordering", "propensity")  # what was done, not what is true
    mapped = {columns.get(name, name) for name in known_later + of_the_ranker}
    for name in features:
        if name in mapped or OUTCOME_NAME.search(name):
            raise DataError(
                f"log_features: {name!r} is an outcome, or says how the resume was shown; a model "
                f"that reads it has seen the answer. Take it out, or rename it if it is not"
            )


def check_log(impressions: pd.DataFrame, features: pd.DataFrame, *, source: str) -> Log:
    """A log whose rows are usable, in order of time, with what was left out counted.

    impressions, features: row for row. Raises DataError where clicked is not 0 or 1, a feature is
    not finite, or nobody ever clicked.
    """
    impressions = impressions.reset_index(drop=True)
    features = features.reset_index(drop=True).astype("float32")
    for name in ("clicked", "converted"):
        if name in impressions and not impressions[name].isin((0, 1)).all():
            wrong = impressions.loc[~impressions[name].isin((0, 1)), name].iloc[0]
            raise DataError(f"{source}: {name} is {wrong} in a row, neither 0 nor 1")
    if "propensity" in impressions and not impressions["propensity"].between(1e-12, 1).all():
        wrong = impressions.loc[~impressions["propensity"].between(1e-12, 1), "propensity"].iloc[0]
        raise DataError(f"{source}: propensity is {wrong} in a row; it is above 0 and at most 1")
    values = features.to_numpy()
    if not np.isfinite(values).all():
        column = features.columns[int((~np.isfinite(values)).any(axis=0).argmax())]
        raise DataError(f"{source}: feature {column!r} is not a finite number in every row")
    limits = [text for name, text in WITHOUT.items() if name not in impressions]
    impressions = _with_defaults(impressions)
    excluded = []
    impressions, notes = _settle_positions(impressions)
    excluded += notes
    faults = [
        ("the same resume a second time in a request", _is_repeated(impressions)),
        ("converted without a click", _is_converted_unclicked(impressions)),
        ("converted before it was shown", _is_too_early(impressions)),
    ]
    is_good = np.ones(len(impressions), dtype=bool)
    for reason, is_faulty in faults:
        excluded.append((reason, int((is_faulty & is_good).sum())))
        is_good &= ~is_faulty
    order = np.flatnonzero(is_good)
    if "shown_at" in impressions:
        moments = impressions["shown_at"].to_numpy()[order]
        n_late = int((moments[1:] < moments[:-1]).sum())
        excluded.append(("out of order, sorted by time (kept)", n_late))
        order = order[np.argsort(moments, kind="stable")]
    impressions = impressions.iloc[order].reset_index(drop=True)
    features = features.iloc[order].reset_index(drop=True)
    if impressions["clicked"].nunique() < 2:
        raise DataError(
            f"{source}: every row that is left is {'' if len(impressions) and impressions['clicked'].iloc[0] else 'not '}"
            f"clicked; a log needs both"
        )
    if "converted" in impressions and not impressions["converted"].any():
        limits.append("nobody converted: clicks alone are learned")
    table = pd.DataFrame([row for row in excluded if row[1]], columns=["reason", "rows"])
    return Log(impressions, features, table, limits)


def _with_defaults(impressions: pd.DataFrame) -> pd.DataFrame:
    impressions = impressions.copy()
    if "role" not in impressions:
        impressions["role"] = "any"
    impressions["role"] = impressions["role"].astype(str)
    if "position" not in impressions:
        impressions["position"] = 0
    if "ordering" not in impressions:
        impressions["ordering"] = "production"
    return impressions


def _settle_positions(impressions: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    """Positions from 1, whole numbers."""
    position = impressions["position"]
    if not (position == position.round()).all() or position.min() < 0:
        wrong = position[(position != position.round()) | (position < 0)].iloc[0]
        raise DataError(f"position is {wrong} in a row; it is a whole number, 1 the first")
    is_known = position.max() > 0
    if is_known and position.min() == 0:
        return impressions.assign(position=position.astype(int) + 1), [
            ("positions from 0, counted from 1 (kept)", len(impressions))
        ]
    return impressions.assign(position=position.astype(int)), []


def _is_repeated(impressions: pd.DataFrame) -> np.ndarray:
    if not {"request_id", "resume_id"} <= {*impressions}:
        return np.zeros(len(impressions), dtype=bool)
    return impressions.duplicated(["request_id", "resume_id"]).to_numpy()


def _is_converted_unclicked(impressions: pd.DataFrame) -> np.ndarray:
    if "converted" not in impressions:
        return np.zeros(len(impressions), dtype=bool)
    return ((impressions["converted"] == 1) & (impressions["clicked"] == 0)).to_numpy()


def _is_too_early(impressions: pd.DataFrame) -> np.ndarray:
    if not {"converted_at", "shown_at"} <= {*impressions}:
        return np.zeros(len(impressions), dtype=bool)
    return (impressions["converted_at"] < impressions["shown_at"]).to_numpy()


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        line = column.index[int(numbers.isna().to_numpy().argmax())]
        raise DataError(
            f"{path}:{line}: {column.name} is {str(column[line])[:40]!r}, which is no number"
        )
    return numbers.to_numpy()


def _moments(column: pd.Series, source: str) -> np.ndarray:
    """Times as datetime64 without zone; whole numbers are milliseconds (13 digits) or seconds since
    1970."""
    text = column.fillna("").astype(str).str.strip()
    empty = text == ""
    given = text[~empty]
    if len(given) and given.str.fullmatch(r"\d{10}|\d{13}").all():
        unit = "ms" if len(given.iloc[0]) == 13 else "s"
        numbers = pd.to_numeric(text.mask(empty)).astype("Int64")
        return pd.to_datetime(numbers, unit=unit).astype("datetime64[us]").to_numpy()
    moments = pd.to_datetime(text.mask(empty), errors="coerce", utc=True, format="mixed")
    is_wrong = moments.isna() & ~empty
    if is_wrong.any():
        raise DataError(f"{source} is {text[is_wrong].iloc[0][:40]!r} in a row, which is no time")
    return moments.dt.tz_localize(None).astype("datetime64[us]").to_numpy()


def _feature_columns(frame: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Numbers as they are; a column of text as one column for each of its frequent values."""
    if not names:
        raise DataError(f"{path}: log_features names no column; a model needs at least one")
    columns = {}
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().all():
            columns[name] = numbers.to_numpy(dtype="float32")
            continue
        counts = frame[name].value_counts()
        for value in counts.index[:MAX_CATEGORIES]:
            columns[f"{name} = {value}"] = (frame[name] == value).to_numpy(dtype="float32")
    return pd.DataFrame(columns)


def split_by_time(
    impressions: pd.DataFrame, *, valid_share: float = 0.1, test_share: float = 0.3
) -> np.ndarray:
    """(rows,) train, valid or test: the first requests, those after them, the last.

    Rows of a request stay together; without requests, rows are split.
    """
    requests = np.arange(len(impressions))
    if "request_id" in impressions:
        requests, _ = pd.factorize(impressions["request_id"])
    n = requests.max() + 1
    train_end = round(n * (1 - valid_share - test_share))
    valid_end = round(n * (1 - test_share))
    return np.select([requests < train_end, requests < valid_end], ["train", "valid"], "test")


def mature_outcomes(
    impressions: pd.DataFrame, *, until: pd.Timestamp | None, maturity_days: float
) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) what was known of conversions at a time, and whether they had had time to happen.

    until: the moment of training or judging, None for a log without times, in which every row
    counts as mature. A conversion after it is not known, a row shown less than maturity_days before
    it is immature.
    """
    if "converted" not in impressions:
        return np.zeros(len(impressions)), np.zeros(len(impressions), dtype=bool)
    converted = impressions["converted"].to_numpy().astype(float)
    if until is None or "shown_at" not in impressions:
        return converted, np.ones(len(impressions), dtype=bool)
    is_mature = impressions["shown_at"] <= until - pd.Timedelta(days=maturity_days)
    if "converted_at" in impressions:  # an undated one is taken as known
        is_later = impressions["converted_at"] > until
        converted = converted * ~is_later.to_numpy()
    return converted, is_mature.to_numpy()


def judged_outcomes(
    impressions: pd.DataFrame, maturity_days: float
) -> tuple[np.ndarray, np.ndarray]:
    """`mature_outcomes` as they are known at the last moment of the rows."""
    until = impressions["shown_at"].max() if "shown_at" in impressions else None
    return mature_outcomes(impressions, until=until, maturity_days=maturity_days)
