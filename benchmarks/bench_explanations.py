"""Whether the reasons of explanations hold (analysis/grounding.py), on the market's unseen wording.

Groundedness and coverage against its truth; faithfulness of four kinds of reasons, against as many
random statements and against as many of like length, beside the half that chance gives. One market
of 14 occupations and the pretrained encoder; `python benchmarks/bench_explanations.py <encoder
folder>` takes another. Intervals are over occupations.
"""

import sys

import numpy as np
import pandas as pd

from matchlib.analysis import grounding
from matchlib.data.market.simulation import Market
from matchlib.retrieval.encoder import Encoder

N_JOBS, N_RESUMES, N_LISTED, SEED = 40, 300, 5, 7


def main() -> None:
    encoder = Encoder(*sys.argv[1:2])
    reader = Encoder()
    market = Market(SEED, occupations=14)
    jobs, resumes = market.jobs(N_JOBS, "test"), market.resumes(N_RESUMES, "test")
    cosines = (
        encoder.encode_jobs(list(jobs["text"])) @ encoder.encode_resumes(list(resumes["text"])).T
    )
    listed = np.argsort(-cosines, axis=1)[:, :N_LISTED]
    pairs = pd.DataFrame(
        {
            "job_id": np.repeat(jobs["job_id"].to_numpy(), N_LISTED),
            "resume_id": resumes["resume_id"].to_numpy()[listed.ravel()],
        }
    )
    reasons = grounding.find_reasons(pairs, jobs, resumes, encoder=reader)
    clusters = jobs.set_index("job_id")["occupation"]
    scores = grounding.score_grounding(pairs, reasons, jobs, resumes, clusters=clusters)
    print(scores.to_string())
    kinds = {
        "skills that are named": reasons[reasons["how"] == grounding.NAMED],
        "skills, also similar": reasons,
        grounding.CARRIES: grounding.find_carrying_statements(pairs, jobs, resumes, encoder),
        grounding.CLOSEST: grounding.find_closest_statements(pairs, jobs, resumes, encoder),
    }
    score = grounding.encoder_scores(encoder)
    for kind, of_kind in kinds.items():
        found = grounding.score_faithfulness(of_kind, jobs, resumes, score, seed=SEED)
        shares = []
        for against in ("is_faithful", "is_faithful_at_length"):
            share = grounding.summarise_faithfulness(found, clusters=clusters, against=against)
            shares.append(f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]")
        print(
            f"{kind}: of {len(found)} pairs faithful {shares[0]}, at like length {shares[1]}; the score "
            f"falls by {found['drop'].mean():.4f}, without as many random statements by "
            f"{found['random_drop'].mean():.4f}, without others of like length by "
            f"{found['like_drop'].mean():.4f}"
        )


if __name__ == "__main__":
    main()
