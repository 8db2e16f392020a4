"""Distractor pools by hand, and that keywords are handicapped among the distractors they chose."""

import numpy as np
import pandas as pd
import pytest

from matchlib.retrieval.distractors import distractor_pool, hard_test, within


def ranking(order):
    return pd.DataFrame(
        [(q, c, i + 1, -i) for q, cs in order.items() for i, c in enumerate(cs)],
        columns=["query_id", "candidate_id", "rank", "score"],
    )


QRELS = pd.DataFrame(
    [("q", "a", 1), ("q", "b", 0), ("p", "c", 1), ("x", "a", 0)],
    columns=["query_id", "candidate_id", "label"],
)


def test_pools_hold_the_positives_and_the_chosen_distractors():
    keywords = ranking({"q": list("bacde"), "p": list("abcde"), "x": list("abcde")})
    hard = distractor_pool(keywords, QRELS, "hard", n=2, seed=0)
    assert set(map(tuple, hard.to_numpy())) == {
        ("q", "a"),
        ("q", "b"),
        ("q", "c"),
        ("p", "c"),
        ("p", "a"),
        ("p", "b"),
    }
    drawn = distractor_pool(keywords, QRELS, "random", n=2, seed=0)
    assert len(drawn) == 6 and {("q", "a"), ("p", "c")} <= set(map(tuple, drawn.to_numpy()))
    assert not drawn.duplicated().any() and set(drawn["query_id"]) == {"q", "p"}
    kept = within(keywords, hard)
    assert kept[kept["query_id"] == "q"][["candidate_id", "rank"]].to_numpy().tolist() == [
        ["b", 1],
        ["a", 2],
        ["c", 3],
    ]


def test_hard_distractors_hurt_keywords_most_and_change_the_order():
    rng = np.random.default_rng(0)
    names, orders = [f"c{i}" for i in range(60)], {"bm25": {}, "deaf": {}}
    qrels = []
    for q in range(80):
        positive = names[rng.integers(60)]
        qrels.append((f"q{q}", positive, 1))
        noise = rng.permutation(names).tolist()
        noise.remove(positive)
        orders["bm25"][f"q{q}"] = [
            *noise[:5],
            positive,
            *noise[5:],
        ]  # five that look alike above it
        orders["deaf"][f"q{q}"] = rng.permutation(names).tolist()  # knows nothing
    qrels = pd.DataFrame(qrels, columns=["query_id", "candidate_id", "label"])
    table = hard_test(
        {name: ranking(order) for name, order in orders.items()}, qrels, measure="RR", n=5, seed=1
    ).set_index("system")
    assert table.loc["bm25", "hard"] == pytest.approx(1 / 6)
    assert table.loc["bm25", "random_place"] == 1 and table.loc["deaf", "hard_place"] == 1
    assert table.loc["deaf", "hard"] == pytest.approx(table.loc["deaf", "random"], abs=0.12)
    assert (table["n_queries"] == 80).all() and (table["hard_low"] <= table["hard"]).all()
