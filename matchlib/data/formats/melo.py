"""MELO (Retyk and others, RecSys in HR 2024): national titles of occupations and the names of ESCO's
concepts that they mean."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matchlib.data.document_check import why_no_document
from matchlib.data.files import read_fields
from matchlib.data.row_log import Reading, RowLog, Tables
from matchlib.data.schema import DataError
from matchlib.data.splits import drop_near_duplicates_across

JUDGED_BY = ("annotations", "held_out")
TITLES = ("as_written", "singular")
MOST_CONCEPTS = 20
"""Concepts that share names, chained, are held out together; a larger group stays in training."""
_WORD = re.compile(r"[a-z]+")
_SINGULAR_ENDINGS = (
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ves", "f"),
    ("ves", "fe"),
    ("men", "man"),
    ("people", "person"),
)
COLUMNS = {
    "jobs": ["job_id", "text", "concept_group", "split"],
    "resumes": ["resume_id", "text", "concept_group", "split"],
    "labels": ["job_id", "resume_id", "label", "split", "source"],
}


def read_melo(
    path: Path,
    *,
    judged_by: str = "annotations",
    titles: str = "as_written",
    valid: float = 0.1,
    seed: int = 1,
) -> Reading:
    """Read one of MELO's data sets: queries.tsv and corpus_elements.tsv (id, name), annotations.tsv
    (query, 0, name, label) and, where there is one, concept_mapping.tsv (name, concept).

    The test: queries are jobs, and all names are resumes. Training and validation are pairs of names
    of one concept. No annotation is among them, and no name that is a query or a near-copy of one;
    the names themselves may be known to training, as a catalogue is when a query comes.
    judged_by: annotations; or held_out, which tests on the validation queries instead, among all
    names, so that settings can be chosen without a look at the annotations.
    titles: as_written; or singular, which writes each query in lower case and each of its words in the
    number that the names use more often (English: "Sales Managers" becomes "sales manager").
    valid: share of the concepts that are held out; one name of each, drawn by seed, is a query, and
    the others are its answers.
    Tables: jobs, resumes, labels (all accepted, source file). The column concept_group is what queries
    share that have an answer in common.
    """
    if judged_by not in JUDGED_BY:
        raise DataError(f"melo_test {judged_by!r} is not one of {', '.join(JUDGED_BY)}")
    if titles not in TITLES:
        raise DataError(f"melo_titles {titles!r} is not one of {', '.join(TITLES)}")
    if not 0 < valid < 1:
        raise DataError(f"valid_share {valid} must lie between 0 and 1; 0.1 holds out a tenth")
    log = RowLog()
    queries = _documents(path / "queries.tsv", log)
    names = _documents(path / "corpus_elements.tsv", log)
    names, origin = _with_concepts(names, path / "concept_mapping.tsv", log)
    annotations = _annotations(path / "annotations.tsv", set(queries["id"]), set(names["id"]), log)
    names = _hold_out(names, valid=valid, seed=seed)
    notes = []
    asked = queries
    if titles == "singular":
        written = queries["text"]
        queries = queries.assign(text=in_singular(written, names["text"]))
        asked = pd.concat([asked, queries.assign(id="singular-" + queries["id"])])
        n_changed = (queries["text"] != _key(written)).sum()
        notes.append(f"{n_changed:,} queries changed by writing them in the singular")
    synonyms, near = _without_queries(_synonyms(names, seed=seed), asked)
    test = _annotated_test(queries, names, annotations)
    if judged_by == "held_out":
        test = _held_out_test(synonyms, names)
    tables = {}
    for name, columns in COLUMNS.items():
        tables[name] = pd.concat([synonyms[name], test[name]], ignore_index=True)[columns]
    is_name = _key(queries["text"]).isin(set(names["key"]))
    notes += [
        f"MELO {path.name}: {len(queries):,} queries, {len(names):,} names of "
        f"{names['concept'].nunique():,} concepts (by {origin}), {len(annotations):,} annotations",
        f"{is_name.sum():,} queries ({is_name.mean():.1%}) equal a name but for capital letters",
        f"the test is judged by {judged_by}",
        *near,
    ]
    return Reading(tables, notes, log.files, log.left_out, known=("resumes",))


def _key(texts: pd.Series) -> pd.Series:
    """What makes two names one: capital letters do not count."""
    return texts.str.lower()


def in_singular(texts: pd.Series, names: pd.Series) -> pd.Series:
    """The texts in lower case, each plural in the singular if the names hold that more often.

    So "sales" stays where the names speak of sales; a word that they do not know stays, too. The
    names' own numbers decide and no list of words, and no annotation is looked at.
    """
    n_uses: Counter[str] = Counter()
    for name in names.str.lower():
        n_uses.update(_WORD.findall(name))

    def singular(match: re.Match[str]) -> str:
        word = match[0]
        forms = [word]
        for ending, singular_ending in _SINGULAR_ENDINGS:
            if word.endswith(ending):
                forms.append(word.removesuffix(ending) + singular_ending)
        return max(forms, key=n_uses.__getitem__)

    return texts.str.lower().map(lambda text: _WORD.sub(singular, text))


def _documents(path: Path, log: RowLog) -> pd.DataFrame:
    """id, text of a file of both."""
    rows = []
    taken = set()
    for line, (name, text, *_) in read_fields(path, at_least=2, separator="\t"):
        log.saw(path)
        if reason := why_no_document(name, text, taken):
            log.leave_out(path, line, reason)
        else:
            taken.add(name)
            rows.append((name, text))
    if not rows:
        raise DataError(f"{path}: no row can be used; give every line an id, a tab and a name")
    return pd.DataFrame(rows, columns=["id", "text"])


def _with_concepts(names: pd.DataFrame, mapping: Path, log: RowLog) -> tuple[pd.DataFrame, str]:
    """The names with a column concept, and where it is from; ids begin with a number of the concept,
    C000012_en_003, for data sets without a mapping."""
    if not mapping.is_file():
        number = names["id"].str.partition("_")[0]
        return names.assign(concept=number), "the beginnings of ids"
    concept_of = {}
    known = set(names["id"])
    for line, (name, concept, *_) in read_fields(mapping, at_least=2, separator="\t"):
        log.saw(mapping)
        if name not in known:
            log.leave_out(
                mapping, line, "the name is in no row of corpus_elements.tsv; drop the row"
            )
        elif name in concept_of:
            log.leave_out(mapping, line, "the same name again; the first is kept")
        else:
            concept_of[name] = concept
    concepts = names["id"].map(concept_of)
    if concepts.isna().any():
        raise DataError(
            f"{mapping}: no concept for name {names['id'][concepts.isna()].iloc[0][:60]!r} "
            f"({concepts.isna().sum():,} such); add them, or take the file away: ids then tell concepts"
        )
    return names.assign(concept=concepts), mapping.name


def _annotations(path: Path, queries: set[str], names: set[str], log: RowLog) -> pd.DataFrame:
    """job_id, resume_id of the relevant pairs."""
    found = {}
    for line, (query, _, name, label, *_) in read_fields(path, at_least=4):
        log.saw(path)
        if query not in queries:
            log.leave_out(path, line, "the query is in no row of queries.tsv; add it there")
        elif name not in names:
            log.leave_out(path, line, "the name is in no row of corpus_elements.tsv; add it there")
        elif label != "1":
            log.leave_out(
                path, line, f"label {label[:20]!r} is not 1; MELO lists relevant names only"
            )
        elif (query, name) in found:
            log.leave_out(path, line, "the same pair again; the first is kept")
        else:
            found[query, name] = line
    if not found:
        raise DataError(
            f"{path}: no annotation of a known query and name; do the files belong to one data set?"
        )
    return pd.DataFrame(list(found), columns=["job_id", "resume_id"])


def _hold_out(names: pd.DataFrame, *, valid: float, seed: int) -> pd.DataFrame:
    """The names with key (equal names have one), concept_group and split, train or valid.

    Groups of concepts that share a name are drawn until they hold the share of the concepts.
    """
    key = _key(names["text"])
    group = _groups(names["concept"], key)
    n_concepts = names["concept"].groupby(group).nunique()
    drawn = n_concepts.sample(frac=1, random_state=seed)
    drawn = drawn[drawn <= MOST_CONCEPTS]
    n_before = drawn.cumsum() - drawn
    held_out = drawn.index[n_before < valid * n_concepts.sum()]
    split = np.where(group.isin(held_out), "valid", "train")
    return names.assign(key=key, concept_group=group, split=split)


def _synonyms(names: pd.DataFrame, *, seed: int) -> Tables:
    """jobs, resumes, labels of training and validation: equal names are one document.

    In training every name is a job and a resume, accepted with each other name of its concepts. In
    validation one name of a concept is a job, and the names that are none are resumes.
    """
    documents = names.drop_duplicates("key").rename(columns={"id": "document"})
    members = names[["key", "concept", "split"]].drop_duplicates()
    members = members.merge(documents[["key", "document"]], on="key").drop(columns="key")
    held_out = members[members["split"] == "valid"].sample(frac=1, random_state=seed)
    asked = held_out.drop_duplicates("concept")["document"]
    is_asked = members["document"].isin(asked)
    is_train = members["split"] == "train"
    pairs = members[is_train | is_asked].merge(members[~is_asked], on=["concept", "split"])
    pairs = pairs[pairs["document_x"] != pairs["document_y"]]
    labels = pd.DataFrame(
        {
            "job_id": "name-" + pairs["document_x"],
            "resume_id": "name-" + pairs["document_y"],
            "split": pairs["split"],
        }
    )
    labels = labels.drop_duplicates(["job_id", "resume_id"]).assign(label=1, source="file")
    tables = {"labels": labels}
    documents["document"] = "name-" + documents["document"]
    for name, id_column in (("jobs", "job_id"), ("resumes", "resume_id")):
        is_used = documents["document"].isin(labels[id_column])
        tables[name] = documents[is_used].rename(columns={"document": id_column})
    return tables


def _groups(left: pd.Series, right: pd.Series) -> pd.Series:
    """The group of each row: rows with a left or a right value in common, chained, share one."""
    left_codes = pd.factorize(left)[0]
    right_codes = pd.factorize(right)[0] + left_codes.max() + 1
    n = right_codes.max() + 1
    graph = coo_array((np.ones(len(left)), (left_codes, right_codes)), shape=(n, n))
    _, group_of = connected_components(graph, directed=False)
    return pd.Series(group_of[left_codes].astype(str), index=left.index)


def _without_queries(synonyms: Tables, queries: pd.DataFrame) -> tuple[Tables, list[str]]:
    """The pairs without names that are nearly a query, on either side, and notes."""
    tables = {"labels": synonyms["labels"]}
    for name, id_column in (("jobs", "job_id"), ("resumes", "resume_id")):
        asked = queries.rename(columns={"id": id_column}).assign(split="test")
        tables[name] = pd.concat([synonyms[name], asked], ignore_index=True)
    tables, notes = drop_near_duplicates_across(tables)
    for name in ("jobs", "resumes"):
        tables[name] = tables[name][tables[name]["split"] != "test"]
    if not (tables["labels"]["split"] == "train").any():
        raise DataError(
            "corpus_elements.tsv: no two names of one concept are left to train on; is this the "
            "whole data set?"
        )
    return tables, notes


def _annotated_test(
    queries: pd.DataFrame, names: pd.DataFrame, annotations: pd.DataFrame
) -> Tables:
    concept_of = names.set_index("id")["concept"]
    answers = annotations["resume_id"].map(concept_of)
    groups = _groups(answers, annotations["job_id"])
    group_of_query = dict(zip(annotations["job_id"], groups, strict=True))
    group_of_concept = dict(zip(answers, groups, strict=True))
    jobs = queries.rename(columns={"id": "job_id"})
    resumes = names.rename(columns={"id": "resume_id"})
    group_of_name = names["concept"].map(group_of_concept)
    return {
        "jobs": jobs.assign(
            concept_group=jobs["job_id"].map(group_of_query).fillna(jobs["job_id"]), split="test"
        ),
        "resumes": resumes.assign(
            concept_group=group_of_name.fillna(names["concept"]), split="test"
        ),
        "labels": annotations.assign(label=1, split="test", source="file"),
    }


def _held_out_test(synonyms: Tables, names: pd.DataFrame) -> Tables:
    """The validation queries among all names but theirs; an equal name of another concept is an
    answer, too."""
    jobs = synonyms["jobs"][synonyms["jobs"]["split"] == "valid"]
    labels = synonyms["labels"][synonyms["labels"]["split"] == "valid"]
    resumes = names[~names["key"].isin(set(jobs["key"]))].rename(columns={"id": "resume_id"})
    key_of = synonyms["resumes"].set_index("resume_id")["key"]
    answers = labels[["job_id"]].assign(key=labels["resume_id"].map(key_of))
    answers = answers.merge(resumes[["key", "resume_id"]], on="key")
    answers["job_id"] = "query-" + answers["job_id"]
    return {
        "jobs": jobs.assign(job_id="query-" + jobs["job_id"], split="test"),
        "resumes": resumes.assign(split="test"),
        "labels": answers.assign(label=1, split="test", source="file"),
    }
