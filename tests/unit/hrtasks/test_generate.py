"""Generated triples: what they say, what gives the label away, what is rejected and why."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from canned import Canned

from matchlib.data.formats.rjdb import read_rjdb
from matchlib.data.schema import DataError
from matchlib.data.skills import Graph, Occupation, Skill, load_graph
from matchlib.hrtasks.describe import coverage, distinct_share, self_similarity, shortcuts
from matchlib.hrtasks.generate import (
    FILTER_KINDS,
    JOB,
    MATCHED,
    N_FILTERED,
    UNMATCHED,
    ModelWriter,
    TemplateWriter,
    check_triple,
    drop_near_duplicates,
    generate_triples,
    sample_contexts,
    write_rows,
    writer_from,
)
from matchlib.hrtasks.graph_files import graphs_from
from matchlib.hrtasks.rjdb_rows import TEXT_KEYS, HrRow, Position, parse_row, read_triples
from matchlib.hrtasks.validate import (
    REASONS,
    Expected,
    GraphFinder,
    content_fault,
    form_fault,
    other_language,
)
from matchlib.language.llm import Answer, Budget, LanguageModel, LanguageModelError
from matchlib.reports.plots_hrtasks import plot_coverage, plot_shortcuts

GERMAN = """Ich bin seit vielen Jahren als Bäcker tätig und habe in dieser Zeit auch die Ausbildung der
Lehrlinge übernommen. Mit dem Team arbeite ich gern und bin für die Planung der Schichten sowie den
Einkauf verantwortlich, weil mir das sehr wichtig ist."""
FRENCH = """Je suis boulanger depuis dix ans et je travaille dans une équipe de cinq personnes. Nous
avons préparé le pain pour les écoles de la ville, et je suis aussi responsable des achats avec le
chef de la boulangerie qui est très content."""
CHINESE = "我在一家公司工作了五年,负责软件开发和项目管理。" * 5
CONTEXTS = list(sample_contexts(300, seed=3, graph=load_graph()))
# titles of the others hold a skill that is filtered
IN_TITLES = ("data_governance_specialist", "cnc_machinist")
WHOLE = [context for context in CONTEXTS[:14] if context.occupation not in IN_TITLES]


@pytest.fixture(scope="module")
def finder():
    return GraphFinder(graphs_from().values())


@pytest.fixture(scope="module")
def made():
    return generate_triples(400, seed=2, writer=TemplateWriter())


def rows_of(generation):
    return [parse_row(row) for row in generation.rows]


def finder_of(**aliases):
    """A finder of skills by id with these phrases, the first of which is the name."""
    skills = {}
    for id, phrases in aliases.items():
        skills[id] = Skill(id, phrases[0], tuple(phrases[1:]), ())
    baker = Occupation("baker", "Java baker", "food", (), "none", 2, (), (), 1.0)
    return GraphFinder([Graph({}, {"baker": baker}, skills)])


# ---- contexts


@pytest.mark.parametrize("context", CONTEXTS[:40], ids=lambda context: context.id)
def test_the_filter_is_what_tells_the_two_resumes_apart(context):
    matched, unmatched = context.matched, context.unmatched
    assert set(matched.skills) - set(unmatched.skills) == set(context.filtered)
    assert set(unmatched.skills) - set(matched.skills) == set(context.substitutes)
    assert 1 <= len(context.filtered) == len(context.substitutes) <= 3
    assert len(matched.skills) == len(unmatched.skills) == len(set(unmatched.skills))
    occupation = load_graph().occupations[context.occupation]
    assert {*matched.skills, *unmatched.skills} <= {*occupation.essential, *occupation.optional}
    change = context.experience_filter
    years = [[position.years for position in person.positions] for person in (matched, unmatched)]
    assert sum(years[0]) == sum(years[1]) and all(1 <= n <= 5 for side in years for n in side)
    assert matched.occupations[0] == unmatched.occupations[0] == context.occupation
    if change.kind == "none":
        assert matched.positions == unmatched.positions
    if change.kind == "shortened":
        assert matched.occupations == unmatched.occupations
        assert change.new.years < change.old.years and change.new.title == change.old.title
    if change.kind == "dropped":
        gone = set(matched.occupations) - set(unmatched.occupations)
        assert {load_graph().occupations[id].name for id in gone} == {change.title}


def test_positions_leave_no_gap():
    for context in CONTEXTS:
        for person in (context.matched, context.unmatched):
            for later, earlier in zip(person.positions, person.positions[1:], strict=False):
                assert later.start == earlier.end


def test_filters_are_as_frequent_as_in_rjdb():
    contexts = list(sample_contexts(3000, seed=5, graph=load_graph()))
    kinds = Counter(context.experience_filter.kind for context in contexts)
    removed = Counter(len(context.filtered) for context in contexts)
    for found, due in ((kinds, FILTER_KINDS), (removed, N_FILTERED)):
        for value, n in due.items():
            assert found[value] / 3000 == pytest.approx(n / sum(due.values()), abs=0.03)


def test_either_resume_is_as_likely_to_be_the_matched_one():
    """The facts of both have one distribution: the mean years of each place, and use of each skill."""
    contexts = list(sample_contexts(4000, seed=6, graph=load_graph()))
    shortened = [c for c in contexts if c.experience_filter.kind == "shortened"]
    for place in (0, 1, -1):
        gaps = [
            c.matched.positions[place].years - c.unmatched.positions[place].years for c in shortened
        ]
        assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(len(gaps))
    uses = [Counter(s for c in contexts for s in getattr(c, side).skills) for side in SIDES]
    differences = np.array([uses[0][s] - uses[1][s] for s in uses[0]])
    totals = np.array([uses[0][s] + uses[1][s] for s in uses[0]])
    assert (np.abs(differences) < 5 * np.sqrt(totals)).all()


SIDES = ("matched", "unmatched")


def test_contexts_do_not_depend_on_how_many_are_drawn():
    again = list(sample_contexts(5, seed=3, graph=load_graph(), start=10))
    assert again == CONTEXTS[10:15] and again != CONTEXTS[:5]
    held_out = next(sample_contexts(1, seed=3, graph=load_graph("held_out"), wording="held_out"))
    assert held_out.matched != CONTEXTS[0].matched


# ---- templates


def test_triples_are_whole_and_nothing_is_lost(made):
    assert len(made.rows) + len(made.rejections) == made.n_contexts == 400
    assert made.by_reason["triples"].sum() == len(made.rejections)
    # templates say what they should, but titles may hold a filtered skill ("SCADA developer")
    assert set(made.rejections["reason"]) <= {"filtered_skill_present"}
    assert len(made.rows) > 350
    again = generate_triples(400, seed=2, writer=TemplateWriter())
    assert again.rows == made.rows


def test_length_does_not_tell_the_label(made):
    table = shortcuts(rows_of(made)).set_index("rule")
    assert table.loc["more_lines", "value"] == 0.5
    assert 0.4 <= table.loc["more_words", "value"] <= 0.6
    assert 0.4 <= table.loc["resume_only", "value"] <= 0.6


def test_shortcuts_find_a_label_that_length_gives_away(made):
    rows = [replace(row, unmatched=row.unmatched.rsplit("\n", 3)[0]) for row in rows_of(made)]
    table = shortcuts(rows).set_index("rule")
    assert table.loc["more_lines", "value"] == 1 and table.loc["more_words", "low"] > 0.8
    assert table.loc["resume_only", "low"] > 0.9
    swapped = [replace(row, matched=row.unmatched, unmatched=row.matched) for row in rows]
    assert shortcuts(swapped).set_index("rule").loc["more_lines", "value"] == 0


def test_a_file_is_read_by_both_readers(made, tmp_path):
    path = tmp_path / "triples.jsonl"
    write_rows(path, made.rows)
    assert not list(tmp_path.glob("*.partial"))
    rows = read_triples(path)
    assert rows == rows_of(made) and not any(row.faults for row in rows)
    for row, written in zip(rows, made.rows, strict=True):
        unmatched = written["Context"]["skills-unmatched"]
        assert set(row.skills) - set(unmatched) == set(row.filtered_skills)
        assert tuple(position.years for position in row.positions) == row.years
    kinds = {row.filtered_experience.kind for row in rows}
    assert kinds == {"none", "shortened", "dropped"}
    reading = read_rjdb(path, rows={"train": 200, "valid": 50, "test": 100})
    assert len(reading.tables["jobs"]) > 300
    assert set(reading.tables["labels"]["label"]) == {0, 1}


def test_the_words_of_each_skill_are_in_the_document(made):
    for row in made.rows[:50]:
        for key in TEXT_KEYS:
            quotes = row["Context"]["words"][key]
            skills = row["Context"]["skills-unmatched"] if key == UNMATCHED else row["Skills"]
            assert set(skills) <= set(quotes)
            assert all(quote in row[key] for quote in quotes.values())


def test_held_out_triples_hold_no_training_words():
    made = generate_triples(60, seed=2, writer=writer_from("templates", wording="held_out"))
    assert len(made.rows) > 55 and {row["Context"]["wording"] for row in made.rows} == {"held_out"}
    seen = set()
    for entry in load_graph().skills.values():
        seen |= {phrase.lower() for phrase in (entry.name, *entry.aliases, *entry.evidence)}
    for entry in load_graph().occupations.values():
        seen |= {title.lower() for title in (entry.name, *entry.titles)}
    for row in made.rows:
        for quotes in row["Context"]["words"].values():
            assert not seen & {quote.lower() for quote in quotes.values()}


def test_near_copies_are_dropped_across_triples_and_files(made):
    first, second, third = (dict(row) for row in made.rows[:3])
    second[JOB] = first[JOB].replace("Vacancy", "Job")
    third[UNMATCHED] = first[MATCHED]
    kept, dropped = drop_near_duplicates([first, second, third])
    assert kept == [first]
    assert [entry["document"] for entry in dropped] == [JOB, UNMATCHED]
    assert {entry["reason"] for entry in dropped} == {"near_duplicate"}
    kept, dropped = drop_near_duplicates(made.rows[:5], against=[third])
    assert kept == [made.rows[i] for i in (1, 3, 4)]
    assert [entry["document"] for entry in dropped] == [MATCHED, JOB]


def test_two_runs_against_each_other_share_nothing(made):
    again = generate_triples(20, seed=2, writer=TemplateWriter(), against=made.rows)
    assert not again.rows and len(again.rejections) == 20
    n_before = len(generate_triples(20, seed=2, writer=TemplateWriter()).rows)
    assert again.rejections["reason"].value_counts()["near_duplicate"] == n_before > 15


# ---- validators


@pytest.mark.parametrize(
    "text, found",
    [
        ("I know C and CSS.", {"c"}),
        ("I know CSS.", set()),
        ("I know C++, C# and C-level talk.", {"cpp"}),
        ("C/C++", {"c", "cpp"}),
        ("vitamin c", set()),
        ("JavaScript only", set()),
        ("Java, JavaScript", {"java"}),
        ("JAVA", {"java"}),
        ("a java baker", {"baker"}),
        ("R&D", set()),
        ("R.", {"r"}),
        ("ran budgets", set()),
        ("the spreadsheet", {"sheets"}),
        ("Excel™ Spreadsheets", {"sheets"}),
        ("work books", {"sheets"}),
        ("work\nbooks", {"sheets"}),
        ("- work\n- books", set()),
        ("work-books", {"sheets"}),
        ("Docker, image recognition", {"docker", "vision"}),
        ("", set()),
    ],
)
def test_skills_are_found_at_word_boundaries_and_by_alias(text, found):
    finder = finder_of(
        c=["C"],
        cpp=["C++"],
        java=["Java"],
        r=["R"],
        sheets=["Spreadsheets", "work books"],
        docker=["Docker", "Docker images"],
        vision=["image recognition"],
    )
    assert set(finder.find(text)) == found


def test_a_skill_inside_a_longer_phrase_is_found_only_if_asked():
    finder = finder_of(java=["Java"], ee=["Java EE"])
    assert finder.find("a Java EE and a Java baker") == {"ee": "Java EE", "baker": "Java baker"}
    forms = finder.find_forms("a Java EE and a Java baker")
    assert forms == {"ee": "Java EE", "java": "Java", "baker": "Java baker"}


@pytest.mark.parametrize(
    "text, skill",
    [
        ("Bricklayer", "bricklaying"),
        ("Radiographer", "xray_imaging"),
        ("social media manager", "social_media_marketing"),
        ("MIG welder", "welding_arc"),
        ("mixologist", "cocktail_mixing"),
        ("Penetration tester", "pen_testing"),
        ("tractor-trailer operator", "heavy_vehicle_driving"),
        ("predictive modeller", "machine_learning"),
        ("drafts commercial contracts and a cost estimate", "cost_estimation"),
    ],
)
def test_a_skill_is_found_in_another_form_of_its_words(text, skill, finder):
    assert skill in load_graph().skills
    assert skill in finder.find_forms(text) and skill not in finder.find(text)


@pytest.mark.parametrize(
    "text, skill",
    [
        ("signed all letters", "sign_language"),
        ("video game engineer", "game_engines"),
        ("a virtual DOM", "virtualization"),
        ("warning signs on the roof", "roofing"),
        ("set out walls exactly as drawn", "total_station"),  # a deed of reading blueprints
    ],
)
def test_another_word_of_the_same_letters_is_no_skill(text, skill, finder):
    assert skill in load_graph().skills and skill not in finder.find_forms(text)


def test_a_filtered_skill_inside_a_title_is_present(finder):
    context = next(
        context
        for context in sample_contexts(9000, seed=3, graph=load_graph())
        if context.filtered == ("scada",) and context.occupation == "control_engineer"
    )
    answers = triple_of(context)
    text = answers[UNMATCHED].text + "\nLater: SCADA developer"
    found = check_triple(context, answers | {UNMATCHED: Answer(text)}, finder)
    assert found[1].reason == "filtered_skill_present" and found[1].detail == "scada: SCADA"


@pytest.mark.parametrize("document", [JOB, MATCHED])
def test_a_time_stands_beside_its_own_title(document, finder):
    """Two experiences with their years or periods exchanged: every word is there, none is true."""
    context = next(c for c in WHOLE if len({p.years for p in c.matched.positions}) > 1)
    answers = triple_of(context)
    positions = context.matched.positions
    first, second = positions[0], next(p for p in positions if p.years != positions[0].years)
    lines = [f"- At least {one.years} years as" for one in (first, second)]
    if document == MATCHED:
        lines = [f"- {one.start} - {one.end}:" for one in (first, second)]
    head = answers[document].text.rsplit("\n## ", 1)[0]
    others = [p for p in positions if p not in (first, second)]

    def fault(pairs):
        rest = [f"- At least {p.years} years as {p.title}" for p in others]
        if document == MATCHED:
            rest = [f"- {p.title} ({p.start} - {p.end})" for p in others]
        text = "\n".join([head, "## Work", *pairs, *rest])
        found = check_triple(context, answers | {document: Answer(text)}, finder)
        return found and found[1].reason

    assert fault([f"{lines[0]} {first.title}", f"{lines[1]} {second.title}"]) is None
    assert fault([f"{lines[0]} {second.title}", f"{lines[1]} {first.title}"]) == "experience_absent"


@pytest.mark.parametrize(
    "text, is_right",
    [
        ("Welder for Acme from 2012 to 2015, then Truck driver from 2015 to 2019.", True),
        ("Truck driver for Acme from 2012 to 2015, then Welder from 2015 to 2019.", False),
        ("Truck driver\nAcme Ltd, Leeds\n2015 - 2019\n\nWelder\nAcme Ltd\n2012 - 2015", True),
        ("2015 - 2019\nTruck driver\n\n2012 - 2015\nWelder", True),
        ("From 2012 until 2015 welder, 2015 - 2019 truck driver", True),
        ("Welder\nTruck driver", False),
    ],
)
def test_periods_are_read_in_lists_and_in_prose(text, is_right, finder):
    positions = (
        ("truck_driver", Position("Truck driver", 2015, 2019)),
        ("welder", Position("Welder", 2012, 2015)),
    )
    fault = content_fault(text, Expected(skills=(), positions=positions), finder)
    assert (fault is None) == is_right


def test_the_years_of_an_opening_are_those_of_all_positions():
    """ "Welder with 9 years of experience" would contradict the two years of a shortened position."""
    for wording in ("seen", "held_out"):
        writer = TemplateWriter(wording=wording)
        graph = writer.graphs[wording]
        for context in sample_contexts(40, seed=3, graph=graph, wording=wording):
            for document in (MATCHED, UNMATCHED):
                opening = writer.write([context])[0][document].text.split("\n")[0]
                years = sum(position.years for position in context.matched.positions)
                assert re.search(
                    rf"{years} years of work|cover {years} years|to date: {years} years", opening
                )


def test_two_skills_of_one_phrase_are_both_found():
    assert set(finder_of(a=["Flow", "pipe"], b=["Tube", "pipes"]).find("pipes")) == {"a", "b"}


@pytest.mark.parametrize(
    "text, finish, reason",
    [
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("I'm sorry, I cannot write this resume.", "stop", "refused"),
        ("A resume. " * 40, "content_filter", "refused"),
        ("A resume. " * 40, "length", "truncated"),
        ('Here is the JSON: {"title": "Baker"}' + " and more words" * 40, "stop", "json"),
        ('["Baker", "Driver"]' + " and more words" * 40, "stop", "json"),
        ("```\nA resume\n```" + " and more words" * 40, "stop", "json"),
        ("A short resume.", "stop", "too_short"),
        (GERMAN, "stop", "other_language"),
        (FRENCH, "stop", "other_language"),
        (CHINESE, "stop", "other_language"),
    ],
)
def test_form_faults(text, finish, reason):
    assert form_fault(Answer(text, finish)).reason == reason


def test_a_copied_instruction_is_found():
    prompt = ModelWriter(LanguageModel(Canned(lambda _: Answer("x")))).prompts(CONTEXTS[0])[1]
    copied = " ".join(prompt.system.split()[20:60])
    assert form_fault(Answer(copied)).reason == "copied"


def test_lists_of_english_and_foreign_names_are_english():
    assert other_language("Python\nSQL\nDocker\nKubernetes") == ""
    assert (
        other_language("Chef de cuisine at a restaurant in the South of France, with a team") == ""
    )


def triple_of(context):
    return TemplateWriter().write([context])[0]


@pytest.mark.parametrize("context", WHOLE, ids=lambda context: context.id)
def test_a_filtered_skill_is_found_under_every_phrase(context, finder):
    answers = triple_of(context)
    assert check_triple(context, answers, finder) is None
    for graph in graphs_from().values():
        skill = graph.skills[context.filtered[0]]
        for phrase in (skill.name, *skill.aliases, *skill.evidence):
            text = answers[UNMATCHED].text + f"\nAlso ({phrase})."
            document, rejection = check_triple(context, answers | {UNMATCHED: Answer(text)}, finder)
            assert (document, rejection.reason) == (UNMATCHED, "filtered_skill_present")
            assert rejection.detail.startswith(f"{skill.id}: ")


@pytest.mark.parametrize("context", WHOLE, ids=lambda context: context.id)
def test_what_a_document_lacks_or_adds_is_named(context, finder):
    answers = triple_of(context)
    position = context.matched.positions[0]

    def reason(document, text):
        found = check_triple(context, answers | {document: Answer(text)}, finder)
        return found and found[1].reason

    matched = answers[MATCHED].text
    lines = matched.split("\n")
    without = "\n".join([*lines[:2], *lines[3:]])
    assert reason(MATCHED, without) == "skill_absent"
    assert reason(MATCHED, matched.replace(str(position.start), "1980")) == "experience_absent"
    job = answers[JOB].text
    assert reason(JOB, re.sub(r"(?i)(\d)(\+? years)", r"7\2", job)) == "experience_absent"
    substitute = load_graph().skills[context.substitutes[0]].name
    assert reason(JOB, f"{job}\n{substitute}") == "filtered_skill_present"
    assert reason(MATCHED, job) == "copied"
    assert reason(UNMATCHED, matched) == "copied"
    assert reason(UNMATCHED, matched + "\nThank you.") == "skill_absent"
    if context.experience_filter.kind == "dropped":
        extra = f"{answers[UNMATCHED].text}\n- {context.experience_filter.title}"
        assert reason(UNMATCHED, extra) == "filtered_experience_present"


# ---- language models


def echo(asked):
    """A model that writes just the facts it is given, as prose with headings."""
    facts = asked.split("\n", 2)[2].rsplit("\n</document", 1)[0]
    return (
        f"Here is what this document says about the person and the work that they do.\n{facts}\n"
        + (
            "The team is friendly, and the work is done with care and in good time, as it should be."
        )
    )


def service_writer(tmp_path, **options):
    return ModelWriter(service_model(tmp_path, **options))


def service_model(tmp_path, **options):
    from matchlib.language.service import Service

    return LanguageModel(Service("tiny"), cache=tmp_path / "answers.sqlite", **options)


def test_a_service_writes_and_a_second_run_asks_nothing(server, tmp_path):
    server.answer = echo
    writer = service_writer(tmp_path)
    first = generate_triples(12, seed=4, writer=writer)
    assert len(first.rows) == 12, first.rejections.to_string()
    assert server.answered == 36 and writer.model.usage.requests == 36
    again = generate_triples(12, seed=4, writer=service_writer(tmp_path))
    assert again.rows == first.rows and server.answered == 36
    more = generate_triples(14, seed=4, writer=service_writer(tmp_path))
    assert more.rows[:12] == first.rows and server.answered == 42


def test_a_run_that_reached_its_limit_goes_on_where_it_stopped(server, tmp_path):
    server.answer = echo
    prices = {"tiny": [1.0, 1.0]}
    budget = Budget(cost=0.01, prices=prices)
    limited = service_writer(tmp_path, budget=budget, prices=budget.prices_of("tiny"))
    with pytest.raises(LanguageModelError, match="raise the limit to go on"):
        generate_triples(12, seed=4, writer=limited)
    n_before = server.answered
    assert 0 < n_before < 36
    assert len(generate_triples(12, seed=4, writer=service_writer(tmp_path)).rows) == 12
    assert server.answered == 36, "nothing was asked twice"


def test_a_service_by_name_keeps_its_answers(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path))
    server.answer = echo
    made = generate_triples(2, seed=4, writer=writer_from("service", language_model="tiny"))
    assert {row["Context"]["writer"] for row in made.rows} == {"tiny"}
    assert (tmp_path / "answers.sqlite").exists()


def test_both_resumes_are_asked_for_in_the_same_words(tmp_path):
    writer = ModelWriter(LanguageModel(Canned(lambda _: Answer("x"))))
    for context in CONTEXTS[:10]:
        _, matched, unmatched = writer.prompts(context)
        assert matched.system == unmatched.system and matched.user != unmatched.user
        assert "match" not in (matched.user + unmatched.user).lower()
        assert len(matched.user.splitlines()) == len(unmatched.user.splitlines())


def faulty(fault):
    """`echo`, with one fault in the answers that it names."""

    def answer(asked):
        text = echo(asked.user)
        is_resume = "Write the resume" in asked.user
        if fault == "skill_absent" and is_resume:
            lines = text.split("\n")
            lines.pop(lines.index("Skills:") + 1)
            return Answer("\n".join(lines))
        if fault == "json":
            return Answer(json.dumps({"text": text}))
        if fault == "other_language" and is_resume:
            return Answer(GERMAN)
        if fault == "empty":
            return Answer("")
        if fault == "truncated":
            return Answer(text, "length")
        if fault == "refused":
            return Answer("I'm sorry, but I cannot help with that.")
        if fault == "copied":
            return Answer("The same words for all of them, again and again. " * 5)
        return Answer(text)

    return answer


@pytest.mark.parametrize(
    "fault", ["skill_absent", "json", "other_language", "empty", "truncated", "refused", "copied"]
)
def test_every_faulty_triple_is_counted_by_its_reason(fault):
    made = generate_triples(
        9, seed=4, writer=ModelWriter(LanguageModel(Canned(faulty(fault), key=fault)))
    )
    assert not made.rows and len(made.rejections) == 9
    table = made.by_reason
    assert table["reason"].tolist() == [fault] and table["triples"].tolist() == [9]
    assert table["sentence"].tolist() == [REASONS[fault]]


def test_a_model_that_writes_the_filtered_skill_anyway_is_caught():
    writer = ModelWriter(None)
    context = next(sample_contexts(1, seed=4, graph=writer.graph))
    alias = load_graph().skills[context.filtered[0]].aliases[0]
    unmatched = writer.prompts(context)[2]

    def answer(asked):
        return Answer(echo(asked.user) + (f" {alias}." if asked == unmatched else ""))

    made = generate_triples(1, seed=4, writer=ModelWriter(LanguageModel(Canned(answer))))
    entry = made.rejections.iloc[0]
    assert (entry["document"], entry["reason"]) == (UNMATCHED, "filtered_skill_present")
    assert entry["detail"] == f"{context.filtered[0]}: {alias}"


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"name": "gpt"}, DataError, "writer 'gpt' is not one of templates, service, local"),
        ({"name": "templates", "wording": "new"}, DataError, "wording 'new' is not one of seen"),
        ({"name": "service", "wording": "held_out"}, DataError, "a language model chooses its own"),
        ({"name": "service"}, LanguageModelError, "needs a language model"),
    ],
)
def test_wrong_settings_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        writer_from(**options)


# ---- description


def hr_row(job, matched="I bake bread.", unmatched="I drive a van."):
    return HrRow(
        job=job,
        matched=matched,
        unmatched=unmatched,
        skills=("Git",),
        experiences=("Accountant",),
        years=(1,),
        positions=(),
        filtered_skills=(),
        filtered_experience=None,
    )


def test_coverage_counts_what_jobs_ask_for():
    table = coverage([hr_row("red green one two"), hr_row("red green three four")], load_graph())
    table = table.set_index(["document", "measure"])
    assert table.loc[("graph", "occupations_used"), "value"] == pytest.approx(1 / 112)
    assert table.loc[("graph", "skills_used"), ["value", "n"]].tolist() == pytest.approx(
        [1 / 380, 380]
    )
    assert table.loc[("job", "distinct_1"), "value"] == pytest.approx(6 / 8)
    assert table.loc[("job", "distinct_2"), "value"] == pytest.approx(5 / 6)
    assert table.loc[("matched", "self_similarity"), "value"] == pytest.approx(1)


def test_limits_of_the_measures():
    assert self_similarity(["bake bread", "drive vans"]) == pytest.approx(0)
    assert np.isnan(distinct_share(["one", "two"], 2))
    with pytest.raises(DataError, match="1 triples: two or more"):
        coverage([hr_row("a")], load_graph())
    with pytest.raises(DataError, match="4 triples: 5 or more"):
        shortcuts([hr_row("a")] * 4)


def test_a_generation_uses_most_of_the_graph(made):
    table = coverage(rows_of(made), load_graph()).set_index(["document", "measure"])["value"]
    assert table["graph", "occupations_used"] > 0.95 and table["graph", "skills_used"] > 0.9
    assert table["matched", "self_similarity"] == pytest.approx(
        table["unmatched", "self_similarity"], abs=0.01
    )


def test_figures_show_every_measure_and_rule(made):
    rows = rows_of(made)
    figure = plot_coverage(coverage(rows, load_graph()))
    assert [axis.get_title() for axis in figure.axes] == ["graph", "job", "matched", "unmatched"]
    assert [len(axis.patches) for axis in figure.axes] == [2, 4, 4, 4]
    sets = [shortcuts(rows[:100]).assign(triples="a"), shortcuts(rows[100:]).assign(triples="b")]
    axes = plot_shortcuts(pd.concat(sets)).axes[0]
    assert [text.get_text() for text in axes.get_legend().texts] == ["a", "b"]
    assert len(axes.get_yticks()) == 3 and len(axes.collections) == 6
