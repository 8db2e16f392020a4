"""Language models: order, cache, limits, failures and kills against servers on this machine."""

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from canned import Canned
from safetensors.torch import load_file, save_file
from tiny_causal import save_causal
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from matchlib.data.schema import DataError
from matchlib.language.factory import language_model_from
from matchlib.language.llm import (
    Answer,
    Budget,
    LanguageModel,
    LanguageModelError,
    Prices,
    Prompt,
    Sampling,
    estimate_tokens,
)
from matchlib.language.local import Local
from matchlib.language.service import Service
from matchlib.pipeline import notebook_parameters
from matchlib.retrieval.models import EncoderError, find_model

PROMPTS = [Prompt("be brief", f"question {i}") for i in range(30)]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
WORKER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from pathlib import Path
from matchlib.language.llm import LanguageModel, Prompt
from matchlib.language.service import Service
from matchlib.pipeline import notebook_parameters
model = LanguageModel(Service("m", concurrency=4), cache=Path(sys.argv[1]))
texts = [a.text for a in model.complete([Prompt("be brief", f"question {i}") for i in range(30)])]
assert texts == [f"answer to question {i}" for i in range(30)], texts
"""


def test_answers_are_in_order_cached_and_counted(server, tmp_path):
    server.delay = 0.01
    model = LanguageModel(Service("m"), cache=tmp_path / "a.sqlite", prices=Prices(1.0, 10.0))
    asked = [*PROMPTS, PROMPTS[0]]
    assert [answer.text for answer in model.complete(asked)] == [
        f"answer to {prompt.user}" for prompt in asked
    ]
    metrics = model.usage.metrics()
    assert (metrics["prompts"], metrics["answered from the cache"], metrics["prompt tokens"]) == (
        31,
        1,
        30_000,
    )
    assert metrics["cost"] == pytest.approx(30 * (1000 * 1 + 100 * 10) / 1e6)
    again = LanguageModel(Service("m"), cache=tmp_path / "a.sqlite")
    assert again.complete(PROMPTS)[3].text == "answer to question 3"
    assert again.usage.requests == 0 and sum(server.received.values()) == 30
    LanguageModel(
        Service("m"), cache=tmp_path / "a.sqlite", sampling=Sampling(temperature=1.0)
    ).complete(PROMPTS[:1])
    assert sum(server.received.values()) == 31, "another sampling is another question"
    assert b"canary-key" not in (tmp_path / "a.sqlite").read_bytes()


def test_busy_and_broken_services_are_tried_again(server, monkeypatch):
    server.failures = [429, 500, 503, 408]
    assert [a.text for a in LanguageModel(Service("m", concurrency=1)).complete(PROMPTS[:2])] == [
        "answer to question 0",
        "answer to question 1",
    ]
    assert sum(server.received.values()) == 6 and len(server.received) == 2


@pytest.mark.parametrize(
    "case, sentence",
    [
        (
            "busy for ever",
            r"refused to answer with m \(status 429: .*your quota: what was answered is kept, run again",
        ),
        ("wrong key", r"\(status 401: .*OPENAI_API_KEY"),
        ("hangs", r"no answer from .* \(APITimeoutError\); check OPENAI_BASE_URL"),
        ("not a completion", r"gave an answer that is no chat completion .*with its /v1"),
        ("not JSON", r"gave an answer that is no chat completion"),
        ("no choices", r"gave an answer that is no chat completion"),
    ],
)
def test_failures_are_one_sentence_and_what_was_done_is_kept(server, tmp_path, case, sentence):
    model = LanguageModel(Service("m", retries=1, concurrency=1), cache=tmp_path / "a.sqlite")
    model.complete(PROMPTS[:3])
    if case in ("busy for ever", "wrong key"):
        server.failures = [429 if case == "busy for ever" else 401] * 50
    server.delay = 2.0 if case == "hangs" else 0.0
    server.reply = {
        "not a completion": b"[]",
        "not JSON": b"<html>",
        "no choices": b'{"choices": []}',
    }.get(case)
    failing = LanguageModel(Service("m", retries=1, timeout_s=0.5), cache=tmp_path / "a.sqlite")
    with pytest.raises(LanguageModelError, match=sentence) as caught:
        failing.complete(PROMPTS)
    assert "\n" not in str(caught.value)
    server.failures, server.delay, server.reply = [], 0.0, None
    before = sum(server.received.values())
    assert failing.complete(PROMPTS[:3])[2].text == "answer to question 2"
    assert sum(server.received.values()) == before


def test_without_a_key_or_a_service_the_sentence_says_what_to_set(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        LanguageModelError, match="OPENAI_API_KEY is not set, which a service needs"
    ):
        LanguageModel(Service("m")).complete(PROMPTS)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with pytest.raises(
        LanguageModelError, match="no answer from http://127.0.0.1:1/v1/ after 0 more tries"
    ):
        LanguageModel(Service("m", retries=0)).complete(PROMPTS)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_pays_no_prompt_twice(server, tmp_path, how):
    server.delay = 0.05
    command = [sys.executable, "-c", WORKER, str(tmp_path / "a.sqlite")]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while server.answered < 12 and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(how)
    assert started.wait(30) != 0
    subprocess.run(command, check=True, timeout=60)
    assert len(server.received) == 30
    twice = {mark for mark, n in server.received.items() if n > 1}
    # at Ctrl-C none; at a kill those between service and disk, which a service that honours the key does not bill again
    assert len(twice) <= (0 if how == signal.SIGINT else 4)


def test_limits_stop_and_keep(server, tmp_path):
    budget = Budget(cost=0.0039, prices={"m": [0.9, 1.0]})
    dear = LanguageModel(
        Service("m", concurrency=2),
        cache=tmp_path / "a.sqlite",
        budget=budget,
        prices=budget.prices_of("m"),
    )
    with pytest.raises(
        LanguageModelError,
        match=r"prompts are left after \d requests at a cost of 0.00\d+ \(limit.*raise the limit",
    ):
        dear.complete(PROMPTS)
    paid = sum(server.received.values())
    assert 4 <= paid <= 6  # what was under way is kept
    assert LanguageModel(Service("m"), cache=tmp_path / "a.sqlite").complete(PROMPTS[:paid])
    assert sum(server.received.values()) == paid


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (
            {"cost": 5.0},
            "limit_cost is 5.0, but prices names no model that costs .* never stop .*; set prices",
        ),
        ({"cost": 5.0, "prices": {"m": [0, 0]}}, "names no model that costs anything"),
        (
            {"cost": 5.0, "prices": {"m": [1.0, 0.0]}},
            "prices 1.0 and 0.0: with one price .* too low; give both",
        ),
        ({"prices": {"m": [0.0, 1.0]}}, "prices 0.0 and 1.0: with one price"),
        ({"prices": {"m": [1.0]}}, r"prices of 'm' are \[1.0\]; give two"),
        (
            {"cost": -1.0, "prices": {"m": [1.0, 1.0]}},
            "limit_cost -1.0: a limit is negative; 0 sets none",
        ),
        ({"prices": {"m": [-1.0, 1.0]}}, "a price is negative"),
    ],
)
def test_a_limit_that_could_not_stop_is_refused(limits, sentence):
    with pytest.raises(DataError, match=sentence):
        Budget(**limits)


def test_all_models_of_a_notebook_pay_from_one_budget(server, tmp_path):
    """The two annotators had a limit each, so that twice the limit was spent."""
    both = {"training": [0.9, 1.0], "test": [0.9, 1.0]}  # 0.001 a request
    budget = Budget(cost=0.011, prices=both)
    models = []
    for name in both:
        service = Service(name, concurrency=1)
        models.append(LanguageModel(service, budget=budget, prices=budget.prices_of(name)))
    models[0].complete(PROMPTS[:8])
    with pytest.raises(
        LanguageModelError,
        match=r"27 prompts are left after 11 requests at a cost of 0.011 \(limit "
        r"0.011\), where the limit of all models of this notebook together",
    ):
        models[1].complete(PROMPTS)
    assert sum(server.received.values()) == 11
    assert [model.usage.requests for model in models] == [8, 3] and budget.spent.requests == 11
    assert budget.spent.cost == pytest.approx(sum(model.usage.cost for model in models))


def test_every_model_has_its_own_prices():
    budget = Budget(prices={"cheap": [1.0, 1.0], "dear": [100.0, 200.0]})
    backend = Canned(lambda _: Answer("x", "stop", 1000, 1000))
    cheap, dear = (
        LanguageModel(backend, budget=budget, prices=budget.prices_of(name))
        for name in ("cheap", "dear")
    )
    cheap.complete(PROMPTS[:1])
    dear.complete(PROMPTS[:1])
    assert (cheap.usage.cost, dear.usage.cost) == (0.002, 0.3)
    assert budget.spent.cost == pytest.approx(0.302)


def test_a_model_without_prices_beside_models_with_some_is_refused():
    budget = Budget(prices={"gpt": [1.0, 2.0], "here": [0, 0]})
    assert budget.prices_of("here") == Prices()
    with pytest.raises(DataError, match="prices names gpt, here, but not 'gpt-4', .*; add it"):
        language_model_from("service", "gpt-4", budget=budget)
    assert language_model_from("service", "gpt", budget=budget).prices == Prices(1.0, 2.0)
    assert Budget().prices_of("any") == Prices()


USAGES = {"none": None, "zeros": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}


@pytest.mark.parametrize("usage", USAGES)
def test_a_service_that_reports_no_usage_is_counted_and_stopped(server, tmp_path, usage):
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "an answer"},
                "finish_reason": "stop",
            }
        ],
    }
    server.reply = json.dumps(body | ({"usage": USAGES[usage]} if USAGES[usage] else {})).encode()
    one = estimate_tokens("be brief" + "question 1") + estimate_tokens("an answer")
    budget = Budget(cost=4.5 * one / 1e6, prices={"m": [1.0, 1.0]})
    model = LanguageModel(
        Service("m", concurrency=1),
        cache=tmp_path / "a.sqlite",
        budget=budget,
        prices=budget.prices_of("m"),
    )
    with pytest.raises(
        LanguageModelError, match=r"25 prompts are left after 5 requests .*, tokens of 5 estimated"
    ):
        model.complete(PROMPTS)
    metrics = model.usage.metrics()
    assert metrics["requests with estimated tokens"] == 5
    assert metrics["prompt tokens"] + metrics["completion tokens"] == 5 * one


def test_estimated_tokens_are_rather_too_many_than_too_few():
    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"))
    text = (
        "We are looking for an experienced software engineer who writes well tested services in Python. "
        * 20
    )
    n = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert n < estimate_tokens(text) < 2.5 * n
    assert estimate_tokens("") == 0 and estimate_tokens("我们正在招聘软件工程师") == 11


@pytest.mark.parametrize(
    "answer, problem",
    [
        (Answer("fine"), ""),
        (Answer("cut", "length"), "truncated"),
        (Answer(" \n"), "empty"),
        (Answer("I’m sorry, but no."), "refused"),
        (Answer("As an AI, I"), "refused"),
        (Answer("x", "refusal"), "refused"),
        (Answer("x", "content_filter"), "refused"),
        (Answer("I cannot stress enough how well I cook", "stop"), "refused"),
        (Answer("Imsorry Ltd, cook"), ""),
        (Answer("Assistant cook"), ""),
    ],
)
def test_problems_of_answers(answer, problem):
    assert answer.problem == problem
    model = LanguageModel(Canned(lambda _: answer))
    model.complete(PROMPTS[:2])
    assert model.usage.problems == ({problem: 2} if problem else {})


@pytest.fixture(scope="module")
def tiny_causal(tmp_path_factory):
    """A random two-layer GPT-2 with the packaged tokenizer and a chat template."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"), eos_token="[SEP]")
    tokenizer.chat_template = TEMPLATE
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=256,
            eos_token_id=tokenizer.sep_token_id,
            bos_token_id=tokenizer.cls_token_id,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def byte_causal(tmp_path_factory):
    """A random GPT-2 whose tokens are bytes, so that it can write any JSON."""
    return save_causal(tmp_path_factory.mktemp("bytes"))


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"level": {"enum": ["junior", "senior"]}, "remote": {"type": "boolean"}},
        "required": ["level", "remote"],
        "additionalProperties": False,
    }
)


def test_a_local_model_that_knows_nothing_answers_by_the_schema(byte_causal):
    pytest.importorskip("xgrammar", reason="the extra matchlib[json] is not installed")
    local = Local(str(byte_causal), device="cpu")
    sampling = Sampling(max_tokens=200, json_schema=SCHEMA)
    for answer in LanguageModel(local, sampling=sampling).complete(PROMPTS[:3]):
        found = json.loads(answer.text)
        assert found["level"] in ("junior", "senior") and isinstance(found["remote"], bool)


def test_a_schema_without_xgrammar_is_refused(byte_causal, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    monkeypatch.setitem(sys.modules, "xgrammar.contrib.hf", None)
    local = Local(str(byte_causal), device="cpu")
    sampling = Sampling(max_tokens=20, json_schema=SCHEMA)
    with pytest.raises(LanguageModelError, match="pip install 'matchlib"):
        LanguageModel(local, sampling=sampling).complete(PROMPTS[:1])


def test_a_local_model_answers_the_same_alone_and_in_a_batch(tiny_causal, tmp_path):
    def answers(size):
        local = Local(str(tiny_causal), batch_size=size, device="cpu")
        return LanguageModel(local, sampling=Sampling(max_tokens=8)).complete(PROMPTS[:5])

    alone, batched = answers(1), answers(3)
    assert [a.text for a in alone] == [a.text for a in batched] and alone[0].prompt_tokens > 5
    assert {a.problem for a in alone} <= {"", "truncated", "empty"}
    with pytest.raises(
        LanguageModelError,
        match="reads 256 tokens, but a prompt of .* show fewer or shorter examples",
    ):
        LanguageModel(Local(str(tiny_causal), device="cpu")).complete(PROMPTS[:1])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft's call
def test_an_adapter_is_another_model(tiny_causal, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)
    model = get_peft_model(GPT2LMHeadModel.from_pretrained(tiny_causal), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(3.0)
    model.save_pretrained(tmp_path)
    plain, tuned = (
        Local(str(tiny_causal), device="cpu"),
        Local(str(tiny_causal), adapter=str(tmp_path), device="cpu"),
    )
    texts = [
        [a.text for a in LanguageModel(m, sampling=Sampling(max_tokens=8)).complete(PROMPTS[:3])]
        for m in (plain, tuned)
    ]
    assert plain.key != tuned.key and texts[0] != texts[1]


def change_weights(file, change):
    weights = {name: change(name, weight) for name, weight in load_file(file).items()}
    save_file(
        {name: weight for name, weight in weights.items() if weight is not None},
        file,
        {"format": "pt"},
    )


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda f: change_weights(
                f / "model.safetensors", lambda n, w: None if ".h.1." in n else w
            ),
            r"transformer.h.1.attn.c_attn.bias, .* and 9 more of the model's weights are in none of its safetensors files",
        ),
        (
            lambda f: change_weights(f / "model.safetensors", lambda n, w: w * torch.nan),
            "scores that are not finite",
        ),
        (
            lambda f: change_weights(f / "model.safetensors", lambda n, w: w * 0),
            "every next token the same score",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-9]
            ),
            "it was cut off",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (
            lambda f: (f / "generation_config.json").write_text("{"),
            r"config.json \(1 bytes\) is damaged",
        ),
        (lambda f: (f / "config.json").write_text('{"model_type": "gpt3"}'), "cannot be loaded"),
        (
            lambda f: (f / "config.json").write_text(
                (f / "config.json").read_text().replace("30522", "20000")
            ),
            "cannot be loaded .*size mismatch|have another shape|up to 30,521, but the model has embeddings of 20,000",
        ),
    ],
)
def test_a_torn_language_model_is_one_sentence(tiny_causal, tmp_path, harm, sentence):
    folder = Path(shutil.copytree(tiny_causal, tmp_path / "model"))
    harm(folder)
    with pytest.raises(EncoderError, match=sentence):
        LanguageModel(Local(str(folder), device="cpu"), sampling=Sampling(max_tokens=8)).complete(
            PROMPTS[:1]
        )


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft's call
def test_an_adapter_that_is_not_there_or_not_whole_is_one_sentence(tiny_causal, tmp_path):
    """A folder that does not exist was asked for at the hub; missing weights were left as PEFT drew them."""
    from peft import LoraConfig, get_peft_model

    with pytest.raises(EncoderError, match="none holds no adapter"):
        Local(str(tiny_causal), adapter=str(tmp_path / "none"))
    config = LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)
    get_peft_model(GPT2LMHeadModel.from_pretrained(tiny_causal), config).save_pretrained(
        tmp_path / "whole"
    )
    for change, sentence in (
        (lambda n, w: None if ".h.1." in n else w, "Found missing adapter keys"),
        (lambda n, w: w[:1].clone(), "size mismatch"),
    ):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / sentence)
        change_weights(folder / "adapter_model.safetensors", change)
        with pytest.raises(EncoderError, match=f"cannot be loaded .*{sentence}"):
            LanguageModel(Local(str(tiny_causal), adapter=str(folder), device="cpu")).complete(
                PROMPTS[:1]
            )


def listens(port):
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def test_transformers_serve_answers_as_the_model_does_here(tiny_causal, monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(tiny_causal),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--device",
        "cpu",
    ]
    served = subprocess.Popen(
        command,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        deadline = time.monotonic() + 120
        while not listens(port):
            assert served.poll() is None and time.monotonic() < deadline, (
                "the server ended or never came"
            )
            time.sleep(0.5)
        how = {"sampling": Sampling(max_tokens=8)}
        service = LanguageModel(
            Service(str(tiny_causal), timeout_s=60), cache=tmp_path / "a.sqlite", **how
        )
        answers = service.complete(PROMPTS[:3])
        here = LanguageModel(Local(str(tiny_causal), device="cpu"), **how).complete(PROMPTS[:3])
        assert [a.text.strip() for a in answers] == [a.text.strip() for a in here]
        assert [a.completion_tokens for a in answers] == [a.completion_tokens for a in here]
    finally:
        served.terminate()
        served.wait(20)


MODEL_MAKERS = ("judging_model", "language_model_from", "write_triples")
"""Functions that make a notebook's language models."""


def calls_of(notebook):
    """(name, text) of every call in a notebook's code cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), ast.unparse(node)


@pytest.mark.parametrize(
    "notebook", sorted(Path("notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_notebook_with_a_limit_has_one_budget_for_all_its_models(notebook):
    if "limit_cost" not in notebook_parameters(notebook):
        return
    calls = list(calls_of(notebook))
    assert [name for name, _ in calls].count("Budget") == 1
    models = [text for name, text in calls if name in MODEL_MAKERS]
    assert models and all("budget=budget" in text or "**shared" in text for text in models)
