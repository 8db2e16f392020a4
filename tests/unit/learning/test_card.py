"""Model cards: what they say, and that an audit is found for the encoder it was made of and for no other."""

import shutil

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from matchlib.learning.card import audit_status, set_audit, write_card
from matchlib.learning.training import save_encoder
from matchlib.retrieval.models import OFFLINE_MODEL, hash_model, load_model


@pytest.fixture
def run(tiny_model_folder, tmp_path):
    """A run with a stage that holds an encoder, and one that could hold an audit."""
    shutil.copytree(tiny_model_folder, tmp_path / "02_contrastive" / "encoder")
    (tmp_path / "10_bias_analysis").mkdir()
    (tmp_path / "10_bias_analysis" / "manifest.json").write_text("{}")
    return tmp_path


def test_every_saved_encoder_has_a_card(tiny_model_folder, tmp_path):
    folder = tmp_path / "encoder"
    log = pd.DataFrame(
        {"step": [0, 5, 9, 9], "loss": [None, 1, 1, None], "ndcg": [0.6, 0.73841, 0.7, None]}
    )
    save_encoder(
        load_model(tiny_model_folder),
        folder,
        base_model="tiny",
        facts={"training pairs": 7},
        parameters={"learning_rate": 1e-5, "pooling": ""},
        log=log,
    )
    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(header)
    assert (header["base_model"], header["audit"]) == ("tiny", "unaudited")
    for line in (
        "- training pairs: 7",
        "- learning_rate: 1e-05",
        "- pooling: none",
        "- validation ndcg, pretrained: 0.6",
        "- validation ndcg, highest after: 0.7384",
    ):
        assert line in text.splitlines()
    assert SentenceTransformer(str(folder), device="cpu").encode(["a"]).shape == (1, 32)
    save_encoder(load_model(tiny_model_folder), folder)
    assert "Unknown." in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("base", "told"),
    [
        (OFFLINE_MODEL, f"sentence-transformers/{OFFLINE_MODEL}"),
        ("intfloat/e5-base-v2", "intfloat/e5-base-v2"),
        ("models/of/ours", None),
        ("here", None),
        ("", None),
    ],
)
def test_a_hub_reads_the_card_and_its_base_is_an_id(base, told, tmp_path, monkeypatch):
    """The hub's own check needs a network: `ModelCard.load(folder).validate()`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    write_card(tmp_path, base_model=base, facts={"a: b": "- c\n---\nd"})
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.base_model == told
    assert data.pipeline_tag == "sentence-similarity" and "matchlib" in data.tags
    assert "- a: b: - c --- d" in ModelCard.load(tmp_path / "README.md").text


def test_an_audit_is_found_beside_and_belongs_to_its_weights(run):
    encoder, other = run / "02_contrastive" / "encoder", run / "05_rankpo" / "encoder"
    shutil.copytree(encoder, other)
    (other / "config_sentence_transformers.json").write_text('{"prompts": {"job": "q: "}}')
    assert audit_status(encoder) == "unaudited"
    file, before = run / "10_bias_analysis" / "audit.json", hash_model(encoder)
    set_audit(file, encoder, {"column": "gender", "flags": 0})
    assert audit_status(encoder) == f"audited: column gender, flags 0 ({file})"
    assert hash_model(encoder) == before
    assert audit_status(other) == "unaudited"
    set_audit(file, other, {"column": "age", "flags": 2})
    assert audit_status(other).startswith("audited: column age, flags 2")
    assert audit_status(encoder).startswith("audited: column gender, flags 0")
    again = run / "10_bias_analysis-k20" / "audit.json"
    again.parent.mkdir()
    (again.parent / "manifest.json").write_text("{}")
    set_audit(again, encoder, {"column": "gender", "flags": 3})
    assert (
        audit_status(encoder)
        == f"audited: column gender, flags 0 ({file}); column gender, flags 3 ({again})"
    )
    (file.parent / "manifest.json").unlink()
    assert audit_status(encoder) == f"audited: column gender, flags 3 ({again})"
    (again.parent / "manifest.json").unlink()
    assert audit_status(encoder) == "unaudited"


@pytest.mark.parametrize(
    ("card", "status"),
    [
        (
            "---\naudit: {column: gender, flags: 1}\n---\n",
            "audited: column gender, flags 1 (by its card)",
        ),
        ("---\naudit: certified fair\n---\n", "unaudited"),
        ("---\na: [\n---\n", "unaudited"),
        ("audit: {a: 1}", "unaudited"),
    ],
)
def test_a_published_card_may_hold_the_audit(run, card, status):
    (run / "02_contrastive" / "encoder" / "README.md").write_text(card)
    assert audit_status(run / "02_contrastive" / "encoder") == status


def test_a_card_changes_no_vector_and_no_hash(run):
    encoder = run / "02_contrastive" / "encoder"
    before = hash_model(encoder)
    write_card(encoder, facts={"a": 1})
    assert hash_model(encoder) == before
