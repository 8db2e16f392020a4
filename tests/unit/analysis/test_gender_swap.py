"""MAP and rank-biased overlap under a gender swap, against hand computation."""

from pathlib import Path

import pandas as pd
import pytest

from matchlib.analysis import gender_swap
from matchlib.data.formats.talentclef import read_talentclef
from matchlib.data.gender_terms import redact_gender_terms, swap_gender_terms
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.metrics import qrels_from_labels

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "talentclef"
TASK = "rank_resumes"
TEXTS = {"11": "Mr John Smith", "12": "Mrs Mary Smith", "21": "Mr Paul King", "22": "Ms Ann King"}
INTERNAL = {"11": "1_en_m", "12": "1_en_f", "21": "2_en_m", "22": "2_en_f", "33": "3_en_m"}


def write_versions(folder):
    """TalentCLEF's folders: two jobs, two people in two versions, and one in the male alone."""
    for kind, texts in (
        ("queries", {"q1": "a baker", "q2": "a driver"}),
        ("corpus", TEXTS | {"33": "Mr Tom Hill"}),
    ):
        (folder / "en" / kind).mkdir(parents=True)
        for name, text in texts.items():
            (folder / "en" / kind / name).write_text(text)
    labels = [("q1", "11"), ("q1", "12"), ("q2", "21")]
    lines = [f"{query}\t0\t{resume}\t1" for query, resume in labels]
    (folder / "en" / "qrels.tsv").write_text("\n".join(lines) + "\n")
    (folder / "mappings_gender" / "en").mkdir(parents=True)
    mapping = "".join(f"{resume}\t{internal}\n" for resume, internal in INTERNAL.items())
    (folder / "mappings_gender" / "en" / "corpus_mapping.tsv").write_text(mapping)
    return read_talentclef(folder).tables


def ranking(**orders):
    rows = []
    for query, candidates in orders.items():
        rows += [(query, one, rank, -rank) for rank, one in enumerate(candidates, start=1)]
    return pd.DataFrame(rows, columns=["query_id", "candidate_id", "rank", "score"])


def test_two_versions_of_people_are_compared_as_by_hand(tmp_path):
    tables = write_versions(tmp_path)
    versions = gender_swap.gender_versions(tables["resumes"])
    assert versions.values.tolist() == [["1_en", "11", "12"], ["2_en", "21", "22"]]
    # q1: men 1, 2 and women 2, 1; q2: both 1, 2. 33 has one version and counts for MAP alone
    found = ranking(q1=["11", "33", "22", "21", "12"], q2=["11", "12", "21", "22", "33"])
    scores = gender_swap.map_and_overlap(
        {"given": lambda texts: found}, tables["resumes"], qrels_from_labels(tables["labels"], TASK)
    )
    assert scores["texts"].tolist() == [gender_swap.AS_THEY_ARE] * 2 + [gender_swap.MASKED] * 2
    by_measure = scores[scores["texts"] == gender_swap.AS_THEY_ARE].set_index("measure")
    precision, overlap = by_measure.loc[gender_swap.MAP], by_measure.loc[gender_swap.OVERLAP]
    # q1: ranks 1 and 5; q2: rank 3
    assert precision["value"] == pytest.approx(((1 / 1 + 2 / 5) / 2 + 1 / 3) / 2)
    # q1: nothing common at depth 1, all at depth 2: .9^2 + (.1 / .9) * .9^2 = .9; q2: 1
    assert overlap["value"] == pytest.approx(0.95)
    # half the difference of two values is their standard error; t with one degree of freedom 12.706
    assert overlap["low"] == pytest.approx(0.95 - 12.7062 * 0.05, abs=1e-4)
    assert (overlap["high"], overlap["n"]) == (1, 2)
    assert overlap["swap"] == gender_swap.VERSIONS


def test_a_pool_that_holds_one_version_leaves_the_person_out(tmp_path):
    versions = gender_swap.gender_versions(write_versions(tmp_path)["resumes"])
    found = ranking(q1=["11", "22", "21"], q2=["12", "11", "22", "21"])
    overlap = gender_swap.version_overlap(found, versions)
    assert overlap.to_dict() == {"q1": 1.0, "q2": 1.0}


def test_without_versions_the_texts_are_swapped_and_masking_leaves_nothing_to_swap(tmp_path):
    tables = write_versions(tmp_path)
    resumes = tables["resumes"].drop(columns="person")
    seen = []

    def by_first_letters(texts):
        """A ranker that a name moves: candidates by their texts, and masked ones by their ids."""
        seen.append(list(texts))
        order = sorted(zip(texts, resumes["resume_id"], strict=True))
        ids = [resume for _, resume in order]
        return ranking(q1=ids, q2=ids)

    scores = gender_swap.map_and_overlap(
        {"by letters": by_first_letters}, resumes, qrels_from_labels(tables["labels"], TASK)
    )
    overlap = scores[scores["measure"] == gender_swap.OVERLAP].set_index("texts")
    assert overlap.loc[gender_swap.AS_THEY_ARE, "value"] < 1
    assert overlap.loc[gender_swap.MASKED, "value"] == pytest.approx(1)
    assert set(overlap["swap"]) == {gender_swap.WORD_SWAP}
    own = resumes["text"]
    assert seen[:2] == [own.tolist(), own.map(swap_gender_terms).tolist()]
    assert seen[2] == own.map(redact_gender_terms).tolist()


def overlap_by_definition(one, other, persistence=0.9):
    """Extrapolated overlap of two lists, from sets."""
    agreement = [len({*one[:d]} & {*other[:d]}) / d for d in range(1, len(one) + 1)]
    total = sum(a * persistence**d for d, a in enumerate(agreement, start=1))
    return agreement[-1] * persistence ** len(one) + (1 - persistence) / persistence * total


def precision_by_definition(relevant, ranked):
    hits = [rank for rank, one in enumerate(ranked, start=1) if one in relevant]
    return sum(n / rank for n, rank in enumerate(hits, start=1)) / len(relevant)


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs TalentCLEF's toy data, which is not in the repository"
)
@pytest.mark.parametrize("language", ["en", "es"])
def test_the_toy_data_gives_what_the_definitions_give(language):
    tables = read_talentclef(SAMPLES, language=language).tables
    resumes = tables["resumes"]
    assert gender_swap.gender_versions(resumes).empty  # every number stands once
    corpus = Corpus(tables["jobs"], resumes)
    ranker = gender_swap.keyword_ranker(corpus, language=gender_swap.BM25_LANGUAGES[language])
    qrels = qrels_from_labels(tables["labels"], TASK)
    scores = gender_swap.map_and_overlap({"bm25": ranker}, resumes, qrels)
    values = scores.set_index(["texts", "measure"])["value"]
    for name, mask in ((gender_swap.AS_THEY_ARE, str), (gender_swap.MASKED, redact_gender_terms)):
        before = ranker(resumes["text"].map(mask)).groupby("query_id")["candidate_id"].agg(list)
        swapped = resumes["text"].map(swap_gender_terms).map(mask)
        after = ranker(swapped).groupby("query_id")["candidate_id"].agg(list)
        positives = qrels[qrels["label"] == 1].groupby("query_id")["candidate_id"].agg(set)
        precisions = [
            precision_by_definition(positives[query], before[query]) for query in positives.index
        ]
        overlaps = [overlap_by_definition(before[query], after[query]) for query in before.index]
        assert values[name, gender_swap.MAP] == pytest.approx(sum(precisions) / len(precisions))
        assert values[name, gender_swap.OVERLAP] == pytest.approx(sum(overlaps) / len(overlaps))
    assert scores["n"].eq(3).all()
