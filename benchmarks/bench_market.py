"""Claim: the market writes at least 2,000 resumes a second on one core, and the same seed gives the
same bytes."""

import hashlib
import sys
import time

from matchlib.data.market.simulation import Market

BAR, N = 2_000, 20_000


def digest(market: Market) -> tuple[str, float]:
    """Hash of N resumes' texts, and the seconds it took to write them."""
    started, hashed = time.perf_counter(), hashlib.sha256()
    for row in market.stream_resumes(N):
        hashed.update(row["text"].encode())
    return hashed.hexdigest(), time.perf_counter() - started


first, seconds = zip(*(digest(Market(1)) for _ in range(3)), strict=True)
rate = N / sorted(seconds)[1]
print(
    f"market: {rate:,.0f} resumes a second (bar {BAR:,}); same bytes three times: {len(set(first)) == 1}"
)
sys.exit(rate < BAR or len(set(first)) != 1)
