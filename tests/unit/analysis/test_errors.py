"""Errors of a ranking: who stands where, why, and who says so."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import errors
from matchlib.data.market import Market
from matchlib.data.schema import DataError
from matchlib.language.llm import Answer, LanguageModelError
from matchlib.retrieval.evaluation import qrels_from_labels
from matchlib.retrieval.leaderboard import Corpus


def ranked(query, candidates):
    return pd.DataFrame(
        {"query_id": query, "candidate_id": list(candidates), "rank": range(1, len(candidates) + 1)}
    )


RANKING = pd.concat(
    [ranked("j1", "abcdefghij"), ranked("j2", "abcdefghij"), ranked("j3", "abcdefghij")]
)
LABELS = pd.DataFrame(
    [("j1", "a", 0), ("j1", "c", 1), ("j1", "j", 1), ("j2", "a", 1), ("j3", "b", 0)],
    columns=["job_id", "resume_id", "label"],
)


def test_high_negatives_stand_at_the_top_and_above_a_positive():
    qrels = qrels_from_labels(LABELS, "rank_resumes")
    found = errors.high_negatives(RANKING, qrels, task="rank_resumes", share=0.4)
    # j1: a (refused) and b are above c, d is above j only; nothing in j2 stands above its a; j3 has no positive
    assert found[
        ["job_id", "resume_id", "rank", "label", "rival_resume", "rival_rank"]
    ].values.tolist() == [
        ["j1", "a", 1, 0, "c", 3],
        ["j1", "b", 2, -1, "c", 3],
        ["j1", "d", 4, -1, "j", 10],
    ]
    assert (found["rival_job"] == "j1").all()
    low = errors.low_positives(RANKING, qrels, task="rank_resumes", share=0.5)
    assert low.values.tolist() == [["j1", "j", 10]]


def test_the_other_way_round_a_rival_is_another_job():
    ranking = ranked("r", ["j1", "j2", "j3", "j4"])
    labels = pd.DataFrame({"job_id": ["j1", "j3"], "resume_id": "r", "label": [0, 1]})
    found = errors.high_negatives(
        ranking, qrels_from_labels(labels, "rank_jobs"), task="rank_jobs", share=0.25
    )
    assert found[[*errors.KEYS, *errors.RIVAL]].values.tolist() == [["j1", "r", "j3", "r"]]


def test_every_query_speaks_before_one_speaks_twice():
    pairs = pd.DataFrame({"job_id": ["a"] * 50 + ["b", "c"], "resume_id": range(52)})
    drawn = errors.draw(pairs, 4, by="job_id", seed=3)
    assert sorted(drawn["job_id"]) == ["a", "a", "b", "c"]
    assert errors.draw(pairs, 4, by="job_id", seed=3).equals(drawn)


FITTING = {
    "skills": "",
    "nice_skills": "",
    "years": 5,
    "city": "Leeds",
    "region": "Yorkshire",
    "remote": "no",
    "seniority": "middle",
}
ASKED = pd.DataFrame([FITTING | {"skills": "SQL; Python", "nice_skills": "Git"}], index=["j"])


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, ""),
        ({"city": "Bradford"}, ""),
        ({"city": "Exeter", "region": "South West"}, "place: Leeds against Exeter"),
        ({"city": "Exeter", "region": "South West", "remote": "yes"}, ""),
        ({"city": "", "region": ""}, ""),
        ({"seniority": "lead"}, "level: middle against lead"),
        ({"seniority": ""}, ""),
        ({"seniority": "senior"}, ""),
        ({"years": 3}, "years: 3 of 5"),
        ({"years": np.nan}, ""),
        ({"skills": "SQL"}, ""),
        ({"skills": ""}, "skills: 0 of 2, not SQL, Python"),
        (
            {"years": 3, "city": "Exeter", "region": "South West"},
            "place: Leeds against Exeter; years: 3 of 5",
        ),
    ],
)
def test_only_what_is_known_speaks_against_a_pair(change, reasons):
    held = pd.DataFrame([FITTING | {"skills": "SQL; Python"} | change], index=["r"])
    pair = pd.DataFrame({"job_id": ["j"], "resume_id": ["r"]})
    assert errors.shortcomings(pair, ASKED, held)["reasons"].tolist() == [reasons]


def test_classes_by_rule():
    held = pd.DataFrame(
        {
            "all": FITTING | {"skills": "SQL; Python; Git"},
            "some": FITTING | {"skills": "SQL; Python"},
            "far": FITTING
            | {"skills": "SQL; Python; Git", "city": "Exeter", "region": "South West"},
        }
    ).T
    pairs = pd.DataFrame(
        [
            ("j", "far", "all", 0),
            ("j", "some", "all", 0),
            ("j", "some", "far", -1),
            ("j", "all", "some", -1),
            ("j", "all", "some", 0),
        ],
        columns=["job_id", "resume_id", "rival_resume", "label"],
    ).assign(rival_job="j")
    found = errors.classify(pairs, ASKED, held)
    assert found["class"].tolist() == [
        "unsuitable",
        "less competent",
        "potentially suitable",
        "potentially suitable",
        "out of scope",
    ]
    assert found["why"][0] == "place: Leeds against Exeter"
    assert found["why"][1] == "all holds 100% of what is asked, this one 67%"
    turned = pairs.iloc[[1]].assign(rival_job="easy", rival_resume="some")
    asked = pd.concat([ASKED, pd.DataFrame([FITTING | {"skills": "SQL"}], index=["easy"])])
    assert errors.classify(turned, asked, held)["why"].tolist() == [
        "of what easy asks 100% are held, of this one's 67%"
    ]


def test_truth_and_a_reader_of_its_columns_agree_and_a_blind_one_does_not():
    market = Market(3, occupations=4, true_fit_share=0.05)
    tables = market.tables({"test": (60, 150)})
    jobs, resumes = tables["jobs"], tables["resumes"]
    rng = np.random.default_rng(1)
    ranking = pd.concat(
        [ranked(job, rng.permutation(resumes["resume_id"])) for job in jobs["job_id"]]
    )
    qrels = qrels_from_labels(tables["labels"], "rank_resumes")
    pairs = errors.high_negatives(ranking, qrels, task="rank_resumes", share=0.5)
    found = errors.classify_by_truth(market, pairs, jobs, resumes)
    truth = found["class"]
    fits = set(zip(*(tables["truth"][key] for key in errors.KEYS), strict=True))
    assert all(
        (job, resume) in fits
        for job, resume in pairs[truth == "potentially suitable"][errors.KEYS].to_numpy()
    )
    assert [
        pair in fits for pair in pairs[errors.KEYS].itertuples(index=False, name=None)
    ] == found["fits"].tolist()
    read = errors.classify(pairs, *errors.from_columns(jobs, resumes))["class"]
    assert ((read == "unsuitable") == (truth == "unsuitable")).all()
    blind = read.sample(frac=1, random_state=1).set_axis(read.index)
    assert (
        errors.agreement(truth, read)["kappa"]
        > 0.5
        > abs(errors.agreement(truth, blind)["kappa"]) + 0.4
    )


def test_agreement_by_hand():
    first, second = pd.Series(list("aaab")), pd.Series(list("aabb"))
    found = errors.agreement(first, second)
    # agree .75; by chance .75 * .5 + .25 * .5 = .5
    assert (found["agree"], found["kappa"], found["majority"], found["n"]) == (
        0.75,
        pytest.approx(0.5),
        0.75,
        4,
    )
    assert np.isnan(errors.agreement(first[:2], second[:2])["kappa"])
    alike = errors.agreement(
        pd.concat([first] * 9), pd.concat([second] * 9), pd.Series(list("abcd") * 9)
    )
    alone = errors.agreement(pd.concat([first] * 9), pd.concat([second] * 9))
    assert alike["high"] - alike["low"] > 2 * (
        alone["high"] - alone["low"]
    )  # nine copies tell no more than one
    with pytest.raises(ValueError, match="4 and 3 classes cannot be compared"):
        errors.agreement(first, second[:3])


def test_annotators_are_compared_where_both_spoke():
    views = {
        "truth": pd.Series(list("aab")),
        "rules": pd.Series(list("aaa")),
        "m": pd.Series(["", "b", "b"]),
    }
    rows = errors.agreements(views, pd.Series(list("xyz")))
    assert [(row["of"], row["against"], row["n"], row["agree"]) for row in rows] == [
        ("rules", "truth", 3, pytest.approx(2 / 3)),
        ("m", "truth", 2, 0.5),
        ("m", "rules", 2, 0.0),
    ]
    assert errors.agreements({"rules": views["rules"]}, pd.Series(list("xyz"))) == []


def test_shares_of_classes_add_up():
    classes = pd.Series(["unsuitable", "unsuitable", "out of scope", "less competent"])
    table = errors.count_classes(classes, pd.Series(["a", "b", "c", "d"]))
    assert table["share"].tolist() == [0.5, 0.25, 0.25, 0.0] and (table["low"] >= 0).all()
    assert table["n"].sum() == 4


def test_a_sheet_goes_out_empty_and_comes_back_filled(tmp_path):
    pairs = pd.DataFrame(
        {"job_id": ["j", "j"], "resume_id": ["a", "b"], "rival_job": "j", "rival_resume": "c"}
    )
    texts = {
        "job": pd.Series({"j": "a job"}),
        "resume": pd.Series({"a": "A, a cook", "b": "=B()", "c": "C"}),
    }
    errors.write_sheet(pairs, texts, tmp_path / "errors.csv")
    both = {"rank_resumes": pairs, "rank_jobs": pairs.assign(rival_resume="d")}
    with pytest.raises(DataError, match="no pair of this run is filled in"):
        errors.read_sheet(tmp_path / "errors.csv", both)
    sheet = pd.read_csv(tmp_path / "errors.csv", dtype=str, keep_default_na=False)
    assert sheet[["job", "resume", "rival", "class"]].values.tolist() == [
        ["a job", "A, a cook", "C", ""],
        ["a job", "'=B()", "C", ""],
    ]
    sheet.loc[1, "class"] = " Out of scope"
    sheet.iloc[::-1].to_csv(tmp_path / "errors.csv", index=False)
    read = errors.read_sheet(tmp_path / "errors.csv", both)
    assert {task: found.tolist() for task, found in read.items()} == {
        "rank_resumes": ["", "out of scope"],
        "rank_jobs": ["", ""],
    }
    sheet.assign(job_id=["j", "7"]).to_csv(tmp_path / "errors.csv", index=False, sep=";")
    with pytest.raises(
        DataError,
        match="errors.csv:3: 1 filled rows are no pairs of this run, the first '7' and 'b'",
    ):
        errors.read_sheet(tmp_path / "errors.csv", both)
    sheet.loc[1, "class"] = "wrong"
    sheet.to_csv(tmp_path / "errors.csv", index=False)
    with pytest.raises(
        DataError, match=r"errors.csv:3: class 'wrong' is not one of unsuitable, less competent"
    ):
        errors.read_sheet(tmp_path / "errors.csv", both)


class Reader:
    """A language model with fixed answers."""

    def __init__(self, *answers):
        self.answers = answers

    def complete(self, prompts):
        self.prompts = prompts
        return [Answer(text) for text in self.answers]


def test_a_language_model_names_classes_and_what_is_no_class_is_counted():
    pairs = pd.DataFrame(
        {"job_id": "j", "resume_id": ["a", "b"], "rival_job": "j", "rival_resume": "c"}
    )
    texts = {
        "job": pd.Series({"j": "a job"}),
        "resume": pd.Series({"a": "a cook", "b": "a nurse", "c": "a chef"}),
    }
    model = Reader("No knives.\n**Class: Unsuitable**", "Class: it is not unsuitable, I think")
    found, unusable = errors.ask_classes(pairs, texts, model, max_words=20)
    assert (found.tolist(), unusable) == (["unsuitable", ""], 1)
    assert "a nurse" in model.prompts[1].user and "a chef" in model.prompts[1].user
    with pytest.raises(
        LanguageModelError, match="none of 2 answers holds a line 'Class: unsuitable or"
    ):
        errors.ask_classes(pairs, texts, Reader("yes", "no"), max_words=20)


def test_slices_part_the_queries_and_small_ones_are_too_few():
    jobs = pd.DataFrame(
        {
            "job_id": list("abcdef"),
            "text": ["one two", "一二", "one two three four", "one", "two", "x"],
            "industry": ["care", "care", "care", "care", "trade", "trade"],
        }
    )
    corpus = Corpus(jobs, pd.DataFrame({"resume_id": ["r", "s"], "text": "t"}))
    ranking = pd.concat([ranked(job, "rs") for job in "abcdef"])
    labels = pd.DataFrame({"job_id": list("aabcde"), "resume_id": list("rsrrss")})
    table = errors.score_slices(
        ranking, labels, corpus, task="rank_resumes", columns=["industry", "region"], smallest=3
    )
    assert table.loc[table["slice"] == "length", "of"].tolist() == ["short", "long"]
    found = table.set_index(["slice", "of"])
    assert set(table["slice"]) == {"industry", "length", "script", "positives"}
    assert found["n"].groupby("slice").sum().to_dict() == dict.fromkeys(
        set(table["slice"]), 5
    )  # f has no positive
    care = found.loc[("industry", "care")]
    assert care["value"] == pytest.approx((1 + 1 + 1 + 1 / np.log2(3)) / 4)
    assert care["low"] < care["value"] < care["high"]
    assert found.loc[("industry", "trade"), "note"] == "too few" and np.isnan(
        found.loc[("industry", "trade"), "value"]
    )
    alike = errors.score_slices(
        ranking,
        labels,
        corpus,
        task="rank_resumes",
        columns=["industry"],
        smallest=3,
        clusters=pd.Series("one", list("abcdef")),
    ).set_index(["slice", "of"])
    assert alike["low"].isna().all() and alike.loc[("industry", "care"), "value"] == care["value"]
    assert (
        found.loc[("script", "without spaces"), "n"] == 1
        and found.loc[("positives", "2-3"), "n"] == 1
    )


def test_the_answer_names_the_classes_and_every_filter():
    shares = errors.count_classes(
        pd.Series(["unsuitable", "unsuitable", "less competent"]), pd.Series(list("abc"))
    )
    filters = pd.DataFrame(
        {
            "task": "rank_resumes",
            "channel": "true_fit",
            "system": ["encoder", "place"],
            "nDCG@10": [0.4, 0.5],
        }
    )
    checks = [
        {"of": "m", "against": "the market's truth", "agree": 0.1, "kappa": 0.0},
        {"of": "rules", "against": "the market's truth", "agree": 0.9, "kappa": 0.75},
    ]
    text = errors.answer(shares.assign(task="rank_resumes"), checks, filters)
    assert text == (
        "Of 3 pairs that stand wrongly high (rank resumes), 67% are unsuitable, 33% are less competent; "
        "the rules agree with the market's truth in 90% (kappa 0.75). nDCG@10 by true_fit: encoder 0.400, "
        "place 0.500. One run, no verdict."
    )
    assert "nothing to explain" in errors.answer(shares.head(0), [], filters)
