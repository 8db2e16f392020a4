"""ESCO's list of skills in place of the packaged graph; the rows are written here in its columns."""

import pytest

from matchlib.data.formats.esco import read_esco_skills
from matchlib.data.schema import DataError
from matchlib.extraction.facts import extract_facts, use_graph

HEADER = "conceptType,conceptUri,skillType,preferredLabel,altLabels,status,description\n"
ROWS = [
    'KnowledgeSkillCompetence,http://x/1,skill,tune pianos,"piano tuning\nadjust pianos",released,"A; b"\n',
    "KnowledgeSkillCompetence,http://x/2,knowledge,SQL,,released,\n",
    "KnowledgeSkillCompetence,http://x/3,knowledge,C,,released,\n",
    "KnowledgeSkillCompetence,http://x/4,skill,old skill,,obsolete,\n",
    'KnowledgeSkillCompetence,http://x/5,skill,restore pianos,"adjust pianos",released,\n',
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "skills_en.csv"
    path.write_text(HEADER + "".join(ROWS), encoding="utf-8")
    return path


def test_labels_are_read_once_and_single_letters_and_obsolete_rows_are_not(file):
    graph = read_esco_skills(file)
    assert {skill.name: skill.aliases for skill in graph.skills.values()} == {
        "tune pianos": ("tune pianos", "piano tuning", "adjust pianos"),
        "SQL": ("SQL",),
        "restore pianos": ("restore pianos",),
    }
    assert graph.occupations == {}


def test_texts_are_read_by_it_until_the_packaged_graph_is_back(file):
    text = "Piano tuner, 4 years, Leeds.\n## Skills\nPiano tuning; no SQL; Tableau"
    use_graph(read_esco_skills(file))
    try:
        own = extract_facts([text], only_held=True).iloc[0]
    finally:
        use_graph(None)
    assert (own["skills"], own["denied_skills"]) == ("tune pianos", "SQL")
    assert (own["occupation"], own["not_read"]) == ("", "1 of 3 statements")
    packaged = extract_facts([text], only_held=True).iloc[0]
    assert packaged["skills"] == "Tableau"


def test_a_file_of_another_form_is_refused_with_the_remedy(tmp_path):
    wrong = tmp_path / "occupations.csv"
    wrong.write_text("conceptUri,title\nhttp://x/1,piano tuner\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column preferredLabel, altLabels; give skills_"):
        read_esco_skills(wrong)
    empty = tmp_path / "skills_en.csv"
    empty.write_text(HEADER + ROWS[3], encoding="utf-8")
    with pytest.raises(DataError, match="no skill in it"):
        read_esco_skills(empty)
