"""Claim: encoding is at least as fast as SentenceTransformer.encode as it comes; a cached pass is
50 times faster."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from matchlib.data.market.simulation import Market
from matchlib.retrieval.encoder import Encoder

ROUNDS, CACHED_BAR = 5, 50


def mixed_texts() -> list[str]:
    """400 documents of 40 to 400 tokens, shuffled by construction: every third has many filler
    sentences."""
    parts = [list(Market(1, detail=detail).stream_resumes(134)) for detail in (0, 8, 30)]
    return [row["text"] for rows in zip(*parts, strict=True) for row in rows][:400]


def seconds(function) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


texts = mixed_texts()
ours = Encoder(cache_dir=None)
peer = ours.model
ours.encode_resumes(texts[:32])
ratios, passes = [], []
for _ in range(ROUNDS):
    mine = seconds(lambda: ours.encode_resumes(texts))
    theirs = seconds(lambda: peer.encode(texts, show_progress_bar=False))
    ratios.append(theirs / mine)
    passes.append(mine)
with tempfile.TemporaryDirectory() as folder:
    cached = Encoder(cache_dir=Path(folder))
    cached.__dict__["model"] = peer  # the model is loaded already: only encoding is timed
    first = seconds(lambda: cached.encode_resumes(texts))
    second = statistics.median(seconds(lambda: cached.encode_resumes(texts)) for _ in range(ROUNDS))
ratio = statistics.median(ratios)
print(
    f"encoding: {len(texts) / statistics.median(passes):.1f} texts a second, {ratio:.2f} times SentenceTransformer."
    f"encode (bar 1.00; rounds {', '.join(f'{r:.2f}' for r in ratios)}); cached pass {first / second:,.0f} times "
    f"faster (bar {CACHED_BAR})"
)
sys.exit(ratio < 1 or first / second < CACHED_BAR)
