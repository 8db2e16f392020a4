"""Spellings of "not known" in a column of people's groups."""

from __future__ import annotations

import re

import pandas as pd

NOT_STATED = "not stated"
"""The group of people whose value is missing, however that is spelled."""
MISSING_SPELLINGS = frozenset(
    (
        *("", "-", "--", "---", "?", ".", "n/a", "na", "n.a.", "n.a", "n/k", "n/s", "nan", "null"),
        *("nil", "missing", "unknown", "not known", "unspecified", "not specified", "not stated"),
        *("not given", "not provided", "not available", "not applicable", "not disclosed"),
        *("undisclosed", "undeclared", "not reported", "no answer", "no response", "refused"),
        *("declined", "declined to answer", "decline to answer", "declined to state"),
        *("decline to state", "decline to self-identify", "declined to self-identify"),
        *("i do not wish to answer", "i don't wish to answer", "prefer not to say"),
        *("prefer not to answer", "prefer not to state", "prefer not to disclose"),
        *("desconocido", "prefiero no decirlo", "prefiero no decir", "no consta", "未知", "不详"),
    )
)
"""In lower case and with single spaces. "none", "no" and "other" are answers, not missing values."""


def is_missing(values: pd.Series) -> pd.Series:
    """(n,) True where a value is empty, NaN or one of MISSING_SPELLINGS, whatever its case."""
    return plain_values(values).isin(MISSING_SPELLINGS)


def plain_values(values: pd.Series) -> pd.Series:
    """The values as text in lower case, with single spaces; "" for NaN and None."""
    as_objects = values.astype(object)
    texts = as_objects.where(as_objects.notna(), "").astype(str)
    return texts.map(lambda text: re.sub(r"[\s_]+", " ", text.strip().lower()).strip())
