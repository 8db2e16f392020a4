"""Graphs from ESCO's and O*NET's own files: what is read, what is left out and said, what is refused."""

import pandas as pd
import pytest

from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError
from matchlib.data.skills import load_graph
from matchlib.hrtasks.generate import TemplateWriter, generate_triples
from matchlib.hrtasks.graph_files import graphs_from

N_SKILLS = 12


def write_esco(folder, n_occupations=8, relations=()):
    """Occupations o0 .. with the skills s0 .. s11 each, of which s0 and s1 are essential."""
    occupations = [
        {
            "conceptUri": f"uri/o{i}",
            "iscoGroup": "2512" if i else "7412",
            "preferredLabel": f"{word} keeper",
            "altLabels": f"{word} warden\n{word} custodian",
        }
        for i, word in enumerate(
            ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"][:n_occupations]
        )
    ]
    skills = [
        {
            "conceptUri": f"uri/s{i}",
            "preferredLabel": f"operate tool {word}",
            "altLabels": f"{word} handling\n{word} mastery\n{word} craft" if i else "",
        }
        for i, word in enumerate(
            ["ash", "bay", "elm", "fig", "gum", "ivy", "oak", "yew", "fir", "box", "may", "sal"]
        )
    ]
    related = []
    for i in range(n_occupations):
        for j in range(N_SKILLS):
            kind = "essential" if j < 2 else "optional"
            related.append(
                {"occupationUri": f"uri/o{i}", "relationType": kind, "skillUri": f"uri/s{j}"}
            )
    related += [
        {"occupationUri": o, "relationType": "essential", "skillUri": s} for o, s in relations
    ]
    for name, rows in (
        ("occupations_en", occupations),
        ("skills_en", skills),
        ("occupationSkillRelations_en", related),
    ):
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder


def write_onet(folder):
    (folder / "Occupation Data.txt").write_text(
        "O*NET-SOC Code\tTitle\tDescription\n"
        '15-1252.00\tSoftware Developers\tThey write "code.\n'
        "35-1011.00\tChefs\tThey cook.\n"
    )
    (folder / "Skills.txt").write_text(
        "O*NET-SOC Code\tElement ID\tElement Name\tScale ID\tData Value\n"
        "15-1252.00\t2.A.1.a\tReading Comprehension\tIM\t3.00\n"
        "15-1252.00\t2.A.1.a\tReading Comprehension\tLV\t1.00\n"
        "15-1252.00\t2.A.1.b\tActive Listening\tIM\t2.99\n"
        "99-9999.00\t2.A.1.b\tActive Listening\tIM\t4.00\n"
        "35-1011.00\t2.A.1.b\tActive Listening\tIM\tn/a\n"
    )
    (folder / "Technology Skills.txt").write_text(
        "O*NET-SOC Code\tExample\tCommodity Code\tHot Technology\n"
        "15-1252.00\tC++\t1\tY\n"
        "15-1252.00\tBox\t1\tN\n"
    )
    return folder


def test_no_folder_is_the_packaged_graph():
    assert graphs_from("") == {"seen": load_graph("seen"), "held_out": load_graph("held_out")}


def test_esco_is_read(tmp_path):
    graph = graphs_from(str(write_esco(tmp_path)))["seen"]
    occupation = graph.occupations["uri/o1"]
    assert occupation.name == "bee keeper" and occupation.titles == ("bee warden",)
    assert occupation.essential == ("uri/s0", "uri/s1")
    assert occupation.optional == tuple(f"uri/s{j}" for j in range(2, N_SKILLS))
    assert occupation.family == "ISCO 25" and set(graph.families) == {"ISCO 25", "ISCO 74"}
    assert graph.skills["uri/s1"].aliases == ("bay handling", "bay craft")
    assert graph.skills["uri/s0"].aliases == ("operate tool ash",), "without others, its own name"


def test_the_two_wordings_of_esco_share_no_label(tmp_path):
    seen, held_out = graphs_from(str(write_esco(tmp_path))).values()
    for id in list(seen.skills)[1:]:
        assert not set(seen.skills[id].aliases) & set(held_out.skills[id].aliases)
    assert held_out.occupations["uri/o1"].titles == ("bee custodian",)


def test_relations_to_nothing_are_counted_and_said(tmp_path, caplog):
    relations = [("uri/o0", "uri/none"), ("uri/o0", "uri/gone"), ("uri/none", "uri/s0")]
    log = RowLog()
    graph = graphs_from(str(write_esco(tmp_path, relations=relations)), log=log)["seen"]
    assert "uri/none" not in graph.skills and "uri/none" not in graph.occupations
    assert "2 rows left out: a relation to an unknown skill" in caplog.text
    assert "1 rows left out: a relation of an unknown occupation" in caplog.text
    reasons = log.left_out["reason"].tolist()
    assert "a relation to an unknown skill: 'uri/gone'" in reasons and len(reasons) == 3
    n_rows = log.files.set_index("file").loc[str(tmp_path / "occupationSkillRelations_en.csv")]
    assert n_rows["rows"] == 8 * N_SKILLS + 3 and n_rows["left out"] == 3


def test_onet_is_read(tmp_path, caplog):
    graph = graphs_from(str(write_onet(tmp_path)))["seen"]
    assert list(graph.occupations) == ["15-1252.00"], "chefs are left without a skill"
    developer = graph.occupations["15-1252.00"]
    assert developer.essential == ("2.A.1.a", "C++") and developer.optional == ("2.A.1.b", "Box")
    assert graph.skills["2.A.1.a"].name == "Reading Comprehension"
    assert "1 rows left out: a skill of an unknown occupation" in caplog.text
    assert "1 rows left out: an importance that is no number" in caplog.text


def test_a_repeated_id_is_left_out(tmp_path, caplog):
    write_esco(tmp_path)
    path = tmp_path / "skills_en.csv"
    path.write_text(path.read_text() + "uri/s1,another name,\n")
    assert graphs_from(str(tmp_path))["seen"].skills["uri/s1"].name == "operate tool bay"
    assert "an id that is empty or taken" in caplog.text


@pytest.mark.parametrize("missing", ["skills_en", "occupationSkillRelations_en"])
def test_a_missing_file_is_named(missing, tmp_path):
    write_esco(tmp_path)
    (tmp_path / f"{missing}.csv").unlink()
    with pytest.raises(DataError, match=f"{missing} is missing"):
        graphs_from(str(tmp_path))


def test_a_missing_column_is_named(tmp_path):
    write_esco(tmp_path)
    path = tmp_path / "occupationSkillRelations_en.csv"
    path.write_text(path.read_text().replace("skillUri", "skill"))
    with pytest.raises(DataError, match="no column 'skillUri', only occupationUri"):
        graphs_from(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n"1,2\n3'])
def test_a_damaged_file_is_refused(content, tmp_path):
    write_esco(tmp_path)
    (tmp_path / "skills_en.csv").write_bytes(content)
    with pytest.raises(DataError, match="skills_en.csv: "):
        graphs_from(str(tmp_path))


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="neither ESCO's occupations_en.csv nor O"):
            graphs_from(str(folder))


def test_files_of_different_versions_are_refused(tmp_path):
    write_esco(tmp_path)
    path = tmp_path / "skills_en.csv"
    path.write_text(path.read_text().replace("uri/", "other/"))
    with pytest.raises(DataError, match="no occupation has a known skill"):
        graphs_from(str(tmp_path))


def test_triples_are_written_from_esco(tmp_path):
    graphs = graphs_from(str(write_esco(tmp_path)))
    made = generate_triples(30, seed=1, writer=TemplateWriter(graphs))
    assert len(made.rows) + len(made.rejections) == 30 and len(made.rows) > 20
    row = made.rows[0]
    assert all(skill.startswith("operate tool") for skill in row["Skills"])


def test_too_small_a_graph_is_refused(tmp_path):
    graphs = graphs_from(str(write_esco(tmp_path, n_occupations=5)))
    with pytest.raises(DataError, match="5 occupations with 6 skills or more, but 6 are needed"):
        generate_triples(1, seed=1, writer=TemplateWriter(graphs))
