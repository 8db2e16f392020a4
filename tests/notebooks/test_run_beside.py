"""Notebooks beside a smoke run: own files, a corpus in shards, tuned models, services and causal models."""

from pathlib import Path

import pandas as pd
import torch
import yaml
from tiny_causal import save_causal
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from whole_runs import MATCHLIB, ROOT, papermill, run

from matchlib.data.market.simulation import Market
from matchlib.girl.records import views
from matchlib.stage import Finished


def test_files_without_a_gendered_word_are_read_for_errors_and_bias(smoke, names, tmp_path):
    """Own tables with three groups, names and gendered words redacted: nothing to swap, and no market to ask."""
    market, sections = (
        Finished(smoke / "01_data_rules"),
        {"source": "files", "test_share": 1.0, "rule_names": []},
    )
    for name in ("jobs", "resumes", "labels"):
        frame = market.table(name).query("split == 'test'")
        if name == "resumes":
            frame = frame.assign(gender=[("man", "woman", "")[i % 3] for i in range(len(frame))])
        frame[
            frame.columns.intersection(["job_id", "resume_id", "text", "label", "gender"])
        ].to_csv(tmp_path / f"{name}.csv", index=False)
        sections[f"{name}_file"] = str(tmp_path / f"{name}.csv")
    params = {
        "01_data_rules": sections | {"redact": ["name", "gendered"]},
        "02_contrastive": {"max_tokens": 64},
        "09_error_analysis": {"cluster_by": "", "n_sampled": 10},
        "10_bias_analysis": {
            "cluster_by": "",
            "strata": [],
            "min_group_size": 3,
            "n_permutations": 100,
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(params))
    done = run(*MATCHLIB, "run", str(tmp_path / "own.yaml"), "--run", names["own"])
    assert done.returncode == 0, done.stdout + done.stderr
    bias = Finished(ROOT / "reports" / names["own"] / "10_bias_analysis")
    assert "no gender term to swap" in bias.manifest["headline"]
    assert bias.manifest["metrics"]["resumes with gender terms"] == 0
    audits = pd.read_csv(bias.path("audit.csv"))
    assert set(audits["group"]) == {"man", "woman", "not stated"} and audits["p"].notna().any()


def test_notebooks_mine_from_a_corpus_in_shards_and_rank_it(smoke, names, tmp_path):
    """04 draws from people no table knows, 02 trains on them, 11 ranks them too."""
    tables, trained = (
        smoke.relative_to(ROOT) / name for name in ("01_data_rules", "02_contrastive")
    )
    people = Finished(ROOT / tables).table("resumes")[["resume_id", "text"]]
    others = Market(7, occupations=4).resumes(60, "test")[["resume_id", "text"]]
    others["resume_id"] = "other-" + others["resume_id"]
    pd.concat([people, others]).to_csv(tmp_path / "people.csv", index=False)
    vectors, base = tmp_path / "vectors", Path("reports") / names["plain"]
    embed = [*MATCHLIB, "embed", str(tmp_path / "people.csv"), "--out", str(vectors)]
    done = run(*embed, "--model", str(trained), "--documents-per-shard", "50")
    assert done.returncode == 0, done.stderr
    done = papermill(
        "04_runner_up_mining",
        base / "04_runner_up_mining-shards",
        ("data", tables),
        ("encoder", trained),
        ("miner", "sampled_runner_ups"),
        ("resume_vectors", vectors),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    mining = Finished(ROOT / base / "04_runner_up_mining-shards")
    drawn = mining.table("mined_resumes")["resume_id"]
    assert (
        drawn.str.startswith("other-").any()
        and "false_negative_share" not in mining.manifest["metrics"]
    )
    done = papermill(
        "02_contrastive",
        base / "02_contrastive-shards",
        ("data", tables),
        ("mined_stage", base / "04_runner_up_mining-shards"),
        ("max_tokens", 32),
        ("num_train_epochs", 1.0),
        ("evaluations", 1),
        ("frozen_layers", 5),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "11_leaderboard",
        base / "11_leaderboard-shards",
        ("data", tables),
        ("stage1", trained),
        ("shuffled", ""),
        ("ledger_file", ""),
        ("resume_vectors", vectors),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    among = pd.read_csv(ROOT / base / "11_leaderboard-shards" / "among_all.csv").set_index(
        ["measure", "among"]
    )
    found = among["value"].unstack()
    assert (found["all stored"] <= found["test"]).all()
    assert set(among["candidates"]) == {30, len(people) + 60}


def a_reader(prompt):
    """What a language model might answer to HyRE's prompt, to those of judges, and to an annotator's of errors."""
    if "Name one class" in prompt:
        return "The town differs.\nClass: unsuitable"
    if "Which job is better" in prompt:
        first, second = prompt.split("Job A:")[1].split("Job B:")
        return "\n".join(
            f"{c}: {'AB'[len(first) < len(second)]}" for c in ("Detail", "Relevance", "Conciseness")
        )
    if "Which resume fits" not in prompt:
        return "## Experience\nAn invented person who knows the work."
    first, second = prompt.split("Resume A:")[1].split("\n\nWhich resume")[0].split("\n\nResume B:")
    return f"One knows more.\nChoice: {'A' if len(first) >= len(second) else 'B'}\nConfidence: 70"


def test_a_model_is_tuned_to_write_hypothetical_texts(smoke, names, tmp_path):
    """One that has seen eight pairs ends hardly a text: what is counted, and that all else goes on."""
    out = Path("reports") / names["plain"] / "03_hyre-sft"
    done = papermill(
        "03_hyre",
        out,
        ("data", Path("reports") / smoke.name / "01_data_rules"),
        ("generator", "sft"),
        ("base_model", save_causal(tmp_path / "base", "llama", context=1024)),
        ("n_pairs", 8),
        ("max_pair_tokens", 1024),
        ("max_text_tokens", 4),
        ("max_tokens", 64),
        environment={"MATCHLIB_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stage = Finished(ROOT / out)
    metrics = stage.manifest["metrics"]
    n_without = (stage.table("hypothetical")["text"] == "").sum()
    assert metrics["unfinished texts"] + metrics["copies of own candidates"] == n_without > 0
    assert "by sft" in stage.manifest["headline"]


def test_a_service_writes_hypothetical_texts_and_judges_pairs(smoke, names, server, tmp_path):
    server.answer = a_reader
    tables, base = Path("reports") / smoke.name / "01_data_rules", Path("reports") / names["plain"]
    cache = {"MATCHLIB_CACHE": str(tmp_path)}
    done = papermill(
        "03_hyre",
        base / "03_hyre-few_shot",
        ("data", tables),
        ("generator", "few_shot"),
        ("language_model", "m"),
        ("max_tokens", 64),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    hyre = Finished(ROOT / base / "03_hyre-few_shot")
    assert (
        "100% of the jobs" in hyre.manifest["headline"]
        and "no language model" not in hyre.manifest["headline"]
    )
    assert hyre.table("jobs")["text"].str.contains("An invented person who knows the work").all()
    done = papermill(
        "05_rankpo",
        base / "05_rankpo",
        ("data", tables),
        ("annotator", "service"),
        ("language_model", "m"),
        ("judge_model", "m"),
        ("stage1", tables.parent / "02_contrastive-rule"),
        ("pairs_per_job", 1),
        ("test_pairs_per_job", 2),
        ("num_train_epochs", 1.0),
        ("frozen_layers", 5),
        ("evaluations", 1),
        ("objective", "sft"),
        ("top_k", 10),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    judged = Finished(ROOT / base / "05_rankpo").table("preferences")
    assert set(judged["annotator"]) == {"m"} and (judged["preferred"] != "tie").mean() > 0.8
    done = papermill(
        "09_error_analysis",
        base / "09_error_analysis",
        ("data", tables),
        ("annotator", "service"),
        ("stage1", tables.parent / "02_contrastive"),
        ("language_model", "m"),
        ("n_sampled", 20),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    classes = pd.read_csv(ROOT / base / "09_error_analysis" / "classes.csv").set_index("class")[
        "share"
    ]
    assert (classes["unsuitable"] == 1).all()


def untrained_chat_model(folder, texts):
    """A random two-layer GPT-2 with a vocabulary and a chat template of its own, saved as any model is."""
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(texts, vocab_size=900, special_tokens=["<end>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, eos_token="<end>", pad_token="<end>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=512,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_causal_model_of_a_folder_writes_texts_that_a_service_judges(
    smoke, names, server, tmp_path
):
    server.answer = a_reader
    tables = smoke / "01_data_rules"
    jobs, resumes = (pd.read_parquet(tables / f"{side}.parquet") for side in ("jobs", "resumes"))
    prompts, texts = views(jobs, resumes, form="text", max_words=4)
    untrained_chat_model(
        tmp_path / "untrained", [*texts, *(prompt.system + prompt.user for prompt in prompts)]
    )
    base, model = ROOT / "reports" / names["plain"], tmp_path / "untrained"
    for optimizer, rank in (
        ("ppo", 0),
        ("grpo", 4),
    ):  # all weights, then adapters on what that wrote
        girl = base / f"06_girl-{optimizer}"
        done = papermill(
            "06_girl",
            girl,
            ("data", tables),
            ("base_model", model),
            ("max_words", 4),
            ("max_tokens", 400),
            ("max_job_tokens", 16),
            ("learning_rate", 0.01),
            ("sft_epochs", 12.0),
            ("batch_size", 8),
            ("lora_rank", rank),
            ("reward_epochs", 1.0),
            ("optimizer", optimizer),
            ("iterations", 2),
            ("samples", 32),
            ("judge", "service"),
            ("language_model", "m"),
            ("n_judged", 6),
            ("n_recommended", 20),
            environment={"MATCHLIB_CACHE": str(tmp_path / "cache")},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        written = Finished(girl).table("generated")
        decoded = [
            f"{stage} {how}"
            for stage in ("pretrained", "sft", optimizer)
            for how in ("greedy", "sampled")
        ]
        assert len(written) == 6 and list(written) == ["resume_id", *decoded, "sft best of 16"]
        model = girl / "generator"
    judged = pd.read_csv(girl / "judged.csv")
    assert (
        set(judged["criterion"]) == {"detail", "relevance", "conciseness"}
        and (judged["n"] > 0).all()
    )
    assert set(judged["against"]) == {
        "pretrained greedy",
        "sft greedy",
        "sft sampled",
        "sft best of 16",
        "nearest job",
    }
    assert server.answered > 12
    assert "grpo's net win rate over SFT" in Finished(girl).manifest["headline"]
