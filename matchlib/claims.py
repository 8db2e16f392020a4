"""Claims: what is said of a system, the run that shows it, and whether the run still does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.pipeline import ParameterError, parse_yaml
from matchlib.runs import load_plan, start

FILE = Path("claims.yaml")
CONFIRMED, CHANGED, BROKEN = "confirmed", "changed", "broken"


@dataclass(frozen=True)
class Figure:
    """Where a figure is read: in a CSV file of a stage, the column of the one row that has these
    values; less: values of another row, whose figure is taken off (what it does not name is as in
    row)."""

    file: str
    row: Mapping[str, Any]
    column: str = "value"
    less: Mapping[str, Any] | None = None

    def read(self, folder: Path) -> tuple[float, str]:
        """The figure in a run's folder, and the verdict of its row ("" where there is none).

        Raises ParameterError where the file is missing, or no row or several fit.
        """
        path = folder / self.file
        if not path.is_file():
            raise ParameterError(f"{path} is missing")
        table = pd.read_csv(path)
        found = _one_row(table, self.row, path)
        value = float(found[self.column])
        if self.less is not None:
            value -= float(_one_row(table, {**self.row, **self.less}, path)[self.column])
        return value, str(found.get("verdict", ""))


@dataclass(frozen=True)
class Claim:
    """One entry of claims.yaml.

    params: the params file or sweep that shows it; null_world: where its effect has to vanish, in
    words; expected, tolerance: the figure, and how far another run may be from it; interval: 95%,
    None where the run gives none; verdict: of the ledger, "" for a figure of one run; minutes: on two
    cores, unless `confirmed` names other hardware; confirmed: the last commit at which it was, and
    the hardware.
    """

    id: str
    paper: str
    claim: str
    params: str
    figure: Figure
    expected: float
    tolerance: float
    null_world: str
    minutes: float
    confirmed: str
    verdict: str = ""
    interval: list[float] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run says of a claim: confirmed, changed, or broken (detail says why)."""

    claim: Claim
    status: str
    detail: str


def read_claims(path: Path = FILE) -> list[Claim]:
    """The claims of a file, in its order. Raises ParameterError on an entry that is not whole."""
    entries = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    claims = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, entry {number} ({entry.get('id', 'without id')})"
        try:
            claims.append(Claim(**{**entry, "figure": Figure(**entry["figure"])}))
        except (KeyError, TypeError) as problem:
            raise ParameterError(f"{where}: {problem}; see Claim in matchlib/claims.py") from None
    ids = pd.Series([claim.id for claim in claims])
    if ids.duplicated().any():
        raise ParameterError(f"{path}: several claims are called {ids[ids.duplicated()].iloc[0]}")
    return claims


def chosen(claims: Iterable[Claim], ids: list[str], *, minutes: float) -> list[Claim]:
    """The claims with these ids; without ids those that take at most so many minutes.

    Raises ParameterError on an id that no claim has.
    """
    claims = list(claims)
    if not ids:
        return [claim for claim in claims if claim.minutes <= minutes]
    by_id = {claim.id: claim for claim in claims}
    if unknown := [name for name in ids if name not in by_id]:
        raise ParameterError(
            f"no claim is called {', '.join(unknown)}; the claims are {', '.join(by_id)}"
        )
    return [by_id[name] for name in ids]


def verify(
    claims: Iterable[Claim],
    *,
    changes: list[str],
    cores: int,
    profile: Path,
    say: Callable[[str], object],
) -> list[Outcome]:
    """Run what the claims rest on, each params file once, and compare. What is finished and up to
    date is not run again."""
    of_params: dict[str, list[Claim]] = {}
    for claim in claims:
        of_params.setdefault(claim.params, []).append(claim)
    outcomes = []
    for params, group in of_params.items():
        plan = load_plan(Path(params), changes=changes)
        status = start(plan, Path(params), cores=cores, profile=profile, say=say)
        for claim in group:
            if status.code:
                why = "; ".join(status.reasons) or f"{params} did not run"
                outcomes.append(Outcome(claim, BROKEN, why))
            else:
                outcomes.append(judge(claim, plan.folder))
    return outcomes


def judge(claim: Claim, folder: Path) -> Outcome:
    """Compare a claim with the finished run in a folder."""
    try:
        value, verdict = claim.figure.read(folder)
    except ParameterError as problem:
        return Outcome(claim, BROKEN, str(problem))
    told = f"{value:.4f}, expected {claim.expected:.4f} within {claim.tolerance:g}"
    if claim.verdict:
        told += f"; {verdict}, expected {claim.verdict}"
    # a figure that is no number is in no tolerance
    is_near = abs(value - claim.expected) <= claim.tolerance
    is_same = is_near and (not claim.verdict or verdict == claim.verdict)
    return Outcome(claim, CONFIRMED if is_same else CHANGED, told)


def record(outcomes: Iterable[Outcome], confirmed: str, path: Path = FILE) -> None:
    """Write commit and hardware beside the claims that were confirmed; all else in the file stays."""
    text = path.read_text(encoding="utf-8")
    for outcome in outcomes:
        if outcome.status == CONFIRMED:
            entry = rf"(- id: {re.escape(outcome.claim.id)}\n(?:  .*\n)*?  confirmed: ).*"
            text = re.sub(entry, lambda found: found[1] + confirmed, text)
    path.write_text(text, encoding="utf-8")


def _one_row(table: pd.DataFrame, row: Mapping[str, Any], path: Path) -> pd.Series:
    found = table
    for column, value in row.items():
        if column not in table:
            raise ParameterError(f"{path} has no column {column}")
        found = found[found[column] == value]
    if len(found) != 1:
        raise ParameterError(f"{path}: {len(found)} rows are {dict(row)}, one is due")
    return found.iloc[0]
