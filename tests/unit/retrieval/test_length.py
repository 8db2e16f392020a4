"""Which texts are cut: against the tokens that the model itself reads."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.length import is_cut


@pytest.fixture
def encoder(tiny_model_folder) -> Encoder:
    return Encoder(str(tiny_model_folder), max_tokens=16, device="cpu", cache_dir=None)


TEXTS = [
    "",
    "python",
    "one two three four five six seven eight nine ten eleven twelve",
    " ".join(["word"] * 14),
    " ".join(["word"] * 15),
    " ".join(["word"] * 17),
    "unforeseeable" * 3,
    "internationalisation and localisation of spreadsheets, please, today",
    "!" * 14,
    "!" * 15,
    "软件工程师软件工程师软件工",
    "软件工程师软件工程师软件工程师软件",
    "é" * 12,
]


@pytest.mark.parametrize("prompt", ["", "query: "])
def test_a_text_is_cut_where_its_tokens_are_more_than_the_model_reads(encoder, prompt):
    tokens = encoder.model.tokenizer(
        [prompt + text for text in TEXTS], truncation=False, verbose=False
    )["input_ids"]
    expected = [len(found) > 16 for found in tokens]
    assert 3 <= sum(expected) < len(TEXTS) - 3
    assert is_cut(encoder, TEXTS, prompt=prompt).tolist() == expected


@pytest.mark.parametrize("text", TEXTS)
def test_what_follows_counts_for_nothing_just_where_a_text_is_cut(encoder, text):
    longer = text + " zebra"
    vectors = encoder.encode_jobs([text, longer])
    is_same = np.allclose(vectors[0], vectors[1], atol=1e-6)
    if is_cut(encoder, [text])[0]:
        assert is_same
    if not is_cut(encoder, [longer])[0]:
        assert not is_same


def test_a_model_without_these_files_is_asked_itself(encoder, tiny_model_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_model_folder, copy)
    (copy / "sentence_bert_config.json").unlink(missing_ok=True)
    bare = replace(encoder, model_name_or_path=str(copy))
    assert is_cut(bare, TEXTS).tolist() == is_cut(encoder, TEXTS).tolist()


def test_passages_cut_nothing_and_an_endpoint_goes_by_words(encoder):
    assert not is_cut(replace(encoder, passages="mean"), TEXTS).any()
    endpoint = Encoder("endpoint:any", max_tokens=3)
    assert is_cut(endpoint, ["one two three", "one two three four"]).tolist() == [False, True]
    assert not is_cut(replace(endpoint, max_tokens=None), TEXTS).any()
