"""The steps of notebook 08 that need more than a line; each hands out a frame."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.hrtasks import planted
from matchlib.hrtasks.baselines import Predict, labelled_pairs, train_baselines
from matchlib.hrtasks.claims import unsupported_claims, unsupported_statements
from matchlib.hrtasks.editor import content_lost, edit_resume, job_skills, supported_coverage_gained
from matchlib.hrtasks.experiences import Experience, demanded_experiences
from matchlib.hrtasks.facts import EXPERIENCE_KINDS, DemandedSkill, Gaps, find_gaps
from matchlib.hrtasks.generate import TemplateWriter, generate_triples, write_rows, writer_from
from matchlib.hrtasks.matcher import (
    Matcher,
    job_facts,
    judge_matching,
    own_minus_other,
    train_matcher,
)
from matchlib.hrtasks.ood import KIND, MarkedFile, split_marked
from matchlib.hrtasks.phrases import gazetteer
from matchlib.hrtasks.rjdb_rows import ExperienceFilter, HrRow
from matchlib.hrtasks.scores import (
    normal_phrase,
    score_experiences,
    score_phrases,
    score_spans,
)
from matchlib.hrtasks.tagger import (
    Span,
    TaggedText,
    Tagger,
    TaggerSettings,
    texts_of,
    train_tagger,
)
from matchlib.language.llm import Budget
from matchlib.stats import auc_parts, mean_interval, share_interval

Rows = Sequence[HrRow]
Found = Sequence[Sequence[DemandedSkill]]
FindSkills = Callable[[Sequence[str]], Sequence[Sequence[str]]]
"""Skills of n jobs."""
FindMissing = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[str]]]
"""Skills of n jobs that n resumes lack."""
SEQ2SEQ = "seq2seq"
LEARNED = ("phrase classifier", "tagger", SEQ2SEQ)
"""Extractors that were trained."""
THRESHOLDS = np.arange(0.1, 0.75, 0.05)
MAX_CONTEXTS = 5
TEST_START = 1_000_000
"""Number of the first context of a test, beyond those of any training."""
PERMUTED = "labels permuted"
RANDOM_FILTERS = "filtered information random"
WORLDS = ("as given", PERMUTED, RANDOM_FILTERS)


def parts_of_world(parts: Mapping[str, Rows], world: str, *, seed: int) -> dict[str, Rows]:
    """The training rows ("train") and the tests of a world, see `rows_of_world`.

    Labels are permuted in training alone: the tests say what was learned. What was filtered is
    random in the tests, too: explanations are judged by it.
    """
    return {
        name: list(rows)
        if world == PERMUTED and name != "train"
        else rows_of_world(rows, world, seed=seed)
        for name, rows in parts.items()
    }


def rows_of_world(rows: Rows, world: str, *, seed: int) -> list[HrRow]:
    """Rows of a world in which something cannot be learned.

    "labels permuted" exchanges the two resumes of every other row. "filtered information random"
    keeps all texts and draws anew what a row records as filtered: of its job's skills as many as
    another row filters, and that row's kind of change to one of its own experiences. Raises
    ValueError on a world that is none.
    """
    if world not in WORLDS:
        raise ValueError(f"world {world!r} is not one of {', '.join(WORLDS)}")
    if world == "as given":
        return list(rows)
    rng = np.random.default_rng(seed)
    if world == RANDOM_FILTERS:
        # the number of filtered skills is another row's, too: it would tell how many are missing
        others = [rows[i] for i in rng.permutation(len(rows))]
        return [
            _with_random_filter(row, other, rng) for row, other in zip(rows, others, strict=True)
        ]
    is_swapped = rng.permutation(np.arange(len(rows)) % 2 == 0)
    return [
        replace(row, matched=row.unmatched, unmatched=row.matched) if swap else row
        for row, swap in zip(rows, is_swapped, strict=True)
    ]


def _with_random_filter(row: HrRow, other: HrRow, rng: np.random.Generator) -> HrRow:
    n = min(len(other.filtered_skills), len(row.skills))
    skills = [row.skills[i] for i in rng.permutation(len(row.skills))[:n]]
    change = other.filtered_experience
    if change.old is not None and row.positions:
        old = row.positions[rng.integers(len(row.positions))]
        new = change.new
        if change.kind == "shortened":
            new = old if old.start is None else replace(old, start=old.start + 1)
        change = ExperienceFilter(change.kind, old, new)
    return replace(row, filtered_skills=tuple(skills), filtered_experience=change)


def split_rows(rows: Rows, *, train_rows: int, test_rows: int) -> dict[str, Rows]:
    """The first rows of a file to train on, those after them to test on.

    Raises DataError where the file has fewer.
    """
    if len(rows) < train_rows + test_rows:
        raise DataError(
            f"triples_file: {len(rows):,} rows can be read, but train_rows and test_rows ask for "
            f"{train_rows + test_rows:,}; lower one of them"
        )
    return {"train": rows[:train_rows], "test": rows[train_rows : train_rows + test_rows]}


@dataclass(frozen=True)
class Written:
    """files: "train" and each test -> its JSON Lines; rejections: part, reason, triples, sentence;
    n_contexts: that were drawn."""

    files: dict[str, Path]
    rejections: pd.DataFrame
    n_contexts: int


def write_triples(
    *,
    train_rows: int,
    test_rows: int,
    writer: str,
    graph_folder: str,
    language_model: str,
    budget: Budget,
    folder: Path,
    seed: int,
) -> Written:
    """Generate training triples and those of each test: "test" in the training's wording, and by
    templates "held-out wording".

    Tests have contexts of their own, the same however many are trained on. A share of the contexts
    is rejected; more are drawn until there are enough, at most MAX_CONTEXTS times as many. Raises
    DataError where that is not enough.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [("train", "seen", train_rows, 0), ("test", "seen", test_rows, TEST_START)]
    if writer == TemplateWriter.name:
        parts.append(("held-out wording", "held_out", test_rows, TEST_START))
    files: dict[str, Path] = {}
    tables, before = [], []
    n_contexts = 0
    for part, wording, wanted, start in parts:
        author = writer_from(
            writer,
            graph_folder=graph_folder,
            wording=wording,
            language_model=language_model,
            seed=seed,
            budget=budget,
        )
        rows: list[dict] = []
        drawn = 0
        while len(rows) < wanted and drawn < MAX_CONTEXTS * wanted:
            n = wanted - len(rows)
            made = generate_triples(
                n, seed=seed, writer=author, start=start + drawn, against=[*before, *rows]
            )
            rows += made.rows
            tables.append(made.by_reason.assign(part=part))
            drawn += n
        if len(rows) < wanted:
            counts = (
                pd.concat(tables).groupby("reason")["triples"].sum().sort_values(ascending=False)
            )
            why = ", ".join(f"{reason}: {n}" for reason, n in counts.head(5).items())
            raise DataError(
                f"{drawn:,} contexts gave {len(rows):,} of {wanted:,} triples ({why}); ask for fewer, "
                f"or for another writer"
            )
        n_contexts += drawn
        files[part] = folder / f"{part.replace(' ', '_')}.jsonl"
        write_rows(files[part], rows)
        before += rows
    rejections = pd.concat(tables).groupby(["part", "reason", "sentence"], as_index=False).sum()
    return Written(files, rejections, n_contexts)


# ---- matching


def pair_probabilities(matcher: Matcher, rows: Rows) -> np.ndarray:
    """(2 n,) of the matched and the unmatched resume of each row."""
    jobs, resumes, _ = labelled_pairs(rows)
    return matcher.predict(jobs, resumes)


def matching_scores(
    matcher: Matcher,
    train: Rows,
    tests: Mapping[str, Rows],
    *,
    seed: int,
    further: Mapping[str, Predict] | None = None,
) -> pd.DataFrame:
    """The matcher and its baselines on every test: model, test, measure, value, low, high.

    further: other students, by name.
    """
    models = {"matcher": matcher.predict, **(further or {}), **train_baselines(train, seed=seed)}
    rows = []
    for test, of_test in tests.items():
        jobs, resumes, _ = labelled_pairs(of_test)
        for name, predict in models.items():
            p = predict(jobs, resumes)
            judged = [*judge_matching(p, of_test), *own_minus_other(predict, of_test, p, seed=seed)]
            rows += [{"model": name, "test": test, **one} for one in judged]
    return pd.DataFrame(rows)


def by_model(matching: pd.DataFrame) -> pd.DataFrame:
    """Scores of one test as text with their intervals, a row a measure, a column a model."""
    texts = matching.assign(
        text=[f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in matching.itertuples()]
    )
    order = matching["measure"].unique()
    table = texts.pivot(index="measure", columns="model", values="text").loc[order]
    return table[matching["model"].unique()].fillna("")


def matching_elsewhere(
    matcher: Matcher, stages: Mapping[str, Mapping[str, pd.DataFrame]]
) -> pd.DataFrame:
    """The matcher on pairs that others labelled: data, measure, value, low, high, n, n_clusters.

    stages: name -> jobs, resumes and labels or preferences of its test split. AUC of labels, and the
    share of preferences in the same order; clusters are jobs. A measure that the labels do not
    allow (one class) is left out.
    """
    rows = []
    for name, tables in stages.items():
        job = tables["jobs"].set_index("job_id")["text"]
        resume = tables["resumes"].set_index("resume_id")["text"]
        labels = tables.get("labels")
        if labels is not None and labels["label"].nunique() == 2:
            p = matcher.predict(labels["job_id"].map(job), labels["resume_id"].map(resume))
            parts = auc_parts(labels["label"].to_numpy(), p)
            interval = mean_interval(parts, labels["job_id"].to_numpy(), bounds=(0, 1))
            rows.append({"data": name, "measure": "AUC of labels", **interval})
        preferences = tables.get("preferences")
        if preferences is not None and len(preferences):
            jobs = preferences["job_id"].map(job)
            a = matcher.predict(jobs, preferences["resume_a"].map(resume))
            b = matcher.predict(jobs, preferences["resume_b"].map(resume))
            prefers_a = np.where(preferences["preferred"] == "a", 1, -1)
            right = (1 + np.sign(a - b) * prefers_a) / 2
            interval = mean_interval(right, preferences["job_id"].to_numpy(), bounds=(0, 1))
            rows.append({"data": name, "measure": "preferences in the same order", **interval})
    columns = ["data", "measure", "value", "low", "high", "n", "n_clusters"]
    return pd.DataFrame(rows, columns=columns)


def learning_curve(
    train: Rows, test: Rows, sizes: Sequence[int], *, threshold: float, seed: int
) -> pd.DataFrame:
    """Matcher and phrase classifier by the number of training rows: rows, measure, value, low,
    high."""
    found = []
    for size in sizes:
        part = train[:size]
        matcher, _ = train_matcher(part, [row.job_skills for row in part], seed=seed)
        judged = judge_matching(pair_probabilities(matcher, test), test)
        found += [{"rows": size, **one} for one in judged if one["measure"] in ("accuracy", "AUC")]
        skills = names_above(matcher.phrases.find([row.job for row in test]), threshold)
        f1 = score_phrases(skills, [row.job_skills for row in test])
        interval = {"value": f1["F1"], "low": f1["low"], "high": f1["high"], "n": f1["n"]}
        found.append({"rows": size, "measure": "skills, exact F1", **interval})
    return pd.DataFrame(found)


# ---- extraction


def names_above(found: Found, threshold: float) -> list[list[str]]:
    """The skills of each job that are likelier than a threshold."""
    return [[one.name for one in of_job if one.probability > threshold] for of_job in found]


def best_threshold(found: Found, true: Sequence[Sequence[str]]) -> float:
    """The threshold with the highest exact F1; on training jobs, see `cross_fitted_skills`."""
    scores = [score_phrases(names_above(found, t), true)["F1"] for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.nanargmax(scores))])


def mark_phrases(text: str, phrases: Sequence[str], *, kind: str) -> TaggedText:
    """A text with every whole-word occurrence of the phrases marked, longer phrases first."""
    pattern = _any_of(tuple(phrases))
    spans = [Span(*match.span(), kind) for match in pattern.finditer(text)] if pattern else []
    return TaggedText(text, tuple(spans))


@lru_cache(maxsize=64)
def _any_of(phrases: tuple[str, ...]) -> re.Pattern | None:
    known = sorted({phrase.strip() for phrase in phrases} - {""}, key=lambda p: (-len(p), p))
    if not known:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?![\w+#])", re.I)


def marked_texts(rows: Rows) -> list[TaggedText]:
    """The job and the matched resume of each row with the words of the skills marked, as far as they
    stand there."""
    marked = []
    for row in rows:
        marked.append(mark_phrases(row.job, row.job_skills, kind=KIND))
        marked.append(mark_phrases(row.matched, row.matched_skills, kind=KIND))
    return marked


def skill_scores(
    train: Rows,
    tests: Mapping[str, Rows],
    matcher: Matcher,
    tagger: Tagger | None,
    *,
    threshold: float,
    further: Mapping[str, FindSkills] | None = None,
) -> pd.DataFrame:
    """Skills by every extractor, exact match of phrases: extractor, test, document, what, precision,
    recall, F1, ...

    The gazetteer is made of the same training rows, the rules take what stands in lists of skills
    and what the packaged graph knows. The phrase classifier reads jobs alone, and so do further
    students. Of matched resumes, skills that the resume does not name are left out.
    """
    known = [row.job_skills for row in train]
    rows = []
    for test, of_test in tests.items():
        jobs = [row.job for row in of_test]
        resumes = [row.matched for row in of_test]
        of_jobs = _found_skills(jobs, known, tagger)
        of_jobs["phrase classifier"] = names_above(matcher.phrases.find(jobs), threshold)
        of_jobs |= {name: find(jobs) for name, find in (further or {}).items()}
        in_resumes = [
            [name for name in row.matched_skills if _stands_in(name, normal_phrase(row.matched))]
            for row in of_test
        ]
        for document, true, found in (
            ("job", [row.job_skills for row in of_test], of_jobs),
            ("matched resume", in_resumes, _found_skills(resumes, known, tagger)),
        ):
            about = {"test": test, "document": document}
            for extractor, own in found.items():
                rows += [
                    {**about, "extractor": extractor, **one} for one in _scored(own, true, known)
                ]
    return pd.DataFrame(rows)


def _found_skills(
    texts: Sequence[str], known: Sequence[Sequence[str]], tagger: Tagger | None
) -> dict[str, list[list[str]]]:
    found = {
        "gazetteer": gazetteer(known, texts),
        "rules (lists and graph)": [job_skills(text) for text in texts],
    }
    if tagger is not None:
        spans = tagger.find(texts)
        found["tagger"] = [texts_of(text, own) for text, own in zip(texts, spans, strict=True)]
    return found


def _scored(
    found: Sequence[Sequence[str]], true: Sequence[Sequence[str]], known: Sequence[Sequence[str]]
) -> list[dict]:
    """Scores over all skills, and over those that no training row names."""
    seen = {normal_phrase(name) for names in known for name in names}

    def unseen(phrases: Sequence[str]) -> list[str]:
        return [phrase for phrase in phrases if normal_phrase(phrase) not in seen]

    of_unseen = score_phrases([unseen(own) for own in found], [unseen(own) for own in true])
    return [
        {"what": "skills", **score_phrases(found, true)},
        {"what": "skills unseen in training", **of_unseen},
    ]


def experience_scores(tests: Mapping[str, Rows]) -> pd.DataFrame:
    """Demanded experiences by patterns: soft match of titles, with years and without."""
    rows = []
    for test, of_test in tests.items():
        found = [demanded_experiences(row.job) for row in of_test]
        true = [
            [Experience(one.title, float(one.years or np.nan)) for one in row.positions]
            for row in of_test
        ]
        for what, with_years in (("title and years", True), ("title", False)):
            scores = score_experiences(found, true, with_years=with_years)
            rows.append({"test": test, "what": what, **scores})
    return pd.DataFrame(rows)


# ---- explanation


def gaps_of(rows: Rows, found: Found, *, threshold: float) -> list[tuple[Gaps, Gaps]]:
    """What the matched and the unmatched resume of each row lack."""
    gaps = []
    for row, facts in zip(rows, job_facts([row.job for row in rows], found), strict=True):
        of_row = [
            find_gaps(facts, resume, min_probability=threshold)
            for resume in (row.matched, row.unmatched)
        ]
        gaps.append((of_row[0], of_row[1]))
    return gaps


def explanation_scores(
    rows: Rows,
    found: Mapping[str, Found],
    *,
    threshold: float,
    further: Mapping[str, FindMissing] | None = None,
    leave_out_stated: bool = True,
) -> pd.DataFrame:
    """Filtered skills that are named, by the source of the job's skills: source, precision, recall,
    F1, ..., false_alarms (skills named of a matched resume, a row), left_out.

    Beside it: the row's own list of skills in the extractor's place, and two floors that need no
    reading: all of that list, and what of it does not stand word for word in the resume. further:
    students that name what is missing by themselves.

    Filtered skills that stand word for word in the unmatched resume are left out and counted. Not so
    with leave_out_stated False, for random filters: to leave out what the resume states would favour
    what it lacks.
    """
    everything = [[DemandedSkill(name) for name in row.job_skills] for row in rows]
    lacking, n_left_out = [], 0
    for row in rows:
        absent = list(row.job_filtered_skills)
        if leave_out_stated:
            absent = _absent(row.job_filtered_skills, row.unmatched)
        n_left_out += len(row.filtered_skills) - len(absent)
        lacking.append(absent)
    named: dict[str, list[tuple[list[str], list[str]]]] = {}
    for source, own in {**found, "listed skills": everything}.items():
        named[source] = [
            ([one.name for one in matched.skills], [one.name for one in unmatched.skills])
            for matched, unmatched in gaps_of(rows, own, threshold=threshold)
        ]
    jobs, resumes, _ = labelled_pairs(rows)
    for source, find in (further or {}).items():
        missing = find(jobs, resumes)
        named[source] = [
            (list(missing[i]), list(missing[i + 1])) for i in range(0, len(missing), 2)
        ]
    named["floor: every listed skill"] = [
        (list(row.job_skills), list(row.job_skills)) for row in rows
    ]
    named["floor: listed, not word for word in the resume"] = [
        (_absent(row.job_skills, row.matched), _absent(row.job_skills, row.unmatched))
        for row in rows
    ]
    table = []
    for source, of_rows in named.items():
        alarms = mean_interval(np.array([len(matched) for matched, _ in of_rows], dtype=float))
        table.append(
            {
                "source": source,
                **score_phrases([unmatched for _, unmatched in of_rows], lacking),
                "false_alarms": alarms["value"],
                "false_alarms_low": alarms["low"],
                "false_alarms_high": alarms["high"],
                "left_out": n_left_out,
            }
        )
    return pd.DataFrame(table)


def _absent(names: Sequence[str], text: str) -> list[str]:
    return [name for name in names if not _stands_in(name, normal_phrase(text))]


def _stands_in(phrase: str, text: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(normal_phrase(phrase))}(?!\w)", text))


def experience_confusion(rows: Rows, gaps: Sequence[tuple[Gaps, Gaps]]) -> pd.DataFrame:
    """What was done to the experience (rows; "matched" is nothing) by what is found (columns)."""
    counts = pd.DataFrame(
        0, index=[*EXPERIENCE_KINDS, "matched"], columns=[*EXPERIENCE_KINDS], dtype=int
    )
    for row, (matched, unmatched) in zip(rows, gaps, strict=True):
        counts.loc["matched", matched.experience_kind] += 1
        if row.filtered_experience.kind in EXPERIENCE_KINDS:
            counts.loc[row.filtered_experience.kind, unmatched.experience_kind] += 1
    return counts.rename_axis("true")


# ---- editing


def edit_scores(rows: Rows, further: Mapping[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """Editors on the unmatched resumes: editor, measure, value, low, high, n.

    Beside the extractive editor stand three controls: one that copies, one that pastes the job, and
    the matched resume itself, which is what imitating the file would teach. further: edited
    resumes of other editors.
    """
    editors = {
        "extractive": [edit_resume(row.unmatched, row.job).text for row in rows],
        "copy": [row.unmatched for row in rows],
        "paste the job": [f"{row.unmatched}\n{row.job}" for row in rows],
        "the file's matched resume": [row.matched for row in rows],
        **(further or {}),
    }
    table = []
    for name, texts in editors.items():
        measures: dict[str, list[float]] = {}
        for text, row in zip(texts, rows, strict=True):
            for measure, value in _edit_measures(text, row).items():
                measures.setdefault(measure, []).append(value)
        for measure, values in measures.items():
            known = np.array(values, dtype=float)
            known = known[~np.isnan(known)]
            if not len(known):
                continue
            is_share = measure.startswith("resumes")
            interval = share_interval(known, np.arange(len(known))) if is_share else None
            table.append({"editor": name, "measure": measure, **(interval or mean_interval(known))})
    return pd.DataFrame(table)


def _edit_measures(edited: str, row: HrRow) -> dict[str, float]:
    claims = unsupported_claims(edited, row.unmatched)
    kinds = {claim.kind for claim in claims}
    return {
        "supported coverage gained": supported_coverage_gained(edited, row.unmatched, row.job),
        "resumes with an unsupported skill": float("skill" in kinds),
        "resumes with any unsupported claim": float(bool(claims)),
        "resumes that newly name a filtered skill": float(_names_filtered(edited, row)),
        "statements in other words": float(len(unsupported_statements(edited, row.unmatched))),
        "words lost": content_lost(edited, row.unmatched),
        "resumes left as they were": float(edited.strip() == row.unmatched.strip()),
    }


def _names_filtered(edited: str, row: HrRow) -> bool:
    """Whether the edit names a skill that was filtered, and the unmatched resume does not: a judge
    that shares nothing with the check of claims."""
    absent = _absent((*row.filtered_skills, *row.job_filtered_skills), row.unmatched)
    return any(_stands_in(name, normal_phrase(edited)) for name in absent)


def missing_after(rows: Rows) -> pd.DataFrame:
    """Demands that the extractive editor leaves missing, and says so, a resume: kind, value, low,
    high, n."""
    kinds = ("skill", "years", "degree")
    missing = [edit_resume(row.unmatched, row.job).missing for row in rows]
    table = []
    for kind in kinds:
        counts = np.array([sum(one.kind == kind for one in of_row) for of_row in missing])
        table.append({"kind": kind, **mean_interval(counts)})
    return pd.DataFrame(table)


def fabrication_scores(rows: Rows, *, seed: int) -> pd.DataFrame:
    """Planted inventions found, by kind, and alarms on copies and reorderings: planted, found, low,
    high, n."""
    rng = random.Random(seed)
    donors = planted.Donors(
        skills=sorted({skill for row in rows for skill in row.skills}),
        titles=sorted({one.title for row in rows for one in row.positions}),
    )
    hits: dict[str, list[bool]] = {}
    for row in rows:
        for kind in planted.PLANTS:
            changed = planted.plant(row.matched, kind, donors, rng)
            if changed is not None:
                hits.setdefault(kind, []).append(bool(unsupported_claims(changed, row.matched)))
        for name, text in (
            ("copy (an alarm is false)", row.matched),
            ("reordered (an alarm is false)", planted.shuffle_resume(row.matched, rng)),
        ):
            hits.setdefault(name, []).append(bool(unsupported_claims(text, row.matched)))
    return pd.DataFrame(
        {"planted": kind, **share_interval(np.array(found, dtype=float), np.arange(len(found)))}
        for kind, found in hits.items()
    )


# ---- out of distribution


def ood_scores(
    files: Mapping[str, MarkedFile],
    tagger: Tagger,
    known: Sequence[Sequence[str]],
    *,
    examples: Sequence[int],
    settings: TaggerSettings,
    folder: Path,
    seed: int,
) -> pd.DataFrame:
    """The tagger on other people's texts, as it is and after some of their examples, beside a
    gazetteer of the same training rows and examples, and the whole text as one span, which overlaps
    with everything: file, extractor, examples, match, precision, recall, F1, ...

    The test of a file is the same for all. folder: where the tagger is kept, to start from.
    examples: asked for; a file may have fewer.
    """
    names = sorted({normal_phrase(name) for of_row in known for name in of_row})
    rows = []
    for name, file in files.items():
        split = partial(split_marked, file.texts, test_split=file.test_split, seed=seed)
        _, test = split(n_train=0)
        true = [text.spans for text in test]
        found = {("the whole text", 0): [[Span(0, len(text.text), KIND)] for text in test]}
        for n in examples if file.examples is None else file.examples:
            learned, _ = split(n_train=n)
            phrases = [*names, *(p for t in learned for p in texts_of(t.text, t.spans))]
            marked = [mark_phrases(text.text, phrases, kind=KIND).spans for text in test]
            found["gazetteer", len(learned)] = marked
            own = tagger
            if learned:
                own = train_tagger(learned, name=str(folder), settings=settings, seed=seed)
            spans = own.find([text.text for text in test])
            found["tagger", len(learned)] = [
                [s for s in of_text if s.kind == KIND] for of_text in spans
            ]
        for (extractor, n), spans in found.items():
            for match, overlapping in (("exact", False), ("overlapping", True)):
                scores = score_spans(spans, true, overlapping=overlapping)
                about = {"file": name, "extractor": extractor, "examples": n, "match": match}
                rows.append({**about, **scores})
    return pd.DataFrame(rows)


def leaderboard_rows(matching: pd.DataFrame, skills: pd.DataFrame) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, judgments, value."""
    of_matching = pd.DataFrame(
        {
            "system": matching["model"],
            "task": "rank_resumes",
            "measure": matching["measure"],
            "judgments": matching["test"],
            "value": matching["value"],
        }
    )
    of_skills = pd.DataFrame(
        {
            "system": skills["extractor"],
            "task": "rank_resumes",
            "measure": skills["what"] + " of the " + skills["document"] + ", exact F1",
            "judgments": skills["test"],
            "value": skills["F1"],
        }
    )
    rows = pd.concat([of_matching, of_skills], ignore_index=True)
    return rows[~rows["measure"].str.contains("not longer")]


def answer(
    matching: pd.DataFrame, skills: pd.DataFrame, explained: pd.DataFrame, edits: pd.DataFrame
) -> tuple[str, dict[str, float]]:
    """The headline and the metrics of a run, by its first test."""
    test = matching["test"].iloc[0]
    accuracy = _row(matching, model="matcher", test=test, measure="accuracy")
    auc = _row(matching, model="matcher", test=test, measure="AUC")
    control = _row(matching, model="matcher", test=test, measure="own job minus other jobs")
    baselines = matching[
        ~matching["model"].isin(["matcher", SEQ2SEQ])
        & matching["test"].eq(test)
        & matching["measure"].eq("accuracy")
    ]
    best = baselines.loc[baselines["value"].idxmax()]
    is_shown = skills["test"].eq(test) & skills["what"].eq("skills") & skills["document"].eq("job")
    shown = skills[is_shown].sort_values("F1", ascending=False)
    is_learned = shown["extractor"].isin(LEARNED)
    extractor, floor = shown[is_learned].iloc[0], shown[~is_learned].iloc[0]
    reason = explained.iloc[0]
    gained = _row(edits, editor="extractive", measure="supported coverage gained")
    invented = _row(edits, editor="extractive", measure="resumes with any unsupported claim")
    wordings = [name for name in matching["test"].unique() if name != test]
    elsewhere = "".join(
        f", {name} {_interval(_row(matching, model='matcher', test=name, measure='accuracy'))}"
        for name in wordings
    )
    headline = (
        f"Matching: accuracy {_interval(accuracy)}{elsewhere}, {best['model']} {best['value']:.3f}. "
        f"Skills of jobs: F1 of the {extractor['extractor']} {_interval(extractor, 'F1')}, of the "
        f"{floor['extractor']} {floor['F1']:.3f}. Filtered skills named: F1 "
        f"{_interval(reason, 'F1')}, {reason['false_alarms']:.1f} false alarms on a resume that "
        f"matches. Edits gain {_interval(gained)} of the job's skills; unsupported claims in "
        f"{invented['value']:.0%}, which the editor's own check refuses."
    )
    metrics = {
        "matching_accuracy": accuracy["value"],
        "matching_auc": auc["value"],
        "own_minus_other": control["value"],
        "skills_f1": extractor["F1"],
        "gazetteer_f1": floor["F1"],
        "explanation_f1": reason["F1"],
        "coverage_gained": gained["value"],
        "unsupported_share": invented["value"],
    }
    return headline, {name: float(value) for name, value in metrics.items()}


def _row(frame: pd.DataFrame, **wanted: str) -> pd.Series:
    is_wanted = pd.Series(True, index=frame.index)
    for column, value in wanted.items():
        is_wanted &= frame[column].eq(value)
    return frame[is_wanted].iloc[0]


def _interval(row: pd.Series, column: str = "value") -> str:
    return f"{row[column]:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
