"""Classes of errors by people and language models, and how far annotators agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from matchlib.analysis.errors import ERROR_CLASSES, RIVAL_KEYS, RULES
from matchlib.analysis.suitability import PAIR_KEYS
from matchlib.data.files import read_rows, without_formulas
from matchlib.data.schema import DataError
from matchlib.language.llm import LanguageModel, LanguageModelError
from matchlib.language.prompts import prompt_from
from matchlib.stats import mean_interval

MAX_WORDS = 200
"""Of each of the four documents in a language model's prompt."""
SHEET_KEYS = [*PAIR_KEYS, *RIVAL_KEYS]
AGREEMENT_COLUMNS = [
    "annotator",
    "reference",
    "n",
    "n_clusters",
    "agree",
    "low",
    "high",
    "kappa",
    "majority",
]
_CLASS_LINE = re.compile(
    rf"^\W*class\W+({'|'.join(ERROR_CLASSES)})\W*$", re.IGNORECASE | re.MULTILINE
)


def choose_annotator(
    annotator: str,
    language_model: str,
    annotation_sheets: Sequence[str],
) -> str:
    """The name under which the classes of an annotator stand: rules, service, local or file.

    Raises DataError on another annotator, and on file without a sheet.
    """
    if annotator == "rules":
        return RULES
    if annotator in ("service", "local"):
        return language_model
    if annotator != "file":
        raise DataError(f"annotator {annotator!r} is not one of rules, service, local, file")
    if not annotation_sheets:
        raise DataError(
            "annotator: file counts a person's classes, so annotation_sheets must name a filled "
            "copy of an errors-*.csv"
        )
    return annotation_sheets[0]


def write_annotation_sheet(
    pairs: pd.DataFrame,
    job_texts: pd.Series,
    resume_texts: pd.Series,
    path: Path,
) -> None:
    """Write pairs with their texts and an empty column class, for a person to fill in.

    job_texts, resume_texts: by id. A class is one of ERROR_CLASSES. Texts that a spreadsheet would
    run as formulas are escaped, see `files.without_formulas`.
    """
    has_same_resume = pairs["rival_resume"] == pairs["resume_id"]
    rival_texts = pairs["rival_resume"].map(resume_texts)
    rival_texts = rival_texts.mask(has_same_resume, pairs["rival_job"].map(job_texts))
    sheet = pairs[SHEET_KEYS].copy()
    sheet["class"] = ""
    sheet["job"] = without_formulas(pairs["job_id"].map(job_texts))
    sheet["resume"] = without_formulas(pairs["resume_id"].map(resume_texts))
    sheet["rival"] = without_formulas(rival_texts)
    # utf-8-sig: with the mark by which spreadsheets recognise UTF-8
    sheet.to_csv(path, index=False, encoding="utf-8-sig")


def read_annotation_sheet(path: str | Path, pairs: pd.DataFrame) -> pd.Series:
    """The classes that a person filled in, row by row of pairs; "" where the sheet has none.

    Raises DataError on a class that is none of ERROR_CLASSES, where no pair is filled in, and where
    a filled row is none of the pairs.
    """
    sheet = _read_sheet(path)
    keys = pd.MultiIndex.from_frame(pairs[SHEET_KEYS])
    is_known = pd.MultiIndex.from_frame(sheet[SHEET_KEYS]).isin(keys)
    unknown = sheet[sheet["class"].ne("") & ~is_known]
    if len(unknown):
        row = unknown.iloc[0]
        raise DataError(
            f"{path}:{unknown.index[0]}: {len(unknown):,} filled rows are no pairs of this run, the "
            f"first {row['job_id']!r} and {row['resume_id']!r}; use the same seed and n_sampled, "
            f"and let the spreadsheet take ids as text"
        )
    class_of_pair = sheet.drop_duplicates(SHEET_KEYS).set_index(SHEET_KEYS)["class"]
    classes = class_of_pair.reindex(keys).fillna("").set_axis(pairs.index)
    if (classes == "").all():
        raise DataError(
            f"{path}: no pair of this run is filled in; fill in its errors-*.csv, with the same "
            f"seed and n_sampled"
        )
    return classes


def _read_sheet(path: str | Path) -> pd.DataFrame:
    """The sheet's rows by line number, its classes in lower case and checked."""
    rows_by_line = dict(read_rows(Path(path)))
    sheet = pd.DataFrame(rows_by_line.values(), index=list(rows_by_line), dtype=str)
    missing = [column for column in (*SHEET_KEYS, "class") if column not in sheet]
    if missing:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; fill in a sheet that notebook 09 wrote"
        )
    sheet["class"] = sheet["class"].str.strip().str.lower()
    wrong = sheet[~sheet["class"].isin(["", *ERROR_CLASSES])]
    if len(wrong):
        raise DataError(
            f"{path}:{wrong.index[0]}: class {wrong['class'].iloc[0]!r} is not one of "
            f"{', '.join(ERROR_CLASSES)}"
        )
    return sheet


def classify_by_language_model(
    pairs: pd.DataFrame,
    job_texts: pd.Series,
    resume_texts: pd.Series,
    model: LanguageModel,
) -> pd.Series:
    """The classes that a language model names, row by row of pairs; "" where its answer has none.

    job_texts, resume_texts: by id; each document is cut at MAX_WORDS in a prompt.
    Raises LanguageModelError if no answer can be used.
    """
    prompts = []
    for pair in pairs.itertuples():
        prompt = prompt_from(
            "error_class",
            max_words=MAX_WORDS,
            job=job_texts[pair.job_id],
            resume=resume_texts[pair.resume_id],
            rival_job=job_texts[pair.rival_job],
            rival_resume=resume_texts[pair.rival_resume],
        )
        prompts.append(prompt)
    classes = []
    for answer in model.complete(prompts):
        match = None if answer.problem else _CLASS_LINE.search(answer.text)
        classes.append(match[1].lower() if match else "")
    if not any(classes):
        raise LanguageModelError(
            f"none of {len(classes):,} answers holds a line 'Class: {' or '.join(ERROR_CLASSES)}'; "
            f"try a larger model, or look at the answers in the cache"
        )
    return pd.Series(classes, index=pairs.index)


def measure_agreement(
    reference: pd.Series,
    classes: pd.Series,
    clusters: pd.Series | None = None,
) -> dict[str, float]:
    """How far two annotators of the same rows agree.

    clusters: what makes rows alike; None takes rows as independent. Returns n, n_clusters, agree
    (share, with low and high), kappa (Cohen's; NaN where both use one class only) and majority:
    the agreement that naming the reference's commonest class every time would reach.
    """
    if len(reference) != len(classes) or not len(reference):
        raise ValueError(
            f"{len(reference)} and {len(classes)} classes cannot be compared; both must be of the "
            f"same pairs"
        )
    is_same = (reference.to_numpy() == classes.to_numpy()).astype(float)
    interval = mean_interval(is_same, None if clusters is None else clusters.to_numpy())
    kappa = np.nan
    if len(set(reference) | set(classes)) > 1:
        kappa = float(cohen_kappa_score(reference, classes))
    return {
        "n": len(is_same),
        "n_clusters": interval["n_clusters"],
        "agree": interval["value"],
        "low": max(0.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "kappa": kappa,
        "majority": float(reference.value_counts(normalize=True).iloc[0]),
    }


def compare_annotators(
    classes: Mapping[str, pd.Series],
    pairs: pd.DataFrame,
    clusters: pd.Series,
) -> pd.DataFrame:
    """`measure_agreement` of every two annotators in each task, on the pairs that both classified.

    classes: annotator -> classes of the pairs ("": none), from the one who knows best.
    Returns task and AGREEMENT_COLUMNS: the annotator is measured against the reference.
    """
    rows = []
    for task, own in pairs.groupby("task", sort=False):
        for reference, annotator in combinations(classes, 2):
            of_reference = classes[reference].loc[own.index]
            of_annotator = classes[annotator].loc[own.index]
            in_both = (of_reference != "") & (of_annotator != "")
            if not in_both.any():
                continue
            agreement = measure_agreement(
                of_reference[in_both],
                of_annotator[in_both],
                clusters.loc[own.index][in_both],
            )
            row = {"task": task, "annotator": annotator, "reference": reference, **agreement}
            rows.append(row)
    return pd.DataFrame(rows, columns=["task", *AGREEMENT_COLUMNS])
