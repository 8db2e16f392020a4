"""Vectors of a corpus in shards on disk: made one shard at a time, searched block by block.

A folder of vectors holds a folder for each shard ("00000", ...): vectors.npy ((n, dim) float16 unit
vectors), ids.parquet (id, file, line, text_hash; a row a vector) and, written last, shard.json (the
encoder, a hash of the documents, counts, what was left out, and the hashes of the other two). A
shard without shard.json is not finished; one that does not fit its hashes is torn. Either is made
again, alone.

No sample is kept beside the vectors: since the shards are memory-mapped and their lengths known, a
uniform sample of the whole corpus is a draw of positions, and `ShardedVectors` can be given to
`learning.mining.sampled_runner_ups` in place of a matrix.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data.normal import plain
from matchlib.data.schema import DataError
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.model_files import file_hash
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.search import Hits

MANIFEST, VECTORS, IDS = "shard.json", "vectors.npy", "ids.parquet"
AT_ONCE = 1_024
"""Texts encoded between two steps of the progress bar."""
BLOCK = 32_768
"""Vectors that are compared at a time: 50 MB of float32 at 384 dimensions."""
QUERIES = 1_024
"""Queries that a block is compared with at a time: 134 MB of scores."""
NAMED = 5
"""Shards that an error names; the others it counts."""


@dataclass(frozen=True)
class VectorSource:
    """What decides a vector beside the text: the model's name and key (see `Encoder.key`), the
    prompt, the passages, and the kind of document, jobs or resumes."""

    model: str
    key: str
    prompt: str
    passages: str
    kind: str

    @classmethod
    def of(cls, encoder: Encoder, kind: str) -> VectorSource:
        """The source of an encoder's vectors of jobs or resumes."""
        prompt = encoder.job_prompt if kind == "jobs" else encoder.resume_prompt
        return cls(encoder.model_name_or_path, encoder.key, prompt, encoder.passages or "", kind)

    def fits(self, other: VectorSource) -> bool:
        """Whether the vectors are of one encoder, whatever folder it lies in."""
        return asdict(self) | {"model": ""} == asdict(other) | {"model": ""}

    def describe(self) -> str:
        passages = f", passages {self.passages}" if self.passages else ""
        return f"{self.model} (key {self.key[:8]}, prompt {self.prompt!r}{passages})"


@dataclass(frozen=True)
class Shard:
    """A finished shard as its manifest says: folder, source, input_hash (of its documents),
    documents, dimensions (0 of an empty one), encoded and reused (of its vectors), left_out and
    missing (rows file, line, reason), files (name -> bytes, sha256)."""

    folder: Path
    source: VectorSource
    input_hash: str
    documents: int
    dimensions: int
    encoded: int
    reused: int
    seconds: float
    left_out: list[dict[str, str]]
    missing: list[dict[str, str]]
    files: dict[str, dict[str, Any]]

    def vectors(self) -> np.ndarray:
        """(n, dim) float16, memory-mapped."""
        return np.load(self.folder / VECTORS, mmap_mode="r", allow_pickle=False)

    def documents_at(self, rows: np.ndarray | None = None) -> pd.DataFrame:
        """id, file, line and text_hash of some rows, or all."""
        from pyarrow import parquet

        table = parquet.read_table(self.folder / IDS)
        return (table if rows is None else table.take(rows)).to_pandas()


class TornShardError(DataError):
    """A shard that is not finished or does not fit its manifest."""


def text_hash(text: str) -> bytes:
    """What a shard keeps of a text, so that the same text is known again: 16 bytes."""
    return hashlib.sha256(plain(text).encode()).digest()[:16]


def shard_name(number: int) -> str:
    """The folder of a shard, counted from 0."""
    return f"{number:05d}"


def open_shard(folder: Path, *, check_hashes: bool = True) -> Shard:
    """A finished shard. Raises TornShardError if it is not finished or not as it was written.

    check_hashes: read the files whole and compare their hashes; False compares their sizes alone.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise TornShardError(f"{folder.name} is not finished")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        source = VectorSource(**facts.pop("source"))
        shard = Shard(folder=folder, source=source, **facts)
        expected = {name: (of["bytes"], of["sha256"]) for name, of in shard.files.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        raise TornShardError(f"{folder.name} has a torn {MANIFEST}") from None
    for name in (VECTORS, IDS):
        file = folder / name
        if not file.is_file():
            raise TornShardError(f"{folder.name} has no {name}")
        size, sha256 = expected.get(name, (0, ""))
        is_whole = file.stat().st_size == size
        if not is_whole or (check_hashes and file_hash(file) != sha256):
            raise TornShardError(f"{folder.name} has a torn {name}")
    return shard


def finished_shard(
    folder: Path, source: VectorSource, say: Callable[[str], object] = lambda note: None
) -> Shard | None:
    """The shard in a folder; None, after a word on what is wrong, if it is to be made anew.

    Raises EncoderError if it is of another encoder.
    """
    try:
        shard = open_shard(folder)
    except TornShardError as problem:
        if folder.exists():
            say(f"{problem}; it is made again")
        return None
    if not shard.source.fits(source):
        raise EncoderError(
            f"{folder.parent}: shard {folder.name} was made by {shard.source.describe()}, not by "
            f"{source.describe()}; name another --out, or remove this folder"
        )
    return shard


def embed_shard(
    folder: Path,
    documents: pd.DataFrame,
    *,
    source: VectorSource,
    encode: Callable[[list[str]], np.ndarray],
    input_hash: str,
    left_out: pd.DataFrame | None = None,
    missing: pd.DataFrame | None = None,
) -> Shard:
    """Make a shard of documents (id, text, file, line): only texts that it has no vector of yet are
    encoded.

    folder: of the shard. encode: texts -> (n, dim) float32 unit vectors. input_hash: of the
    documents, so that a later call can tell that they are the same. left_out, missing: file, line,
    reason, kept in the manifest. A vector is kept as float16, which changes a cosine by less than
    .001. Nothing is half-written: the files are written beside and renamed, shard.json last, and
    what an earlier kill left beside is removed.
    Raises EncoderError if the shard there is of another encoder, or the vectors are not finite.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for beside in folder.glob(".*.part"):
        beside.unlink(missing_ok=True)
    texts = [plain(text) for text in documents["text"]]
    hashes = [text_hash(text) for text in texts]
    earlier = finished_shard(folder, source)
    known = {}
    if earlier is not None:
        earlier_hashes = earlier.documents_at()["text_hash"]
        known = dict(zip(earlier_hashes, np.array(earlier.vectors()), strict=True))
    fresh = {}
    for text, key in zip(texts, hashes, strict=True):
        if key not in known:
            fresh[key] = text
    n_reused = sum(key in known for key in hashes)
    known |= _encode(fresh, encode, folder.name)
    vectors = np.zeros((0, 0), dtype=np.float16)
    if hashes:
        vectors = np.stack([known[key] for key in hashes])
    ids = pd.DataFrame(
        {
            "id": documents["id"].to_numpy(),
            "file": documents["file"].to_numpy(),
            "line": documents["line"].to_numpy(),
            "text_hash": hashes,
        }
    )
    vectors_beside = _write_beside(folder / VECTORS, lambda path: _save(path, vectors))
    try:
        ids_beside = _write_beside(folder / IDS, lambda path: _save_ids(path, ids))
    except BaseException:
        vectors_beside.unlink(missing_ok=True)
        raise
    besides = {VECTORS: vectors_beside, IDS: ids_beside}
    shard = Shard(
        folder=folder,
        source=source,
        input_hash=input_hash,
        documents=len(ids),
        dimensions=vectors.shape[1],
        encoded=len(hashes) - n_reused,
        reused=n_reused,
        seconds=round(time.monotonic() - started, 2),
        left_out=_rows(left_out),
        missing=_rows(missing),
        files={
            name: {"bytes": path.stat().st_size, "sha256": file_hash(path)}
            for name, path in besides.items()
        },
    )
    # between these renames the shard is not finished, so that no reader takes a mixture for one
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, path in besides.items():
        path.replace(folder / name)
    _write_manifest(shard)
    return shard


def _encode(
    texts: dict[bytes, str], encode: Callable[[list[str]], np.ndarray], name: str
) -> dict[bytes, np.ndarray]:
    """Text hash -> (dim,) float16 of the texts."""
    from tqdm import tqdm

    hashes = list(texts)
    found = {}
    starts = range(0, len(hashes), AT_ONCE)
    for start in tqdm(starts, desc=f"shard {name}", mininterval=5, leave=False, disable=None):
        part = hashes[start : start + AT_ONCE]
        vectors = encode([texts[key] for key in part]).astype(np.float16)
        if not np.isfinite(vectors).all():
            raise EncoderError(
                f"shard {name}: the model gave vectors that are not finite; its weights or its precision "
                f"are broken, so nothing is kept"
            )
        found.update(zip(part, vectors, strict=True))
    return found


def _rows(frame: pd.DataFrame | None) -> list[dict[str, str]]:
    return [] if frame is None else frame.to_dict("records")


def _save(path: Path, vectors: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save would put .npy behind the name
        np.save(file, vectors, allow_pickle=False)


def _save_ids(path: Path, ids: pd.DataFrame) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"id": pa.string(), "file": pa.string(), "line": pa.int64(), "text_hash": pa.binary(16)}
    columns = {name: pa.array(ids[name].tolist(), kind) for name, kind in types.items()}
    parquet.write_table(pa.table(columns), path)


def _write_beside(path: Path, write: Callable[[Path], object]) -> Path:
    """Where `write` wrote a file beside another one's place; on a failure nothing is left.

    Raises DataError if the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.part")
    try:
        write(beside)
    except BaseException as problem:
        beside.unlink(missing_ok=True)
        # numpy tells of a full disk without a number
        if isinstance(problem, OSError) and problem.errno in (None, errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{path}: the disk is full ({problem.strerror or problem}); free some space and run this "
                f"again: finished shards are kept"
            ) from None
        raise
    return beside


def _write_manifest(shard: Shard) -> None:
    facts = asdict(shard)
    facts.pop("folder")
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    path = shard.folder / MANIFEST
    beside = _write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    beside.replace(path)


@dataclass(frozen=True)
class ShardedVectors:
    """The vectors of a corpus, one shard after the other; a position counts over all of them.

    shards: all, some may hold no document. `vectors[positions]` are (n, dim) float32 rows, so that an
    instance takes the place of a matrix where rows are drawn.
    """

    folder: Path
    shards: Sequence[Shard]

    @classmethod
    def open(cls, folder: Path, n_shards: int, *, check_hashes: bool = True) -> ShardedVectors:
        """Open the first n_shards shards of a folder and check every file against its hash.

        check_hashes: False, where many workers read the same files, compares sizes alone.
        Raises DataError if shards are unfinished or torn, if there is no document, or if an id
        stands twice; EncoderError if they are of several encoders.
        """
        shards, faults = [], []
        for number in range(n_shards):
            try:
                shards.append(open_shard(folder / shard_name(number), check_hashes=check_hashes))
            except TornShardError as problem:
                faults.append(str(problem))
        if faults:
            others = len(faults) - NAMED
            named = "; ".join(faults[:NAMED]) + (f"; and {others:,} more" if others > 0 else "")
            raise DataError(
                f"{folder}: {len(faults):,} of {n_shards:,} shards cannot be used: {named}; run matchlib embed "
                f"again, which makes these alone"
            )
        _require_one_encoder(folder, shards)
        if not any(shard.documents for shard in shards):
            raise DataError(f"{folder}: not one of {n_shards:,} shards holds a document")
        vectors = cls(folder, shards)
        vectors.require_unique_ids()
        return vectors

    @property
    def source(self) -> VectorSource:
        return self.shards[0].source

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), max(shard.dimensions for shard in self.shards)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def _ends(self) -> np.ndarray:
        """(S,) the position after each shard's last vector."""
        return np.cumsum([shard.documents for shard in self.shards])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """(n, dim) float32 vectors of positions; only their pages of the files are read."""
        positions = np.asarray(positions)
        found = np.empty((len(positions), self.shape[1]), dtype=np.float32)
        for shard, at, rows in self._by_shard(positions):
            found[at] = shard.vectors()[rows]
        return found

    def documents_at(self, positions: np.ndarray) -> pd.DataFrame:
        """id, file, line, text_hash of each position, in their order."""
        if not len(positions):
            return self.shards[0].documents_at(np.array([], dtype=int))
        parts = []
        for shard, at, rows in self._by_shard(np.asarray(positions)):
            parts.append(shard.documents_at(rows).set_axis(at))
        return pd.concat(parts).sort_index()

    def _by_shard(self, positions: np.ndarray) -> Iterator[tuple[Shard, np.ndarray, np.ndarray]]:
        """Each shard that holds some of the positions, which these are, and their rows in it."""
        number_of = np.searchsorted(self._ends, positions, side="right")
        for number in np.unique(number_of):
            shard = self.shards[number]
            at = np.flatnonzero(number_of == number)
            yield shard, at, positions[at] - (self._ends[number] - shard.documents)

    def listed(self, positions: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """The documents at any of some positions, each once (id, file, line, text_hash), and in the
        positions' shape the row of each among them, -1 where there is none."""
        flat = pd.Series(positions.ravel())
        rows, found = pd.factorize(flat.where(flat >= 0), sort=True)
        return self.documents_at(found.to_numpy(dtype=int)), rows.reshape(positions.shape)

    def find(self, ids: Iterable[str], text_hashes: Iterable[bytes]) -> pd.DataFrame:
        """position, id, file, line, text_hash of the documents that have one of the ids, or one of the
        texts (see `text_hash`), in their order."""
        wanted_ids, wanted_hashes = set(ids), set(text_hashes)
        parts = []
        for shard, end in zip(self.shards, self._ends, strict=True):
            documents = shard.documents_at()
            is_wanted = documents["id"].isin(wanted_ids) | documents["text_hash"].isin(
                wanted_hashes
            )
            found = documents[is_wanted]
            parts.append(found.assign(position=found.index + int(end) - shard.documents))
        return pd.concat(parts, ignore_index=True)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(position of the first, (n, dim) float32 vectors) of at most BLOCK vectors, in order."""
        for shard, end in zip(self.shards, self._ends, strict=True):
            first = int(end) - shard.documents
            for start in range(0, shard.documents, BLOCK):
                # mapped anew each time: pages of blocks that were read do not count as memory in use
                yield first + start, shard.vectors()[start : start + BLOCK].astype(np.float32)

    def top_k(self, queries: np.ndarray, k: int, *, device: str = "cpu") -> Hits:
        """The k best of all vectors for each query, by inner product, exactly.

        queries (Q, dim) float32; device: of torch, which multiplies. Memory: one block, and its
        scores of QUERIES queries. Which of equal scores end a list is torch's choice. Raises ValueError on a
        NaN and EncoderError on queries of another length.
        Deviation: not faiss, as in `search_dense`. Where blocks are short its heaps take most of
        the time: 32,768 x 1,000 at 384 dimensions are 1.45 s of processor, and .35 s by torch.
        """
        import torch

        if queries.shape[1] != self.shape[1]:
            raise EncoderError(
                f"queries have {queries.shape[1]} numbers, the vectors in {self.folder} {self.shape[1]}; "
                f"they are of two encoders"
            )
        if np.isnan(queries).any():
            raise ValueError("queries hold NaN; the model or its input is broken")
        asked = torch.from_numpy(np.asarray(queries, dtype=np.float32)).to(device)
        width = min(k, len(self))
        scores = torch.full((len(asked), width), -torch.inf, device=device)
        positions = torch.full((len(asked), width), -1, device=device)
        for first, block in self.blocks():
            candidates = torch.from_numpy(block).to(device).T
            for start in range(0, len(asked), QUERIES):
                part = slice(start, start + QUERIES)
                best = (asked[part] @ candidates).topk(min(k, len(block)), dim=1)
                both = torch.cat([scores[part], best.values], dim=1)
                scores[part], kept = both.topk(width, dim=1)
                both = torch.cat([positions[part], first + best.indices], dim=1)
                positions[part] = both.gather(1, kept)
        return Hits(positions.cpu().numpy(), scores.cpu().numpy())

    def require_unique_ids(self) -> None:
        """Raise DataError, with both places, if an id stands twice. Memory: 16 bytes a document."""
        from pyarrow import parquet

        parts = []
        for shard in self.shards:
            ids = parquet.read_table(shard.folder / IDS, columns=["id"])["id"]
            parts.append(pd.util.hash_array(ids.to_numpy()))
        hashes = np.concatenate(parts)
        in_order = np.sort(hashes)
        suspected = in_order[1:][in_order[1:] == in_order[:-1]]
        if not len(suspected):
            return
        alike = self.documents_at(np.flatnonzero(np.isin(hashes, suspected)))
        is_later = alike["id"].duplicated()
        if not is_later.any():  # different ids with one hash
            return
        name = alike["id"][is_later].iloc[0]
        places = []
        for row in alike[alike["id"] == name].head(2).itertuples():
            places.append(f"{row.file}{f', line {row.line}' if row.line else ''}")
        raise DataError(
            f"{self.folder}: {is_later.sum():,} documents have an id that an earlier one has, first {name!r} "
            f"({' and '.join(places)}); rename them and run matchlib embed again, which encodes no "
            f"text twice"
        )


@dataclass(frozen=True)
class VectorsWithout:
    """Vectors of a corpus but for some documents, numbered without gaps; takes the place of a matrix
    as ShardedVectors does.

    excluded: sorted positions in `vectors`.
    """

    vectors: ShardedVectors
    excluded: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors) - len(self.excluded)

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return self.vectors[self.positions(numbers)]

    def positions(self, numbers: np.ndarray) -> np.ndarray:
        """The positions in `vectors` of numbers here."""
        n_kept_before = self.excluded - np.arange(len(self.excluded))
        return np.asarray(numbers) + np.searchsorted(n_kept_before, numbers, side="right")

    def numbers(self, positions: np.ndarray) -> np.ndarray:
        """The numbers here of positions in `vectors`; none of an excluded one."""
        positions = positions[~np.isin(positions, self.excluded)]
        return positions - np.searchsorted(self.excluded, positions)


def _require_one_encoder(folder: Path, shards: Sequence[Shard]) -> None:
    groups: list[list[Shard]] = []
    for shard in shards:
        for group in groups:
            if group[0].source.fits(shard.source):
                group.append(shard)
                break
        else:
            groups.append([shard])
    if len(groups) > 1:
        counts = "; ".join(
            f"{len(group):,} by {group[0].source.describe()}, first {group[0].folder.name}"
            for group in groups
        )
        raise EncoderError(
            f"{folder}: its shards are of {len(groups)} encoders: {counts}; remove those of the wrong one "
            f"and run matchlib embed again"
        )
