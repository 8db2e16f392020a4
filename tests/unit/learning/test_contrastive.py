import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from matchlib.data.schema import DataError
from matchlib.data.splits import shuffle_within
from matchlib.learning import training
from matchlib.learning.contrastive import RankingEvaluator, rank_changes, train_contrastive
from matchlib.learning.losses import ConFitLoss
from matchlib.learning.pairs import PairCollator, build_pairs
from matchlib.learning.training import Settings, freeze_layers, save_encoder
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.models import find_model, load_model

QUICK = {"batch_size": 8, "learning_rate": 1e-3, "temperature": 0.05, "hard_negatives": 2}


def part(tables, split):
    return {
        name: tables[name][tables[name]["split"] == split].reset_index(drop=True)
        for name in ("jobs", "resumes", "labels")
    }


def tiny_labels():
    jobs = pd.DataFrame({"job_id": ["a", "b", "c"], "text": ["cook", "cook", "nurse"]})
    resumes = pd.DataFrame({"resume_id": ["x", "y", "z"], "text": ["fries", "grills", "heals"]})
    labels = pd.DataFrame(
        [("a", "x", 1), ("b", "y", 1), ("c", "z", 1), ("b", "z", 0), ("c", "x", 0), ("b", "x", 0)],
        columns=["job_id", "resume_id", "label"],
    )
    return jobs, resumes, labels


def test_pairs_number_equal_texts_alike_and_never_use_a_positive_as_a_hard_negative():
    pairs = build_pairs(*tiny_labels(), seed=0)
    assert pairs.job_texts == ["cook", "nurse"]
    rows = {tuple(row[:2]): tuple(row[2:]) for row in pairs.rows.tolist()}
    # Job b repeats job a's text, so the rejected pair (b, x) is the accepted pair (a, x): no hard negative.
    assert rows == {(0, 0): (1, 2), (0, 1): (-1, 2), (1, 2): (0, 0)}


def test_some_pairs_of_a_job_are_rows_and_all_of_them_mask():
    jobs = pd.DataFrame({"job_id": ["a", "b"], "text": ["cook", "nurse"]})
    resumes = pd.DataFrame({"resume_id": list("uvwxyz"), "text": list("uvwxyz")})
    pairs = [("a", resume, 1) for resume in "uvwxy"] + [("b", "z", 1)]
    labels = pd.DataFrame(pairs, columns=["job_id", "resume_id", "label"])
    drawn = set()
    for seed in range(20):
        chosen = build_pairs(jobs, resumes, labels, seed=seed, per_job=2)
        of_job = [row[0] for row in chosen.rows.tolist()]
        assert of_job == [0, 0, 1] and len(chosen.positives) == 6
        drawn |= {row[1] for row in chosen.rows.tolist()}
    assert drawn == set(range(6))
    assert len(build_pairs(jobs, resumes, labels, seed=0, per_job=9).rows) == 6


def test_one_accepted_pair_is_refused(tmp_path, tiny_model_folder):
    jobs, resumes, labels = tiny_labels()
    pairs = build_pairs(jobs, resumes, labels.head(1), seed=0)
    with pytest.raises(DataError, match="1 accepted pairs"):
        train_contrastive(
            load_model(tiny_model_folder), pairs, settings=Settings(), checkpoints=tmp_path
        )


def test_collator_sorts_chunks_caps_hard_negatives_and_encodes_a_document_once(
    tiny_model_folder, small_tables
):
    model = load_model(tiny_model_folder)
    train = part(small_tables, "train")
    pairs = build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)
    collator = PairCollator(model, pairs, hard_negatives=2, chunk_size=8)
    rows = [{"label": row} for row in pairs.rows[:16].tolist()]
    batch = collator(rows)
    label = batch["label"]
    names = ["job", "resume", "hard_job", "hard_resume"]
    assert list(label["place"]) == list(label["number"]) == names
    assert [int((label["number"][name] >= 0).sum()) for name in names] == [16, 16, 2, 2]
    assert all(torch.equal(label["place"][name] >= 0, label["number"][name] >= 0) for name in names)
    chunks = [value for key, value in batch.items() if key.endswith("_attention_mask")]
    widths = [chunk.shape[1] for chunk in chunks]
    assert widths == sorted(widths) and all(len(chunk) <= 8 for chunk in chunks)
    shown = {
        (name.removeprefix("hard_"), n)
        for name in names
        for n in label["number"][name].tolist()
        if n >= 0
    }
    assert sum(len(chunk) for chunk in chunks) == len(shown)
    ids = [row for key, value in batch.items() if key.endswith("_input_ids") for row in value]
    place, number = (label[what]["resume"][3].item() for what in ("place", "number"))
    expected = model.tokenizer(pairs.resume_texts[number], truncation=True, max_length=64)[
        "input_ids"
    ]
    assert ids[place][: len(expected)].tolist() == expected


def test_loss_on_collated_batches_equals_the_peer_when_nothing_is_masked(tiny_model_folder):
    jobs = pd.DataFrame(
        {
            "job_id": list("abcd"),
            "text": ["cook wanted", "nurse needed", "pilot", "clerk in a bank"],
        }
    )
    resumes = pd.DataFrame(
        {"resume_id": list("wxyz"), "text": ["I fry", "I care for the ill", "I fly", "I count"]}
    )
    labels = pd.DataFrame({"job_id": list("abcd"), "resume_id": list("wxyz"), "label": 1})
    model = load_model(tiny_model_folder).eval()
    pairs = build_pairs(jobs, resumes, labels, seed=0)
    trainer_inputs = PairCollator(model, pairs, 0, chunk_size=3)(
        [{"label": row} for row in pairs.rows.tolist()]
    )
    prefixes = sorted({key.split("_")[0] for key in trainer_inputs if key.startswith("chunk")})
    features = [
        {
            key.split("_", 1)[1]: value
            for key, value in trainer_inputs.items()
            if key.startswith(prefix)
        }
        for prefix in prefixes
    ]
    ours = ConFitLoss(
        model, torch.tensor(pairs.positives), n_jobs=4, n_resumes=4, temperature=0.05
    )(features, trainer_inputs["label"])
    peer = MultipleNegativesRankingLoss(
        model, scale=20, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )
    theirs = peer([model.preprocess(list(side["text"])) for side in (jobs, resumes)], None)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_training_orders_trained_above_raw_and_above_shuffled(
    tmp_path, small_tables, tiny_model_folder
):
    train = part(small_tables, "train")
    # judged on the pairs it was trained on: separable data, so the order is certain, not lucky
    evaluator = RankingEvaluator(**train)
    scores = {"pretrained": evaluator(load_model(tiny_model_folder))["ndcg"]}
    for arm in ("trained", "shuffled"):
        labels = train["labels"]
        if arm == "shuffled":
            labels = shuffle_within(labels, train["resumes"], column="", seed=0)
        model = load_model(tiny_model_folder)
        pairs = build_pairs(train["jobs"], train["resumes"], labels, seed=0)
        train_contrastive(
            model,
            pairs,
            settings=Settings(num_train_epochs=12, evaluations=1, **QUICK),
            checkpoints=tmp_path / arm,
            evaluator=evaluator,
        )
        scores[arm] = evaluator(model)["ndcg"]
    assert scores["trained"] > scores["pretrained"] + 0.05
    assert scores["trained"] > scores["shuffled"] + 0.05


def test_bfloat16_needs_a_gpu_or_processor_that_has_it(
    tmp_path, small_tables, tiny_model_folder, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    train = part(small_tables, "train")
    pairs = build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)
    with pytest.raises(
        ValueError, match="runs on cpu, which is no GPU or processor \\(AMX\\) with bfloat16"
    ):
        train_contrastive(
            load_model(tiny_model_folder, device="cpu"),
            pairs,
            settings=Settings(num_train_epochs=1, bf16=True),
            checkpoints=tmp_path,
        )


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path, small_tables, tiny_model_folder, monkeypatch
):
    train, valid = part(small_tables, "train"), part(small_tables, "valid")
    pairs = build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)
    settings = Settings(num_train_epochs=3, evaluations=5, **QUICK)

    def run(folder):
        torch.manual_seed(0)
        model = load_model(tiny_model_folder)
        log = train_contrastive(
            model, pairs, settings=settings, checkpoints=folder, evaluator=RankingEvaluator(**valid)
        )
        save_encoder(model, tmp_path / "encoder")
        files = {
            path.name: path.read_bytes()
            for path in (tmp_path / "encoder").rglob("*")
            if path.is_file()
        }
        return weights(model), log, files

    whole, whole_log, whole_files = run(tmp_path / "whole")
    steps, real_forward = [], ConFitLoss.forward

    def dies_in_the_second_epoch(self, *args):
        steps.append(1)
        if len(steps) > 0.55 * whole_log["step"].max():
            raise KeyboardInterrupt
        return real_forward(self, *args)

    monkeypatch.setattr(ConFitLoss, "forward", dies_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    monkeypatch.setattr(ConFitLoss, "forward", real_forward)
    assert list((tmp_path / "killed").glob("checkpoint-*"))
    for _ in (
        "killed in the second epoch",
        "killed after the last step, before the encoder was saved",
    ):
        resumed, resumed_log, files = run(tmp_path / "killed")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
        pd.testing.assert_frame_equal(
            whole_log.reset_index(drop=True), resumed_log.reset_index(drop=True)
        )
        assert files == whole_files and "tokenizer.json" in files


def test_a_checkpoint_torn_by_a_kill_is_removed(tmp_path):
    for step, state in ((5, '{"global_step": 5}'), (10, '{"global'), (15, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert training.last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
    assert training.last_whole_checkpoint(tmp_path / "none") is None


def test_no_training_text_is_saved_and_the_folder_loads_alone(tmp_path, tiny_model_folder):
    canary = "zanzibarquux"
    jobs = pd.DataFrame({"job_id": list("abcd"), "text": [f"{canary} cook {i}" for i in range(4)]})
    resumes = pd.DataFrame(
        {"resume_id": list("wxyz"), "text": [f"{canary} fries {i}" for i in range(4)]}
    )
    labels = pd.DataFrame({"job_id": list("abcd"), "resume_id": list("wxyz"), "label": 1})
    model = load_model(tiny_model_folder)
    train_contrastive(
        model,
        build_pairs(jobs, resumes, labels, seed=0),
        settings=Settings(num_train_epochs=1, batch_size=2),
        checkpoints=tmp_path / "ckpt",
        evaluator=RankingEvaluator(jobs, resumes, labels),
    )
    save_encoder(model, tmp_path / "encoder")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("checkpoint-" in str(path) for path in files)
    assert not [path for path in files if canary.encode() in path.read_bytes()]
    (tmp_path / "encoder").rename(tmp_path / "moved")
    again = SentenceTransformer(str(tmp_path / "moved"))
    np.testing.assert_allclose(again.encode(["a cook"]), model.encode(["a cook"]), rtol=1e-6)


def test_a_best_checkpoint_that_was_not_loaded_is_noticed(tmp_path, tiny_model_folder):
    model = load_model(tiny_model_folder)
    (tmp_path / "checkpoint-1").mkdir()
    save_model(model, str(tmp_path / "checkpoint-1" / "model.safetensors"))
    training._check_best(model, tmp_path / "checkpoint-1")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="was not loaded"):
        training._check_best(model, tmp_path / "checkpoint-1")


def test_divergence_stops_with_a_sentence(tmp_path, tiny_model_folder, small_tables):
    train = part(small_tables, "train")
    model = load_model(tiny_model_folder)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="learning rate"):
        train_contrastive(
            model,
            build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0),
            settings=Settings(num_train_epochs=1, **QUICK),
            checkpoints=tmp_path / "ckpt",
        )


def test_frozen_layers_do_not_move(tmp_path, small_tables, tiny_model_folder):
    train = part(small_tables, "train")
    model = load_model(tiny_model_folder)
    before = weights(model)
    train_contrastive(
        model,
        build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0),
        settings=Settings(num_train_epochs=1, frozen_layers=1, **QUICK),
        checkpoints=tmp_path / "ckpt",
    )
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved and all("layer.1." in name or "pooler" in name for name in moved)
    with pytest.raises(ValueError, match="has 2 layers"):
        freeze_layers(model, 3)


def test_a_merged_adapter_is_a_plain_model_that_loads_from_anywhere(
    tmp_path, small_tables, tiny_model_folder
):
    train, valid = part(small_tables, "train"), part(small_tables, "valid")
    pairs = build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)
    model, before = load_model(tiny_model_folder), weights(load_model(tiny_model_folder))
    train_contrastive(
        model,
        pairs,
        settings=Settings(num_train_epochs=2, lora_rank=4, frozen_layers=1, evaluations=2, **QUICK),
        checkpoints=tmp_path / "ckpt",
        evaluator=RankingEvaluator(**valid),
    )
    assert set(weights(model)) == set(before), "adapter weights are left in the model"
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved and all(
        name.endswith("weight") and ("layer.1." in name or "pooler" in name) for name in moved
    )
    save_encoder(model, tmp_path / "encoder")
    (tmp_path / "encoder").rename(tmp_path / "moved")
    again = SentenceTransformer(str(tmp_path / "moved"))
    texts = list(valid["jobs"]["text"])
    np.testing.assert_allclose(again.encode(texts), model.encode(texts), atol=1e-6)
    assert not [path for path in (tmp_path / "moved").rglob("*") if "adapter" in path.name]


def test_gradient_checkpointing_changes_nothing_but_memory(
    tmp_path, small_tables, tiny_model_folder
):
    train = part(small_tables, "train")
    pairs = build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)
    ends = []
    for again in (False, True):
        torch.manual_seed(0)
        model, calls = load_model(tiny_model_folder), []
        attention = model[0].auto_model.encoder.layer[0].attention
        attention.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        train_contrastive(
            model,
            pairs,
            settings=Settings(num_train_epochs=1, gradient_checkpointing=again, **QUICK),
            checkpoints=tmp_path / str(again),
        )
        ends.append((weights(model), len(calls)))
    (plain, once), (checkpointed, twice) = ends
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-6) for name in plain)
    assert twice == 2 * once, "no activation was computed a second time"


def test_rank_changes_counts_from_one_and_puts_rises_first(small_tables, tiny_model_folder):
    valid = part(small_tables, "valid")
    raw, other = (
        Encoder(str(folder), 64, cache_dir=None)
        for folder in (tiny_model_folder, find_model("all-MiniLM-L6-v2"))
    )
    changes = rank_changes(raw, other, **valid)
    assert len(changes) == (valid["labels"]["label"] == 1).sum()
    ratio = changes["rank after"] / changes["rank before"]
    assert changes["rank before"].min() >= 1 and ratio.is_monotonic_increasing
    same = rank_changes(raw, raw, **valid)
    assert (same["rank before"] == same["rank after"]).all()


def test_saved_weights_are_safetensors(tmp_path, tiny_model_folder):
    save_encoder(load_model(tiny_model_folder), tmp_path / "encoder")
    assert load_file(tmp_path / "encoder" / "model.safetensors")
    assert not list((tmp_path / "encoder").glob("*.bin"))
