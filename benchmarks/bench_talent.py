"""Claims: 60,000 impressions are simulated within 5 s; a mixture of experts trains at least twice as
many rows a second as torch-rechub's MMoE on the same rows, width and epochs, scores at least as
fast, and ranks no worse against the truth.

torch-rechub 0.9.0 is optional (`pip install torch-rechub==0.9.0`); without it the comparison is left
out. One thread; positions are modelled by neither; five paired rounds. Its trainer draws rows one at
a time, so its model is timed on ready batches, too.
"""

import os
import time
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pandas as pd
import torch

from matchlib.data.market.clicks import ClickConfig, simulate_clicks
from matchlib.data.market.simulation import Market
from matchlib.talent.experiment import build_features, split_log
from matchlib.talent.experts import ExpertsConfig
from matchlib.talent.logs import check_log
from matchlib.talent.measures import rank_correlations
from matchlib.talent.ranker import RankerSettings, fit_ranker

ROUNDS, EPOCHS, EXPERTS, WIDTH, BATCH = 5, 12, 8, 16, 512
SECONDS_FOR_LOGS, BAR_TRAINING = 5, 2.0


def make_log(seed: int):
    """A split log without positions' part, its test truth, and the seconds that it took."""
    market = Market(seed)
    jobs, resumes = market.jobs(400), market.resumes(1660)
    started = time.perf_counter()
    raw = simulate_clicks(market, jobs, resumes, n_requests=3000, config=ClickConfig(), seed=seed)
    seconds = time.perf_counter() - started
    tables = {
        "jobs": jobs,
        "resumes": resumes,
        "jobs, true": jobs.rename(columns={"min_years": "years"}),
        "resumes, true": resumes.assign(nice_skills=""),
    }
    features = build_features(
        raw.impressions, tables, raw.hires, signals="true", use_hires=True, seed=seed
    )
    log = check_log(raw.impressions, features, source="log")
    split, is_test = split_log(log, test_share=0.3)
    return split, raw.truth[is_test].reset_index(drop=True), seconds


def ours(split, seed: int):
    """Scores of the test, seconds of training and of scoring."""
    config = ExpertsConfig(
        n_experts=EXPERTS, width=WIDTH, tasks=("click", "conversion"), examination="none"
    )
    settings = RankerSettings(num_train_epochs=EPOCHS, batch_size=BATCH)
    started = time.perf_counter()
    ranker, _ = fit_ranker(split.train, config, settings, seed=seed)
    trained = time.perf_counter()
    scores = ranker.score(split.test.features, split.test.impressions["role"])
    return scores, trained - started, time.perf_counter() - trained


def theirs(split, seed: int, *, own_loader: bool):
    """The same of torch-rechub's MMoE: by its trainer, or its model on ready batches."""
    from torch_rechub.basic.features import DenseFeature
    from torch_rechub.models.multi_task import MMOE
    from torch_rechub.trainers import MTLTrainer
    from torch_rechub.utils.data import DataGenerator

    roles = sorted(split.train.impressions["role"].unique())
    mean, scale = split.train.features.mean(), split.train.features.std().replace(0, 1)

    def inputs(log) -> pd.DataFrame:
        x = (log.features - mean) / scale
        for role in roles:
            x[role] = (log.impressions["role"] == role).astype("float32")
        return x.astype("float32")

    train = inputs(split.train)
    outcomes = split.train.impressions[["clicked", "converted"]].to_numpy("float32")
    torch.manual_seed(seed)
    model = MMOE(
        [DenseFeature(name) for name in train],
        ["classification", "classification"],
        EXPERTS,
        expert_params={"dims": [WIDTH, WIDTH]},
        tower_params_list=[{"dims": [WIDTH // 2]}] * 2,
    )
    trainer = MTLTrainer(
        model,
        ["classification", "classification"],
        optimizer_params={"lr": 1e-3, "weight_decay": 1e-5},
        n_epoch=EPOCHS,
    )
    columns = {name: train[name].to_numpy() for name in train}
    if own_loader:
        loader, _, _ = DataGenerator(columns, outcomes).generate_dataloader(
            x_val=columns, y_val=outcomes, x_test=columns, y_test=outcomes, batch_size=BATCH
        )
    else:
        loader = ReadyBatches(train, outcomes, seed)
    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        for _ in range(EPOCHS):
            trainer.train_one_epoch(loader)
    trained = time.perf_counter()
    model.eval()
    with torch.no_grad():  # from the log's frame, as ours
        test = inputs(split.test)
        p = model({name: torch.from_numpy(test[name].to_numpy()) for name in test}).numpy()
    scores = pd.DataFrame({"click": p[:, 0], "click and conversion": p[:, 1]})
    return scores, trained - started, time.perf_counter() - trained


class ReadyBatches:
    """Shuffled batches cut from tensors, as our own training cuts them."""

    def __init__(self, train: pd.DataFrame, outcomes: np.ndarray, seed: int):
        self.x = {name: torch.from_numpy(train[name].to_numpy()) for name in train}
        self.y = torch.from_numpy(outcomes)
        self.shuffle = torch.Generator().manual_seed(seed)

    def __iter__(self):
        for rows in torch.randperm(len(self.y), generator=self.shuffle).split(BATCH):
            yield {name: column[rows] for name, column in self.x.items()}, self.y[rows]


def quality(scores: pd.DataFrame, split, truth: pd.DataFrame) -> tuple[float, float]:
    """Mean rank correlation with the truth of clicks, and of clicks and conversions."""
    requests = split.test.impressions["request_id"].to_numpy()
    both = (truth["attractive"] * truth["converts_p"]).to_numpy()
    return (
        rank_correlations(
            truth["click_utility"].to_numpy(), scores["click"].to_numpy(), requests
        ).mean(),
        rank_correlations(both, scores["click and conversion"].to_numpy(), requests).mean(),
    )


def main() -> None:
    """Measure, print, and fail where a claim does not hold."""
    torch.set_num_threads(1)
    rows = []
    for seed in range(1, ROUNDS + 1):
        split, truth, seconds = make_log(seed)
        n_rows = len(split.train.impressions) * EPOCHS
        arms = {"ours": lambda split=split, seed=seed: ours(split, seed)}
        try:
            import torch_rechub  # noqa: F401

            arms["its trainer"] = lambda split=split, seed=seed: theirs(
                split, seed, own_loader=True
            )
            arms["its model, ready batches"] = lambda split=split, seed=seed: theirs(
                split, seed, own_loader=False
            )
        except ImportError:
            print("torch-rechub is not installed: no comparison")
        for name, run in arms.items():
            scores, training, scoring = run()
            click, both = quality(scores, split, truth)
            rows.append(
                {
                    "seed": seed,
                    "arm": name,
                    "rows a second, training": n_rows / training,
                    "rows a second, scoring": len(scores) / scoring,
                    "rho click": click,
                    "rho click and conversion": both,
                    "seconds of logs": seconds,
                }
            )
    table = pd.DataFrame(rows)
    print(table.groupby("arm").median(numeric_only=True).round(3).to_string())
    assert table["seconds of logs"].median() < SECONDS_FOR_LOGS
    wide = table.pivot(index="seed", columns="arm")
    for peer in set(table["arm"]) - {"ours"}:
        for column in table.columns[2:6]:
            ratio = wide[column]["ours"] / wide[column][peer]
            print(
                f"ours / {peer}, {column}: {ratio.median():.2f}, {ratio.min():.2f} to {ratio.max():.2f}"
            )
    if "its trainer" in set(table["arm"]):
        training = wide["rows a second, training"]
        assert (training["ours"] / training["its trainer"]).median() >= BAR_TRAINING
        for column in ("rho click", "rho click and conversion"):
            assert (wide[column]["ours"] - wide[column]["its trainer"]).mean() > -0.005


if __name__ == "__main__":
    main()
