"""Slots: two wordings that share nothing, drawn as often as the setting says."""

import re
from random import Random

import pytest

from matchlib.data.market.simulation import Market
from matchlib.data.market.wording import PROXIES, SLOTS, Wording
from matchlib.data.names import unambiguous_names

FIELD = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("slot", SLOTS["seen"])
def test_both_wordings_fill_the_same_fields_with_different_words(slot):
    seen, held_out = SLOTS["seen"][slot], SLOTS["held_out"][slot]
    assert {phrase.casefold() for phrase in seen}.isdisjoint(
        phrase.casefold() for phrase in held_out
    )
    assert len(set(seen)) == len(seen) and len(set(held_out)) == len(held_out) and held_out
    if slot != "filler":  # some fillers hold no number
        assert len({frozenset(FIELD.findall(phrase)) for phrase in (*seen, *held_out)}) == 1


def test_both_wordings_have_the_same_slots():
    assert SLOTS["seen"].keys() == SLOTS["held_out"].keys()


@pytest.mark.parametrize("unseen", [0.0, 0.7, 1.0])
def test_slots_are_held_out_as_often_as_asked(unseen):
    wording, rng = Wording(Market(1).graphs, alias_gap=0, title_gap=0, unseen=unseen), Random(0)
    share = (
        sum(wording.slot("must", rng) in SLOTS["held_out"]["must"] for _ in range(2_000)) / 2_000
    )
    assert share == pytest.approx(unseen, abs=0.05 if 0 < unseen < 1 else 0)


@pytest.mark.parametrize("deeds", [0.0, 0.5, 1.0])
def test_skills_are_deeds_as_often_as_asked(deeds):
    market, rng = Market(1), Random(0)
    wording = Wording(market.graphs, alias_gap=1, title_gap=0, unseen=0)
    skill = market.graph.skills["python"]
    found = [wording.skill("python", rng, deeds=deeds) for _ in range(1_000)]
    assert set(found) <= {*skill.aliases, *skill.evidence}
    share = sum(word in skill.evidence for word in found) / 1_000
    assert share == pytest.approx(deeds, abs=0.06 if deeds == 0.5 else 0)


def test_names_and_proxies_are_apart():
    for table in (unambiguous_names(), PROXIES):
        assert set(table) == {"woman", "man"} and set(table["woman"]).isdisjoint(table["man"])
