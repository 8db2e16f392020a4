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
    r"\bnot (?:only|just|merely|solely|least|limited to|afraid|to mention|a fan|a single|a day|un\w+|inexperienced"
    r"|uncommon|an? expert|sure)"
    r"|\bno (?:problems?|issues?|stranger|doubt|less|fewer|fear|points|longer|show\b|major|incidents?|accidents?|gaps in"
    r"|complaints?|formal|degree|certificate|code|other way|one\b|nonsense|wish to go back|\w+ (?:project|job|task) of mine)"
    r"|\bno-nonsense\b|\bnobody (?:else|had)|\bno team had|\bthere is no \w+(?: \w+)? i have not\b"
    r"|\bnever (?:an afterthought|miss\w*|fail\w*|get tired|tired|stop\w*|late|lost)\b"
    rf"|\b{_NOT} (?:shy|imagine|afraid|smoke|leak|mind|be done|hesitate|enjoy|care|say i (?:do not|don['’]t))\b"
    r"|\bwho doe?s?n['’]?t\b|\bnon-(?!existent)\w+\b|\bif not\b|\bnone of (?:them|which|it)\b|\bnothing (?:exotic|beats)\b"
    r"|\bfrom zero\b|\bwithout (?:being|an? |agency|formal|difficulty|downtime|issues?|problems?|errors?|delays?|supervision)"
    r"|\b(?:not )?(?:used it )lately\b|\ba day without\b|\bnot (?:needed|required|necessary|my first)\b|\bneed not\b"
    r"|\bzero (?:defects?|downtime|errors?|accidents?|complaints?|waste|tolerance)\b"
    r"|\b(?:staff|students|people|juniors|colleagues|beginners|applicants|those)"
    r" (?:with no|who (?:never|do not|don['’]t)|without|eager|keen)\b",
    re.I,
)
_DENIED_BEFORE = re.compile(
    rf"\b(?:{_NOT}|no|without|lack(?:s|ing|ed)?|neither|nor|zero|0(?: (?:years|months))?(?= of)|0 years|nil|unfamiliar"
    r"|inexperienced|unable|unqualified|untrained|little to no|hardly any|barely any|yet to|rather than|instead of"
    r"|except|nothing (?:about|in|of|with)|missing are|gaps?:|failed the|refuse|new to|weak (?:point|spot) is"
    r"|stranger to|ignorant of)\b|\bw/o\b|\bgaps?:",
    re.I,
)
_LEFT_OUT = (
    r"(?:(?:none|nil|n/a|never|zero|0)\b"
    r"|(?:no|not)(?:\s*(?:$|[).,;])|\s(?:experience|certified|yet|held|used|known|training)))"
)
_DENIED_AFTER = re.compile(
    r"^(?:\s(?:skills?|experience|knowledge|certificates?|licen[cs]e|cards?)\b)?\s*[:(?–—-]\s*"
    + _LEFT_OUT
    + r"|^(?: \w+){0,2} no$|^(?: \w+)? (?:is |are |was )?not (?:held|included|known|mine|part of)\b"
    r"|\blimited to (?:none|zero)\b|\bis zero\b|\bis something i cannot\b|\bwhich i (?:have not|haven['’]t)\b"
    rf"|\b(?:is|was|are|were|it|and)\b[^,;]{{0,12}}\b(?:new to me|non-existent|unknown to me|{_NOT})\b"
    rf"|^\s?(?:is|was|are)?n['’]t\b|^\s?i\b[^,;]{{0,10}}\b{_NOT}\b"
    r"|^[^()]{0,20}\W(?:not|no)\s(?:certified|my area|experience|yet)"
    r"|\bexpired\b|\bnon-existent\b|\bnew to me\b",
    re.I,
)
_HELD_AFTER = re.compile(
    r"\bsince \d|\blast in\b|\bisn['’]t my strongest|\b(?:any more|anymore)\b|\bfive years were\b",
    re.I,
)
"""What was done before is held, however it is said that it is not done now."""
_WANTED_BEFORE = re.compile(
    r"\b(?:eager|keen|willing|happy|ready|prepared|open|hope|hoping|wish|plan(?:ning)?|aim(?:ing)?|want(?:s|ing|ed)?"
    r"|looking|seeking|motivated|(?:would|['’]d) (?:like|love|welcome)|aspir\w+|dream\w*|curious|interest(?:ed)?)\b"
    r"(?: \w+){0,3}? (?:to|in|for|of|about)\b|(?<!machine )(?<!deep )(?<!e-)(?<!yet to )\blearn(?:ing|t? to|ed:)?(?=\b|:)"
    r"|\bteaching myself\b|\bstud(?:y|ying) for\b|\bto study\b|\benrolled\b|\babout to start\b|\bjust starting\b"
    r"|\bbeg(?:u|i)n(?:ning)? to learn\b|\bworking towards\b|\b(?:goal|ambition|objective|aim|next up|in training):"
    r"|\b(?:my|long-term|career) (?:goal|aim|objective)\b|\bnext on my list\b|\bwould welcome\b|\baspiring\b"
    r"|\bto pick up\b|\bcourse in\b",
    re.I,
)
_WANTED_AFTER = re.compile(
    r"\b(?:want to learn|in training|planned|booked|beginner|to be learn\w*|learning plan|interests me|in progress"
    r"|pending|on my list|expected|great thing to learn|starts (?:in|next)"
    r"|(?:i want|i would like|i['’]d like) to|course in)\b",
    re.I,
)
_DENIES_NEXT = re.compile(rf"\b(?:{_NOT}|no)\W+(?:\w+\W+){{0,2}}$", re.I)
_USES_IT = re.compile(
    r"\b(?:deepen|improve my|extend|put my|to use|use my|apply my|build on|brush up|expand my|strengthen)\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:my (?:manager|boss|brother|sister|mother|father|wife|husband|friend|colleagues?)"
    r"|(?:our|the) (?:clients?|customers?|partner|supplier|manager|website|company|\w+ team|team next)\b(?:['’]s)?"
    r"|colleagues|they|we will|developers who|people who|an agency|external \w+|hr)\b"
    r"|\bhead of\b|\bread a book about\b|\ba talk on\b|\bheard of\b|\bask me about\b|\bcame from\b|\bpossibly\b"
    r"|\b(?:may|might) have\b|^\s*is\b|\bneed not\b|\bdo(?: not|n['’]t) (?:need|expect|require)\b",
    re.I,
)
_OTHERS_AFTER = re.compile(
    r"^\W{0,3}(?:was|were|is) outsourced|\bby an? (?:external|outside)|^ asked\b|^ sat next|^\?\s*$|\bas i was told\b"
    r"|\b(?:not )?(?:needed|required|necessary)\b",
    re.I,
)
_CLAUSE_END = re.compile(
    r"[.;!](?=\s|$)|\s[-–—]\s|\b(?:but|however|although|though|yet i|whereas|while|when others)\b"
    r"|,\s*(?:and |so |which )?(?:i|we|my|only|eager|but|they|strong|skilled|good|proficient|fluent|experienced|expert)\b"
    r"|,\s*(?=\d)|\band i\b|\bnot \w+ but\b",
    re.I,
)
_TRIGGER_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    0 agency aim aiming ambition any arent ask asked aspiring barely begin beginner beginning begun booked boss
    brother came cannot cant client clients colleague colleagues company couldnt course curious customer customers
    day didnt doesnt dont dream dreaming eager enrolled except existent expect expected expired external failed
    father friend gap gaps goal hadnt happy hardly hasnt havent head heard hope hoping hr husband ignorant
    inexperienced instead interest interested interests isnt keen lack lacked lacking lacks learn learned learning
    learnt limited list looking love manager may might missing mother motivated my need needed neither never new
    next nil no non none nor not nothing objective open our outside outsourced partner pending people pick plan
    planned planning possibly prepared progress rather read ready refuse required sat seeking shouldnt sister
    starting starts stranger study studying supplier t talk teaching team they told towards training unable
    unfamiliar unknown unqualified untrained w want wanted wanting wants wasnt we weak website welcome werent who
    wife willing wish without wont wouldnt yet zero
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
    if _HELD_AFTER.search(after):
        return HELD
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
        if polarity == WANTED and _is_no_wish(text, match.start()):
            continue
        ends.append(match.end())
    if ends:
        yield len(text) - max(ends), polarity


def _is_no_wish(text: str, start: int) -> bool:
    """Whether a wish at `start` is denied ("not keen to"), or is for more of what is held."""
    return bool(_USES_IT.search(text, start) or _DENIES_NEXT.search(text, 0, start))


def _nearest_after(text: str, triggers: re.Pattern, polarity: str) -> Iterator[tuple[int, str]]:
    covered = [match.span() for match in _PSEUDO.finditer(text)]
    for match in triggers.finditer(text):
        if not any(low < match.end() and match.start() < high for low, high in covered):
            yield match.start(), polarity
            return
