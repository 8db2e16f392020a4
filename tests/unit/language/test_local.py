"""Local models as people have them (no chat template, odd padding), and likelihoods against one by one."""

import inspect
import json

import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_causal import save_causal
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2LMHeadModel,
)

from matchlib.language import judge
from matchlib.language.likelihood import Likelihood, _batches, _Row
from matchlib.language.llm import LanguageModel, LanguageModelError, Prompt, Sampling
from matchlib.language.local import Local
from matchlib.retrieval.model_files import EncoderError
from matchlib.retrieval.models import choose_precision

PROMPTS = [Prompt("Be brief.", "word " * n + "why?") for n in (1, 9, 4, 2, 30)]
CONTINUATIONS = [" Because.", " No", " It is so, and always was.", " Yes", " Perhaps."]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}<start>"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def causal(request, tmp_path_factory):
    return save_causal(tmp_path_factory.mktemp(request.param), request.param)


def plain_log_probability(folder, text, continuation):
    """One sequence, no batch, no padding, every position computed."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    n_prompt = len(tokenizer(text)["input_ids"])
    ids = tokenizer(text + continuation, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        log_probabilities = model(ids).logits[0].log_softmax(-1)
    total = 0.0
    for place in range(n_prompt, ids.shape[1]):
        total += float(log_probabilities[place - 1, ids[0, place]])
    return total, ids.shape[1] - n_prompt


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_likelihoods_are_those_of_a_plain_loop(causal, batch_size):
    local = Local(causal, device="cpu", batch_size=batch_size)
    found = local.score(PROMPTS, CONTINUATIONS)
    for prompt, continuation, likelihood in zip(PROMPTS, CONTINUATIONS, found, strict=True):
        text = f"{prompt.system}\n\n{prompt.user}\n\n"
        total, n_tokens = plain_log_probability(causal, text, continuation)
        assert likelihood.n_tokens == n_tokens == len(continuation)
        assert likelihood.log_probability == pytest.approx(total, abs=1e-3)
    per_token = [one.log_probability / one.n_tokens for one in found]
    assert max(per_token) - min(per_token) > 0.1


def test_choices_that_differ_in_the_last_token_are_read_once(causal, monkeypatch):
    local = Local(causal, device="cpu")
    alone = [local.score([PROMPTS[0]], [choice])[0] for choice in judge.CHOICES]
    n_rows = []
    forward = local._loaded[1].forward

    def count(*args, input_ids, **kwargs):
        n_rows.append(len(input_ids))
        return forward(input_ids=input_ids, **kwargs)

    count.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(local._loaded[1], "forward", count)
    together = local.score([PROMPTS[0]] * 2, judge.CHOICES)
    assert n_rows == [1]
    assert [one.log_probability for one in together] == pytest.approx(
        [one.log_probability for one in alone], abs=1e-4
    )
    assert together[0].log_probability != together[1].log_probability


def test_an_adapter_with_absolute_positions_scores_as_one_by_one(tmp_path):
    folder = save_causal(tmp_path / "model")
    config = LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)
    adapted = get_peft_model(GPT2LMHeadModel.from_pretrained(folder), config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    how = {"device": "cpu", "adapter": str(tmp_path / "adapter")}
    batched = Local(folder, **how).score(PROMPTS, CONTINUATIONS)
    alone = Local(folder, batch_size=1, **how).score(PROMPTS, CONTINUATIONS)
    without = Local(folder, device="cpu").score(PROMPTS, CONTINUATIONS)
    for one, other, bare in zip(batched, alone, without, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-3)
        assert abs(one.log_probability - bare.log_probability) > 0.01


def test_batches_hold_a_limited_number_of_scores_and_every_row():
    rows = [_Row(tuple(range(length)), 4) for length in (3, 9, 5, 7)]
    batches = list(_batches(rows, 8, 2**25))
    assert [[len(row.inputs) for row in batch] for batch in batches] == [[9, 7], [5, 3]]
    assert [len(batch) for batch in _batches(rows, 3, 10)] == [3, 1]
    too_wide = list(_batches(rows, 8, 2**28))
    assert [len(batch) for batch in too_wide] == [1, 1, 1, 1]


def test_what_cannot_be_scored_is_one_sentence(tmp_path):
    local = Local(save_causal(tmp_path / "model", context=64), device="cpu")
    with pytest.raises(LanguageModelError, match="cannot score '' after .*: it adds no token"):
        local.score([PROMPTS[0]], [""])
    with pytest.raises(LanguageModelError, match="reads 64 tokens, but a prompt of 1"):
        local.score([PROMPTS[4]], ["No"])
    assert local.score([], []) == []


def test_a_chat_template_begins_the_answer(tmp_path):
    folder = save_causal(tmp_path / "model", chat_template=TEMPLATE)
    local = Local(folder, device="cpu")
    found = local.score([PROMPTS[0]], ["Yes"])[0]
    text = f"system: {PROMPTS[0].system}\nuser: {PROMPTS[0].user}\n<start>"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text + "Yes", add_special_tokens=False)["input_ids"]
    assert local._sequence(local._text(PROMPTS[0]), "Yes") == (ids, 3) and ids[-4] == 0
    assert found.n_tokens == 3


def test_a_template_that_knows_no_system_message_gets_it_with_the_users(tmp_path):
    local = Local(save_causal(tmp_path / "model", chat_template=NO_SYSTEM + TEMPLATE), device="cpu")
    assert local._text(Prompt("Be brief.", "Why?")) == "user: Be brief.\n\nWhy?\n<start>"


PADDINGS = {
    "none": {},
    "a token without an embedding": {"pad_token": "<pad>"},
    "the beginning": {"pad_token": "<start>"},
    "a letter": {"pad_token": "w"},
}


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_base_model_answers_the_same_with_any_padding(tmp_path, padding):
    """A pad token beyond the embeddings ended in an IndexError as soon as two prompts were a batch."""
    folder = save_causal(tmp_path / "model", **PADDINGS[padding])
    how = {"sampling": Sampling(max_tokens=6)}
    batched = LanguageModel(Local(folder, device="cpu"), **how).complete(PROMPTS)
    alone = LanguageModel(Local(folder, device="cpu", batch_size=1), **how).complete(PROMPTS)
    assert [answer.text for answer in batched] == [answer.text for answer in alone]
    assert len({answer.text for answer in alone}) > 1
    text = f"{PROMPTS[1].system}\n\n{PROMPTS[1].user}\n\n"
    assert batched[1].prompt_tokens == len(text) + 1  # <start>
    with pytest.raises(LanguageModelError, match="reads 2048 tokens, .* answer of 2000"):
        LanguageModel(Local(folder, device="cpu"), sampling=Sampling(max_tokens=2000)).complete(
            PROMPTS
        )


def test_a_model_without_end_and_padding_is_refused(tmp_path):
    folder = save_causal(tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["eos_token"]
    file.write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match="has neither an end token nor one for padding"):
        Local(folder, device="cpu").score(PROMPTS[:1], ["a"])


def test_on_a_processor_a_model_saved_in_bfloat16_is_float32_unless_asked_for(tmp_path):
    folder = save_causal(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(folder).bfloat16().save_pretrained(folder)
    for precision, loaded in (("auto", torch.float32), ("bfloat16", torch.bfloat16)):
        assert Local(folder, device="cpu", precision=precision)._loaded[1].dtype == loaded
    assert choose_precision("auto", "cuda") == "auto"


class ByWord:
    """In the place of a local model: log-odds of A by the words of resume A and B, and a position bias."""

    def __init__(self, bias):
        self.bias = bias

    def score(self, prompts, continuations):
        found = []
        for prompt, continuation in zip(prompts, continuations, strict=True):
            first, second = prompt.user.split("Resume A:")[1].split("Resume B:")
            fit = ("GOOD" in first) - 1.0 * ("GOOD" in second) + self.bias
            found.append((fit if continuation == "Choice: A" else 0.0) - 5.0)
        return [Likelihood(value, 3) for value in found]


PAIRS = pd.DataFrame(
    {"job_id": "j", "resume_a": ["good", "bad", "good"], "resume_b": ["bad", "good", "same"]}
)
PART = {
    "jobs": pd.DataFrame({"job_id": ["j"], "text": ["a job"]}),
    "resumes": pd.DataFrame(
        {"resume_id": ["good", "bad", "same"], "text": ["GOOD", "bad", "GOOD too"]}
    ),
}


def test_preferences_by_likelihood_and_their_position_bias():
    fair = judge.judge_by_likelihood(ByWord(0.0), PAIRS, PART, name="m")
    assert fair["log_odds"].tolist() == [1.0, -1.0, 0.0]
    assert fair["swapped_log_odds"].tolist() == [-1.0, 1.0, 0.0]
    assert judge.merge_log_odds(fair)["preferred"].tolist() == ["a", "b", "tie"]
    biased = judge.judge_by_likelihood(ByWord(3.0), PAIRS, PART, name="m")
    assert judge.measure_position_bias(biased)["first_position"] == 1.0
    assert set(judge.merge_orders(biased)["preferred"]) == {"tie"}
    merged = judge.merge_log_odds(biased)
    assert merged["preferred"].tolist() == ["a", "b", "tie"]
    assert merged["confidence"].tolist() == pytest.approx([73.1, 73.1, 0.0], abs=0.1)
    assert merged["annotator"].eq("m").all()


def test_a_real_model_judges_by_likelihood(causal):
    answers = judge.judge_by_likelihood(
        Local(causal, device="cpu", batch_size=2), PAIRS, PART, name="m", max_words=5
    )
    bias = judge.measure_position_bias(answers)
    assert bias["asked"] == 3 and 0 <= bias["first_position"] <= 1
    assert answers["log_odds"].abs().min() > 0 and answers["confidence"].between(50, 100).all()


def test_an_answer_ends_where_its_prompt_says(causal):
    local = Local(causal, device="cpu")
    sampling = Sampling(max_tokens=24)
    free = LanguageModel(local, sampling=sampling).complete(PROMPTS[:2])
    assert [answer.finish for answer in free] == ["length", "length"] and local.continues_text
    stop = next(letter for letter in free[0].text[2:-2] if letter.isascii())
    asked = [PROMPTS[0]._replace(stop=stop), PROMPTS[4]]
    ended = LanguageModel(local, sampling=sampling).complete(asked)[0]
    assert (ended.text, ended.finish) == (free[0].text[: free[0].text.index(stop)], "stop")
    assert ended.completion_tokens < 24


def test_a_model_with_a_chat_template_is_instructed(tmp_path):
    folder = save_causal(tmp_path, chat_template=TEMPLATE)
    assert not Local(folder, device="cpu").continues_text
