"""Preference pairs, RankPO's losses and its training on a tiny scale."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matchlib.data.schema import DataError
from matchlib.language import judge
from matchlib.learning import losses, preferences, rankpo
from matchlib.learning.pairs import CONTRASTIVE_COLUMNS, Column, PairCollator
from matchlib.learning.training import Settings
from matchlib.pipeline import notebook_parameters, plan_run, read_params
from matchlib.retrieval.alignment import by_job, compare_with
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.models import find_model, load_model
from matchlib.runs import load_plan

PART = {
    "jobs": pd.DataFrame(
        {"job_id": ["j0", "j1"], "text": ["a cook for a school", "a nurse for the night"]}
    ),
    "resumes": pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(40)], "text": [f"resume {i}" for i in range(40)]}
    ),
    "labels": pd.DataFrame(
        {"job_id": ["j0"] * 30, "resume_id": [f"r{i}" for i in range(30)], "label": 1}
    ),
}
SCORES = np.vstack([np.arange(40)[::-1], np.arange(40)]).astype(float)
margin = st.floats(-2, 2, allow_nan=False)


def float64(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@given(
    st.lists(st.tuples(margin, margin), min_size=1, max_size=6),
    st.floats(0.5, 4),
    st.floats(0.05, 1),
    st.floats(0, 0.5),
)
def test_sigmoid_loss_and_gradient_equal_the_formula(pairs, beta, tau, gamma):
    own, reference = (np.array(column) for column in zip(*pairs, strict=True))
    tensor = float64(own)
    loss = losses.preference_loss(
        tensor,
        torch.tensor(reference),
        beta=beta,
        temperature=tau,
        gamma=gamma,
    )
    z = (own - reference) / tau - gamma
    assert loss.item() == pytest.approx(np.logaddexp(0, -beta * z).mean(), rel=1e-12, abs=1e-12)
    loss.backward()
    sigma = 1 / (1 + np.exp(-np.clip(beta * z, -500, 500)))
    expected = beta / tau * (sigma - 1) / len(own)
    assert tensor.grad.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(margin, min_size=1, max_size=6), st.floats(0.5, 4), st.floats(0.05, 1))
def test_hinge_loss_and_gradient_equal_the_formula(own, beta, tau):
    own, tensor = np.array(own), float64(own)
    loss = losses.preference_loss(tensor, loss_type="hinge", beta=beta, temperature=tau)
    assert loss.item() == pytest.approx(
        np.maximum(0, 1 - beta * own / tau).mean(), rel=1e-12, abs=1e-12
    )
    loss.backward()
    assert tensor.grad.numpy() == pytest.approx(
        np.where(beta * own / tau < 1, -beta / tau, 0) / len(own), rel=1e-9
    )


@given(st.lists(st.tuples(margin, margin), min_size=1, max_size=6), st.floats(0.05, 1))
def test_sft_is_the_two_way_softmax(scores, tau):
    chosen, rejected = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*scores, strict=True)
    )
    softmax = torch.nn.functional.cross_entropy(
        torch.stack([chosen, rejected], dim=1) / tau, torch.zeros(len(scores), dtype=torch.int64)
    )
    fixed = losses.OBJECTIVES["sft"].fixed
    assert losses.preference_loss(
        chosen - rejected, temperature=tau, **fixed
    ).item() == pytest.approx(softmax.item())


@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge"])
def test_swapping_chosen_and_rejected_flips_the_gradient_at_zero_margin(loss_type):
    chosen, rejected = float64([0.3]), float64([0.3])
    losses.preference_loss(chosen - rejected, loss_type=loss_type).backward()
    assert chosen.grad.item() == -rejected.grad.item() != 0


def test_another_loss_type_is_refused():
    own = float64([0.1, -0.1])
    with pytest.raises(ValueError, match="neither sigmoid nor hinge"):
        losses.preference_loss(own, loss_type="square")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40).filter(lambda k: k == 0 or k >= 4),
    st.integers(1, 6),
    st.integers(0, 5),
)
def test_sampled_pairs_come_from_the_top_and_never_from_two_positives(top_k, per_job, seed):
    drawn = preferences.sample_pairs(SCORES, PART, top_k=top_k, per_job=per_job, seed=seed)
    k = top_k or 40
    assert (
        drawn[["rank_a", "rank_b"]].to_numpy().max() <= k
        and (drawn["resume_a"] != drawn["resume_b"]).all()
    )
    assert drawn.groupby("job_id").size().max() <= per_job
    assert len(
        {frozenset(row) for row in drawn[["job_id", "resume_a", "resume_b"]].to_numpy()}
    ) == len(drawn)
    positives = set(PART["labels"]["resume_id"])
    of_j0 = drawn[drawn["job_id"] == "j0"]
    assert not (of_j0["resume_a"].isin(positives) & of_j0["resume_b"].isin(positives)).any()


def test_pairs_are_seeded_and_refused_where_they_cannot_be_drawn():
    draw = dict(top_k=0, per_job=5)
    first = preferences.sample_pairs(SCORES, PART, seed=1, **draw)
    pd.testing.assert_frame_equal(first, preferences.sample_pairs(SCORES, PART, seed=1, **draw))
    assert not first.equals(preferences.sample_pairs(SCORES, PART, seed=2, **draw))
    assert 0 < (first["rank_a"] < first["rank_b"]).mean() < 1  # the order is random
    with pytest.raises(DataError, match="3 candidates a job are too few"):
        preferences.sample_pairs(SCORES, PART, seed=1, **draw | {"top_k": 3})


def judged(*rows):
    return pd.DataFrame(rows, columns=["job_id", "resume_a", "resume_b", "preferred", "confidence"])


def test_rows_hold_chosen_and_rejected_and_leave_ties_out():
    rows = judged(
        ("j0", "r1", "r2", "b", 50.0),
        ("j1", "r1", "r3", "tie", 0.0),
        ("j1", "r3", "r1", "a", 100.0),
    )
    built = preferences.build_preference_pairs(PART, rows)
    texts = [
        (
            built.job_texts[job],
            built.resume_texts[chosen],
            built.resume_texts[rejected],
        )
        for job, chosen, rejected in built.rows[:, :3]
    ]
    assert texts == [
        ("a cook for a school", "resume 2", "resume 1"),
        ("a nurse for the night", "resume 3", "resume 1"),
    ]
    assert built.rows[:, 5].tolist() == [0, 1]
    assert (built.rows[:, 3:5] == -1).all()
    with_term = preferences.build_preference_pairs(PART, rows, contrastive_pairs=PART["labels"])
    known = set(map(tuple, with_term.positives))
    assert len(known) == 30 and set(map(tuple, with_term.rows[:, 3:5])) <= known
    assert with_term.rows[0, 3] == with_term.rows[0, 0]  # of its own job; the other job has none
    with pytest.raises(DataError, match="all 1 preferences are ties"):
        preferences.build_preference_pairs(PART, rows.iloc[1:2])


def preference_loss_of(built, hard_negatives, size):
    """PreferenceLoss of the collated rows, whose "model" gives each text a vector of its own."""
    seen = []

    class Reader(torch.nn.Module):
        def preprocess(self, texts):
            seen.extend(texts)
            return {
                "input_ids": torch.arange(len(seen) - len(texts), len(seen))[:, None],
                "attention_mask": torch.ones(len(texts), 1),
            }

        def forward(self, features):
            texts = [seen[i] for i in features["input_ids"][:, 0]]
            draws = [
                np.random.default_rng([ord(letter) for letter in text]).normal(size=8)
                for text in texts
            ]
            return {"sentence_embedding": torch.tensor(np.array(draws))}

    reader = Reader()
    collated = PairCollator(reader, built, hard_negatives, chunk_size=4)(
        [{"label": row} for row in built.rows[:size].tolist()]
    )
    loss = losses.PreferenceLoss(reader, {}, reference=None)
    features = [
        {"input_ids": value} for key, value in collated.items() if key.endswith("input_ids")
    ]
    vector = {
        text: reader({"input_ids": torch.tensor([[i]])})["sentence_embedding"][0]
        for i, text in enumerate(seen)
    }
    return loss, features, collated["label"], {text: v / v.norm() for text, v in vector.items()}


@pytest.mark.parametrize("hard_negatives", [0, Settings().hard_negatives, 8])
def test_a_batch_keeps_every_rejected_resume_whatever_hard_negatives_is(hard_negatives):
    """The collator dropped columns 2 and 3 by number beyond hard_negatives: the rejected resume became -1, and the loss
    read the batch's last document in its place."""
    rows = judged(
        *((f"j{i % 2}", f"r{2 * i}", f"r{2 * i + 1}", "ab"[i % 2], 50.0) for i in range(8))
    )
    built = preferences.build_preference_pairs(PART, rows)
    loss, features, labels, vectors = preference_loss_of(built, hard_negatives, 8)
    assert (labels["number"]["rejected"] >= 0).all() and (labels["place"]["rejected"] >= 0).all()
    texts = {side: PART[f"{side}s"].set_index(f"{side}_id")["text"] for side in ("job", "resume")}
    margins = []
    for job, a, b, preferred, _ in rows.itertuples(index=False):
        chosen, rejected = (a, b) if preferred == "a" else (b, a)
        apart = vectors[texts["resume"][chosen]] - vectors[texts["resume"][rejected]]
        margins.append(vectors[texts["job"][job]] @ apart)
    expected = losses.preference_loss(torch.stack(margins))
    assert loss(features, labels).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("name", ["job", "chosen", "rejected"])
def test_a_row_without_what_the_loss_reads_is_refused(name):
    rows = judged(*(("j0", f"r{2 * i}", f"r{2 * i + 1}", "a", 50.0) for i in range(4)))
    built = preferences.build_preference_pairs(PART, rows)
    loss, features, labels, _ = preference_loss_of(built, 0, 4)
    labels["place"][name][2] = -1
    with pytest.raises(
        ValueError,
        match=f"1 of the batch's 4 rows have no {name} .*only hard negatives may be dropp",
    ):
        loss(features, labels)
    broken = built.rows.copy()
    broken[3, [column.name for column in preferences.PREFERENCE_COLUMNS].index(name)] = -1
    with pytest.raises(
        DataError,
        match=f"1 of 4 rows have no {name} .*the first is row 3; .*fill these rows or leave",
    ):
        replace(built, rows=broken)


def test_a_contrastive_term_without_its_pairs_is_refused_by_the_loss_too():
    built = preferences.build_preference_pairs(PART, judged(("j0", "r1", "r2", "b", 50.0)))
    loss, features, labels, _ = preference_loss_of(built, 0, 1)
    loss.contrastive_weight = 0.5
    with pytest.raises(ValueError, match="rows have no contrastive_job"):
        loss(features, labels)


def test_only_hard_negatives_may_be_dropped():
    assert [column.name for column in CONTRASTIVE_COLUMNS if column.droppable] == [
        "hard_job",
        "hard_resume",
    ]
    assert not [column.name for column in preferences.PREFERENCE_COLUMNS if column.droppable]
    with pytest.raises(DataError, match="rejected is both required and droppable"):
        Column("rejected", "resume", droppable=True)


@pytest.fixture(scope="module")
def stage_1():
    return Encoder(max_tokens=32, cache_dir=None)


NAMES = ["cook", "nurse", "driver", "welder", "baker", "tailor"]
BY_DAY_OR_NIGHT = {
    "jobs": pd.DataFrame({"job_id": NAMES, "text": [f"We look for a {name}." for name in NAMES]}),
    "resumes": pd.DataFrame(
        {
            "resume_id": [f"{name}{i}" for name in NAMES for i in (0, 1)],
            "text": [
                f"I worked as a {name} {when}." for name in NAMES for when in ("by day", "by night")
            ],
        }
    ),
}
NIGHT_PREFERRED = judged(*((job, f"{job}0", f"{job}1", "b", 100.0) for job in NAMES))
DAY_ACCEPTED = pd.DataFrame({"job_id": NAMES, "resume_id": [f"{name}0" for name in NAMES]})
DAY_ACCEPTED["label"] = 1


def test_training_learns_preferences_and_leaves_the_reference_alone(stage_1, tmp_path):
    part, rows, accepted = BY_DAY_OR_NIGHT, NIGHT_PREFERRED, DAY_ACCEPTED
    built = preferences.build_preference_pairs(part, rows, contrastive_pairs=accepted)
    margins = preferences.reference_margins(stage_1, built)
    assert (margins < 0).sum() > 2
    for objective, weight in (("sft", 0.0), ("simrankpo", 0.0), ("rankpo", 0.0), ("rankpo", 0.1)):
        model = rankpo.copy_encoder(stage_1)
        reference = stage_1 if losses.OBJECTIVES[objective].uses_reference else None
        log = rankpo.train_rankpo(
            model,
            built,
            rankpo.PreferenceObjective(objective, {}, reference, weight),
            settings=Settings(5e-4, 12.0, 6, frozen_layers=4, evaluations=1),
            checkpoints=tmp_path / f"{objective}{weight}",
        )
        assert log["loss"].iloc[-1] < log["loss"].iloc[0]
        jobs, resumes = (
            model.encode(list(part[side]["text"]), normalize_embeddings=True) for side in part
        )
        assert by_job(compare_with(rows, jobs @ resumes.T, part)).mean() == 1
    assert (preferences.reference_margins(stage_1, built) == margins).all()


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_where_no_checkpoint_keeps_ndcg_the_start_is_kept(stage_1, tmp_path, caplog, lora_rank):
    """It was the best aligned of those that had fallen too far."""
    built = preferences.build_preference_pairs(BY_DAY_OR_NIGHT, NIGHT_PREFERRED)
    jobs = list(BY_DAY_OR_NIGHT["jobs"]["text"])
    before = stage_1.encode_jobs(jobs)
    for floor in (0.0, 1.1):  # every checkpoint holds it; none can
        model = rankpo.copy_encoder(stage_1)
        log = rankpo.train_rankpo(
            model,
            built,
            rankpo.PreferenceObjective("rankpo", {}, stage_1),
            settings=Settings(
                5e-4,
                2.0,
                3,
                frozen_layers=0 if lora_rank else 4,
                evaluations=2,
                lora_rank=lora_rank,
            ),
            checkpoints=tmp_path / str(floor),
            evaluator=rankpo.AlignmentEvaluator(
                BY_DAY_OR_NIGHT, NIGHT_PREFERRED, DAY_ACCEPTED, floor=floor
            ),
        )
        kept = log.loc[log["kept"], "step"].tolist()
        after = model.encode(jobs, normalize_embeddings=True)
        if floor > 1:
            assert kept == [0] and "the start is kept" in caplog.text
            assert after == pytest.approx(before, abs=1e-6)
        else:
            assert len(kept) == 1 and kept[0] > 0 and "the start is kept" not in caplog.text
            assert np.abs(after - before).max() > 1e-4


def test_the_checkpoint_kept_is_the_best_aligned_of_those_above_the_floor():
    log = pd.DataFrame(
        {
            "step": [0, 1, 2, 3, 3],
            "alignment": [0.9, 0.5, 0.8, 0.6, np.nan],
            "ndcg": [0.9, 0.8, 0.3, 0.7, np.nan],
        }
    )
    assert rankpo.step_to_keep(log, floor=0.6) == 3
    assert rankpo.step_to_keep(log, floor=0.75) == 1
    assert rankpo.step_to_keep(log, floor=0.85) == 0


def test_what_does_not_fit_together_is_refused(stage_1, tmp_path):
    built = preferences.build_preference_pairs(PART, judged(("j0", "r1", "r2", "b", 50.0)))
    how = {"settings": Settings(), "checkpoints": tmp_path}

    def train(name, loss_settings=None, reference=None, contrastive_weight=0.0):
        objective = rankpo.PreferenceObjective(
            name, loss_settings or {}, reference, contrastive_weight
        )
        rankpo.train_rankpo(model, built, objective, **how)

    model = load_model(find_model("all-MiniLM-L6-v2"))
    with pytest.raises(ValueError, match="'rankop' is not one of rankpo"):
        train("rankop")
    with pytest.raises(ValueError, match="needs a reference"):
        train("rankpo")
    with pytest.raises(ValueError, match="contrastive_weight needs stage-1 pairs"):
        train("sft", contrastive_weight=1.0)
    with pytest.raises(
        ValueError,
        match="'simrankpo' has no reference, so the reference .* would be ignored; leave",
    ):
        train("simrankpo", reference=stage_1)
    with pytest.raises(ValueError, match=r"'sft' fixes beta at 1.0, so beta: 4.0 would be ignored"):
        train("sft", {"beta": 4.0})
    other = load_model(find_model("all-MiniLM-L6-v2"))
    other.tokenizer.add_tokens(["resumenewtoken"])
    with pytest.raises(ValueError, match="another tokenizer"):
        rankpo.require_comparable(model, other)


DEFAULTS = notebook_parameters(Path("notebooks/05_rankpo.ipynb"))
LOSS = ("loss_type", "beta", "temperature", "gamma")
OTHER = {
    "loss_type": "hinge",
    "beta": 4.0,
    "temperature": 0.2,
    "gamma": 0.5,
}
IGNORED = {
    "rankpo": set(),
    "simrankpo": set(),
    "sft": set(OTHER) - {"temperature"},
    "dpo": {"loss_type", "gamma"},
}


def refuse_ignored(parameters):
    """As notebook 05 does."""
    rankpo.refuse_ignored(
        parameters["objective"],
        {name: parameters[name] for name in LOSS},
    )
    judge.refuse_ignored(
        *(parameters[name] for name in ("annotator", "judge", "language_model", "judge_model")),
        preferences_file=parameters["preferences_file"],
    )


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("objective", losses.OBJECTIVES)
def test_a_parameter_that_the_objective_ignores_stops_the_notebook(objective, name):
    given = DEFAULTS | {"objective": objective, name: OTHER[name]}
    if name not in IGNORED[objective]:
        return refuse_ignored(given)
    with pytest.raises(
        DataError,
        match=f"objective '{objective}' .*{name}.*{OTHER[name]}.* would be ignored; leave .*"
        f", or choose an objective that uses .*: rankpo",
    ):
        refuse_ignored(given)


@pytest.mark.parametrize("objective", losses.OBJECTIVES)
def test_what_an_objective_uses_changes_its_loss_and_what_it_ignores_does_not(objective):
    """The refusals against the loss itself, so that neither list can drift from it."""
    own, base = float64([0.1, -0.05, 0.3]), {name: DEFAULTS[name] for name in LOSS}
    fixed = losses.OBJECTIVES[objective].fixed
    before = losses.preference_loss(own, **base | fixed).item()
    for name in LOSS:
        changed = losses.preference_loss(own, **base | {name: OTHER[name]} | fixed).item()
        assert (changed == before) == (name in IGNORED[objective]), name


def test_the_notebooks_defaults_are_the_losss():
    known = inspect.signature(losses.preference_loss).parameters
    assert {name: DEFAULTS[name] for name in LOSS} == {name: known[name].default for name in LOSS}


def test_a_value_that_the_objective_fixes_anyway_is_no_contradiction():
    refuse_ignored(DEFAULTS | {"objective": "sft", "beta": 1.0})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"language_model": "m"},
            "language_model is 'm', but the annotator is 'oracle', .*; set language_model: ''",
        ),
        (
            {"judge_model": "m"},
            "judge_model is 'm', but the test is judged by 'oracle', which is no language model",
        ),
        (
            {"preferences_file": "p.csv"},
            "preferences_file is 'p.csv', but the annotator is 'oracle', .*annotator: file",
        ),
        (
            {"annotator": "file", "judge": "service", "judge_model": "m"},
            "judge is 'service', but annotator: file takes",
        ),
    ],
)
def test_a_judges_parameter_that_nobody_reads_stops_the_notebook(given, sentence):
    with pytest.raises(DataError, match=sentence):
        refuse_ignored(DEFAULTS | given)
    refuse_ignored(DEFAULTS | {"annotator": "service", "language_model": "m", "judge_model": "n"})
    refuse_ignored(DEFAULTS | {"judge": "local", "judge_model": "n"})
    refuse_ignored(DEFAULTS | {"annotator": "file", "preferences_file": "p.csv"})


@pytest.mark.parametrize("path", sorted(Path("params").rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_params_file_sets_what_its_objective_ignores(path):
    for stage in load_plan(path).stages:
        if stage.notebook.stem == "05_rankpo":
            refuse_ignored(DEFAULTS | stage.parameters)


def test_simrankpo_is_an_arm_beside_rankpo_that_differs_in_the_objective_alone():
    raw = read_params(Path("params/demo.yaml")) | {
        "05_rankpo-simrankpo": {"objective": "simrankpo"}
    }
    plan = {stage.name: stage.parameters for stage in plan_run(raw).stages}
    rank, sim = (DEFAULTS | plan[name] for name in ("05_rankpo", "05_rankpo-simrankpo"))
    assert {name for name in rank if rank[name] != sim[name]} == {"objective", "out_dir"}
    refuse_ignored(sim)
    own, reference, settings = (
        float64([0.1, -0.05]),
        float64([0.2, 0.1]),
        {name: sim[name] for name in LOSS},
    )
    with_none = losses.preference_loss(own, None, **settings | losses.OBJECTIVES["simrankpo"].fixed)
    assert losses.preference_loss(own + reference, reference, **settings).item() == pytest.approx(
        with_none.item()
    )


@pytest.mark.parametrize("name", ["bm25", "pretrained", "stage1", "rankpo"])
def test_an_arm_is_not_called_like_a_system_of_the_notebook(name):
    with pytest.raises(DataError, match=f"'{name}' is taken by a system of this notebook"):
        rankpo.refuse_taken_names({"replayed": "a", name: "b"}, "rankpo")
    rankpo.refuse_taken_names(["replayed"], "rankpo")
