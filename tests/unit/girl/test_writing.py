"""The generator, SFT and the reward model: small models made on the spot."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_causal import save_causal
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from matchlib.girl.models import (
    CausalGenerator,
    has_chat_template,
    job_ids,
    join,
    load_generator,
    prompt_ids,
    small_generator,
    starting_generator,
    write_jobs,
)
from matchlib.girl.reward import (
    accuracy,
    accuracy_from_jobs,
    job_only_ablation,
    length_correlation,
    margin_calibration,
    margins,
    reward_model,
    score,
    train_reward,
    utilities,
)
from matchlib.girl.sft import Training, train_sft
from matchlib.language.llm import Prompt
from matchlib.language.vocabulary import trim_vocabulary
from matchlib.retrieval.models import EncoderError

WORDS = [f"{word}\n" for word in ("one", "two", "three", "four", "resume:", "job:")]
PROMPTS = [f"resume:\n{word}job:\n" for word in WORDS[:4]]


@pytest.fixture
def generator():
    return small_generator(WORDS, width=32, layers=2, heads=2, max_tokens=16)


def fast(**changes):
    return Training(
        **{"learning_rate": 1e-2, "num_train_epochs": 12.0, "batch_size": 16, **changes}
    )


def test_a_generator_learns_to_copy_from_the_prompt(generator, tmp_path):
    jobs = [2 * word for word in WORDS[:4]]
    log, left_out = train_sft(
        generator, PROMPTS * 16, jobs * 16, training=fast(), checkpoints=tmp_path
    )
    assert left_out == 0 and log["loss"].iloc[-1] < 0.1 < log["loss"].iloc[0]
    assert write_jobs(generator, PROMPTS, max_job_tokens=4) == (jobs, 0.0)
    assert write_jobs(generator, PROMPTS, max_job_tokens=2)[1] == 1.0
    twin = copy.deepcopy(generator)
    train_sft(twin, PROMPTS * 16, jobs[::-1] * 16, training=fast(), checkpoints=tmp_path / "twin")
    assert write_jobs(twin, PROMPTS, max_job_tokens=4)[0] == jobs[::-1]
    assert write_jobs(generator, PROMPTS, max_job_tokens=4)[0] == jobs


def test_the_loss_counts_the_jobs_tokens_only(generator, tmp_path):
    before = [
        torch.log_softmax(generator.model(torch.tensor([ids])).logits[0, :-1], -1)
        for ids in [
            prompt_ids(generator.tokenizer, PROMPTS[0]) + job_ids(generator.tokenizer, WORDS[1])
        ]
    ][0]
    ids = prompt_ids(generator.tokenizer, PROMPTS[0]) + job_ids(generator.tokenizer, WORDS[1])
    expected = -before[torch.arange(2, 4), torch.tensor(ids[3:])].mean().item()
    log, _ = train_sft(
        generator,
        PROMPTS[:1],
        WORDS[1:2],
        checkpoints=tmp_path,
        training=fast(num_train_epochs=1.0, learning_rate=1e-9),
    )
    assert log["loss"].iloc[0] == pytest.approx(expected, abs=1e-4)


def test_long_pairs_are_counted_and_none_is_an_error(generator, tmp_path):
    _, left_out = train_sft(
        generator,
        PROMPTS,
        [WORDS[0], WORDS[0], WORDS[0] * 9, WORDS[0]],
        checkpoints=tmp_path,
        training=fast(num_train_epochs=1.0, max_tokens=6),
    )
    assert left_out == 1
    with pytest.raises(ValueError, match="no pair fits in 3 tokens"):
        train_sft(
            generator,
            PROMPTS,
            WORDS[:4],
            training=fast(max_tokens=3),
            checkpoints=tmp_path / "other",
        )


def test_a_lost_loss_stops_the_training(generator, tmp_path):
    with torch.no_grad():
        generator.model.transformer.wte.weight[:] = torch.nan
    with pytest.raises(FloatingPointError, match="lower learning_rate. The last checkpoint is in"):
        train_sft(
            generator, PROMPTS, WORDS[:4], training=fast(num_train_epochs=1.0), checkpoints=tmp_path
        )


@pytest.mark.filterwarnings(
    "ignore:fan_in_fan_out"
)  # peft sees GPT-2's Conv1D and sets what it needs
def test_an_adapter_is_merged(generator, tmp_path):
    names = set(generator.model.state_dict())
    train_sft(
        generator,
        PROMPTS,
        WORDS[:4],
        training=fast(num_train_epochs=1.0, lora_rank=2),
        checkpoints=tmp_path,
    )
    assert set(generator.model.state_dict()) == names
    assert all(weight.requires_grad for weight in generator.model.parameters())


def preferring_what_the_resume_holds(n):
    rng = np.random.default_rng(1)
    held, other = np.array([rng.choice(4, 2, replace=False) for _ in range(n)]).T
    return pd.DataFrame(
        {
            "resume_id": [f"r{i}" for i in range(n)],
            "prompt": [PROMPTS[i] for i in held],
            "chosen": [WORDS[i] for i in held],
            "rejected": [WORDS[i] for i in other],
            "kind": "skill",
        }
    )


def test_a_reward_model_matches_the_two_sides_and_a_job_alone_tells_nothing(generator, tmp_path):
    pairs, start = preferring_what_the_resume_holds(240), copy.deepcopy(generator)
    model = reward_model(generator)
    _, left_out = train_reward(
        model, generator.tokenizer, pairs, training=fast(), checkpoints=tmp_path / "u"
    )
    people = pd.Series(pairs["resume_id"].to_numpy(), index=pairs["resume_id"])
    found = accuracy(pairs, margins(model, generator.tokenizer, pairs), people).set_index("kind")
    assert left_out == 0 and found.loc["all", "value"] > 0.95 and found.loc["skill", "n"] == 240
    blind, hidden = reward_model(start), job_only_ablation(pairs)
    train_reward(
        blind,
        generator.tokenizer,
        hidden,
        training=fast(num_train_epochs=4.0),
        checkpoints=tmp_path / "blind",
    )
    assert (
        abs(
            accuracy(hidden, margins(blind, generator.tokenizer, hidden), people)["value"].iloc[0]
            - 0.5
        )
        < 0.15
    )


def test_a_utility_is_the_sum_over_the_jobs_tokens(generator):
    model = reward_model(generator)
    model.config.mean_length = 2.0
    prompt, job = (
        prompt_ids(generator.tokenizer, PROMPTS[0]),
        job_ids(generator.tokenizer, WORDS[1] + WORDS[2]),
    )
    rows = join([prompt, prompt[:1]], [job, job[:2]], pad=0, device="cpu")
    each = model(torch.tensor([prompt + job])).logits[0, len(prompt) :, 0].sum() / 2
    assert utilities(model, rows)[0].sum().item() == pytest.approx(each.item(), abs=1e-5)
    assert score(model, generator.tokenizer, PROMPTS[:1], [WORDS[1] + WORDS[2]])[
        0
    ] == pytest.approx(each.item(), abs=1e-5)


def test_a_family_without_a_head_for_tokens_gets_one_that_learns(generator, tmp_path):
    torch.manual_seed(0)
    gemma = Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(generator.tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            pad_token_id=generator.tokenizer.pad_token_id,
            eos_token_id=generator.tokenizer.eos_token_id,
        )
    )
    start = CausalGenerator(gemma, generator.tokenizer)
    model = reward_model(start)
    body = gemma.base_model.state_dict()
    assert {*body} < {name.removeprefix("model.") for name in model.state_dict()}
    assert all(torch.equal(model.base_model.state_dict()[name], body[name]) for name in body)
    pairs = preferring_what_the_resume_holds(240).assign(chosen=WORDS[0], rejected=WORDS[1])
    training = fast(num_train_epochs=2.0, lora_rank=4)
    train_reward(model, start.tokenizer, pairs, training=training, checkpoints=tmp_path)
    assert (margins(model, start.tokenizer, pairs) > 0).all()


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_long_reward_pairs_are_left_out_not_cut(generator, tmp_path):
    pairs = preferring_what_the_resume_holds(4)
    pairs.loc[0, "rejected"] = WORDS[0] * 8
    _, left_out = train_reward(
        reward_model(generator),
        generator.tokenizer,
        pairs,
        checkpoints=tmp_path,
        training=fast(num_train_epochs=1.0, max_tokens=8, lora_rank=2),
    )
    assert left_out == 1


def test_accuracy_knows_the_clusters_of_resumes():
    pairs = pd.DataFrame({"resume_id": [f"r{i}" for i in range(80)], "kind": "skill"})
    right = np.where(
        np.arange(80) // 10 < 6, 1.0, -1.0
    )  # eight occupations, in which all are right or all wrong
    occupations = pd.Series(np.arange(80) // 10, index=pairs["resume_id"])
    alone, together = (
        accuracy(pairs, right, clusters).iloc[0]
        for clusters in (pd.Series(occupations.index, index=occupations.index), occupations)
    )
    assert alone["value"] == together["value"] == 0.75 and (
        alone["n_clusters"],
        together["n_clusters"],
    ) == (80, 8)
    assert alone["low"] > 0.6 and together["low"] < 0.4


def test_jobs_alone_are_not_measured_on_pairs_that_come_turned_around():
    mirrored = pd.DataFrame(
        {"resume_id": ["a", "b"], "chosen": ["x", "y"], "rejected": ["y", "x"], "kind": "skill"}
    )
    told = pd.DataFrame(
        {
            "resume_id": ["a", "b", "c"],
            "chosen": "good",
            "rejected": "bad",
            "kind": ["recruiter", "recruiter", "neighbour"],
        }
    )
    pairs = pd.concat([*[mirrored] * 20, told], ignore_index=True)
    worth = {"x": 3.0, "y": 1.0, "good": 2.0, "bad": 0.0}
    margin = (pairs["chosen"].map(worth) - pairs["rejected"].map(worth)).to_numpy()
    people = pd.Series(list("abc"), index=list("abc"))
    assert (
        accuracy(pairs, margin, people)["value"].iloc[0] < 0.54
    )  # the total hides that jobs alone tell
    found = accuracy_from_jobs(pairs, margin, people).set_index("kind")
    assert found["value"].to_dict() == {"recruiter": 1.0, "neighbour": 1.0} and found[
        "n"
    ].tolist() == [2, 1]


def test_calibration_and_length():
    margin = np.array([0.0, 1.0, -1.0, 4.0, 4.5, -5.0])
    pairs = pd.DataFrame({"resume_id": list("abcabc")})
    table = margin_calibration(pairs, margin, pd.Series(["x", "x", "y"], index=list("abc")), bins=2)
    assert table["n"].tolist() == [3, 3] and table["right"].tolist() == pytest.approx(
        [1 / 3, 2 / 3]
    )
    assert (table["low"] <= table["right"]).all() and (table["high"] >= table["right"]).all()
    assert table["predicted"].is_monotonic_increasing
    pairs = pd.DataFrame({"chosen": ["a", "a b", "a b c"], "rejected": "a"})
    assert length_correlation(pairs, np.array([3.0, 2.0, 1.0])) == -1.0


def test_a_foreign_model_is_loaded_and_its_faults_are_named(tmp_path, generator):
    tokenizer = generator.tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "llama")
    loaded = load_generator(str(tmp_path / "llama"), device="cpu")
    assert loaded.tokenizer.pad_token == tokenizer.eos_token
    texts, _ = write_jobs(
        loaded, [Prompt("one\n", "two\n")], max_job_tokens=2
    )  # no chat template: two parts of text
    assert len(texts) == 1
    with pytest.raises(EncoderError, match="reads 12 tokens, but a prompt with its job takes 23"):
        write_jobs(loaded, PROMPTS, max_job_tokens=20)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "llama")
    if AutoTokenizer.from_pretrained(tmp_path / "llama").eos_token_id is None:
        with pytest.raises(EncoderError, match="no end token"):
            load_generator(str(tmp_path / "llama"), device="cpu")


@pytest.mark.parametrize("tokens_in_use", [True, False])
def test_a_base_model_starts_with_the_tokens_of_prompts_and_jobs(
    tmp_path, tokens_in_use, monkeypatch
):
    kept = []

    def trim(model, tokenizer, given):
        kept.append(given)
        return trim_vocabulary(model, tokenizer, given)

    monkeypatch.setattr("matchlib.girl.models.trim_vocabulary", trim)
    folder = save_causal(tmp_path / "tiny", "llama")
    assert not has_chat_template(folder)
    texts = [Prompt("resume", "a cook"), "a baker's job"]
    start = starting_generator(
        folder, texts, max_tokens=64, lora_rank=4, seed=1, tokens_in_use=tokens_in_use
    )
    n_tokens = start.model.get_input_embeddings().weight.shape[0]
    assert n_tokens == len(start.tokenizer)
    assert kept == ([["resume\n\na cook\n\n", "a baker's job"]] if tokens_in_use else [])
    full = load_generator(folder, device="cpu")
    prompt, other = prompt_ids(start.tokenizer, texts[0]), prompt_ids(full.tokenizer, texts[0])
    assert start.tokenizer.decode(prompt) == full.tokenizer.decode(other)
    utility = reward_model(start)
    assert utility.get_input_embeddings().weight.shape[0] == n_tokens
    assert score(utility, start.tokenizer, texts[:1], texts[1:]).shape == (1,)
    template = save_causal(tmp_path / "chat", "llama", chat_template="{{ messages }}")
    assert has_chat_template(template)


def test_a_chat_template_is_used(generator):
    generator.tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'job:\n' }}{% endif %}"
    )
    expected = generator.tokenizer("one\ntwo\njob:\n")["input_ids"]
    assert prompt_ids(generator.tokenizer, Prompt("one\n", "two\n")) == expected
    assert isinstance(generator, CausalGenerator)
