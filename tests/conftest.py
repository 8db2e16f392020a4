"""Shared by all tests: the repository's root, a tiny model, a tiny market."""

import os

# Two xdist workers on two cores: one thread each, set before torch and faiss load OpenMP.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    """A random two-layer BERT with the packaged tokenizer, saved as a plain sentence-transformers folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from matchlib.retrieval.models import find_model

    torch.manual_seed(0)
    bare, folder = (tmp_path_factory.mktemp(name) for name in ("bare", "tiny"))
    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"))
    config = BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=512)
    BertModel(config).save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    transformer = Transformer(str(bare), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save_pretrained(
        str(folder), create_model_card=False)
    shutil.rmtree(bare)
    return folder


@pytest.fixture(scope="session")
def small_tables():
    """A market of four occupations: jobs, resumes, labels, truth with a split column."""
    from matchlib.data.market import Market

    market = Market(3, occupations=4, true_fit_share=0.05)
    return market.tables({"train": (40, 60), "valid": (12, 24), "test": (12, 24)})
