"""Rows of RJDB: every field, every known fault, what cannot be read."""

import json
from collections import Counter
from pathlib import Path

import pytest

from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError
from matchlib.hrtasks.rjdb_rows import (
    KEPT,
    ExperienceFilter,
    Position,
    parse_filter,
    parse_row,
    read_triples,
)

RJDB = Path(__file__).parents[4] / "shared" / "data" / "rjdb" / "sample.jsonl"


def fields(**changes):
    row = {
        "Job-Description": "Baker wanted.",
        "Resume-matched": "I bake and drive.",
        "Resume-unmatched": "I drive.",
        "Skills": ["Baking", "Driving"],
        "Experiences": ["Baker", "Driver"],
        "Experiences-years": [
            [
                ["3 years as a Baker", "2 years as a Driver"],
                ["Baker (2017 - 2020)", "Driver (2015 - 2017)"],
            ],
            2020,
            [3, 2],
        ],
        "Filtered-information": {"Skills": ["Baking"], "Experience": KEPT},
    }
    return row | changes


def write(folder, *lines):
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_field_is_read():
    row = parse_row(fields())
    assert (row.job, row.matched, row.unmatched) == (
        "Baker wanted.",
        "I bake and drive.",
        "I drive.",
    )
    assert row.skills == ("Baking", "Driving") and row.filtered_skills == ("Baking",)
    assert row.experiences == ("Baker", "Driver") and row.years == (3, 2)
    assert row.positions == (Position("Baker", 2017, 2020), Position("Driver", 2015, 2017))
    assert row.filtered_experience == ExperienceFilter("none") and row.faults == ()


@pytest.mark.parametrize(
    "text, kind, title, change",
    [
        ('instead of "A (2012 - 2015)" use "A (2012 - 2014)"', "shortened", "A", -1),
        ('without including "B, C (D) (2010 - 2013)"', "dropped", "B, C (D)", None),
        ('instead of "A (2012 - 2015)" use "Z (2012 - 2015)"', "dropped", "A", 0),
        ('without including "1. A\n2. B (2010 - 2013)"', "dropped", "1. A\n2. B", None),
    ],
)
def test_a_filter_is_parsed_and_written_again(text, kind, title, change):
    found = parse_filter(text)
    assert (found.kind, found.title) == (kind, title)
    assert (found.new and found.new.years - found.old.years) == change
    assert str(found) == text and parse_filter(f" {text} ") == found


@pytest.mark.parametrize("text", ["", KEPT])
def test_no_filter(text):
    assert parse_filter(text) == ExperienceFilter("none") and str(parse_filter(text)) == KEPT


@pytest.mark.parametrize(
    "changes, fault",
    [
        ({"Skills": {"Baking": 1}}, "dict_for_list"),
        ({"Experiences": ["Baker"]}, "unequal_lists"),
        ({"Filtered-information": {"Skills": [], "Experience": "less"}}, "filter_unparsed"),
        ({"Filtered-information": {"Skills": ["Sewing"]}}, "unknown_skill_filtered"),
        (
            {"Filtered-information": {"Skills": [], "Experience": 'without including "X (1 - 2)"'}},
            "unknown_experience_filtered",
        ),
        (
            {"Experiences-years": [[["a"], ["Baker, 2017", "Driver (2015 - 2017)"]], 2020, [3, 2]]},
            "period_unparsed",
        ),
    ],
)
def test_each_fault_is_named_and_the_row_stays(changes, fault, tmp_path):
    path = write(tmp_path, json.dumps(fields()), json.dumps(fields(**changes)))
    log = RowLog()
    rows = read_triples(path, log=log)
    assert [row.faults for row in rows] == [(), (fault,)]
    assert list(log.left_out["line"]) == ["2"]
    assert log.files.loc[0, ["rows", "read", "parts left out"]].tolist() == [2, 2, 1]


def test_a_dict_gives_its_keys():
    changed = {"Skills": {"Driving": 1, "Baking": 2}, "Experience": KEPT}
    assert parse_row(fields(**{"Filtered-information": changed})).filtered_skills == (
        "Driving",
        "Baking",
    )


@pytest.mark.parametrize(
    "line, reason",
    [
        (json.dumps(fields(**{"Job-Description": " "})), "Job-Description is missing or empty"),
        (json.dumps(fields(**{"Resume-matched": 3})), "Resume-matched is missing or empty"),
        (json.dumps(fields(**{"Skills": "Baking"})), "a str where a list"),
        (json.dumps(fields(**{"Filtered-information": None})), "Filtered-information is no object"),
        (json.dumps(fields(**{"Experiences-years": [[], 2020, []]})), "Experiences-years is not"),
        (json.dumps(fields(**{"Experiences-years": [[[], []], 2020, ["3"]]})), "Experiences-years"),
        ("{", "not JSON"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_counted(line, reason, tmp_path, caplog):
    log = RowLog()
    rows = read_triples(write(tmp_path, line, json.dumps(fields())), log=log)
    assert len(rows) == 1 and "1 rows cannot be read" in caplog.text
    assert log.files.loc[0, ["rows", "read", "left out"]].tolist() == [2, 1, 1]
    assert reason in log.left_out.loc[0, "reason"]


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match="is this a file of RJDB"):
        read_triples(write(tmp_path, '{"text": "Baker"}'))


def test_the_authors_own_rows():
    if not RJDB.exists():
        pytest.skip("no sample of RJDB here; its figures are checked where there is one")
    rows = read_triples(RJDB)
    faults = Counter(fault for row in rows for fault in row.faults)
    assert faults == {"unequal_lists": 31, "dict_for_list": 3}
    kinds = Counter(row.filtered_experience.kind for row in rows)
    assert kinds == {"shortened": 319, "dropped": 206, "none": 75}
    removed = Counter(len(row.filtered_skills) for row in rows)
    # three of the published counts are of dicts, whose keys are taken here
    assert removed == {1: 215, 2: 201, 3: 184}
    shortened = [
        row.filtered_experience for row in rows if row.filtered_experience.kind == "shortened"
    ]
    assert all(found.new.years < found.old.years for found in shortened)
    raw = [json.loads(line) for line in RJDB.read_text().splitlines()]
    texts = [row["Filtered-information"]["Experience"] for row in raw]
    assert [str(row.filtered_experience) for row in rows] == texts
