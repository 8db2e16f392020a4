"""What a written job is good for: a recommender that reads it beside the resume, and the real jobs
nearest to it.

Source: GIRL (arXiv 2307.02157): predictors Dot, fuse(c, j') . j, and MLP, [c; j; j'], trained with
binary cross-entropy on frozen text embeddings; c a resume, j a job, j' the job written for the
resume. Deviations: embeddings are reduced to their first principal components; controls beside the
arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from matchlib.data.rules import split_items
from matchlib.stats import mean_interval, paired_randomisation


class Dot(nn.Module):
    """fuse(c, j') . j: starts as the dot product of j with the mean of c and j', over the root of
    its size."""

    def __init__(self, size: int):
        super().__init__()
        self.fuse = nn.Linear(2 * size, size)
        with torch.no_grad():
            self.fuse.weight.copy_(torch.cat([torch.eye(size), torch.eye(size)], dim=1) / 2)
            self.fuse.bias.zero_()
        self.scale, self.bias = (
            nn.Parameter(torch.tensor(size**-0.5)),
            nn.Parameter(torch.zeros(())),
        )

    def forward(
        self, resume: torch.Tensor, job: torch.Tensor, written: torch.Tensor
    ) -> torch.Tensor:
        """(n,) logits of (n, d) vectors."""
        return (
            self.scale * (self.fuse(torch.cat([resume, written], dim=1)) * job).sum(1) + self.bias
        )


class MLP(nn.Module):
    """[c; j; j'] through one hidden layer of 64 units."""

    def __init__(self, size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 * size, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(
        self, resume: torch.Tensor, job: torch.Tensor, written: torch.Tensor
    ) -> torch.Tensor:
        """(n,) logits of (n, d) vectors."""
        return self.layers(torch.cat([resume, job, written], dim=1))[:, 0]


PREDICTORS = {"dot": Dot, "mlp": MLP}


def split_interactions(labels: pd.DataFrame, *, held_out: float, seed: int) -> pd.Series:
    """The part of each label: train, warm (held out, of a resume with other labels in train), cold
    (split test).

    labels: resume_id, split. Labels of other splits are nobody's: "".
    """
    part = labels["split"].map({"train": "train", "test": "cold"}).fillna("")
    train = labels[part == "train"].sample(frac=1, random_state=seed)
    place = train.groupby("resume_id").cumcount()  # the first of each resume stays
    chosen = train.index[(place > 0).to_numpy()][: round(held_out * len(train))]
    return part.mask(part.index.isin(chosen), "warm")


def reduce(vectors: Mapping[str, np.ndarray], *, size: int, seed: int) -> dict[str, np.ndarray]:
    """Named (n, D) arrays on the first `size` principal components of all of them, in units of
    their spread."""
    pca = PCA(min(size, *next(iter(vectors.values())).shape), random_state=seed)
    pca.fit(np.concatenate([*vectors.values()]))
    scale = np.sqrt(pca.explained_variance_.sum() / pca.n_components_)
    return {
        name: (pca.transform(values) / scale).astype(np.float32) for name, values in vectors.items()
    }


def predict(
    kind: str,
    resumes: np.ndarray,
    jobs: np.ndarray,
    written: np.ndarray,
    accepted: np.ndarray,
    train: np.ndarray,
    *,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 128,
    seed: int = 1,
) -> np.ndarray:
    """(n,) probabilities that pair i is accepted, from a predictor trained on the pairs of mask
    `train`.

    resumes, jobs, written: (n, d), row i of each belongs to pair i; without a written job its
    vector is 0.
    Raises FloatingPointError if the loss diverges.
    """
    torch.manual_seed(seed)
    model = PREDICTORS[kind](resumes.shape[1])
    inputs = [torch.tensor(values) for values in (resumes, jobs, written)]
    target, rows = torch.tensor(accepted, dtype=torch.float32), torch.tensor(np.flatnonzero(train))
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(batch_size):
            loss = binary_cross_entropy_with_logits(
                model(*(values[batch] for values in inputs)), target[batch]
            )
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the recommender's loss is no number in {kind}; lower its learning rate"
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return torch.sigmoid(model(*inputs)).numpy()


def measure(
    accepted: np.ndarray, probability: np.ndarray, seekers: np.ndarray, clusters: np.ndarray
) -> dict[str, float]:
    """AUC and LogLoss with 95% intervals that know the clusters of seekers; n, n_seekers and
    n_clusters."""
    auc = mean_interval(auc_parts(accepted, probability), clusters)
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    loss = mean_interval(-np.where(accepted == 1, np.log(p), np.log(1 - p)), clusters)
    return {
        "AUC": auc["value"],
        "AUC low": max(0.0, auc["low"]),
        "AUC high": min(1.0, auc["high"]),
        "LogLoss": loss["value"],
        "LogLoss low": loss["low"],
        "LogLoss high": loss["high"],
        "n": len(accepted),
        "n_seekers": len(np.unique(seekers)),
        "n_clusters": loss["n_clusters"],
    }


def auc_parts(accepted: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(n,) what each row adds to the AUC: their mean is the AUC, and their spread by cluster is its
    error.

    An accepted row's share of rejected ones that it beats (ties as half), and a rejected row's
    share of accepted ones that beat it, each around the AUC and weighted by how rare its side is.
    NaN where all are accepted, or none.
    Source: the structural components of DeLong et al. 1988, summed by cluster as in Obuchowski 1997
    (Biometrics 53).
    """
    accepted = np.asarray(accepted) == 1
    sides = {True: np.sort(probability[accepted]), False: np.sort(probability[~accepted])}
    if not len(sides[True]) or not len(sides[False]):
        return np.full(len(accepted), np.nan)
    below = {
        side: sum(np.searchsorted(own, probability, end) for end in ("left", "right"))
        / 2
        / len(own)
        for side, own in sides.items()
    }
    share = np.where(accepted, below[False], 1 - below[True])
    auc = share[accepted].mean()
    return auc + (share - auc) * len(accepted) / np.where(
        accepted, len(sides[True]), len(sides[False])
    )


def compare_arms(
    arms: Mapping[str, np.ndarray],
    resumes: np.ndarray,
    jobs: np.ndarray,
    labels: pd.DataFrame,
    *,
    seeds: Sequence[int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every arm in every predictor, on the parts warm and cold of labels (row i of each array).

    labels: resume_id, cluster, label, part. arms: name -> (n, d) vectors of the written jobs.
    Probabilities are means over training seeds. Returns a table predictor, arm, part and `measure`,
    and the labels with a column "predictor arm" of probabilities each.
    """
    accepted, train, rows = labels["label"].to_numpy(), (labels["part"] == "train").to_numpy(), []
    found = labels.copy()
    for kind in PREDICTORS:
        for arm, written in arms.items():
            found[f"{kind} {arm}"] = np.mean(
                [
                    predict(kind, resumes, jobs, written, accepted, train, seed=seed)
                    for seed in seeds
                ],
                axis=0,
            )
            for part in ("warm", "cold"):
                here = found[found["part"] == part]
                if len(here):
                    rows.append(
                        {
                            "predictor": kind,
                            "arm": arm,
                            "part": part,
                            **measure(
                                here["label"].to_numpy(),
                                here[f"{kind} {arm}"].to_numpy(),
                                here["resume_id"].to_numpy(),
                                here["cluster"].to_numpy(),
                            ),
                        }
                    )
    return pd.DataFrame(rows), found


def difference(found: pd.DataFrame, first: str, second: str) -> dict[str, float]:
    """AUC of one column of `compare_arms` minus another's on cold seekers, with its 95% interval
    and p by clusters."""
    cold = found[found["part"] == "cold"]
    parts = [
        auc_parts(cold["label"].to_numpy(), cold[column].to_numpy()) for column in (first, second)
    ]
    clusters = cold["cluster"].to_numpy()
    return mean_interval(np.subtract(*parts), clusters) | {
        "n_seekers": cold["resume_id"].nunique(),
        "p": paired_randomisation(*parts, clusters),
    }


def shuffle_within(values: pd.Series, *, seed: int) -> np.ndarray:
    """(n,) row numbers that give each row another row's of the same value, so that only the value
    is told.

    A value that one row alone has keeps it.
    """
    rng, order = np.random.default_rng(seed), np.arange(len(values))
    for rows in values.reset_index(drop=True).groupby(values.to_numpy()).indices.values():
        drawn = rng.permutation(rows)
        order[drawn] = np.roll(drawn, 1)
    return order


def led_to(listed: pd.DataFrame, fit: pd.DataFrame, clusters: pd.Series) -> dict[str, float]:
    """How well the jobs of lists by `ground` truly fit: mean over resumes with its 95% interval by
    clusters.

    fit: true scores, job_id x resume_id; clusters: by resume_id.
    """
    rows, columns = (
        fit.index.get_indexer(listed["job_id"]),
        fit.columns.get_indexer(listed["resume_id"]),
    )
    each = listed.assign(fit=fit.to_numpy()[rows, columns]).groupby("resume_id")["fit"].mean()
    interval = mean_interval(each.to_numpy(), clusters.loc[each.index].to_numpy())
    return {
        "true fit": interval["value"],
        "low": interval["low"],
        "high": interval["high"],
        "n": len(each),
        "n_clusters": interval["n_clusters"],
    }


def ground(
    written: pd.DataFrame,
    vectors: np.ndarray,
    jobs: pd.DataFrame,
    job_vectors: np.ndarray,
    *,
    k: int = 5,
) -> pd.DataFrame:
    """The k real jobs nearest to each written one, by cosine: an application list.

    Returns resume_id, rank, job_id, cosine, shared (skills of both), wish (skills that the written
    job asks for and the real one does not): what to look for in others. written: resume_id, skills,
    nice_skills.
    """
    cosine = vectors @ job_vectors.T
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    asked = [
        [
            set(split_items(f"{row['skills']}; {row['nice_skills']}"))
            for row in frame.to_dict("records")
        ]
        for frame in (written, jobs)
    ]
    rows = [
        {
            "resume_id": resume,
            "rank": rank + 1,
            "job_id": jobs["job_id"].iloc[j],
            "cosine": cosine[i, j],
            "shared": "; ".join(sorted(asked[0][i] & asked[1][j])),
            "wish": "; ".join(sorted(asked[0][i] - asked[1][j])),
        }
        for i, resume in enumerate(written["resume_id"])
        for rank, j in enumerate(order[i])
    ]
    return pd.DataFrame(rows)
