"""What notebook 00 looks at: the jobs and resumes of a run or of one's own files, and the systems
that rank them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.normal import plain
from matchlib.data.schema import TASKS, DataError
from matchlib.documents.read import read_documents
from matchlib.ranking.rank import encode_texts, open_ranker
from matchlib.recipes import how_to_make
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.encoder import Encoder, trained_encoder
from matchlib.retrieval.metrics import rank
from matchlib.retrieval.search import search_bm25, search_dense
from matchlib.stage import Finished, is_finished

BM25 = "bm25"
DATA_STAGE = "01_data_rules"
DEMO_DATA = Path("reports/demo") / DATA_STAGE
TABLES = ("jobs", "resumes", "pools")
SIDES = {"rank_resumes": ("jobs", "resumes"), "rank_jobs": ("resumes", "jobs")}
"""The documents that are queries, and candidates, of a task."""


@dataclass(frozen=True)
class SearchSystem:
    """An encoder, or None for keywords (BM25), and the texts that it searches."""

    encoder: Encoder | None
    corpus: Corpus


@dataclass
class Collection:
    """Documents to look at, and the systems that rank them, by name.

    corpus: the texts as they are shown; phrase_encoder: the untrained encoder, which also finds
    skills by similarity, as `matchlib rank` does; notes: what was found and what was not.
    """

    corpus: Corpus
    systems: dict[str, SearchSystem]
    phrase_encoder: Encoder
    notes: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._vectors: dict[str, dict[str, np.ndarray]] = {}
        self._rankings: dict[tuple[str, str, str], pd.DataFrame] = {}

    def texts(self, name: str) -> pd.Series:
        """The texts of "jobs" or "resumes" by id."""
        documents = getattr(self.corpus, name)
        return documents.set_index(f"{name.removesuffix('s')}_id")["text"]

    def rank(self, system: str, task: str, query_id: str) -> pd.DataFrame:
        """One query's whole ranking by one system: candidate_id, rank, score.

        task: rank_resumes (the query is a job) or rank_jobs. The first call of an encoder encodes
        all documents, which are then kept.
        """
        if system not in self.systems or task not in TASKS:
            raise DataError(
                f"system {system!r}, task {task!r}: the systems are {', '.join(self.systems)}, the "
                f"tasks {', '.join(TASKS)}"
            )
        key = (system, task, query_id)
        if key not in self._rankings:
            self._rankings[key] = self._search(*key)
        return self._rankings[key]

    def _search(self, name: str, task: str, query_id: str) -> pd.DataFrame:
        system = self.systems[name]
        queries, candidates = system.corpus.sides(task)
        if query_id not in queries.ids:
            raise DataError(f"{query_id!r} is no document that {task} has as a query")
        position = queries.ids.index(query_id)
        pools = system.corpus.pool(task)
        own_pool = None if pools is None else [pools[position]]
        if system.encoder is None:
            query = queries.texts[position]
            hits = search_bm25([query], candidates.texts, pools=own_pool)
        else:
            vectors = self._encoded(name)
            query_side, candidate_side = SIDES[task]
            hits = search_dense(
                vectors[query_side][[position]], vectors[candidate_side], pools=own_pool
            )
        ranking = rank([query_id], candidates.ids, hits.positions, hits.scores)
        return ranking[["candidate_id", "rank", "score"]]

    def _encoded(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._vectors:
            system = self.systems[name]
            encoder = system.encoder
            self._vectors[name] = {
                "jobs": encode_texts(encoder.encode_jobs, list(system.corpus.jobs["text"]), "jobs"),
                "resumes": encode_texts(
                    encoder.encode_resumes, list(system.corpus.resumes["text"]), "resumes"
                ),
            }
        return self._vectors[name]


def open_collection(
    *, run: str, jobs: str, resumes: str, encoder: str, split: str = "test"
) -> Collection:
    """The documents and systems that the parameters of notebook 00 name.

    run: a run's folder, whose trained encoders rank and, without files of one's own, whose split is
    looked at; jobs, resumes: files or folders as `matchlib rank` takes them, both or neither;
    encoder: as `matchlib rank --model` takes it. Raises DataError where there is nothing to look at.
    """
    if bool(jobs) != bool(resumes):
        raise DataError(
            f"jobs is {jobs!r}, resumes is {resumes!r}; name both, or neither for a run"
        )
    data_folder = Path(run) / DATA_STAGE
    has_run = bool(run) and is_finished(data_folder)
    if not has_run and not jobs:
        missing = f"{data_folder} is no finished stage" if run else "no run is named"
        raise DataError(
            f"there is nothing to look at: {missing}, and jobs and resumes name no files; "
            f"{how_to_make(data_folder if run else DEMO_DATA)}; or set jobs and resumes in the "
            f"parameters cell, each to a folder or a table of yours"
        )
    if jobs:
        shown, notes = _own_documents(jobs, resumes)
        searched = Corpus(_in_plain_form(shown.jobs), _in_plain_form(shown.resumes))
    else:
        shown, notes = _documents_of_split(data_folder, split)
        searched = shown
    systems = {BM25: SearchSystem(None, searched)}
    untrained = open_ranker(encoder).encoder
    systems[encoder] = SearchSystem(untrained, searched)
    if has_run:
        systems |= _trained_systems(Path(run), searched, split, notes, own_texts=not jobs)
    elif run:
        notes.append(f"{run} is no run, so {' and '.join(systems)} rank alone")
    return Collection(shown, systems, untrained, notes)


def _own_documents(jobs: str, resumes: str) -> tuple[Corpus, list[str]]:
    tables = {}
    notes = []
    for name, path in (("jobs", jobs), ("resumes", resumes)):
        reading = read_documents(Path(path), name)
        tables[name] = reading.tables[name]
        notes += reading.notes[:1]
        if n_left_out := len(reading.left_out):
            notes.append(f"{name} left out: {n_left_out:,}; matchlib rank says why")
    return Corpus(tables["jobs"], tables["resumes"]), notes


def _in_plain_form(documents: pd.DataFrame) -> pd.DataFrame:
    return documents.assign(text=documents["text"].map(plain))


def _documents_of_split(folder: Path, split: str) -> tuple[Corpus, list[str]]:
    corpus = _corpus_of(Finished(folder), split)
    if corpus.jobs.empty or corpus.resumes.empty:
        raise DataError(
            f"split is {split!r}, of which {folder} has no job or no resume; name another"
        )
    note = f"{len(corpus.jobs):,} jobs and {len(corpus.resumes):,} resumes, the {split} of {folder}"
    return corpus, [note]


def _corpus_of(stage: Finished, split: str) -> Corpus:
    tables = {name: stage.table(name) for name in TABLES if stage.has(name)}
    return Corpus.of_split(tables, split)


def _trained_systems(
    run: Path, shown: Corpus, split: str, notes: list[str], *, own_texts: bool
) -> dict[str, SearchSystem]:
    """Every encoder that a run trained, by its stage's name.

    own_texts: each searches the texts that it was trained on (03 makes job texts richer); a stage
    that knows other documents than those shown is left out, with a note.
    """
    systems = {}
    for manifest in sorted(run.glob("*/manifest.json")):
        if not is_finished(manifest.parent):
            continue
        stage = Finished(manifest.parent)
        if not stage.has("encoder"):
            continue
        corpus = _corpus_of(stage.input("data"), split) if own_texts else shown
        if own_texts and not _same_documents(corpus, shown):
            notes.append(f"{stage.folder.name} was trained on other documents and is left out")
            continue
        systems[stage.folder.name] = SearchSystem(trained_encoder(stage), corpus)
    return systems


def _same_documents(one: Corpus, other: Corpus) -> bool:
    same_jobs = set(one.jobs["job_id"]) == set(other.jobs["job_id"])
    return same_jobs and set(one.resumes["resume_id"]) == set(other.resumes["resume_id"])
