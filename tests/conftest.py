"""Shared by all tests: the repository's root, a tiny model, a tiny market, a service, a browser."""

import os

# Two xdist workers on two cores: one thread each, set before torch and faiss load OpenMP.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import contextlib
import json
import shutil
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import Browser

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    os.environ.setdefault("MATCHLIB_TEST_RUN", f"test-{os.getpid()}")  # the workers' too


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return  # others may still read the smoke run
    for folder in (ROOT / "reports").glob(f"{os.environ['MATCHLIB_TEST_RUN']}-*"):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink()


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
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    transformer = Transformer(str(bare), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    shutil.rmtree(bare)
    return folder


@pytest.fixture(scope="session")
def small_tables():
    """A market of four occupations: jobs, resumes, labels, truth with a split column."""
    from matchlib.data.market.simulation import Market

    market = Market(3, occupations=4, true_fit_share=0.05)
    return market.tables({"train": (40, 60), "valid": (12, 24), "test": (12, 24)})


@pytest.fixture
def server(monkeypatch):
    """A service with /v1/chat/completions that answers by `answer` (by default "answer to <user>"); `failures` are
    statuses to give first, `delay` seconds, `reply` a body in the place of the answer; `received` counts prompts by
    their Idempotency-Key, `bodies` are the requests. OPENAI_BASE_URL and OPENAI_API_KEY name it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            mark, asked = self.headers["Idempotency-Key"], body["messages"][-1]["content"]
            with service.lock:
                service.received[mark] += 1
                service.bodies.append(body)
                status = service.failures.pop(0) if service.failures else 200
            time.sleep(service.delay)
            message = {"role": "assistant", "content": service.answer(asked)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
            }
            content = json.dumps(answer).encode() if service.reply is None else service.reply
            if status != 200:
                content = json.dumps({"error": {"message": "no", "type": "x"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            service.answered += status == 200
            with contextlib.suppress(OSError):  # the client was killed
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.lock, service.received, service.bodies = threading.Lock(), Counter(), []
    service.answer = lambda asked: f"answer to {asked}"
    service.failures, service.delay, service.reply, service.answered = [], 0.0, None, 0
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{service.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    yield service
    service.shutdown()
    service.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser with a fresh profile."""
    browser = Browser(tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()
