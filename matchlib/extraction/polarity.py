"""Polarity of a skill where a text names it: held, denied, wanted or unknown.

Source: NegEx (Chapman and others, Journal of Biomedical Informatics 34, 2001) and ConText (Harkema
and others, the same 42, 2009): a trigger ("no", "eager to") reaches from its place to the end of its
clause, forward or back; a pseudo-trigger ("not only", "no problem") reaches nowhere. Theirs are
clinical findings; the triggers here are our own, of resumes in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

HELD, DENIED, WANTED, UNKNOWN = "held", "denied", "wanted", "unknown"
POLARITIES = (HELD, DENIED, WANTED, UNKNOWN)

_NOT = r"(?:not|never|cannot|(?:do|does|did|is|was|were|are|have|has|had|ca|could|would|should|wo)n['’]?t)"
_PSEUDO = re.compile(
    r"\bnot (?:only|just|merely|least|limited to|afraid|to mention|a fan|a single)\b"
    r"|\bno (?:problems?|stranger|doubt|less than|fear|points|longer than|show\b|major|incidents?|accidents?)"
    r"|\bnobody (?:else|had)|\bno team had|\bnever (?:an afterthought|miss\w*|fail\w*|get tired|tired)\b"
    rf"|\b{_NOT} (?:shy|imagine|afraid|smoke|leak|mind|be done)\b|\bwho doe?s?n['’]?t\b"
    r"|\bwithout (?:being|an? |agency|formal|difficulty|downtime|issues?|problems?|spreadsheets)"
    r"|\bnone of (?:them|which)\b|\bno (?:other way|certificate|code)\b|\bif not\b|\bnot (?:used it )?lately\b"
    r"|\bnothing exotic\b|\bimagine a \w+ without\b|\bfrom zero\b",
    re.I,
)
_DENIED_BEFORE = re.compile(
    rf"\b(?:{_NOT}|no|without|lack(?:s|ing|ed)?|neither|nor|zero|0 years?|nil|unfamiliar|unable"
    r"|unqualified|little to no|hardly any|have yet to|has yet to|rather than|instead of|none in)\b",
    re.I,
)
_DENIED_AFTER = re.compile(
    r"^(?:\s(?:skills?|experience|knowledge|certificates?|licen[cs]e|cards?)\b)?\s*[:(?–—-]\s*"
    r"(?:none|nil|no|not|never|zero|0)\b"
    rf"|\b(?:is|was|are|were|it|and)\b[^,;]{{0,12}}\b(?:new to me|non-existent|unknown to me|{_NOT})\b"
    rf"|^\s?(?:is|was|are)?n['’]t\b|^\s?i\b[^,;]{{0,10}}\b{_NOT}\b|\W(?:not|no)\s(?:certified|my area|experience|yet)"
    r"|\bexpired\b|\bnon-existent\b|\bnew to me\b",
    re.I,
)
_WANTED_BEFORE = re.compile(
    r"\b(?:eager|keen|willing|happy|ready|prepared|open|hope|hoping|wish|plan(?:ning)?|aim(?:ing)?|want(?:s|ing)?"
    r"|looking|seeking|(?:would|['’]d) (?:like|love|welcome)|aspir\w+|dream\w*|curious|interest(?:ed)?)\b"
    r"(?: \w+){0,3}? (?:to|in|for|of|about)\b|(?<!machine )(?<!deep )(?<!e-)\blearn(?:ing|t? to)?\b"
    r"|\bteaching myself\b|\bstud(?:y|ying) for\b"
    r"|\benrolled\b|\babout to start\b|\bjust starting\b|\bbeg(?:u|i)n(?:ning)? to learn\b|\bworking towards\b"
    r"|\b(?:my|long-term|career) (?:goal|aim)\b|\bnext on my list\b|\bwould welcome\b|\baspiring\b|\bto pick up\b",
    re.I,
)
_WANTED_AFTER = re.compile(
    r"\b(?:want to learn|in training|planned|booked|beginner|to be learn\w*|learning plan|interests me"
    r"|(?:i want|i would like|i['’]d like) to|starts next|course in)\b",
    re.I,
)
_USES_IT = re.compile(
    r"\b(?:deepen|improve my|extend|put my|to use|use my|apply my|build on|brush up|expand my|strengthen)\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:my (?:manager|boss|brother|sister|mother|father|wife|husband|friend|colleagues?)|our (?:clients?|customers?)"
    r"|colleagues|they|developers who|people who|an agency|external \w+|the \w+ (?:team|company)|the company"
    r"|hr|the website)\b(?! (?:asked|told) me to (?:use|run))|\bread a book about\b|\bask me about\b|\bcame from\b",
    re.I,
)
_OTHERS_AFTER = re.compile(
    r"^\W{0,3}(?:was|were|is) outsourced|^ asked\b|\bby an? (?:external|outside)|^ sat next|^\?\s*$|\bas i was told\b",
    re.I,
)
_CLAUSE_END = re.compile(
    r"[.;!](?=\s|$)|\s[-–—]\s|\b(?:but|however|although|though|yet i|whereas|while|except|when others)\b"
    r"|,\s*(?:and |so |which )?(?:i|we|my|only|eager|but|they)\b|,\s*(?=\d)|\band i\b",
    re.I,
)
_TRIGGER_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    0 agency aim aiming arent ask asked aspiring begin beginner beginning begun booked
    came cannot cant colleague colleagues company couldnt course curious didnt doesnt dont dream
    dreaming eager enrolled expired external goal hadnt happy hardly hasnt havent hope hoping hr
    instead interest interested interests isnt keen lack lacked lacking lacks learn learned
    learning learnt like looking love my neither never new next nil no non none nor not open our outside
    outsourced people pick plan planned planning prepared rather read ready sat seeking shouldnt
    starting starts study studying t teaching they told towards training unable unfamiliar unknown
    unqualified want wanting wants wasnt website welcome werent who willing wish without wont
    wouldnt yet zero
    """,
    )
)
"""Every trigger holds one of them; "t" is what is left of "don't"."""


def has_trigger(words: Sequence[str]) -> bool:
    """Whether a sentence's lower-case words may hold a trigger; without one all that it names is held."""
    return not _TRIGGER_WORDS.isdisjoint(words)


def polarity_of(sentence: str, start: int, end: int) -> str:
    """HELD, DENIED, WANTED or UNKNOWN of what sentence[start:end] names.

    UNKNOWN is what others have or do. Where triggers disagree the one nearest to the skill decides.
    """
    clause_start, clause_end = _clause(sentence, start, end)
    before = sentence[clause_start:start]
    after = sentence[end:clause_end]
    found = [
        *_nearest_before(before, _DENIED_BEFORE, DENIED),
        *_nearest_before(before, _WANTED_BEFORE, WANTED),
        *_nearest_before(before, _OTHERS, UNKNOWN),
        *_nearest_after(after, _DENIED_AFTER, DENIED),
        *_nearest_after(after, _WANTED_AFTER, WANTED),
        *_nearest_after(after, _OTHERS_AFTER, UNKNOWN),
    ]
    return min(found)[1] if found else HELD


def _clause(sentence: str, start: int, end: int) -> tuple[int, int]:
    """Start and end of the clause of sentence[start:end]."""
    first, last = 0, len(sentence)
    for match in _CLAUSE_END.finditer(sentence):
        if match.end() <= start:
            first = match.start() if match[0].strip(" ,").isalpha() else match.end()
        elif match.start() > end:  # a dash directly after it, "Jira - never", belongs to it
            last = match.start()
            break
    return first, last


def _nearest_before(text: str, triggers: re.Pattern, polarity: str) -> Iterator[tuple[int, str]]:
    """(distance to the skill, polarity) of the last trigger that no pseudo-trigger covers."""
    covered = [match.span() for match in _PSEUDO.finditer(text)]
    ends = []
    for match in triggers.finditer(text):
        if any(low <= match.start() < high for low, high in covered):
            continue
        if polarity == WANTED and _USES_IT.search(text, match.start()):
            continue
        ends.append(match.end())
    if ends:
        yield len(text) - max(ends), polarity


def _nearest_after(text: str, triggers: re.Pattern, polarity: str) -> Iterator[tuple[int, str]]:
    covered = [match.span() for match in _PSEUDO.finditer(text)]
    for match in triggers.finditer(text):
        if not any(low <= match.start() < high for low, high in covered):
            yield match.start(), polarity
            return
