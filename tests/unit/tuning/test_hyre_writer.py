"""HyRE by a tuned model: who is taught what, what is preferred, and that both trainings do what they say."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_causal import save_causal

from matchlib.data.schema import DataError
from matchlib.girl.models import copy_generator, job_ids, load_generator, prompt_ids
from matchlib.girl.sft import Training, train_sft
from matchlib.language import hyre
from matchlib.language.hyre import SIDES, Copies
from matchlib.language.likelihood import TokenSequence, score_sequences
from matchlib.language.llm import LanguageModel, Prompt, Sampling
from matchlib.tuning.dpo import preferences, train_dpo
from matchlib.tuning.hyre_writer import (
    GeneratorBackend,
    TunedWriter,
    Tuning,
    make_folds,
    tuned_writer,
)


class Words:
    """An encoder of a few words: unit vectors of how often a text holds each."""

    vocabulary = ("cook", "bus", "care", "code", "stock", "sell")

    def encode_jobs(self, texts):
        counts = [[text.lower().count(word) + 0.01 for word in self.vocabulary] for text in texts]
        vectors = np.array(counts, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_resumes = encode_jobs


class Letters(Words):
    """The same of letters and digits."""

    vocabulary = tuple("abcdefgh01234567")


@pytest.fixture(scope="module")
def base_model(tmp_path_factory):
    return save_causal(tmp_path_factory.mktemp("base"), "llama", context=512)


def few(**changes):
    sft = Training(1e-2, 1.0, batch_size=4, lora_rank=4, max_tokens=512)
    dpo = Training(1e-2, 1.0, batch_size=4, lora_rank=4, max_tokens=512)
    # a model that learned nothing rarely ends a text: the texts are cut from the context's end
    return Tuning(**{"sft": sft, "dpo": dpo, "max_new_tokens": 8, "n_candidates": 2, **changes})


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("n", [2, 3])
def test_no_writer_is_taught_a_pair_of_the_documents_it_writes_for(small_tables, name, n):
    side = SIDES[name]
    folds = make_folds(small_tables, side, n=n, n_pairs=0, seed=3)
    copies = Copies.of(small_tables, side)
    written = [own_id for fold in folds for own_id in fold.written]
    assert sorted(written) == sorted(small_tables[side.own][side.own_id])
    accepted = hyre.accepted_in_training(small_tables["labels"])
    pairs = set(zip(accepted[side.own_id], accepted[side.other_id], strict=True))
    assert {pair for fold in folds for pair in fold.pairs} == pairs
    for fold in folds:
        groups = {copies.own[own_id] for own_id in fold.written}
        assert not groups & {copies.own[own_id] for own_id in fold.taught}


def test_one_fold_learns_from_all_pairs_and_n_pairs_limits_them(small_tables):
    side = SIDES["jobs"]
    accepted = hyre.accepted_in_training(small_tables["labels"])
    (fold,) = make_folds(small_tables, side, n=1, n_pairs=0, seed=1)
    assert len(fold.pairs) == len(accepted)
    (fold,) = make_folds(small_tables, side, n=1, n_pairs=5, seed=1)
    (other,) = make_folds(small_tables, side, n=1, n_pairs=5, seed=2)
    assert len(fold.pairs) == 5 and fold.pairs != other.pairs
    with pytest.raises(DataError, match="no accepted training pair to learn from"):
        make_folds(small_tables, side, n=2, n_pairs=1, seed=1)


@pytest.mark.parametrize(
    ("target", "best", "worst"),
    [
        ("accepted", "bus bus", "care"),
        ("centroid", "cook bus", "care"),
        ("query", "care", "cook cook"),
    ],
)
def test_the_preferred_text_is_the_one_nearest_to_the_target(target, best, worst):
    own = pd.Series({"a": "care", "b": "code", "c": "code"})
    candidates = {
        "a": ["cook cook", "bus bus", "cook bus", "care"],
        "b": ["one alone"],
        "c": ["cook", "cook cook"],  # the same vector: nothing to prefer
    }
    if target == "accepted":
        candidates["a"][0] = "cook cook care"
    accepted = {"a": ["cook", "bus"], "b": ["code"], "c": ["code"]}
    words = Words()
    found = preferences(
        own,
        {**candidates, "c": ["cook"]},
        accepted,
        target=target,
        encode=words.encode_resumes,
        encode_own=words.encode_jobs,
    )
    (row,) = found.to_dict("records")
    assert (row["own_id"], row["chosen"], row["rejected"]) == ("a", best, worst)
    assert row["chosen_similarity"] > row["rejected_similarity"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": "nearest"}, "dpo_target 'nearest' is not one of accepted, centroid, query"),
        ({"n_candidates": 1}, "DPO compares two at least"),
        ({"folds": 0}, "take 1 at least"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        few(**changes)


def log_probabilities(generator, prompts, texts):
    sequences = []
    for prompt, text in zip(prompts, texts, strict=True):
        answer = job_ids(generator.tokenizer, text)
        sequences.append(
            TokenSequence(prompt_ids(generator.tokenizer, prompt) + answer, len(answer))
        )
    generator.model.eval()
    found = score_sequences(generator.model, sequences, pad=1, batch_size=4)
    return np.array([likelihood.log_probability for likelihood in found])


def test_dpo_starts_at_its_reference_and_ends_preferring_the_chosen(base_model, tmp_path):
    generator = load_generator(base_model)
    before = copy_generator(generator)
    prompts = [Prompt("a job", word) for word in ("cook", "drive", "care", "code")]
    chosen, rejected = ["fish", "bus", "old", "go"], ["sea", "air", "new", "no"]

    def margins(one):
        return log_probabilities(one, prompts, chosen) - log_probabilities(one, prompts, rejected)

    training = Training(1e-2, 6.0, batch_size=4, lora_rank=4)
    settings = {"training": training, "beta": 0.5, "checkpoints": tmp_path / "dpo"}
    log = train_dpo(generator, prompts, chosen, rejected, **settings)
    assert log["loss"].iloc[0] == pytest.approx(math.log(2), abs=1e-5)
    assert log["loss"].iloc[-1] < 0.3
    gained = margins(generator) - margins(before)
    assert (gained > 1).all()
    # the trainer's own margin of the last step, one update before the end, against a plain reference
    assert 0 < log["rewards/margins"].iloc[-1] < 0.5 * gained.mean() * 1.05
    swapped = copy_generator(before)
    train_dpo(
        swapped, prompts, rejected, chosen, **{**settings, "checkpoints": tmp_path / "swapped"}
    )
    assert (margins(swapped) < margins(before)).all()


def test_dpo_without_adapter_or_pairs_is_refused(base_model, tmp_path):
    generator = load_generator(base_model)
    settings = {"beta": 0.1, "checkpoints": tmp_path}
    with pytest.raises(DataError, match="set lora_rank"):
        train_dpo(generator, ["a"], ["b"], ["c"], training=Training(lora_rank=0), **settings)
    with pytest.raises(DataError, match="raise n_candidates"):
        train_dpo(generator, [], [], [], training=Training(lora_rank=2), **settings)


def test_a_model_in_memory_writes_what_it_writes_alone_and_its_key_is_its_weights(
    base_model, tmp_path
):
    generator = load_generator(base_model)
    prompts = [Prompt("job", "cook"), Prompt("job", "drive a bus"), Prompt("a", "b")]
    backend = GeneratorBackend(generator, 2)
    model = LanguageModel(backend, sampling=Sampling(max_tokens=5), cache=tmp_path / "a.sqlite")
    together = [answer.text for answer in model.complete(prompts)]
    alone = LanguageModel(GeneratorBackend(generator, 1), sampling=Sampling(max_tokens=5))
    assert together == [alone.complete([prompt])[0].text for prompt in prompts]
    again = LanguageModel(
        GeneratorBackend(copy_generator(generator), 2),
        sampling=Sampling(max_tokens=5),
        cache=tmp_path / "a.sqlite",
    )
    again.complete(prompts)
    assert again.usage.requests == 0 and again.usage.prompts == 3
    other = copy_generator(generator)
    with torch.no_grad():
        other.model.get_output_embeddings().weight[0, 0] += 1
    assert GeneratorBackend(other, 2).key != backend.key


def copying_tables():
    """Jobs that name a letter, and resumes that spell it: a form that a tiny model learns."""
    letters = "abcdefgh"
    jobs = pd.DataFrame(
        {
            "job_id": [f"j{number}" for number in range(16)],
            "text": [f"{letters[number % 8]} {number}" for number in range(16)],
            "split": ["train"] * 12 + ["test"] * 4,
        }
    )
    resumes = pd.DataFrame(
        {
            "resume_id": [f"r{number}" for number in range(16)],
            "text": [f"x{letters[number % 8]}{number % 8}" for number in range(16)],
            "split": ["train"] * 12 + ["test"] * 4,
        }
    )
    labels = pd.DataFrame(
        {
            "job_id": jobs["job_id"],
            "resume_id": resumes["resume_id"],
            "label": 1,
            "split": jobs["split"],
        }
    )
    return {"jobs": jobs, "resumes": resumes, "labels": labels}


def writer_of(base_model, folder, generator="sft_dpo", **changes):
    sft = Training(1e-2, 15.0, batch_size=4, lora_rank=8, max_tokens=512)
    tuning = few(sft=sft, n_candidates=6, **changes)
    cache = folder / "answers.sqlite"
    return TunedWriter(
        copying_tables(), SIDES["jobs"], generator, base_model, Letters(), tuning, folder, cache
    )


def test_tuned_texts_are_written_counted_and_kept(base_model, tmp_path):
    writer = writer_of(base_model, tmp_path)
    plan = writer.estimate()
    assert plan["step"].tolist() == ["SFT", "candidates", "DPO", "writing"]
    assert (plan["tokens"] > 0).all() and (plan["minutes"] > 0).all()
    texts = writer.write()
    assert texts["own_id"].tolist() == copying_tables()["jobs"]["job_id"].tolist()
    losses = writer.logs["SFT, fold 0"]["loss"]
    assert losses.iloc[-1] < losses.iloc[0] / 2
    assert {*writer.preferences["own_id"]} <= {f"j{number}" for number in range(12)}
    assert writer.spent()["step"].tolist() == plan["step"].tolist()
    n_without = (texts["text"] == "").sum()
    assert n_without == (
        writer.counts["unfinished texts"] + writer.counts["copies of own candidates"]
    )
    again = writer_of(base_model, tmp_path)
    pd.testing.assert_frame_equal(again.write(), texts)
    spent = again.spent().set_index("step")
    assert spent.loc["writing", "tokens"] == 0 and spent.loc["candidates", "tokens"] == 0


def test_a_training_seed_decides_all_of_a_training(base_model, tmp_path):
    texts = [Prompt("a", "b"), Prompt("c", "d")], ["one", "two"], ["six", "ten"]
    found = []
    for run, seed in enumerate([1, 1, 2]):
        torch.manual_seed(run)  # what was drawn before must not matter
        training = Training(1e-3, 2.0, batch_size=2, lora_rank=4, seed=seed)
        generator = load_generator(base_model)
        folder = tmp_path / str(run)
        train_sft(generator, *texts[:2], training=training, checkpoints=folder / "sft")
        after_sft = GeneratorBackend(generator, 1).key
        train_dpo(generator, *texts, training=training, beta=0.1, checkpoints=folder / "dpo")
        found.append((after_sft, GeneratorBackend(generator, 1).key))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0] and found[0][1] != found[2][1]


def test_a_text_that_copies_a_labelled_candidate_is_left_out(base_model, tmp_path):
    writer = writer_of(base_model, tmp_path, "sft")
    written = {f"j{number}": "x" for number in range(16)}
    written["j3"] = "xd3"  # its own answer
    written["j4"] = "xf5"  # another's
    writer.counts = {"copies of own candidates": 0}
    found = writer._without_own_candidates(written).set_index("own_id")["text"]
    assert found["j3"] == "" and found["j4"] == "xf5"
    assert writer.counts["copies of own candidates"] == 1


def test_a_tuned_generator_takes_a_base_model_and_others_take_none(small_tables, tmp_path):
    settings = {"encoder": Words(), "tuning": few(), "checkpoints": tmp_path}
    side = SIDES["jobs"]
    assert tuned_writer("knn", small_tables, side, base_model="", **settings) is None
    with pytest.raises(DataError, match="set base_model to a hub id"):
        tuned_writer("sft", small_tables, side, base_model="", **settings)
    with pytest.raises(DataError, match="set base_model"):
        hyre.generate(small_tables, side, "sft", encoder=Words())


def test_shares_of_copies():
    document = " ".join(f"word{number}" for number in range(40))
    near = document.replace("word39", "other")
    holds_a_run = "new " * 30 + " ".join(f"word{number}" for number in range(5, 17))
    too_short = "new " * 30 + " ".join(f"word{number}" for number in range(5, 16))
    texts = [document, near, holds_a_run, too_short, ""]
    assert hyre.copy_shares(texts, [document]) == {"near_copies": 0.5, "runs_of_12_words": 0.75}
    assert [hyre.is_copy(text, ["else", document]) for text in texts[:4]] == [True] * 3 + [False]
    assert math.isnan(hyre.copy_shares([""], [document])["near_copies"])
