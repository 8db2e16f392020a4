"""The graph is large enough, whole, and keeps its held-out wording to itself."""

import pytest

from matchlib.data.skills import DEGREES, load_graph

SEEN, HELD_OUT = load_graph("seen"), load_graph("held_out")


def phrasings(graph) -> dict[str, set[str]]:
    return {
        "aliases": {phrase for skill in graph.skills.values() for phrase in skill.aliases},
        "evidence": {phrase for skill in graph.skills.values() for phrase in skill.evidence},
        "titles": {
            phrase for occupation in graph.occupations.values() for phrase in occupation.titles
        },
    }


def test_the_graph_is_large_enough():
    assert len(SEEN.families) >= 12 and len(SEEN.occupations) >= 100 and len(SEEN.skills) >= 300
    for graph in (SEEN, HELD_OUT):
        assert all(skill.aliases and skill.evidence for skill in graph.skills.values())
        assert all(occupation.titles for occupation in graph.occupations.values())


def test_every_edge_leads_somewhere():
    for occupation in SEEN.occupations.values():
        assert (
            occupation.family in SEEN.families
            and occupation.degree in DEGREES
            and occupation.size > 0
        )
        wanted = [*occupation.essential, *occupation.optional]
        assert set(wanted) <= set(SEEN.skills) and len(set(wanted)) == len(wanted)
        assert len(occupation.essential) >= 5 and len(occupation.optional) >= 4
    needed = {skill for o in SEEN.occupations.values() for skill in (*o.essential, *o.optional)}
    assert needed == set(SEEN.skills)


def test_names_are_unique_and_survive_a_list_in_one_cell():
    names = [skill.name for skill in SEEN.skills.values()]
    assert len({name.casefold() for name in names}) == len(names)
    every = [
        *names,
        *(
            phrase
            for graph in (SEEN, HELD_OUT)
            for group in phrasings(graph).values()
            for phrase in group
        ),
    ]
    assert not [
        name for name in every if ";" in name or "\n" in name or name != name.strip() or not name
    ]


def test_no_phrasing_names_two_skills():
    owner = {}
    for graph in (SEEN, HELD_OUT):
        for skill in graph.skills.values():
            for phrase in {skill.name, *skill.aliases, *skill.evidence}:
                assert owner.setdefault(phrase.casefold(), skill.id) == skill.id, phrase


def test_held_out_wording_is_in_no_seen_string():
    seen = {phrase.casefold() for group in phrasings(SEEN).values() for phrase in group}
    seen |= {
        entry.name.casefold()
        for table in (SEEN.skills, SEEN.occupations)
        for entry in table.values()
    }
    seen |= {text.casefold() for family in SEEN.families.values() for text in family.values()}
    everything = "\n".join(sorted(seen))
    for group in phrasings(HELD_OUT).values():
        for phrase in group:
            assert f"\n{phrase.casefold()}\n" not in f"\n{everything}\n"
            assert f" {phrase.casefold()} " not in everything.replace("\n", " \n ")


def test_the_two_wordings_differ_in_wording_only():
    assert SEEN.families == HELD_OUT.families
    for table, facts in (
        ("occupations", ("name", "family", "degree", "years", "essential", "optional", "size")),
        ("skills", ("name",)),
    ):
        seen, held_out = getattr(SEEN, table), getattr(HELD_OUT, table)
        assert list(seen) == list(held_out)
        assert all(
            getattr(seen[key], fact) == getattr(held_out[key], fact)
            for key in seen
            for fact in facts
        )


def test_an_unknown_wording_raises():
    with pytest.raises(ValueError, match="'test' is neither"):
        load_graph("test")
