"""How the simulated market words its documents: titles, places, levels, degrees and skills in many
phrasings.

Each slot has `seen` phrasings (training, validation) and `held_out` ones, which only test texts
use.
"""

from __future__ import annotations

from random import Random

from matchlib.data.skills import Graph

SLOTS: dict[str, dict[str, tuple[str, ...]]] = {
    "seen": {
        "job_open": (
            "{title} in {city}{mode}.",
            "We are hiring a {title} for our {city} office{mode}.",
            "Vacancy: {title}, based in {city}{mode}.",
        ),
        "job_level": ("{level} role, {years}.", "Level: {level}, {years}."),
        "must": ("## Must have", "## Requirements", "## You bring"),
        "nice": ("## Nice to have", "## A plus"),
        "resume_open": (
            "{level} {title} with {years} years of experience, living in {city}{mode}.",
            "{title} ({level}), {years} years in the field, {city}{mode}.",
        ),
        "done": ("## Experience", "## Work history"),
        "education": ("Education: {degree}.", "Degree: {degree}."),
        "asks_degree": ("{degree} required.", "Needs a {degree}."),
        "years": ("{n}+ years", "at least {n} years of experience"),
        "remote_job": (", remote possible", ", work from home"),
        "remote_resume": (", can work remotely", ", happy to relocate"),
        "filler": (
            "Worked in a team of {n}.",
            "Reported to the head of the department.",
            "Took part in {n} projects last year.",
            "Joined when the company had {n} people.",
        ),
        "junior": ("junior", "entry-level"),
        "middle": ("mid-level", "experienced"),
        "senior": ("senior", "highly experienced"),
        "lead": ("lead", "team lead"),
        "none": ("school leaving certificate",),
        "vocational": ("vocational certificate", "trade diploma"),
        "bachelor": ("bachelor's degree", "BSc or BA"),
        "master": ("master's degree", "MSc or MA"),
        "doctorate": ("doctorate", "PhD"),
    },
    "held_out": {
        "job_open": ("Join our {city} team as {title}{mode}.", "Wanted: {title}, {city}{mode}."),
        "job_level": ("We look for {level} people, {years}.", "Seniority: {level}; {years}."),
        "must": ("## What we ask", "## Essential"),
        "nice": ("## Welcome extras", "## Desirable"),
        "resume_open": (
            "Profile: {level} {title}, {years} years so far, home in {city}{mode}.",
            "{city}-based {level} {title}, {years} years of practice{mode}.",
        ),
        "done": ("## Career", "## What I did"),
        "education": ("Studies: {degree}.", "Qualification: {degree}."),
        "asks_degree": ("We expect a {degree}.", "Minimum qualification: {degree}."),
        "years": ("minimum {n} yrs", "no fewer than {n} years on the job"),
        "remote_job": (", home office welcome", ", location flexible"),
        "remote_resume": (", available from anywhere", ", willing to move"),
        "filler": (
            "Sat among {n} colleagues.",
            "Answered to a divisional manager.",
            "Contributed to {n} assignments in twelve months.",
            "Came in while headcount stood at {n}.",
        ),
        "junior": ("early-career", "beginner"),
        "middle": ("intermediate", "established"),
        "senior": ("expert-level", "seasoned"),
        "lead": ("principal", "head of team"),
        "none": ("basic schooling",),
        "vocational": ("apprenticeship", "technical college certificate"),
        "bachelor": ("undergraduate degree", "first university degree"),
        "master": ("postgraduate degree", "graduate-school degree"),
        "doctorate": ("doctoral degree", "DPhil"),
    },
}

PROXIES = {
    "woman": (
        "Captain of the women's football club.",
        "Returned from maternity leave.",
        "Coached a netball team.",
    ),
    "man": (
        "Captain of the men's football club.",
        "Returned from paternity leave.",
        "Coached a rugby team.",
    ),
}
"""The last of each holds no gendered word: it stays where those are redacted or swapped."""


class Wording:
    """Words one document: every slot is `held_out` with probability `unseen`, otherwise `seen`.

    graphs: the graph in both wordings; alias_gap, title_gap: probability that a skill, or a title,
    is not named canonically.
    """

    def __init__(
        self, graphs: dict[str, Graph], *, alias_gap: float, title_gap: float, unseen: float
    ):
        self.graphs, self.alias_gap, self.title_gap, self.unseen = (
            graphs,
            alias_gap,
            title_gap,
            unseen,
        )

    def _pick(self, rng: Random) -> str:
        return "held_out" if self.unseen and rng.random() < self.unseen else "seen"

    def slot(self, name: str, rng: Random, **values) -> str:
        """One phrasing of a slot, filled."""
        return rng.choice(SLOTS[self._pick(rng)][name]).format(**values)

    def title(self, occupation: str, rng: Random) -> str:
        """The occupation's canonical title, or with probability title_gap another one."""
        entry = self.graphs[self._pick(rng)].occupations[occupation]
        return rng.choice(entry.titles) if rng.random() < self.title_gap else entry.name

    def skill(self, skill: str, rng: Random, *, deeds: float) -> str:
        """The skill's name, an alias, or (with probability `deeds` of the non-canonical) a deed
        that implies it."""
        entry = self.graphs[self._pick(rng)].skills[skill]
        if rng.random() >= self.alias_gap:
            return entry.name
        return rng.choice(entry.evidence if rng.random() < deeds else entry.aliases)

    def job(self, job: dict, rng: Random, *, detail: int) -> str:
        """The advert of one job record (market.Market), `detail` filler sentences longer."""
        mode = self.slot("remote_job", rng) if job["remote"] == "yes" else ""
        years = self.slot("years", rng, n=job["min_years"])
        lines = [
            self.slot(
                "job_open",
                rng,
                title=self.title(job["occupation"], rng),
                city=job["city"],
                mode=mode,
            ),
            self.slot("job_level", rng, level=self.slot(job["seniority"], rng), years=years),
            self.slot("asks_degree", rng, degree=self.slot(job["degree"], rng)),
            *self._fillers(detail, rng),
            self.slot("must", rng),
            "; ".join(self.skill(s, rng, deeds=0.1) for s in job["must"]),
            self.slot("nice", rng),
            "; ".join(self.skill(s, rng, deeds=0.1) for s in job["nice"]),
        ]
        return "\n".join(lines)

    def resume(self, person: dict, rng: Random, *, detail: int) -> str:
        """The resume of one person record (market.Market), `detail` filler sentences longer."""
        mode = self.slot("remote_resume", rng) if person["remote"] == "yes" else ""
        level = self.slot(person["seniority"], rng)
        opening = self.slot(
            "resume_open",
            rng,
            title=self.title(person["occupation"], rng),
            level=level,
            years=person["years"],
            city=person["city"],
            mode=mode,
        )
        lines = [
            *([f"Name: {person['name']}"] if person["name"] else []),
            opening[0].upper() + opening[1:],
            self.slot("done", rng),
            "; ".join(self.skill(s, rng, deeds=0.5) for s in person["skills"]),
            *self._fillers(detail, rng),
            *([person["proxy"]] if person["proxy"] else []),
            self.slot("education", rng, degree=self.slot(person["degree"], rng)),
        ]
        return "\n".join(lines)

    def _fillers(self, detail: int, rng: Random) -> list[str]:
        return [self.slot("filler", rng, n=rng.randint(3, 60)) for _ in range(detail)]
