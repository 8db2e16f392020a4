"""Generate triples of a job, a matched and an unmatched resume from a skill-occupation graph.

Method: RJDB (arXiv 2311.06383). A context is drawn from the graph, and all three documents are
written from it. Deviation: RJDB's unmatched resume is shorter than its matched one, so that length
gives the label away. Here what is filtered is replaced by as much that the job does not ask for,
and the two resumes of a context are exchangeable: seen without the job, either is as likely to be
the matched one. Both are written by the same path, from facts alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pandas as pd

from matchlib.data.market.config import CITIES, MarketConfig
from matchlib.data.market.wording import SLOTS, Wording
from matchlib.data.schema import DataError
from matchlib.data.skills import DEGREES, LEVELS, Graph, Occupation
from matchlib.data.splits import JACCARD, duplicate_groups
from matchlib.extraction.facts import LEVEL_BOUNDARIES
from matchlib.hrtasks.graph_files import WORDINGS, graphs_from
from matchlib.hrtasks.rjdb_rows import TEXT_KEYS, ExperienceFilter, Position
from matchlib.hrtasks.validate import (
    REASONS,
    Expected,
    GraphFinder,
    Rejection,
    content_fault,
    copied_from,
    form_fault,
)
from matchlib.language.factory import language_model_from
from matchlib.language.llm import Answer, Budget, LanguageModel, Prompt, Sampling
from matchlib.language.prompts import prompt_from

VERSION = "hrtasks-1"
MIN_SKILLS = 3
MAX_SKILLS = 8
"""Skills that a job asks for; RJDB's have a median of 6."""
N_FILTERED = {1: 212, 2: 201, 3: 184}
N_POSITIONS = {2: 195, 3: 127, 4: 83}
FILTER_KINDS = {"shortened": 319, "dropped": 206, "none": 75}
"""Relative frequencies measured in 600 rows of RJDB. Its contexts of one experience (154) are left
out: one experience cannot be shortened without the resume's years telling."""
MAX_YEARS = 5
"""Years of one experience: 1 to 5, as in RJDB."""
MAX_SHORTENED = 3
LAST_YEARS = (2015, 2023)
"""First and last year in which a person's latest experience ends, as in RJDB."""
N_FILLERS = 2
DEEDS_IN_JOB = 0.1
DEEDS_IN_RESUME = 0.5
"""Share of the skills not named canonically that a deed implies, as in the simulated market."""
FACT_WORDS = 400
TEMPERATURE = 0.7
"""Of a language model's answers: at 0 the documents of one occupation come out alike."""
ANSWER_TOKENS = 700
JOB, MATCHED, UNMATCHED = TEXT_KEYS
COMPARED = ((MATCHED, JOB, JACCARD), (UNMATCHED, JOB, JACCARD), (UNMATCHED, MATCHED, 1.0))
"""Document, other document, and the similarity from which the first is a copy of it: two resumes
from one context may differ in one skill, so only equal ones are copies."""
TRIPLE_SLOTS: dict[str, dict[str, tuple[str, ...]]] = {
    "seen": {
        "skills": ("## Skills", "## Key skills"),
        "required_experience": ("## Required experience", "## Experience we need"),
        "asks_position": ("{n}+ years as {title}", "At least {n} years of work as {title}"),
        "has_position": ("{title} ({start} - {end})", "{start} - {end}: {title}"),
        "resume_open": (
            "{level} {title} from {city}, {years} years of work in all.",
            "{title} ({level}), {city}. All in all, {years} years of work.",
        ),
        "about_job": (
            "The team has {n} people.",
            "You report to the head of the department.",
            "You take part in {n} projects a year.",
            "The company has {n} people and is growing.",
        ),
    },
    "held_out": {
        "skills": ("## What I know", "## Strong points"),
        "required_experience": ("## Where you have worked", "## Your path so far"),
        "asks_position": ("{title} for a minimum of {n} years", "{n} years or longer: {title}"),
        "has_position": ("From {start} to {end} {title}", "{title}, {start} - {end}"),
        "resume_open": (
            "Profile: {level} {title} with home in {city}; jobs so far cover {years} years.",
            "{city}-based {level} {title}. Working life to date: {years} years.",
        ),
        "about_job": (
            "Your {n} colleagues look forward to you.",
            "A divisional manager is your contact.",
            "Expect about {n} assignments in twelve months.",
            "Headcount stands at {n}.",
        ),
    },
}
"""Phrasings that the market's documents, which have no positions, lack or need not have: an opening
says that its years are those of all positions, or it would contradict one that was shortened."""


@dataclass(frozen=True)
class PersonFacts:
    """What one resume says. skills: ids; occupations: id of each position; positions: newest first."""

    skills: tuple[str, ...]
    occupations: tuple[str, ...]
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Context:
    """What one triple is written from.

    The job asks for the skills and, as least years, for the positions of `matched`. filtered,
    substitutes: ids of the skills that the unmatched resume lacks, and of those in their places.
    """

    id: str
    occupation: str
    city: str
    matched: PersonFacts
    unmatched: PersonFacts
    filtered: tuple[str, ...]
    substitutes: tuple[str, ...]
    experience_filter: ExperienceFilter


def sample_contexts(
    n: int, *, seed: int, graph: Graph, wording: str = "seen", start: int = 0
) -> Iterator[Context]:
    """Contexts start .. start + n - 1 of a seed, each independent of all others.

    wording: those of "held_out" are others than those of "seen", so that no test triple repeats a
    training triple in other words. Occupations are drawn uniformly among those with skills enough. Raises DataError if the graph
    has none or fewer than six occupations.
    """
    occupations = usable_occupations(graph)
    for number in range(start, start + n):
        yield _sample(f"{VERSION}/{wording}/{seed}/{number:06d}", graph, occupations)


def usable_occupations(graph: Graph) -> list[Occupation]:
    """The occupations with skills enough to ask for some and substitute others."""
    least = MIN_SKILLS + max(N_FILTERED)
    usable = []
    for occupation in graph.occupations.values():
        if len({*occupation.essential, *occupation.optional}) >= least:
            usable.append(occupation)
    if len(usable) <= max(N_POSITIONS) + 1:
        raise DataError(
            f"the graph has {len(usable)} occupations with {least} skills or more, but "
            f"{max(N_POSITIONS) + 2} are needed; bring a larger graph"
        )
    return usable


def _sample(id: str, graph: Graph, occupations: list[Occupation]) -> Context:
    rng = Random(id)
    occupation = rng.choice(occupations)
    n_filtered = _draw(N_FILTERED, rng)
    pool = sorted({*occupation.essential, *occupation.optional})
    n_skills = rng.randint(MIN_SKILLS, min(MAX_SKILLS, len(pool) - n_filtered))
    drawn = rng.sample(pool, n_skills + n_filtered)
    skills = tuple(drawn[:n_skills])
    substitutes = tuple(drawn[n_skills:])
    places = rng.sample(range(n_skills), n_filtered)
    changed = list(skills)
    for place, substitute in zip(places, substitutes, strict=True):
        changed[place] = substitute
    matched, unmatched, experience_filter = _sample_positions(occupation, graph, occupations, rng)
    return Context(
        id=id,
        occupation=occupation.id,
        city=rng.choice(CITIES)[0],
        matched=replace(matched, skills=skills),
        unmatched=replace(unmatched, skills=tuple(changed)),
        filtered=tuple(skills[place] for place in places),
        substitutes=substitutes,
        experience_filter=experience_filter,
    )


def _sample_positions(
    occupation: Occupation, graph: Graph, occupations: list[Occupation], rng: Random
) -> tuple[PersonFacts, PersonFacts, ExperienceFilter]:
    """Positions of both resumes, and the filter that leads from the one to the other.

    The latest position is the job's own occupation. It is never dropped, since skills that do not
    go with the latest title would tell the unmatched resume. Years taken from one position are
    added to another: asked for are least years, and the sum stays.
    """
    n = _draw(N_POSITIONS, rng)
    kind = _draw(FILTER_KINDS, rng)
    family = [other for other in occupations if other.family == occupation.family]
    pool = family if len(family) > n + 1 else occupations
    others = rng.sample([other.id for other in pool if other != occupation], n)
    ids = [occupation.id, *others[:-1]]
    years = [rng.randint(1, MAX_YEARS) for _ in range(n)]
    last_year = rng.randint(*LAST_YEARS)
    changed_ids = list(ids)
    changed_years = list(years)
    place = 0
    if kind == "dropped":
        place = rng.randrange(1, n)
        changed_ids[place] = others[-1]
    if kind == "shortened":
        years, changed_years, place = _sample_shortened(n, rng)
    matched = _timeline(ids, years, last_year, graph)
    unmatched = _timeline(changed_ids, changed_years, last_year, graph)
    if kind == "none":
        return matched, unmatched, ExperienceFilter("none")
    change = ExperienceFilter(kind, matched.positions[place], unmatched.positions[place])
    return matched, unmatched, change


def _sample_shortened(n: int, rng: Random) -> tuple[list[int], list[int], int]:
    """Years before and after, and the position that becomes shorter.

    Uniform over all pairs that the limits allow, so that before and after have one distribution.
    """
    while True:
        years = [rng.randint(1, MAX_YEARS) for _ in range(n)]
        shorter, longer = rng.sample(range(n), 2)
        moved = rng.randint(1, MAX_SHORTENED)
        changed = list(years)
        changed[shorter] -= moved
        changed[longer] += moved
        if changed[shorter] >= 1 and changed[longer] <= MAX_YEARS:
            return years, changed, shorter


def _timeline(ids: list[str], years: list[int], last_year: int, graph: Graph) -> PersonFacts:
    """Positions without gaps, the newest first."""
    positions = []
    end = last_year
    for id, n in zip(ids, years, strict=True):
        positions.append(Position(graph.occupations[id].name, end - n, end))
        end -= n
    return PersonFacts((), tuple(ids), tuple(positions))


def _draw(frequencies: dict, rng: Random):
    return rng.choices(list(frequencies), weights=list(frequencies.values()))[0]


def expectations(context: Context) -> dict[str, Expected]:
    """What each document of a triple must and must not say, by RJDB's keys."""
    matched = context.matched
    unmatched = context.unmatched
    dropped = tuple(set(matched.occupations) - set(unmatched.occupations))
    added = tuple(set(unmatched.occupations) - set(matched.occupations))
    job = Expected(
        skills=matched.skills,
        absent_skills=context.substitutes,
        positions=tuple(zip(matched.occupations, matched.positions, strict=True)),
        absent_occupations=added,
        states_periods=False,
    )
    second = Expected(
        skills=unmatched.skills,
        absent_skills=context.filtered,
        positions=tuple(zip(unmatched.occupations, unmatched.positions, strict=True)),
        absent_occupations=dropped,
    )
    documents = (job, replace(job, states_periods=True), second)
    return dict(zip(TEXT_KEYS, documents, strict=True))


# ---- writers


class Writer(Protocol):
    """Writes three documents from each context.

    name: of a file's rows; wording: seen or held_out; graphs: by wording.
    """

    name: str
    wording: str
    graphs: dict[str, Graph]

    def write(self, contexts: Sequence[Context]) -> list[dict[str, Answer]]:
        """By context, RJDB's key -> answer."""
        ...


class TripleWording(Wording):
    """The market's wording with phrasings for positions."""

    def slot(self, name: str, rng: Random, **values) -> str:
        """One phrasing of a slot, filled."""
        if name not in TRIPLE_SLOTS["seen"]:
            return super().slot(name, rng, **values)
        return rng.choice(TRIPLE_SLOTS[self._pick(rng)][name]).format(**values)


class TemplateWriter:
    """The simulated market's own writer: phrases of the graph in templates, without a model.

    graphs: by wording, the packaged ones if None. wording: "seen", or "held_out" for test triples in
    words that no training text has. alias_gap, title_gap: share of skills, and of titles, not named
    canonically; None: the market's for "seen", and 1 for "held_out", since training names both.
    """

    name = "templates"

    def __init__(
        self,
        graphs: dict[str, Graph] | None = None,
        *,
        wording: str = "seen",
        alias_gap: float | None = None,
        title_gap: float | None = None,
    ):
        if wording not in WORDINGS:
            raise DataError(f"wording {wording!r} is not one of {', '.join(WORDINGS)}")
        self.graphs = graphs or graphs_from()
        self.wording = wording
        self.graph = self.graphs[wording]
        is_held_out = wording == "held_out"
        usual = (1.0, 1.0) if is_held_out else (MarketConfig.alias_gap, MarketConfig.title_gap)
        self._words = TripleWording(
            self.graphs,
            alias_gap=usual[0] if alias_gap is None else alias_gap,
            title_gap=usual[1] if title_gap is None else title_gap,
            unseen=float(is_held_out),
        )

    def write(self, contexts: Sequence[Context]) -> list[dict[str, Answer]]:
        """Three documents by context; the same context always gives the same texts."""
        written = []
        for context in contexts:
            texts = (
                self._job(context, Random(f"{context.id}/job")),
                self._resume(context, context.matched, Random(f"{context.id}/matched")),
                self._resume(context, context.unmatched, Random(f"{context.id}/unmatched")),
            )
            answers = [Answer(text) for text in texts]
            written.append(dict(zip(TEXT_KEYS, answers, strict=True)))
        return written

    def _job(self, context: Context, rng: Random) -> str:
        slot = self._words.slot
        lines = [
            slot(
                "job_open",
                rng,
                title=self._title(context.occupation, rng),
                city=context.city,
                mode="",
            ),
            *self._degree_lines("asks_degree", context, rng),
            *self._fillers("about_job", rng),
            slot("must", rng),
            *self._skill_lines(context.matched.skills, rng, deeds=DEEDS_IN_JOB),
            slot("required_experience", rng),
        ]
        for occupation, position in zip(
            context.matched.occupations, context.matched.positions, strict=True
        ):
            title = self._title(occupation, rng)
            lines.append("- " + slot("asks_position", rng, n=position.years, title=title))
        return "\n".join(lines)

    def _resume(self, context: Context, person: PersonFacts, rng: Random) -> str:
        slot = self._words.slot
        years = sum(position.years for position in person.positions)
        typical = self.graph.occupations[context.occupation].years
        level = LEVELS[sum(years >= share * typical for share in LEVEL_BOUNDARIES)]
        opening = slot(
            "resume_open",
            rng,
            title=self._title(context.occupation, rng),
            level=slot(level, rng),
            years=years,
            city=context.city,
        )
        lines = [
            opening[0].upper() + opening[1:],
            slot("skills", rng),
            *self._skill_lines(person.skills, rng, deeds=DEEDS_IN_RESUME),
            slot("done", rng),
        ]
        for occupation, position in zip(person.occupations, person.positions, strict=True):
            title = self._title(occupation, rng)
            line = slot("has_position", rng, title=title, start=position.start, end=position.end)
            lines.append(f"- {line}")
        lines += self._fillers("filler", rng)
        lines += self._degree_lines("education", context, rng)
        return "\n".join(lines)

    def _title(self, occupation: str, rng: Random) -> str:
        return self._words.title(occupation, rng)

    def _skill_lines(self, skills: Sequence[str], rng: Random, *, deeds: float) -> list[str]:
        lines = []
        for skill in skills:
            # graphs from files have names and aliases, but no deeds
            share = deeds if self.graph.skills[skill].evidence else 0.0
            lines.append("- " + self._words.skill(skill, rng, deeds=share))
        return lines

    def _degree_lines(self, slot: str, context: Context, rng: Random) -> list[str]:
        degree = self.graph.occupations[context.occupation].degree
        if degree not in DEGREES:
            return []
        return [self._words.slot(slot, rng, degree=self._words.slot(degree, rng))]

    def _fillers(self, slot: str, rng: Random) -> list[str]:
        return [self._words.slot(slot, rng, n=rng.randint(3, 60)) for _ in range(N_FILLERS)]


class ModelWriter:
    """A language model; both resumes are asked for by one prompt that differs in its facts alone.

    Answers are cached, retried and limited in cost as `LanguageModel` is: a run that was stopped
    goes on where it stopped, and a second run asks nothing. Raises LanguageModelError as it does.
    """

    wording = "seen"

    def __init__(
        self, model: LanguageModel, graphs: dict[str, Graph] | None = None, *, name: str = "model"
    ):
        self.model = model
        self.graphs = graphs or graphs_from()
        self.graph = self.graphs["seen"]
        self.name = name

    def write(self, contexts: Sequence[Context]) -> list[dict[str, Answer]]:
        """Three documents by context."""
        prompts = [prompt for context in contexts for prompt in self.prompts(context)]
        answers = self.model.complete(prompts)
        n = len(TEXT_KEYS)
        written = []
        for start in range(0, len(answers), n):
            written.append(dict(zip(TEXT_KEYS, answers[start : start + n], strict=True)))
        return written

    def prompts(self, context: Context) -> list[Prompt]:
        """The prompts of the job, the matched and the unmatched resume."""
        asked = []
        for position in context.matched.positions:
            asked.append(f"- at least {position.years} years as {position.title}")
        job = self._facts(context, context.matched.skills, asked)
        prompts = [prompt_from("hrtasks_job", facts=job, max_words=FACT_WORDS)]
        for person in (context.matched, context.unmatched):
            lines = [f"- {position}" for position in person.positions]
            facts = self._facts(context, person.skills, lines)
            prompts.append(prompt_from("hrtasks_resume", facts=facts, max_words=FACT_WORDS))
        return prompts

    def _facts(self, context: Context, skills: Sequence[str], experience: list[str]) -> str:
        occupation = self.graph.occupations[context.occupation]
        names = [f"- {self.graph.skills[skill].name}" for skill in skills]
        lines = [f"Title: {occupation.name}", f"Place: {context.city}"]
        if occupation.degree in DEGREES:
            lines.append(f"Education: {SLOTS['seen'][occupation.degree][0]}")
        return "\n".join([*lines, "Skills:", *names, "Experience:", *experience])


WRITERS = (TemplateWriter.name, "service", "local")


def writer_from(
    name: str,
    *,
    graph_folder: str = "",
    wording: str = "seen",
    language_model: str = "",
    adapter: str = "",
    seed: int = 1,
    budget: Budget | None = None,
) -> Writer:
    """The writer that parameters name: templates, or service or local with a language model.

    wording: held_out is for test triples by templates; a model has its own words, so there it is
    refused. budget: as in `language_model_from`. Raises DataError on an unknown writer,
    LanguageModelError without a model's name.
    """
    if name not in WRITERS:
        raise DataError(f"writer {name!r} is not one of {', '.join(WRITERS)}")
    graphs = graphs_from(graph_folder)
    if name == TemplateWriter.name:
        return TemplateWriter(graphs, wording=wording)
    if wording != ModelWriter.wording:
        raise DataError(
            f"wording {wording!r}: a language model chooses its own words; set writer: templates for "
            f"triples in held-out wording"
        )
    sampling = Sampling(temperature=TEMPERATURE, max_tokens=ANSWER_TOKENS, seed=seed)
    model = language_model_from(
        name, language_model, adapter=adapter, sampling=sampling, budget=budget
    )
    return ModelWriter(model, graphs, name=language_model)


# ---- generation


@dataclass(frozen=True)
class Generation:
    """rows: objects in RJDB's format; rejections: context, document, reason, detail, a row a triple.

    n_contexts = len(rows) + len(rejections).
    """

    rows: list[dict[str, Any]]
    rejections: pd.DataFrame
    n_contexts: int

    @property
    def by_reason(self) -> pd.DataFrame:
        """reason, triples, sentence, for every reason that occurred, the most frequent first."""
        counts = self.rejections["reason"].value_counts()
        table = counts.rename_axis("reason").reset_index(name="triples")
        return table.assign(sentence=table["reason"].map(REASONS))


def generate_triples(
    n: int,
    *,
    seed: int,
    writer: Writer,
    start: int = 0,
    against: Sequence[dict[str, Any]] = (),
) -> Generation:
    """Draw n contexts, have them written, and keep the triples that say what they should.

    start: number of the first context, so that a later call adds to an earlier one. against: rows of
    other files of which no near copy is kept, such as training triples. A triple is rejected for its
    first fault. Raises DataError on an unusable graph, LanguageModelError as the writer does.
    """
    graph = writer.graphs[writer.wording]
    contexts = list(sample_contexts(n, seed=seed, graph=graph, wording=writer.wording, start=start))
    finder = GraphFinder(writer.graphs.values())
    rows = []
    rejections = []
    for context, answers in zip(contexts, writer.write(contexts), strict=True):
        found = check_triple(context, answers, finder)
        if found is None:
            rows.append(_as_row(context, answers, writer, finder=finder))
        else:
            document, rejection = found
            rejections.append(_rejected(context.id, document, rejection))
    kept, copies = drop_near_duplicates(rows, against=against)
    columns = ["context", "document", "reason", "detail"]
    return Generation(kept, pd.DataFrame([*rejections, *copies], columns=columns), n)


def check_triple(
    context: Context, answers: dict[str, Answer], finder: GraphFinder
) -> tuple[str, Rejection] | None:
    """The first document that cannot be used, and why; None if all three can.

    Form is checked first, then copies, then contents, since a copy lacks what it should say, too.
    """
    for document, answer in answers.items():
        if rejection := form_fault(answer):
            return document, rejection
    texts = {document: answer.text for document, answer in answers.items()}
    for document, other, limit in COMPARED:
        similarity = copied_from(texts[document], texts[other])
        if similarity >= limit:
            return document, Rejection("copied", f"{similarity:.0%} of {other}")
    for document, expected in expectations(context).items():
        if rejection := content_fault(texts[document], expected, finder):
            return document, rejection
    return None


def _rejected(context: str, document: str, rejection: Rejection) -> dict[str, str]:
    return {
        "context": context,
        "document": document,
        "reason": rejection.reason,
        "detail": rejection.detail,
    }


def drop_near_duplicates(
    rows: list[dict[str, Any]], *, against: Sequence[dict[str, Any]] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The triples none of whose documents is a near copy of one of an earlier triple, or of `against`.

    Jobs are compared with jobs and resumes with resumes, see `data.splits.duplicate_groups`. Returns
    the rows kept and a rejection of each other one.
    """
    everything = [*against, *rows]
    copied_in: dict[int, str] = {}
    for keys in (TEXT_KEYS[:1], TEXT_KEYS[1:]):
        texts = [row[key] for row in everything for key in keys]
        first_triple: dict[int, int] = {}
        for place, group in enumerate(duplicate_groups(texts)):
            triple = place // len(keys)
            if first_triple.setdefault(group, triple) != triple:
                copied_in.setdefault(triple, keys[place % len(keys)])
    kept = []
    rejections = []
    for number, row in enumerate(rows, start=len(against)):
        if number in copied_in:
            rejection = Rejection("near_duplicate")
            rejections.append(_rejected(row["Context"]["id"], copied_in[number], rejection))
        else:
            kept.append(row)
    return kept, rejections


def _as_row(
    context: Context, answers: dict[str, Answer], writer: Writer, *, finder: GraphFinder
) -> dict[str, Any]:
    """A triple in RJDB's file format, with one more key, Context.

    Context holds what RJDB's format has no place for: the facts of the unmatched resume, and by
    document the words for each skill and title that is in it.
    """
    graph = writer.graphs[writer.wording]
    names = {id: entry.name for id, entry in (graph.skills | graph.occupations).items()}
    matched = context.matched
    years = [position.years for position in matched.positions]
    phrases = [f"{position.years} years as a {position.title}" for position in matched.positions]
    row: dict[str, Any] = {key: answers[key].text.strip() for key in TEXT_KEYS}
    row["Skills"] = [names[skill] for skill in matched.skills]
    row["Experiences"] = [position.title for position in matched.positions]
    row["Experiences-years"] = [
        [phrases, [str(position) for position in matched.positions]],
        matched.positions[0].end,
        years,
    ]
    row["Filtered-information"] = {
        "Skills": [names[skill] for skill in context.filtered],
        "Experience": str(context.experience_filter),
    }
    row["Context"] = {
        "id": context.id,
        "occupation": context.occupation,
        "writer": writer.name,
        "wording": writer.wording,
        "skills-unmatched": [names[skill] for skill in context.unmatched.skills],
        "experiences-unmatched": [str(position) for position in context.unmatched.positions],
        "words": {key: _words_for(finder.find(row[key]), names) for key in TEXT_KEYS},
    }
    return row


def _words_for(found: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    return {names[id]: quote for id, quote in found.items()}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write RJDB's JSON Lines; the file is written beside and renamed."""
    beside = path.with_name(f"{path.name}.partial")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    beside.write_text("".join(lines), encoding="utf-8")
    beside.replace(path)
