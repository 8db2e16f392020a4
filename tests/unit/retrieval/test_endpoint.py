"""An embeddings endpoint, tested against a real server on this machine; and texts in passages."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from matchlib.retrieval.encoder import Encoder, cut_into_passages, embed
from matchlib.retrieval.endpoint import Endpoint
from matchlib.retrieval.models import EncoderError, load_model

TEXTS = [f"text {i} about {word}" for i, word in enumerate(["cooking", "nursing", "flying"] * 50)]


@pytest.fixture
def server(tiny_model_folder, monkeypatch):
    """/v1/embeddings by the tiny model; `failures` are statuses to answer with first, `seen` the requests' texts."""
    model = load_model(tiny_model_folder, device="cpu")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = service.failures.pop(0) if service.failures else 200
            service.seen.append((status, body["input"], self.headers["Authorization"]))
            data = [
                {"object": "embedding", "index": i, "embedding": (3 * vector).tolist()}
                for i, vector in enumerate(embed(model, body["input"]))
            ]
            answer = {
                "object": "list",
                "data": data[::-1][: service.most],
                "model": body["model"],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
            content = json.dumps(
                answer if status == 200 else {"error": {"message": "no", "type": "x"}}
            ).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.failures, service.seen, service.most = [], [], None
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{service.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    yield service
    service.shutdown()
    service.server_close()


def test_an_endpoint_gives_the_vectors_of_its_model_in_order_and_caches_them(
    server, tiny_model_folder, tmp_path
):
    encoder = Encoder("endpoint:tiny", max_tokens=50, cache_dir=tmp_path)
    local = Encoder(str(tiny_model_folder), max_tokens=None, device="cpu", cache_dir=None)
    np.testing.assert_allclose(encoder.encode_jobs(TEXTS), local.encode_jobs(TEXTS), atol=1e-5)
    n = len(server.seen)
    assert n == -(-len(TEXTS) // Endpoint.batch_size) and server.seen[0][2] == "Bearer canary-key"
    Encoder("endpoint:tiny", max_tokens=50, cache_dir=tmp_path).encode_jobs(TEXTS)
    assert len(server.seen) == n, "a known text was asked for again"
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"canary-key" in p.read_bytes()]


def test_busy_and_broken_answers_are_tried_again(server):
    server.failures = [429, 500, 503]
    assert Endpoint("tiny").embed(TEXTS[:3]).shape == (3, 32)
    assert [status for status, *_ in server.seen] == [429, 500, 503, 200]


def test_what_was_paid_for_is_kept_when_a_later_request_fails(server, tmp_path):
    encoder = Encoder("endpoint:tiny", max_tokens=50, cache_dir=tmp_path)
    server.failures = [200, 401]
    with pytest.raises(EncoderError, match="refused to embed with tiny .status 401"):
        encoder.encode_jobs(TEXTS)
    encoder.encode_jobs(TEXTS)
    asked = [text for status, texts, _ in server.seen if status == 200 for text in texts]
    assert sorted(asked) == sorted(TEXTS), "a text was paid for twice"


def test_missing_vectors_keys_and_services_are_one_sentence(server, monkeypatch):
    server.most = 1
    with pytest.raises(EncoderError, match="1 vectors came back for 3 texts"):
        Endpoint("tiny").embed(TEXTS[:3])
    monkeypatch.setattr("matchlib.retrieval.endpoint.RETRIES", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(EncoderError, match="no answer from http://127.0.0.1:9/v1"):
        Endpoint("tiny").embed(TEXTS[:1])
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EncoderError, match="OPENAI_API_KEY is not set"):
        Endpoint("tiny").embed(TEXTS[:1])


def test_an_endpoint_cuts_by_words_of_any_script():
    assert Endpoint("m", max_words=2).cut("one two three 护士长") == [
        "one two",
        " three 护",
        "士长",
    ]
    assert Endpoint("m").cut("a b") == ["a b"] and Endpoint("m", max_words=5).cut("") == [""]


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_passages_are_pooled_as_by_hand_and_nothing_of_the_text_is_lost(tiny_model_folder, pool):
    text = " ".join(f"word{i} of a long resume" for i in range(60))
    encoder = Encoder(
        str(tiny_model_folder),
        32,
        device="cpu",
        cache_dir=None,
        passages=pool,
        job_prompt="query: ",
    )
    pieces = cut_into_passages(encoder.model, text, "query: ")
    assert "".join(pieces) == text and len(pieces) > 5
    vectors = embed(encoder.model, ["query: " + piece for piece in pieces])
    expected = vectors.mean(axis=0) if pool == "mean" else vectors.max(axis=0)
    found = encoder.encode_jobs([text, "short"])
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-6)
    whole = Encoder(str(tiny_model_folder), 32, device="cpu", cache_dir=None, job_prompt="query: ")
    np.testing.assert_allclose(found[1], whole.encode_jobs(["short"])[0], atol=1e-6)
    changed = encoder.encode_jobs([text + " and one last word"])
    assert not np.allclose(changed[0], found[0]), "the end of the text was not read"
