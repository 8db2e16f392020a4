"""Claims of an edited resume: what the original states, what it does not, and planted inventions."""

import json
import time
from pathlib import Path
from random import Random

import pytest

from matchlib.data.market.simulation import Market
from matchlib.data.skills import load_graph
from matchlib.hrtasks.claims import (
    CLAIM_KINDS,
    Evidence,
    find_claims,
    unsupported_claims,
    unsupported_statements,
)
from matchlib.hrtasks.planted import PLANTS, Donors, plant, shuffle_resume

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "rjdb" / "sample.jsonl"
RESUME = """## Personal Information
Name: Dana Petrov
Email: dana@example.org

## Education
BSc in Computer Science, Leeds University, 2009

## Skills
1. Python (primary)
2. CSS, C++ and JavaScript
3. Competent in Windows
4. QuickBooks

## Experience
1. Systems Administrator - Norfolk Rail (2012 - 2015), led a team of 12 people
2. Helpdesk Analyst (05/2010 - 03/2012)
"""


def kinds(edited, original=RESUME):
    return {claim.kind for claim in unsupported_claims(edited, original)}


def swapped(old, new):
    assert old in RESUME
    return RESUME.replace(old, new)


@pytest.mark.parametrize(
    "skill",
    [
        *("Python", "python", "Windows", "C++", "Proficient in JavaScript", "CSS and Python"),
        *("Expert in C++ and CSS", "Accounting software", "System administrators"),
    ],
)
def test_a_skill_that_the_original_names_is_supported(skill):
    assert unsupported_claims(swapped("4. QuickBooks", f"4. QuickBooks\n5. {skill}"), RESUME) == []


@pytest.mark.parametrize(
    "skill", ["C", "Java", "R", "Script", "Sage", "Kubernetes", "Rail network"]
)
def test_no_part_of_a_word_and_no_sibling_is_evidence(skill):
    found = unsupported_claims(swapped("4. QuickBooks", f"4. QuickBooks\n5. {skill}"), RESUME)
    assert {claim.kind for claim in found} <= {"skill", "name"}
    assert "skill" in {claim.kind for claim in found}


@pytest.mark.parametrize(
    "text, skill, is_stated",
    [
        ("Skills\n- C, Java", "C", True),
        ("Skills\n- C/C++", "C", True),
        ("John C. Smith\nWashington D.C.", "C", False),
        ("Skills\n- R&D", "R", False),
        ("Experience\n- managed two projects", "Project management", True),
        ("Experience\n- account manager", "Accounting", False),
        ("Experience\n- developed for the market", "Marketing", False),
        ("Experience\n- UI developer without Angular", "Angular", False),
        ("Experience\n- cleaner (not including housekeeping)", "Housekeeping", False),
        ("Skills\n- Amazon Web Services", "AWS", True),
        ("Skills\n- .NET", ".NET", True),
        ("project work; stock management", "Project management", False),
    ],
)
def test_what_states_a_skill(text, skill, is_stated):
    assert bool(Evidence(text).quote_of_skill(skill)) is is_stated


@pytest.mark.parametrize(
    "old, new, kind",
    [
        ("(2012 - 2015)", "(2012 - 2017)", "dates"),
        ("(2012 - 2015)", "(2012 - 2014)", "dates"),  # shorter is not what the original states
        ("(05/2010 - 03/2012)", "(01/2010 - 03/2012)", "dates"),
        ("Systems Administrator", "Senior Systems Administrator", "title"),
        ("Helpdesk Analyst", "Systems Administrator", "title"),  # moved to other dates
        ("Norfolk Rail", "Calder & Voss", "employer"),
        ("BSc", "MSc", "degree"),
        ("Computer Science", "Physics", "degree"),
        ("12 people", "20 people", "number"),
        ("12 people", "12 people for 7 years", "years"),
        ("dana@", "d@", "contact"),
        ("Dana Petrov", "Dana Ivanova", "name"),
        ("\n2. Helpdesk", "\n2. Chief Engineer (1999 - 2004)\n3. Helpdesk", "title"),
    ],
)
def test_each_kind_of_invention_is_told_as_such(old, new, kind):
    assert kind in CLAIM_KINDS
    assert kind in kinds(swapped(old, new))


@pytest.mark.parametrize(
    "old, new",
    [
        ("(05/2010 - 03/2012)", "(2010 - 2012)"),  # states less
        ("(2012 - 2015)", "from 2012 to 2015"),
        ("1. Systems Administrator - Norfolk Rail", "* Systems administrator at Norfolk Rail"),
        ("BSc in Computer Science", "Bachelor's degree in Computer Science"),
        ("Name: Dana Petrov\n", ""),
        ("\n4. QuickBooks", ""),
    ],
)
def test_other_forms_and_omissions_are_no_inventions(old, new):
    assert unsupported_claims(swapped(old, new), RESUME) == []


def test_dates_on_a_line_of_their_own_belong_to_the_line_above():
    original = "Experience\nBaker\n2012 - 2014\nPilot\n2014 - 2016"
    edited = "Experience\nPilot\n2012 - 2014\nBaker\n2014 - 2016"
    assert unsupported_claims(original, original) == []
    assert "title" in kinds(edited, original)


def test_an_item_that_denies_something_may_move_in_its_list():
    original = "Baking; shipped goods without delay; Sales; Diving"
    assert unsupported_claims("Sales; Diving; shipped goods without delay; Baking", original) == []
    assert unsupported_claims("Sales; Diving; shipped goods by rail; Baking", original) != []


def test_the_job_is_no_evidence():
    job = "Required Skills\n- Kubernetes\n- Terraform"
    found = unsupported_claims(f"{RESUME}\n{job}", RESUME)
    assert {"Kubernetes", "Terraform"} <= {claim.value for claim in found}


def test_a_statement_in_other_words_is_told_apart_from_a_copy():
    statement = "Negotiated framework contracts with overseas suppliers."
    assert unsupported_statements(f"{RESUME}\n{statement}", RESUME) == [statement]
    assert unsupported_statements(RESUME, RESUME) == []


TEXTS = [
    "",
    "\n",
    "(",
    "2012 - 2014",
    "- 2014 to present",
    "Überblick\nFähigkeiten\n- Schweißen, Löten\nSchlosser bei Müller GmbH (2012 – heute)",
    "技能\n- 数据分析、Python\n软件工程师 2012年 - 2014年",
    "İstanbul İİİ C++",
    "\x00\x0b\u2028a",
    "Name " * 400,
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_read_and_a_copy_of_it_states_nothing_new(text):
    assert unsupported_claims(text, text) == []
    assert unsupported_claims("", text) == []
    assert isinstance(unsupported_claims(text, RESUME), list)


def test_time_grows_with_the_length_not_its_square():
    def seconds(text):
        start = time.process_time()
        unsupported_claims(text, text + " x")
        return time.process_time() - start

    seconds(RESUME)  # the graph is read once
    for unit in ("a,", "+1 (1", "(2012 - 2014) ", "A.A "):
        short = max(seconds(unit * 100), 0.02)
        assert seconds(unit * 800) < 30 * short, unit


def donors():
    graph = load_graph("seen")
    names = [skill.name for skill in graph.skills.values()]
    return Donors(names, [occupation.name for occupation in graph.occupations.values()])


@pytest.mark.parametrize("split", ["train", "test"])
def test_inventions_planted_in_market_resumes_are_found_and_copies_are_quiet(split):
    rng = Random(3)
    hits = []
    for resume in Market(1).resumes(25, split)["text"]:
        assert unsupported_claims(shuffle_resume(resume, rng), resume) == []
        for kind in PLANTS:
            planted = plant(resume, kind, donors(), rng)
            if planted is not None:
                assert planted != resume
                hits.append(bool(unsupported_claims(planted, resume)))
    assert len(hits) > 100
    assert sum(hits) >= 0.95 * len(hits)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of RJDB is not here")
def test_inventions_planted_in_rjdb_resumes_are_found_and_copies_are_quiet():
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:12]]
    titles = [title for row in rows for title in row["Experiences"] if len(title.split()) < 9]
    pool = Donors([skill for row in rows for skill in row["Skills"]], titles)
    rng = Random(7)
    hits = []
    alarms = []
    for row in rows:
        resume = row["Resume-matched"]
        assert unsupported_claims(resume, resume) == []
        alarms.append(bool(unsupported_claims(shuffle_resume(resume, rng), resume)))
        for kind in PLANTS:
            planted = plant(resume, kind, pool, rng)
            if planted is not None:
                hits.append(bool(unsupported_claims(planted, resume)))
    assert len(hits) > 80
    assert sum(hits) >= 0.95 * len(hits)
    assert sum(alarms) <= 0.02 * len(alarms)


def test_a_shuffled_resume_has_the_same_lines():
    shuffled = shuffle_resume(RESUME, Random(1))
    assert shuffled != RESUME
    assert sorted(shuffled.splitlines()) == sorted(RESUME.splitlines())


def test_claims_are_listed_once_in_a_stable_order():
    assert find_claims(RESUME + RESUME.replace("## Personal", "## Personal")) == find_claims(RESUME)
    assert len(find_claims(RESUME)) == len(set(find_claims(RESUME)))
