import math

import pytest
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from matchlib.learning.losses import confit_loss, false_negatives, softmax_loss


def unit_vectors(n, dim=6, *, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(
        torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=-1
    ).requires_grad_()


def plain_loss(jobs, resumes, hard_jobs, hard_resumes, temperature, masked_jobs, masked_resumes):
    """The paper's formula, pair by pair, in plain Python."""
    total = 0.0
    n = len(jobs)
    for queries, candidates, extra, masked in (
        (resumes, jobs, hard_jobs, masked_jobs),
        (jobs, resumes, hard_resumes, masked_resumes),
    ):
        everything = list(candidates) + list(extra)
        for i in range(n):
            kept = [k for k in range(len(everything)) if not masked[i, k]]
            exps = [torch.exp(queries[i] @ everything[k] / temperature) for k in kept]
            total = (
                total
                - torch.log(torch.exp(queries[i] @ candidates[i] / temperature) / sum(exps)) / n / 2
            )
    return total


@pytest.mark.parametrize("with_masks", [False, True])
def test_loss_and_gradients_equal_the_formula(with_masks):
    inputs = [unit_vectors(n, seed=n) for n in (5, 5, 3, 2)]
    masks = [torch.zeros(5, 5 + n, dtype=torch.bool) for n in (3, 2)]
    if with_masks:
        masks[0][0, 1] = masks[0][2, 6] = masks[1][4, 0] = masks[1][1, 5] = True
    ours = confit_loss(*inputs, temperature=0.05, masked_jobs=masks[0], masked_resumes=masks[1])
    plain = plain_loss(*inputs, 0.05, *masks)
    assert ours.item() == pytest.approx(plain.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(plain, inputs), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_equals_multiple_negatives_ranking_loss_in_both_directions(tiny_model_folder):
    # The peer normalises inside, so gradients are compared on vectors before they are normalised.
    jobs, resumes = (2 * unit_vectors(8, seed=n).detach() for n in (1, 2))
    jobs, resumes = jobs.requires_grad_(), resumes.requires_grad_()
    peer = MultipleNegativesRankingLoss(
        SentenceTransformer(str(tiny_model_folder)),
        scale=1 / 0.05,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    theirs = peer.compute_loss_from_embeddings([jobs, resumes], None)
    ours = confit_loss(
        F.normalize(jobs, dim=-1),
        F.normalize(resumes, dim=-1),
        jobs[:0],
        resumes[:0],
        temperature=0.05,
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)
    for mine, other in zip(
        torch.autograd.grad(ours, (jobs, resumes)),
        torch.autograd.grad(theirs, (jobs, resumes)),
        strict=True,
    ):
        assert torch.allclose(mine, other, rtol=1e-9, atol=1e-12)


def test_uninformative_scores_cost_log_n():
    assert softmax_loss(torch.zeros(4, 8)).item() == pytest.approx(math.log(8))


def test_a_masked_candidate_does_not_count_and_gets_no_gradient():
    scores = torch.zeros(4, 8, requires_grad=True)
    masked = torch.zeros(4, 8, dtype=torch.bool)
    masked[:, 6:] = True
    loss = softmax_loss(scores, masked=masked)
    assert loss.item() == pytest.approx(math.log(6))
    loss.backward()
    assert torch.all(scores.grad[:, 6:] == 0)
    assert torch.all(scores.grad[:, 0] != 0)


def test_masking_all_negatives_costs_nothing():
    masked = ~torch.eye(3, 5, dtype=torch.bool)
    assert softmax_loss(torch.randn(3, 5), masked=masked).item() == pytest.approx(0, abs=1e-6)


def test_masking_a_positive_is_refused():
    with pytest.raises(ValueError, match="positive is masked"):
        softmax_loss(torch.zeros(2, 2), masked=torch.eye(2, dtype=torch.bool))


def test_false_negatives_are_the_same_document_and_every_known_positive():
    # Resumes 0, 1, 2, 0 ask; the candidates are jobs 5, 6, 5, 7 and the hard jobs 8, 6.
    queries, candidates = torch.tensor([0, 1, 2, 0]), torch.tensor([5, 6, 5, 7, 8, 6])
    known = [(0, 5), (0, 7), (1, 6), (2, 5), (2, 8)]
    positives = torch.tensor([query * 10 + candidate for query, candidate in known])
    masked = false_negatives(queries, candidates, positives, 10)
    expected = torch.tensor(
        [
            [
                0,
                0,
                1,
                1,
                0,
                0,
            ],  # job 5 again (same document), job 7 (another accepted job of resume 0)
            [0, 0, 0, 0, 0, 1],  # job 6 again, among the hard jobs
            [1, 0, 0, 0, 1, 0],  # job 5 again, hard job 8 is known to be a positive of resume 2
            [1, 0, 1, 0, 0, 0],  # job 5, twice
        ],
        dtype=torch.bool,
    )
    assert torch.equal(masked, expected)
