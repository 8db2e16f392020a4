"""Signals: each with a quote that is in the text; hires only from before."""

import json

import numpy as np
import pandas as pd
import pytest
from canned import Canned

from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError
from matchlib.language.llm import Answer, LanguageModel
from matchlib.language.service import Service
from matchlib.talent.features import (
    hire_features,
    hires_of_log,
    permute_signals,
    signal_features,
    text_features,
)
from matchlib.talent.signals import (
    Signals,
    ask_signals,
    extract_signals,
    read_signals,
    score_signals,
    signal_table,
    strict_schema,
)


@pytest.fixture(scope="module")
def documents():
    market = Market(2, occupations=30)
    jobs, resumes = market.jobs(40), market.resumes(80)
    return jobs.rename(columns={"min_years": "years"}), resumes.assign(nice_skills="")


def test_the_offline_reader_finds_what_the_market_wrote_and_quotes_it(documents):
    for table, key in zip(documents, ("job_id", "resume_id"), strict=True):
        extraction = read_signals(table["text"].tolist())
        assert extraction.counts["items without a quote"] == 0 == extraction.counts["invalid"]
        for signals, text in zip(extraction.signals, table["text"], strict=True):
            for item in signals.must_have_skills:
                assert " ".join(item.quote.split()) in " ".join(text.split())
        scores = score_signals(signal_table(table[key], extraction.signals), table)
        assert scores.set_index("slot").loc["all", "F1"] > 0.95


def test_scores_tell_wrong_from_silent():
    truth = pd.DataFrame(
        {
            "skills": ["a; b", "c"],
            "nice_skills": ["", ""],
            "years": [3, 4],
            "city": ["Leeds", "Derby"],
            "seniority": ["senior", "junior"],
            "degree": ["none", "none"],
            "occupation": ["x", "y"],
        }
    )
    own = truth.assign(skills=["a; z", ""], city=["", "Leeds"], years=[3.0, np.nan])
    found = score_signals(own, truth).set_index("slot")
    assert found.loc["skills", "precision"] == 0.5 and found.loc["skills", "hallucinated"] == 0.5
    assert found.loc["skills", "recall"] == pytest.approx(1 / 3)
    assert found.loc["skills", "abstained"] == pytest.approx(1 / 3)
    assert found.loc["city", "abstained"] == 0.5 and found.loc["city", "precision"] == 0
    assert np.isnan(found.loc["nice_skills", "F1"])
    assert found.loc["degree", "F1"] == 1


def test_the_schema_is_strict():
    schema = json.loads(strict_schema())
    for part in (schema, *schema["$defs"].values()):
        assert set(part["required"]) == set(part["properties"])
        assert part["additionalProperties"] is False
    assert schema["title"] == "signals_1"


def signals(**fields):
    empty = {name: None for name in Signals.model_fields}
    lists = ("must_have_skills", "nice_to_have_skills", "tools", "responsibilities")
    empty |= {name: [] for name in (*lists, "hard_constraints")}
    return {**empty, **fields}


def test_a_language_models_items_without_a_quote_in_the_text_are_dropped():
    text = "We need SQL.\nMust speak German."
    answer = signals(
        must_have_skills=[
            {"value": "SQL", "quote": "need  sql"},
            {"value": "Rust", "quote": "Rust required"},
        ],
        hard_constraints=[{"value": "German", "quote": "Must speak German"}],
    )
    fenced = f"```json\n{json.dumps(answer)}\n```"
    answers = iter([fenced, '{"must_have_skills": "SQL"}', "I think SQL"])
    model = LanguageModel(Canned(lambda prompt: Answer(next(answers))))
    extraction = ask_signals([text, "other", "third"], model)
    first = extraction.signals[0]
    assert [item.value for item in first.must_have_skills] == ["SQL"]
    assert first.hard_constraints[0].value == "German"
    assert extraction.signals[1:] == [None, None]
    assert extraction.counts == {
        "documents": 3,
        "invalid": 2,
        "items": 3,
        "items without a quote": 1,
    }
    table = signal_table(pd.Series(["a", "b", "c"], name="job_id"), extraction.signals)
    assert table["skills"].tolist() == ["SQL", "", ""] and table["years"].isna().all()


@pytest.mark.parametrize(("years", "expected"), [(12, 12.0), (66, None)])
def test_years_that_nobody_has_are_none(years, expected):
    (found,) = read_signals([f"Baker\nLeeds\n{years} years of experience\n"]).signals
    assert (found.years.value if found.years else None) == expected


def test_a_service_is_asked_by_the_strict_schema(server, tmp_path):
    answer = signals(must_have_skills=[{"value": "SQL", "quote": "We need SQL"}])
    server.answer = lambda asked: json.dumps(answer) if "SQL" in asked else "I cannot tell"
    model = LanguageModel(Service("any"), cache=tmp_path / "answers.sqlite")
    extraction = extract_signals(["We need SQL.", "We need cooks."], "service", model)
    assert extraction.signals[0].must_have_skills[0].value == "SQL"
    assert extraction.signals[1] is None and extraction.counts["invalid"] == 1
    for body in server.bodies:
        form = body["response_format"]
        assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True
        assert form["json_schema"]["schema"] == json.loads(strict_schema())
    answered = server.answered
    again = extract_signals(["We need SQL."], "service", model)
    assert again.signals[0] == extraction.signals[0] and server.answered == answered
    with pytest.raises(DataError, match="generator 'servce' is not one of reader, service"):
        extract_signals(["We need SQL."], "servce", None)


def impressions_of(jobs, resumes, n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "job_id": jobs["job_id"].to_numpy()[rng.integers(len(jobs), size=n)],
            "resume_id": resumes["resume_id"].to_numpy()[rng.integers(len(resumes), size=n)],
            "shown_at": pd.Timestamp("2026-03-01") + pd.to_timedelta(np.arange(n), unit="h"),
        }
    )


def test_features_are_finite_numbers_whatever_is_unknown(documents):
    jobs, resumes = documents
    shown = impressions_of(jobs, resumes)
    blank = jobs.assign(skills="", nice_skills="", years=np.nan, city="", seniority="", degree="")
    for own in (jobs, blank):
        found = pd.concat(
            [text_features(shown, jobs, resumes), signal_features(shown, own, resumes)], axis=1
        )
        assert np.isfinite(found.to_numpy()).all() and len(found) == 60
    assert found["seniority unknown"].all() and found["place unknown"].all()


def test_a_signal_feature_says_what_it_is_called(documents):
    jobs, resumes = documents
    shown = impressions_of(jobs, resumes)
    found = signal_features(shown, jobs, resumes)
    job = jobs.set_index("job_id").loc[shown["job_id"]]
    resume = resumes.set_index("resume_id").loc[shown["resume_id"]]
    for i in range(60):
        must = set(job["skills"].iloc[i].split("; "))
        has = resume["skills"].iloc[i].split("; ")
        assert found["must-haves"].iloc[i] == pytest.approx(len(must & set(has)) / len(must))
        in_summary = len(must & set(has[:3])) / len(must)
        assert found["must-haves in the summary"].iloc[i] == pytest.approx(in_summary)
        assert found["same city"].iloc[i] == (job["city"].iloc[i] == resume["city"].iloc[i])


def test_only_hires_from_before_an_impression_count(documents):
    jobs, resumes = documents
    shown = impressions_of(jobs.head(1), resumes, n=3)
    moment = shown["shown_at"].iloc[1]
    hire = {"job_id": shown["job_id"].iloc[0], "resume_id": resumes["resume_id"].iloc[5]}
    at = pd.DataFrame([{**hire, "hired_at": moment}])
    assert hire_features(shown, at, resumes)["hires"].tolist() == [0, 0, np.float32(np.log(2))]
    later = at.assign(hired_at=pd.Timestamp("2027-01-01"))
    assert (hire_features(shown, later, resumes).to_numpy() == 0).all()


def test_a_resumes_own_past_is_no_likeness_to_others(documents):
    jobs, resumes = documents
    shown = impressions_of(jobs.head(1), resumes.head(1), n=1)
    itself = shown[["job_id", "resume_id"]].assign(hired_at=pd.Timestamp("2026-01-01"))
    assert (hire_features(shown, itself, resumes).to_numpy() == 0).all()
    other = itself.assign(resume_id=resumes["resume_id"].iloc[1])
    both = pd.concat([itself, other], ignore_index=True)
    pd.testing.assert_frame_equal(
        hire_features(shown, both, resumes), hire_features(shown, other, resumes)
    )


def test_hires_of_a_log_are_its_conversions():
    log = pd.DataFrame(
        {
            "job_id": ["a", "b"],
            "resume_id": ["1", "2"],
            "converted": [1, 0],
            "converted_at": pd.to_datetime(["2026-01-05", None]),
        }
    )
    assert hires_of_log(log)[["job_id", "resume_id"]].to_numpy().tolist() == [["a", "1"]]


def test_permuted_signals_leave_jobs_their_names(documents):
    jobs, _ = documents
    hires = pd.DataFrame(
        {"job_id": jobs["job_id"], "resume_id": [f"of {i}" for i in jobs["job_id"]]}
    )
    mixed, moved = permute_signals(jobs, hires, seed=1)
    # hires go where the signals of their job went
    at = mixed.set_index("job_id")["skills"]
    own = jobs.set_index("job_id")["skills"]
    for job_id, resume_id in moved.itertuples(index=False):
        assert at[job_id] == own[resume_id.removeprefix("of ")]
    assert mixed["job_id"].equals(jobs["job_id"]) and mixed["text"].equals(jobs["text"])
    assert sorted(mixed["skills"]) == sorted(jobs["skills"])
    assert (mixed["skills"] != jobs["skills"]).mean() > 0.8


def test_what_a_resume_lacks_is_no_signal():
    text = "Data analyst, Leeds.\n## Skills\nSQL; no experience with Tableau"
    named, held = read_signals([text]).signals[0], read_signals([text], only_held=True).signals[0]
    assert [item.value for item in named.must_have_skills] == ["SQL", "Tableau"]
    assert [item.value for item in held.must_have_skills] == ["SQL"]
