"""Pairs of near-copies, as the tests of splits want them."""

from itertools import combinations, product

from matchlib.data.splits import JACCARD, ShingleSets, _near_sets


def near_duplicate_pairs(texts: list[str], *, threshold: float = JACCARD) -> list[tuple[int, int]]:
    """All pairs i < j of texts whose 3-word shingles have a Jaccard similarity of at least
    `threshold`."""
    sets = ShingleSets.of(texts)
    positions: list[list[int]] = [[] for _ in range(len(sets))]
    for i, own in enumerate(sets.set_of_text):
        positions[own].append(i)
    pairs = []
    for identical in positions:
        pairs.extend(combinations(identical, 2))
    for a, b in _near_sets(sets, threshold):
        for i, j in product(positions[a], positions[b]):
            pairs.append((min(i, j), max(i, j)))
    return sorted(pairs)
