"""Model folders as people really have them: torn, incomplete, mixed from two models. Each is one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from matchlib.retrieval import models
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.model_files import check_adapter, weight_names
from matchlib.retrieval.models import EncoderError, find_model, load_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 90868376\n"


@pytest.fixture
def folder(tiny_model_folder, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(path: Path, change) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def shard(folder: Path, *, lost: str = "") -> None:
    """Part the weights into two files with an index; `lost`: a weight that the second does not hold."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    places = {}
    for number, part in enumerate((names[:10], names[10:])):
        file = f"model-{number + 1:05d}-of-00002.safetensors"
        save_file(
            {name: weights[name] for name in part if name != lost},
            folder / file,
            metadata={"format": "pt"},
        )
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def as_pickle(folder: Path) -> None:
    """The weights as a pickle, with a safetensors file elsewhere in the folder."""
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "onnx" / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(file: Path, n_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:n_bytes])


def add_dense(folder: Path, *, takes: int, weights: bool = True) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, dense]))
    (folder / "2_Dense").mkdir()
    config = {
        "in_features": takes,
        "out_features": 8,
        "bias": False,
        "activation_function": "torch.nn.Identity",
    }
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    if weights:
        # no constant: a layer norm's outputs add up to 0, on some processors exactly
        weight = np.linspace(-1, 1, 8 * takes, dtype=np.float32).reshape(8, takes)
        save_file({"linear.weight": weight}, folder / "2_Dense" / "model.safetensors")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda f: (f / "tokenizer.json").unlink(),
            "has no tokenizer .* read every word as unknown",
        ),
        (
            lambda f: (f / "tokenizer.json").write_text(""),
            r"tokenizer.json is empty, so the model would",
        ),
        (
            lambda f: ((f / "tokenizer.json").unlink(), (f / "vocab.txt").write_text("")),
            "vocab.txt is empty, so the model would read every word as unknown",
        ),
        (
            lambda f: (f / "tokenizer_config.json").write_text('{"do_lower_case":'),
            "tokenizer_config.json .* is damaged",
        ),
        (
            lambda f: (f / "tokenizer.json").write_text("{}"),
            "tokenizer.json is damaged: it names no tokenizer's model",
        ),
        (lambda f: cut(f / "tokenizer.json", 5_000), r"tokenizer.json \(5000 bytes\) is damaged"),
        (
            lambda f: (f / "tokenizer.json").write_text(POINTER),
            "tokenizer.json is a Git LFS pointer.*git lfs pull",
        ),
        (lambda f: (f / "config.json").write_text(""), r"config.json \(0 bytes\) is damaged"),
        (lambda f: (f / "config.json").write_text("{}"), "names no model_type"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json .* is damaged"),
        (lambda f: (f / "config.json").unlink(), "is missing or names no model_type"),
        (lambda f: (f / "modules.json").write_text("{}"), "modules.json .* is damaged"),
        (
            lambda f: (f / "modules.json").write_text('[{"idx": 0}]'),
            "modules.json is damaged: .* has no type or no path",
        ),
        (
            lambda f: (f / "modules.json").write_text("[1]"),
            "modules.json is damaged: 1 has no type or no path",
        ),
        (lambda f: shutil.rmtree(f / "1_Pooling"), "lacks 1_Pooling, which its own files name"),
        (
            lambda f: change_json(f / "1_Pooling" / "config.json", embedding_dimension=64),
            "1_Pooling takes vectors of 64 numbers, but the transformer gives 32",
        ),
        (
            lambda f: add_dense(f, takes=384),
            "2_Dense takes vectors of 384 numbers, but 1_Pooling gives 32",
        ),
        (
            lambda f: add_dense(f, takes=32, weights=False),
            "has no model.safetensors in 2_Dense.*loads no pickled weights",
        ),
        (
            lambda f: (f / "model.safetensors").write_text(POINTER),
            "model.safetensors is a Git LFS pointer",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b""),
            r"model.safetensors \(0 bytes\) is damaged",
        ),
        (
            lambda f: (f / "model.safetensors").write_text("<html>404</html>"),
            "does not begin as a safetensors file does",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 5_000),
            "does not begin as a safetensors file does",
        ),
        (
            lambda f: cut(f / "model.safetensors", 100_000),
            r"has 100,000 bytes, but by its own header [\d,]+: it was cut",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes() + b"more"
            ),
            "it was cut off or written over",
        ),
        (
            as_pickle,
            "has no model.safetensors in .*, only pytorch_model.bin, and matchlib loads no pickled weights",
        ),
        (
            lambda f: (shard(f), (f / "model-00002-of-00002.safetensors").unlink()),
            "lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names",
        ),
        (
            lambda f: shard(f, lost="encoder.layer.1.output.dense.bias"),
            "00002.safetensors lacks encoder.layer.1.output.dense.bias, which model.safetensors.index.json places there",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").write_text("{}"),
            "index.json is damaged: it has no weight_map",
        ),
        (
            lambda f: (f / "vocab.txt").write_text("\n".join(f"w{i}" for i in range(30_522))),
            r"vocab.txt \(30,522 tokens\) and tokenizer.json \(30,522\) are of two models",
        ),
    ],
)
def test_an_incomplete_folder_is_refused_before_it_is_loaded(folder, harm, sentence):
    """Without its tokenizer every word was unknown, and a cook ranked above the engineer."""
    assert find_model(str(folder)) == folder
    harm(folder)
    with pytest.raises(EncoderError, match=sentence):
        find_model(str(folder))


def without_layer(weights):
    return {name: weight for name, weight in weights.items() if ".layer.1." not in name}


def narrower(weights):
    return weights | {"encoder.layer.0.output.dense.bias": np.zeros(16, dtype=np.float32)}


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda f: change_weights(f / "model.safetensors", without_layer),
            r"encoder.layer.1.attention.output.LayerNorm.bias, .* and 13 more of the model's weights are in none of its "
            r"safetensors files or have another shape there, and would be drawn at random",
        ),
        (
            lambda f: change_json(f / "config.json", num_hidden_layers=4),
            "encoder.layer.2.attention.* and 29 more",
        ),
        (
            lambda f: change_weights(f / "model.safetensors", narrower),
            "size mismatch|have another shape",
        ),
        (
            lambda f: change_weights(
                f / "model.safetensors", lambda w: {n: np.zeros_like(x) for n, x in w.items()}
            ),
            "gave an embedding of zeros, so its weights are zeros",
        ),
        (
            lambda f: change_weights(
                f / "model.safetensors", lambda w: {n: x * np.nan for n, x in w.items()}
            ),
            "gave embeddings that are not finite",
        ),
        (
            lambda f: change_json(f / "config.json", model_type="no_such_model"),
            "cannot be loaded .ValueError",
        ),
        (
            lambda f: (f / "tokenizer.json").write_text('{"model": {"type": "None"}}'),
            "cannot be loaded",
        ),
    ],
)
def test_weights_that_would_be_drawn_or_say_nothing_are_refused(folder, harm, sentence):
    """transformers draws what is missing at random, with a warning, and the ranking was one of chance."""
    harm(folder)
    with pytest.raises(EncoderError, match=sentence):
        Encoder(str(folder), device="cpu", cache_dir=None).encode_jobs(["a"])


def test_a_missing_pooler_is_no_loss(folder):
    """Encoders that were saved from a masked language model have none, and no embedding uses it."""
    vectors = load_model(folder, device="cpu").encode(["a nurse"])
    change_weights(
        folder / "model.safetensors",
        lambda w: {n: x for n, x in w.items() if not n.startswith("pooler.")},
    )
    np.testing.assert_array_equal(load_model(folder, device="cpu").encode(["a nurse"]), vectors)


def test_whole_shards_and_modules_load_as_before(folder):
    vectors = load_model(folder, device="cpu").encode(["a nurse"])
    shard(folder)
    np.testing.assert_array_equal(
        load_model(find_model(str(folder)), device="cpu").encode(["a nurse"]), vectors
    )
    add_dense(folder, takes=32)
    assert load_model(find_model(str(folder)), device="cpu").encode(["a nurse"]).shape == (1, 8)


@pytest.mark.parametrize("name", ["my model", "it's {a} #1 50% Lébeß", "a;b&c $HOME", "*?[x]"])
def test_a_model_lies_in_any_folder(folder, tmp_path, name):
    vectors = load_model(folder, device="cpu").encode(["a nurse"])
    moved = folder.rename(tmp_path / name)
    found = Encoder(str(moved), device="cpu", cache_dir=tmp_path / f"{name} cache").encode_jobs(
        ["a nurse"]
    )
    np.testing.assert_allclose(found, vectors / np.linalg.norm(vectors), atol=1e-6)
    assert list((tmp_path / f"{name} cache").glob("*.sqlite"))


def test_the_report_of_transformers_is_put_back(folder):
    from transformers import modeling_utils

    before = modeling_utils.log_state_dict_report
    change_weights(folder / "model.safetensors", without_layer)
    with pytest.raises(EncoderError):
        load_model(folder, device="cpu")
    assert modeling_utils.log_state_dict_report is before


# ---- tokenizers ----------------------------------------------------------------------------------------


def write_tokenizer(folder: Path, tokens: list[str]) -> None:
    """Put a word tokenizer of these tokens into the place of the model's own."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds

    vocabulary = {
        token: number
        for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *tokens])
    }
    tokenizer = Tokenizer(kinds.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").unlink(missing_ok=True)


KNOWN = [word for sentence in models.CHECK_SENTENCES[:2] for word in sentence.split()]


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (
            [*KNOWN, *(f"w{i}" for i in range(40_000))],
            r"numbers its tokens up to 40,0\d\d, but the model has",
        ),
        (
            [*KNOWN, *(f"w{i}" for i in range(5_000))],
            r"has 5,0\d\d tokens, but the model embeddings of 30,522",
        ),
        (
            [f"w{i}" for i in range(28_000)],
            "reads at least 100% of the words of each of 11 sentences",
        ),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(folder, tokens, sentence):
    write_tokenizer(folder, tokens)
    with pytest.raises(EncoderError, match=sentence):
        load_model(find_model(str(folder)), device="cpu")


def test_a_tokenizer_that_knows_one_script_is_enough(folder):
    write_tokenizer(
        folder, ["медсестра", "в", "ночную", "смену", *(f"w{i}" for i in range(28_000))]
    )
    with pytest.raises(
        EncoderError, match="gave the same embedding"
    ):  # not for its tokenizer's script
        load_model(folder, device="cpu")


def test_added_tokens_may_lie_beyond_the_embeddings(folder):
    """As in Gemma 3, whose tokenizer has a token for pictures that the text model lacks."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    assert tokenizer.convert_tokens_to_ids("<picture>") >= 30_522
    tokenizer.save_pretrained(folder)
    assert load_model(folder, device="cpu").encode(["a nurse"]).shape == (1, 32)


def test_the_packaged_tokenizer_knows_the_check_sentences():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"))
    assert models._share_unknown(tokenizer, models.CHECK_SENTENCES[0]) == 0


# ---- adapters ------------------------------------------------------------------------------------------


def test_an_adapter_is_whole_or_refused(tmp_path):
    with pytest.raises(EncoderError, match="holds no adapter .no adapter_config.json"):
        check_adapter(tmp_path / "none")
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(EncoderError, match="no adapter_model.safetensors"):
        check_adapter(tmp_path)
    save_file({"a": np.ones(2, dtype=np.float32)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(EncoderError, match="names no peft_type"):
        check_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    check_adapter(tmp_path)
    cut(tmp_path / "adapter_model.safetensors", 70)
    with pytest.raises(EncoderError, match="cut off|damaged"):
        check_adapter(tmp_path)


def test_names_of_weights_are_read_without_the_weights(folder):
    assert weight_names(folder / "model.safetensors") == set(
        load_file(folder / "model.safetensors")
    )
