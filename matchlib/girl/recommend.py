"""Use written jobs: in a recommender that reads them with the resume, and to find the nearest real
jobs.

Source: GIRL (arXiv 2307.02157): predictors Dot, fuse(c, j') . j, and MLP, [c; j; j'], trained with
binary cross-entropy on frozen text embeddings; c a resume, j a job, j' the job written for the
resume. Deviations: embeddings are reduced to their first principal components; control arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from matchlib.data.market.simulation import Market
from matchlib.data.rules import split_items
from matchlib.girl.records import in_a_line
from matchlib.language.llm import Prompt
from matchlib.retrieval.encoder import Encoder
from matchlib.stats import auc_parts, mean_interval, paired_randomisation


class Dot(nn.Module):
    """fuse(c, j') . j: starts as the dot product of j with the mean of c and j', over the root of
    its size."""

    def __init__(self, size: int):
        super().__init__()
        self.fuse = nn.Linear(2 * size, size)
        with torch.no_grad():
            self.fuse.weight.copy_(torch.cat([torch.eye(size), torch.eye(size)], dim=1) / 2)
            self.fuse.bias.zero_()
        self.scale = nn.Parameter(torch.tensor(size**-0.5))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        resume: torch.Tensor,
        job: torch.Tensor,
        written: torch.Tensor,
    ) -> torch.Tensor:
        """(n,) logits of (n, d) vectors."""
        fused = self.fuse(torch.cat([resume, written], dim=1))
        return self.scale * (fused * job).sum(1) + self.bias


class MLP(nn.Module):
    """[c; j; j'] through one hidden layer of 64 units."""

    def __init__(self, size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 * size, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(
        self,
        resume: torch.Tensor,
        job: torch.Tensor,
        written: torch.Tensor,
    ) -> torch.Tensor:
        """(n,) logits of (n, d) vectors."""
        return self.layers(torch.cat([resume, job, written], dim=1))[:, 0]


PREDICTORS: dict[str, Callable[[int], nn.Module]] = {"dot": Dot, "mlp": MLP}
NO_JOB = "none"
"""The control arm in which the recommender sees zeros instead of a written job."""


def interactions(
    labels: pd.DataFrame,
    resume_ids: Sequence[str],
    clusters: pd.Series,
    *,
    held_out: float,
    seed: int,
) -> pd.DataFrame:
    """The labels of some resumes with part (see `split_interactions`) and cluster.

    labels: resume_id, job_id, label, split; clusters: by resume_id.
    """
    pairs = labels[labels["resume_id"].isin(resume_ids)].reset_index(drop=True)
    pairs["part"] = split_interactions(pairs, held_out=held_out, seed=seed)
    pairs["cluster"] = clusters.loc[pairs["resume_id"]].to_numpy()
    return pairs


def split_interactions(labels: pd.DataFrame, *, held_out: float, seed: int) -> pd.Series:
    """The part of each label: train; warm, held out of train, of a resume with other labels there;
    cold, of split test; "" for other splits.

    labels: resume_id, split.
    """
    part = labels["split"].map({"train": "train", "test": "cold"}).fillna("")
    train = labels[part == "train"].sample(frac=1, random_state=seed)
    position = train.groupby("resume_id").cumcount()  # the first label of each resume stays
    may_be_held_out = train.index[(position > 0).to_numpy()]
    warm = may_be_held_out[: round(held_out * len(train))]
    return part.mask(part.index.isin(warm), "warm")


def count_parts(pairs: pd.DataFrame) -> pd.DataFrame:
    """part, pairs (number) and accepted (share) of `interactions`."""
    used = pairs[pairs["part"] != ""]
    counts = used.groupby("part")["label"].agg(["size", "mean"]).reset_index()
    return counts.set_axis(["part", "pairs", "accepted"], axis=1)


def best_jobs(market: Market, jobs: pd.DataFrame, resumes: pd.DataFrame) -> pd.Series:
    """The id of the job with the highest true fit, for each resume: an oracle upper bound."""
    scores = market.channels(jobs, resumes)["true_score"]
    return jobs["job_id"].iloc[scores.argmax(0)]


def shuffle_within(values: pd.Series, *, seed: int) -> np.ndarray:
    """(n,) row numbers that give each row another row of the same value, so that only the value is
    known. The only row of a value keeps its own number."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(values))
    rows_of_value = values.reset_index(drop=True).groupby(values.to_numpy()).indices
    for rows in rows_of_value.values():
        drawn = rng.permutation(rows)
        order[drawn] = np.roll(drawn, 1)
    return order


def reduce_dimensions(
    vectors: Mapping[str, np.ndarray], *, size: int, seed: int
) -> dict[str, np.ndarray]:
    """Named (n, D) arrays on the first `size` principal components of all of them, scaled to unit
    variance on average."""
    everything = np.concatenate([*vectors.values()])
    n_first, dimension = next(iter(vectors.values())).shape
    pca = PCA(min(size, n_first, dimension), random_state=seed)
    pca.fit(everything)
    scale = np.sqrt(pca.explained_variance_.sum() / pca.n_components_)
    reduced = {}
    for name, values in vectors.items():
        reduced[name] = (pca.transform(values) / scale).astype(np.float32)
    return reduced


@dataclass(frozen=True)
class Fitting:
    """How a predictor is trained."""

    epochs: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 128


def predict(
    predictor: str,
    inputs: Mapping[str, np.ndarray],
    accepted: np.ndarray,
    train: np.ndarray,
    *,
    fitting: Fitting | None = None,
    seed: int = 1,
) -> np.ndarray:
    """(n,) probabilities that pair i is accepted, by a predictor trained on the pairs of mask
    `train`.

    inputs: resume, job, written: (n, d) vectors, row i of each belongs to pair i; zeros where there
    is no written job. Raises FloatingPointError if the loss diverges.
    """
    fitting = fitting or Fitting()
    torch.manual_seed(seed)
    model = PREDICTORS[predictor](inputs["resume"].shape[1])
    tensors = [torch.tensor(inputs[name]) for name in ("resume", "job", "written")]
    target = torch.tensor(accepted, dtype=torch.float32)
    rows = torch.tensor(np.flatnonzero(train))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=fitting.learning_rate,
        weight_decay=fitting.weight_decay,
    )
    for _ in range(fitting.epochs):
        for batch in rows[torch.randperm(len(rows))].split(fitting.batch_size):
            logits = model(*(values[batch] for values in tensors))
            loss = binary_cross_entropy_with_logits(logits, target[batch])
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of the recommender {predictor} is not finite; lower its learning rate"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return torch.sigmoid(model(*tensors)).numpy()


def auc_and_log_loss(pairs: pd.DataFrame, probability: np.ndarray) -> dict[str, float]:
    """AUC and LogLoss with 95% intervals over clusters; n, n_seekers and n_clusters.

    pairs: label, resume_id, cluster; probability: (n,) of being accepted.
    """
    accepted = pairs["label"].to_numpy()
    clusters = pairs["cluster"].to_numpy()
    auc = mean_interval(auc_parts(accepted, probability), clusters)
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    log_loss = -np.where(accepted == 1, np.log(p), np.log(1 - p))
    loss = mean_interval(log_loss, clusters)
    return {
        "AUC": auc["value"],
        "AUC low": max(0.0, auc["low"]),
        "AUC high": min(1.0, auc["high"]),
        "LogLoss": loss["value"],
        "LogLoss low": loss["low"],
        "LogLoss high": loss["high"],
        "n": len(accepted),
        "n_seekers": pairs["resume_id"].nunique(),
        "n_clusters": loss["n_clusters"],
    }


def compare_arms(
    arms: Mapping[str, np.ndarray],
    resumes: np.ndarray,
    jobs: np.ndarray,
    pairs: pd.DataFrame,
    *,
    seeds: Sequence[int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every arm with every predictor, on the parts warm and cold.

    arms: name -> (n, d) vectors of the written jobs; row i of each array belongs to pair i. pairs:
    resume_id, cluster, label, part. Probabilities are means over training seeds.
    Returns a table predictor, arm, part and `auc_and_log_loss`, and the pairs with the
    probabilities in a column "predictor arm" each.
    """
    accepted = pairs["label"].to_numpy()
    train = (pairs["part"] == "train").to_numpy()
    with_probabilities = pairs.copy()
    rows = []
    for predictor in PREDICTORS:
        for arm, written in arms.items():
            inputs = {
                "resume": resumes,
                "job": jobs,
                "written": written,
            }
            by_seed = [predict(predictor, inputs, accepted, train, seed=seed) for seed in seeds]
            column = f"{predictor} {arm}"
            with_probabilities[column] = np.mean(by_seed, axis=0)
            for part in ("warm", "cold"):
                here = with_probabilities[with_probabilities["part"] == part]
                if len(here):
                    row = {
                        "predictor": predictor,
                        "arm": arm,
                        "part": part,
                    }
                    row |= auc_and_log_loss(here, here[column].to_numpy())
                    rows.append(row)
    return pd.DataFrame(rows), with_probabilities


def compare_recommenders(
    pairs: pd.DataFrame,
    resumes: pd.DataFrame,
    jobs: pd.DataFrame,
    written: Mapping[str, np.ndarray],
    *,
    size: int,
    seeds: Sequence[int],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`compare_arms` from vectors of documents: all are reduced together, then taken for each pair.

    pairs: of `interactions`; resumes, jobs: vectors, a row each, the index holds the ids; written:
    arm -> (number of resumes, D) vectors of the jobs written for them. NO_JOB is added as an arm.
    size: principal components; seed: of the reduction.
    """
    vectors = {
        "resumes": resumes.to_numpy(),
        "jobs": jobs.to_numpy(),
        **written,
    }
    reduced = reduce_dimensions(vectors, size=size, seed=seed)
    resume_of_pair = resumes.index.get_indexer(pairs["resume_id"])
    job_of_pair = jobs.index.get_indexer(pairs["job_id"])
    of_resume = reduced["resumes"][resume_of_pair]
    of_job = reduced["jobs"][job_of_pair]
    arms = {NO_JOB: 0 * of_resume}
    for arm in written:
        arms[arm] = reduced[arm][resume_of_pair]
    return compare_arms(arms, of_resume, of_job, pairs, seeds=seeds)


def auc_difference(pairs: pd.DataFrame, first: str, second: str) -> dict[str, float]:
    """AUC of one probability column of `compare_arms` minus that of another, on cold seekers, with
    its 95% interval and p over clusters."""
    cold = pairs[pairs["part"] == "cold"]
    accepted = cold["label"].to_numpy()
    clusters = cold["cluster"].to_numpy()
    of_first = auc_parts(accepted, cold[first].to_numpy())
    of_second = auc_parts(accepted, cold[second].to_numpy())
    interval = mean_interval(of_first - of_second, clusters)
    return interval | {
        "n_seekers": cold["resume_id"].nunique(),
        "p": paired_randomisation(of_first, of_second, clusters),
    }


def embed_lines(encoder: Encoder, documents: Sequence[str | Prompt]) -> np.ndarray:
    """(n, dim) vectors of records or texts, each as one line."""
    return encoder.encode_jobs([in_a_line(document) for document in documents])


def nearest_jobs(
    resume_ids: Sequence[str],
    vectors: np.ndarray,
    job_ids: Sequence[str],
    job_vectors: np.ndarray,
    *,
    k: int = 5,
) -> pd.DataFrame:
    """The k real jobs nearest to what was written for each resume, by cosine: resume_id, rank,
    job_id, cosine."""
    cosine = vectors @ job_vectors.T
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    n_resumes, n_listed = order.shape
    return pd.DataFrame(
        {
            "resume_id": np.repeat(np.asarray(resume_ids, dtype=object), n_listed),
            "rank": np.tile(np.arange(1, n_listed + 1), n_resumes),
            "job_id": np.asarray(job_ids, dtype=object)[order.ravel()],
            "cosine": np.take_along_axis(cosine, order, axis=1).ravel(),
        }
    )


def compare_skills(listed: pd.DataFrame, written: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """The application list of `nearest_jobs` with shared (skills that the written and the real job
    ask for) and wish (skills that only the written job asks for: to look for elsewhere).

    written: resume_id, skills, nice_skills; jobs: job_id, skills, nice_skills.
    """
    written_skills = _skills_by_id(written, "resume_id")
    job_skills = _skills_by_id(jobs, "job_id")
    shared, wish = [], []
    for resume, job in zip(listed["resume_id"], listed["job_id"], strict=True):
        shared.append("; ".join(sorted(written_skills[resume] & job_skills[job])))
        wish.append("; ".join(sorted(written_skills[resume] - job_skills[job])))
    return listed.assign(shared=shared, wish=wish)


def _skills_by_id(rows: pd.DataFrame, id_column: str) -> dict[str, set[str]]:
    items = rows["skills"] + "; " + rows["nice_skills"]
    return dict(
        zip(
            rows[id_column],
            items.map(split_items).map(set),
            strict=True,
        )
    )


def top_with_titles(
    applications: pd.DataFrame,
    jobs: pd.DataFrame,
    resume_ids: Sequence[str],
    *,
    k: int,
) -> pd.DataFrame:
    """The k nearest jobs of some resumes, with title, city and seniority as far as jobs have them."""
    chosen = applications["resume_id"].isin(resume_ids) & (applications["rank"] <= k)
    by_id = jobs.set_index("job_id")
    shown = by_id.columns.intersection(["title", "city", "seniority"])
    return applications[chosen].join(by_id[shown], on="job_id")


def mean_true_fit(listed: pd.DataFrame, fit: pd.DataFrame, clusters: pd.Series) -> dict[str, float]:
    """How well the jobs of `nearest_jobs` truly fit: mean over resumes, with its 95% interval over
    clusters.

    fit: true scores, job_id x resume_id; clusters: by resume_id.
    """
    rows = fit.index.get_indexer(listed["job_id"])
    columns = fit.columns.get_indexer(listed["resume_id"])
    each = listed.assign(fit=fit.to_numpy()[rows, columns])
    by_resume = each.groupby("resume_id")["fit"].mean()
    interval = mean_interval(by_resume.to_numpy(), clusters.loc[by_resume.index].to_numpy())
    return {
        "true fit": interval["value"],
        "low": interval["low"],
        "high": interval["high"],
        "n": len(by_resume),
        "n_clusters": interval["n_clusters"],
    }


def compare_lists(
    lists: Mapping[str, pd.DataFrame],
    market: Market,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    clusters: pd.Series,
) -> pd.DataFrame:
    """`mean_true_fit` of the application lists of several arms on the market: a row each, `from`."""
    scores = market.channels(jobs, resumes)["true_score"]
    fit = pd.DataFrame(scores, jobs["job_id"], resumes["resume_id"])
    rows = []
    for arm, listed in lists.items():
        rows.append({"from": arm, **mean_true_fit(listed, fit, clusters)})
    return pd.DataFrame(rows)
