"""Sweeps: one params file unfolded into many arms of one run, which share whatever does not vary.

    base: ../demo.yaml
    sweep:
      - stages: [04_runner_up_mining, 02_contrastive-rum]    # repeated for every value, the later
      reading the earlier
        over:
          - top: {04_runner_up_mining: {low: 0.0, high: 0.01}}
            band: {04_runner_up_mining: {low: 0.03, high: 0.04}}

A section such as 02_contrastive-rum becomes 02_contrastive-rum-top and -band. Several dicts under
`over` are crossed. A change to a notebook's own section (02_contrastive) also goes to its further
ones among the stages, unless they change the same. A section that a value sets to null is left out
of that arm, and of every dict of stages there. An input that is a dict of stages (11's arm_stages)
takes every arm of a stage that it names; several entries of `sweep` are unfolded one after the
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from matchlib.pipeline import ParameterError, find_root, input_stages


def unfold(raw: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """The params dict without its `sweep`, every arm a section of its own. Raises ParameterError on
    a wrong form."""
    unfolded = {key: value for key, value in raw.items() if key != "sweep"}
    for entry in raw.get("sweep", []):
        if not isinstance(entry, dict) or set(entry) != {"stages", "over"}:
            raise ParameterError(
                f"{source}: an entry of sweep needs stages (a list) and over (a list of dicts), and "
                f"nothing else"
            )
        if not isinstance(entry["stages"], list) or not _is_over(entry["over"]):
            raise ParameterError(
                f"{source}: an entry of sweep has stages {entry['stages']!r} and over "
                f"{entry['over']!r}; expected a list of sections, and a list of mappings from a name "
                f"to sections with their changes"
            )
        if unknown := [stage for stage in entry["stages"] if stage not in unfolded]:
            raise ParameterError(
                f"{source}: the sweep varies {unknown[0]!r}, but the file has no such section"
            )
        unfolded = _unfold_one(
            unfolded, entry["stages"], list(_crossed(entry["over"], entry["stages"], source))
        )
    return unfolded


def _is_over(over: Any) -> bool:
    """True for a list of {name: {section: {parameter: value} or null} or null}."""

    def maps(value: Any, below) -> bool:
        return value is None or (
            isinstance(value, dict) and all(below(item) for item in value.values())
        )

    if not isinstance(over, list) or not all(isinstance(values, dict) for values in over):
        return False
    return all(
        maps(values, lambda arm: maps(arm, lambda section: maps(section, lambda _: True)))
        for values in over
    )


class Arm(NamedTuple):
    """One combination of values: its name, its changes by section, and the sections that it leaves
    out."""

    name: str
    changes: dict[str, dict]
    without: set[str]


def _crossed(over: list[Mapping[str, Mapping]], stages: list[str], source: str) -> Iterator[Arm]:
    """One arm for every combination of one value from each dict of `over`."""
    for combination in product(*(values.items() for values in over)):
        arm = Arm("-".join(str(name) for name, _ in combination), {}, set())
        for _, sections in combination:
            for section, parameters in (sections or {}).items():
                if section not in stages:
                    raise ParameterError(
                        f"{source}: the sweep changes {section!r}, which is not among its stages "
                        f"{', '.join(stages)}; add it and the stages that read it"
                    )
                if parameters is None:
                    arm.without.add(section)
                else:
                    arm.changes[section] = {**arm.changes.get(section, {}), **parameters}
        yield arm


def _unfold_one(raw: dict[str, Any], stages: list[str], arms: list[Arm]) -> dict[str, Any]:
    """The sections of a params file with every one of `stages` repeated for every arm."""
    whole = {name: _complete(raw, name) for name in raw if name != "run"}
    unfolded = {"run": raw["run"]} if "run" in raw else {}
    for name, section in whole.items():
        if name not in stages:
            unfolded[name] = _with_every_arm(name, section, stages, arms)
    for arm in arms:
        for name in stages:
            if name in arm.without:
                continue
            new_name = f"{name}-{arm.name}"
            if new_name in unfolded:
                raise ParameterError(
                    f"the sweep makes the section {new_name} twice; give its values other names"
                )
            unfolded[new_name] = _of_arm(name, whole[name], stages, arm)
    return unfolded


def _with_every_arm(
    name: str, section: dict[str, Any], stages: list[str], arms: list[Arm]
) -> dict[str, Any]:
    """A section outside the sweep, whose dicts of stages take every arm of a repeated stage."""
    changed = dict(section)
    for key, value in input_stages(section, _notebook(name)).items():
        if isinstance(value, dict):
            changed[key] = {}
            for label, stage in value.items():
                if stage not in stages:
                    changed[key][label] = stage
                    continue
                for arm in arms:
                    if stage not in arm.without:
                        changed[key][f"{label}-{arm.name}"] = f"{stage}-{arm.name}"
    return changed


def _of_arm(name: str, section: dict[str, Any], stages: list[str], arm: Arm) -> dict[str, Any]:
    """A section of an arm, with its changes, reading the stages of the same arm."""
    of_notebook = arm.changes.get(name.split("-")[0], {})
    changed = {**section, **of_notebook, **arm.changes.get(name, {})}
    for key, value in input_stages(changed, _notebook(name)).items():
        if isinstance(value, dict):
            kept = {label: stage for label, stage in value.items() if stage not in arm.without}
            changed[key] = {label: _in_arm(stage, stages, arm) for label, stage in kept.items()}
        elif value in stages:
            changed[key] = _in_arm(value, stages, arm)
    return changed


def _in_arm(stage: str, stages: list[str], arm: Arm) -> str:
    return f"{stage}-{arm.name}" if stage in stages else stage


def _complete(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section with what it takes from its notebook's own section, and with its inputs by name."""
    section = {**(raw.get(name.split("-")[0]) or {}), **(raw[name] or {})}
    return section | input_stages(section, _notebook(name))


def _notebook(name: str) -> Path:
    notebook = find_root() / "notebooks" / f"{name.split('-')[0]}.ipynb"
    if not notebook.exists():
        raise ParameterError(f"section {name!r} is no notebook")
    return notebook
