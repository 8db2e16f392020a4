"""The tables every notebook speaks: their columns, checked once at the door by pandera."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from matchlib.data.document_check import ID_FAULTS, TEXT_FAULTS, Fault

SPLITS = ("train", "valid", "test")
SOURCES = ("rule", "recruiter", "file")
TASKS = ("rank_resumes", "rank_jobs")


class DataError(ValueError):
    """Input that cannot be used: one sentence naming the place, what was found and the remedy."""


def _name() -> pa.Column:
    return pa.Column(
        str, pa.Check(lambda column: column.str.strip() != "", error="an empty value; fill it")
    )


def _id(unique: bool = False) -> pa.Column:
    return pa.Column(str, _checks(ID_FAULTS), unique=unique, report_duplicates="exclude_first")


def _text() -> pa.Column:
    return pa.Column(str, _checks(TEXT_FAULTS))


def _checks(faults: list[Fault]) -> list[pa.Check]:
    return [
        pa.Check(
            lambda column, is_faulty=is_faulty: ~column.map(lambda value: bool(is_faulty(value))),
            error=reason,
        )
        for is_faulty, reason in faults
    ]


def _one_of(values: tuple) -> pa.Column:
    return pa.Column(
        None, pa.Check.isin(list(values), error=f"a value that is not one of {list(values)}")
    )


SCHEMAS: dict[str, pa.DataFrameSchema] = {
    "jobs": pa.DataFrameSchema({"job_id": _id(unique=True), "text": _text()}),
    "resumes": pa.DataFrameSchema({"resume_id": _id(unique=True), "text": _text()}),
    "labels": pa.DataFrameSchema(
        {
            "job_id": _id(),
            "resume_id": _id(),
            "label": _one_of((0, 1)),
            "split": _one_of(SPLITS),
            "source": _one_of(SOURCES),
        },
        unique=["job_id", "resume_id"],
        report_duplicates="exclude_first",
    ),
    "pools": pa.DataFrameSchema(
        {
            "task": _one_of(TASKS),
            "query_id": _id(),
            "candidate_id": _id(),
            "label": _one_of((1, 0, -1)),
        },
        unique=["task", "query_id", "candidate_id"],
        report_duplicates="exclude_first",
    ),
    "preferences": pa.DataFrameSchema(
        {
            "job_id": _id(),
            "resume_a": _id(),
            "resume_b": _id(),
            "preferred": _one_of(("a", "b", "tie")),
            "confidence": pa.Column(float, pa.Check.in_range(0, 100)),
            "annotator": _name(),
        }
    ),
    "impressions": pa.DataFrameSchema(
        {
            "request_id": _name(),
            "recruiter_id": _name(),
            "role": _name(),
            "job_id": _id(),
            "resume_id": _id(),
            "position": pa.Column(int, pa.Check.ge(1)),
            "shown_at": pa.Column("datetime64[us]"),
            "clicked": _one_of((0, 1)),
            "converted": _one_of((0, 1)),
            "relevance": pa.Column(float),
        }
    ),
}


def check_table(name: str, frame: pd.DataFrame, *, source: str = "") -> pd.DataFrame:
    """Return `frame` unchanged if it is a valid table `name`, else raise DataError with one
    sentence.

    name: a key of SCHEMAS; source: file the rows came from, used in the sentence.
    """
    place = source or f"table {name}"
    missing = [column for column in SCHEMAS[name].columns if column not in frame.columns]
    if missing:
        found = [str(column)[:60] for column in frame.columns][:30]
        raise DataError(
            f"{place}: column {missing[0]!r} is missing; found {found}; "
            f"rename it, or map it in the params file"
        )
    if frame.empty:
        raise DataError(f"{place}: no rows; {name} needs at least one")
    try:
        return SCHEMAS[name].validate(frame, lazy=True)
    except pa.errors.SchemaErrors as failure:
        raise DataError(f"{place}{_first_failure(failure.failure_cases, frame)}") from None


def _first_failure(cases: pd.DataFrame, frame: pd.DataFrame) -> str:
    """Describe the first failing row, by its line in the file or else its position among the rows
    (1 is the first)."""
    repeated = cases["check"].astype(str).str.contains("unique")
    case = cases[repeated if repeated.all() else ~repeated].iloc[
        0
    ]  # two empty ids are empty before they are equal
    where = ": "
    if pd.notna(case["index"]):
        where = place_of_row(frame, int((frame.index == case["index"]).argmax()))
    problem = str(case["check"])
    if "unique" in problem:
        problem = "a duplicate; keep one row of each"
    elif "not_nullable" in problem:
        problem = "a missing value; fill it or drop the row"
    elif "dtype" in problem:
        problem = f"wrong type, {problem}"
    more = f" ({cases['index'].nunique():,} rows in all)" if cases["index"].nunique() > 1 else ""
    return f"{where}{case['column']} = {str(case['failure_case'])[:60]!r}: {problem}{more}"


def place_of_row(frame: pd.DataFrame, position: int) -> str:
    """ ":12: " (its line) if the frame is indexed by the lines of a file, else ": row 12: "."""
    return (
        f":{frame.index[position]}: " if frame.index.name == "line" else f": row {position + 1}: "
    )


def check_references(tables: dict[str, pd.DataFrame], *, source: str = "") -> None:
    """Raise DataError if labels (or preferences) name a job or resume that the tables lack."""
    known = {
        "job_id": set(tables["jobs"]["job_id"]),
        "resume_id": set(tables["resumes"]["resume_id"]),
    }
    columns = [
        ("labels", "job_id", "job_id"),
        ("labels", "resume_id", "resume_id"),
        ("preferences", "job_id", "job_id"),
        ("preferences", "resume_a", "resume_id"),
        ("preferences", "resume_b", "resume_id"),
    ]
    for table, column, key in columns:
        if table not in tables:
            continue
        lost = ~tables[table][column].isin(known[key]).to_numpy()
        if lost.any():
            first = int(lost.argmax())
            raise DataError(
                f"{source or table}{place_of_row(tables[table], first)}{column} "
                f"{tables[table][column].iloc[first]!r} is in no {key.removesuffix('_id')} row "
                f"({lost.sum():,} such); add it or drop the row"
            )
