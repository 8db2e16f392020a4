"""Edits of one person's text at a time, each beside a control of the same form.

A score moves whenever a text changes. What a name, a year or a line about leave does is therefore
the difference to an edit of the same form that should not matter: another name of the same gender
and the same list, another year, a line about a hobby. Names stand for all names of their list and wordings
for what else could have been written, so intervals are over names and wordings, not over resumes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.data.names import names_of_locale, unambiguous_names
from matchlib.data.schema import DataError
from matchlib.stats import mean_interval

ScoreTexts = Callable[[Sequence[str]], np.ndarray]
"""From n texts of resumes to (J, n) scores for all jobs."""
BASE_LOCALES = ("en_US", "en_GB", "en_IE")
NAME_LINE = "Name: "
BASE, SAME_NAME, OTHER_NAME = "own name", "name of the same gender", "name of the other gender"
HOBBY, OTHER_HOBBY = "a hobby", "another hobby"
RECENT_YEAR, OTHER_YEAR, OLD_YEAR = "a recent year", "another recent year", "an old year"
LEAVE, CARE = "parental leave", "gap for care"
OWN_OLDER, OWN_EARLIER = "own year of education, 25 earlier", "own year of education, 1 earlier"
AGE_EFFECT = "their own years of education 25 years earlier"
YEARS_EARLIER = {OWN_OLDER: 25, OWN_EARLIER: 1}
_EDUCATION_YEAR = re.compile(
    r"(?:\b(?:graduat\w*|degree|bachelor\w*|master'?s|b\.?sc|m\.?sc|diploma|university|college|school)\b"
    r"[^\n\d]{0,80})(\b(?:19[5-9]\d|20[0-3]\d)\b)(?:\s*[-–—]\s*(\b(?:19[5-9]\d|20[0-3]\d)\b))?",
    re.I,
)
"""A year, or a span of years, after a word for education in one line."""
PHONE, LINE_ORDER = "phone number", "line order"
SHOULD_NOT_MATTER = "(should not matter)"
_HOBBIES = (
    *("photography club, 2019 to 2020.", "evening choir, 2019 to 2020.", "Plays chess."),
    *("Grows vegetables.", "Long walks, 2018 to 2019.", "Collects stamps.", "Learns the piano."),
    *("A year of travel, 2019 to 2020.", "Paints landscapes.", "Reads history, mostly at night."),
)
_LEAVES = (
    *("parental leave, 2019 to 2020.", "on parental leave, 2018 to 2019.", "Took parental leave."),
    *("Leave after the birth of a child.", "A year of parental leave, 2019 to 2020."),
    *("Family leave with a newborn.", "Stayed with a baby, 2018 to 2019.", "Child-rearing leave."),
    *("Back from parental leave.", "Leave to raise two children, 2018 to 2020."),
)
_CARES = (
    *("at home to care for family, 2019 to 2020.", "Cared for a relative, 2018 to 2019."),
    *("Career break for care.", "Nursed a sick parent.", "Looked after family members."),
    *("A year of caring, 2019 to 2020.", "Family carer.", "Break to care for a partner, 2019."),
    *("Full-time carer, 2018 to 2020.", "Left work to care for a parent."),
)
N_WORDINGS = 10
"""Wordings of each kind of line, and years of each kind."""
IRRELEVANT = (SAME_NAME, HOBBY, PHONE, LINE_ORDER)
"""Edits that should not move anybody: their mean size is what other effects are read against."""
_GENDERS = {"woman": "woman", "female": "woman", "f": "woman"}
_GENDERS |= {"man": "man", "male": "man", "m": "man"}
WOMAN_NAME = "a woman's name for a man's"
SWAP_COLUMNS = ["effect", "control", "measure", "value", "low", "high", "n", "n_clusters"]
SWAP_COLUMNS += ["shift", "control_shift", "irrelevant_size"]
SHOWN = ["effect", "control", "value", "low", "high", "n_clusters", "irrelevant_size"]
SHIFT, PLACES = "score shift", "places up, share of the pool"


@dataclass(frozen=True)
class Contrast:
    """effect: its name; edit, control: whose scores are compared; clusters: the column of people who
    share what is varied."""

    effect: str
    edit: str
    control: str
    clusters: str = "wording"


def contrasts(locales: Sequence[str]) -> list[Contrast]:
    """What is compared with what; locales: of faker's lists, read as signs of an ethnicity."""
    names = [Contrast(WOMAN_NAME, OTHER_NAME, SAME_NAME, clusters="name_set")]
    for locale in locales:
        names.append(Contrast(f"a name of {locale}", locale, SAME_NAME, clusters="name_set"))
    return [
        *names,
        Contrast("graduated in the 1980s, not of late", OLD_YEAR, RECENT_YEAR),
        Contrast(f"another recent year {SHOULD_NOT_MATTER}", OTHER_YEAR, RECENT_YEAR),
        Contrast(AGE_EFFECT, OWN_OLDER, OWN_EARLIER, clusters="resume_id"),
        Contrast("a line on parental leave", LEAVE, HOBBY),
        Contrast("a line on a gap for care", CARE, HOBBY),
        Contrast(f"another hobby {SHOULD_NOT_MATTER}", OTHER_HOBBY, HOBBY),
    ]


def draw_name_sets(n: int, locales: Sequence[str], *, seed: int) -> dict[str, list[dict[str, str]]]:
    """woman and man -> n sets of names: BASE, SAME_NAME, OTHER_NAME, and one of each locale.

    No name stands twice. Raises DataError if a list has too few.
    """
    rng = np.random.default_rng(seed)
    single = unambiguous_names()
    own = {gender: _names_of(BASE_LOCALES, gender, single) for gender in ("woman", "man")}
    used = set(own["woman"]) | set(own["man"])
    sets: dict[str, list[dict[str, str]]] = {"woman": [], "man": []}
    drawn = {}
    for gender, names in own.items():
        if len(names) < 3 * n:
            raise DataError(
                f"there are {len(names)} names of a {gender}; n is at most {len(names) // 3}"
            )
        drawn[gender] = rng.permutation(names)
    others = {"woman": "man", "man": "woman"}
    for gender, other in others.items():
        by_locale = {}
        for locale in locales:
            names = [name for name in _names_of((locale,), gender, single) if name not in used]
            if len(names) < n:
                raise DataError(f"{locale} has {len(names)} names of a {gender}; n is at most that")
            by_locale[locale] = rng.permutation(names)[:n]
            used |= set(by_locale[locale])
        for i in range(n):
            drawn_set = {BASE: drawn[gender][i], SAME_NAME: drawn[gender][n + i]}
            drawn_set[OTHER_NAME] = drawn[other][2 * n + i]
            drawn_set |= {locale: by_locale[locale][i] for locale in locales}
            sets[gender].append({key: str(name) for key, name in drawn_set.items()})
    return sets


def _names_of(locales: Sequence[str], gender: str, single: dict[str, tuple[str, ...]]) -> list[str]:
    """Sorted names of some lists that no list gives to the other gender."""
    names = set()
    for locale in locales:
        names.update(names_of_locale(locale)[gender])
    return sorted(names & set(single[gender]))


def make_variants(
    resumes: pd.DataFrame,
    *,
    n_resumes: int,
    n_names: int,
    locales: Sequence[str],
    gender_column: str = "gender",
    seed: int = 0,
) -> pd.DataFrame:
    """Texts of drawn people with one thing changed: resume_id, name_set, wording, sign, edit,
    text.

    Each text begins with a line "Name: ..." (its own is replaced); everything else is added to that
    text, or moved in it. name_set: people who share it have the same names; sign: -1 for women, so
    that "a woman's name for a man's" has one direction. A person whose gender is not given counts
    as woman and man in turn. resumes: resume_id, text, perhaps the gender ("woman", "Female", "m").
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(resumes))[:n_resumes]
    people = resumes.iloc[np.sort(chosen)]
    name_sets = draw_name_sets(n_names, locales, seed=seed)
    rows = []
    for i, person in enumerate(people.to_dict("records")):
        stated = str(person.get(gender_column, "")).strip().lower()
        gender = _GENDERS.get(stated, ("woman", "man")[i % 2])
        number = i % n_names
        facts = {"resume_id": person["resume_id"], "name_set": number, "wording": i % N_WORDINGS}
        facts["sign"] = -1 if gender == "woman" else 1
        texts = edited_texts(person["text"], name_sets[gender][number], i)
        rows += [facts | {"edit": edit, "text": text} for edit, text in texts.items()]
    return pd.DataFrame(rows)


def edited_texts(text: str, names: dict[str, str], number: int) -> dict[str, str]:
    """edit -> the text with it; names: edit -> name; number: of the phone and of the wordings."""
    rest = [line for line in text.split("\n") if not line.startswith(NAME_LINE)]
    body = "\n".join(rest)
    texts = {edit: f"{NAME_LINE}{name}\n{body}" for edit, name in names.items()}
    base = texts[BASE]
    for edit, line in added_lines(number).items():
        texts[edit] = f"{base}\n{line}"
    texts[PHONE] = f"{base}\nPhone: 020 7946 0{number % 1000:03d}"
    if _EDUCATION_YEAR.search(base):
        texts |= {edit: earlier_education(base, years) for edit, years in YEARS_EARLIER.items()}
    lines = base.split("\n")
    texts[LINE_ORDER] = "\n".join([lines[0], *lines[2:], *lines[1:2]])
    return texts


def earlier_education(text: str, years: int) -> str:
    """The text with the years of education that it names so many years earlier."""

    def moved(match: re.Match) -> str:
        found = match[0]
        for year in filter(None, match.groups()):
            found = found.replace(year, str(int(year) - years))
        return found

    return _EDUCATION_YEAR.sub(moved, text)


def added_lines(number: int) -> dict[str, str]:
    """edit -> the line that it adds, of the wordings of one number (modulo N_WORDINGS)."""
    i = number % N_WORDINGS
    j = (i + N_WORDINGS // 2) % N_WORDINGS
    return {
        HOBBY: f"Other: {_HOBBIES[i]}",
        OTHER_HOBBY: f"Other: {_HOBBIES[j]}",
        LEAVE: f"Other: {_LEAVES[i]}",
        CARE: f"Other: {_CARES[i]}",
        RECENT_YEAR: f"Graduated in {2012 + i}.",
        OTHER_YEAR: f"Graduated in {2012 + j}.",
        OLD_YEAR: f"Graduated in {1980 + i}.",
    }


def score_variants(
    variants: pd.DataFrame, score_texts: ScoreTexts, pool_scores: np.ndarray
) -> pd.DataFrame:
    """The variants with SHIFT and PLACES against the person's BASE, means over jobs.

    pool_scores: (J, R) scores of everyone as they are, among whom an edited text is placed; others
    keep their texts.
    """
    scores = score_texts(list(variants["text"]))
    ordered = np.sort(pool_scores, axis=1)
    places = np.empty(scores.shape)
    for job in range(len(scores)):
        places[job] = np.searchsorted(ordered[job], scores[job]) / ordered.shape[1]
    frame = variants.drop(columns="text")
    frame = frame.assign(**{SHIFT: scores.mean(axis=0), PLACES: places.mean(axis=0)})
    base = frame[frame["edit"] == BASE].set_index("resume_id")
    for measure in (SHIFT, PLACES):
        frame[measure] -= base[measure].reindex(frame["resume_id"]).to_numpy()
    return frame


def controlled_effects(scored: pd.DataFrame, locales: Sequence[str]) -> pd.DataFrame:
    """Each effect beyond its control: SWAP_COLUMNS, 95% intervals over names or wordings.

    scored: of `score_variants`. value: the mean over people of the edit's shift less the control's;
    shift, control_shift: their means; irrelevant_size: the mean absolute shift of edits that should
    not matter. People who got the same names, or the same wordings or years, are one observation of
    them: intervals are over sets of names, or over wordings; of the years of education that texts hold
    themselves, over the people who have such.
    """
    rows = []
    for measure in (SHIFT, PLACES):
        by_edit = scored.pivot(index="resume_id", columns="edit", values=measure)
        people = scored.drop_duplicates("resume_id").set_index("resume_id").loc[by_edit.index]
        irrelevant = by_edit[list(IRRELEVANT)].abs().to_numpy().mean()
        for contrast in contrasts(locales):
            if contrast.edit not in by_edit:
                continue  # nobody's text holds what it changes
            sign = people["sign"] if contrast.effect == WOMAN_NAME else 1
            has_edit = by_edit[contrast.edit].notna()
            shift = (by_edit[contrast.edit] * sign)[has_edit]
            control = (by_edit[contrast.control] * sign)[has_edit]
            clusters = people.reset_index()[contrast.clusters].to_numpy()[has_edit]
            row = {"effect": contrast.effect, "control": contrast.control, "measure": measure}
            row |= mean_interval((shift - control).to_numpy(), clusters)
            row |= {"shift": shift.mean(), "control_shift": control.mean()}
            rows.append(row | {"irrelevant_size": irrelevant})
    return pd.DataFrame(rows, columns=SWAP_COLUMNS)


def summarise_effects(effects: pd.DataFrame) -> str:
    """Which effects are beyond their controls, in places, in one sentence."""
    places = effects[effects["measure"] == PLACES]
    beyond = places[(places["low"] > 0) | (places["high"] < 0)]
    scope = f"of {len(places)} effects, each at 95% by itself"
    moved_by_nothing = beyond["effect"].str.contains(SHOULD_NOT_MATTER, regex=False)
    if moved_by_nothing.any():
        scope += "; an edit that should not matter is among them: read no effect of its size"
    if beyond.empty:
        reach = places[["low", "high"]].abs().max().max()
        if np.isnan(reach):
            return f"no effect has an interval ({scope})"
        return (
            f"no effect is beyond its control ({scope}); their intervals do not rule out effects of up to "
            f"{reach:.1%} of the pool"
        )
    parts = [
        f"{row.effect} {row.value:+.2%} of the pool [{row.low:+.2%}, {row.high:+.2%}]"
        for row in beyond.itertuples()
    ]
    return f"beyond the control ({scope}): {'; '.join(parts)}"
