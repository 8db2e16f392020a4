"""Rules for the polarity of a skill where a text names it: held, denied, wanted or unknown.

`polarity_model` reads beside them what no rule foresaw.

Source: NegEx (Chapman and others, Journal of Biomedical Informatics 34, 2001) and ConText (Harkema
and others, the same 42, 2009): a trigger ("no", "eager to") reaches from its place to the end of its
clause, forward or back, but no further than REACH words; a pseudo-trigger ("not only", "no
problem") reaches nowhere. Theirs are clinical findings; the triggers here are our own, of resumes in
English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HELD, DENIED, WANTED, UNKNOWN = "held", "denied", "wanted", "unknown"
POLARITIES = (HELD, DENIED, WANTED, UNKNOWN)


def _phrases(*alternatives: str) -> re.Pattern:
    """A pattern of any of them, at word boundaries and in any case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.I)


_NOT = r"(?:not|never|cannot|(?:do|does|did|is|was|were|are|have|has|had|ca|could|would|should|wo)n['’]?t)"
_PSEUDO = _phrases(
    r"not (?:only|just|merely|solely|least|limited to|to mention|afraid|an? \w+|inexperienced|un\w+|sure)",
    r"no (?:problems?|issues?|doubt|fear|stranger|less|fewer|longer|major|one|nonsense|other way|gaps)",
    r"no (?:accidents?|incidents?|complaints?|points|formal|degree|certificate|code|wish to)",
    r"no-nonsense|no\w+ else|non-(?!existent)\w+|none of (?:them|which|it)|if not|from zero",
    r"never (?:an? \w+|miss\w*|fail\w*|stop\w*|(?:get )?tired|late|lost)",
    rf"{_NOT} (?:shy|imagine|mind|hesitate|enjoy|care|say i (?:do not|don['’]t))|who doe?s?n['’]?t",
    r"without (?:being|an? \w+|difficulty|downtime|issues?|problems?|errors?|delays?|supervision)",
    r"(?:a|an) \w+ without|zero (?:defects?|downtime|errors?|accidents?|complaints?|waste|tolerance)",
    r"not (?:needed|required|necessary|my first)|need not",  # an advert's words in a resume
    r"(?:staff|students|people|juniors|colleagues|beginners|applicants|those)"  # others lack or want it
    r" (?:with no|who (?:never|do not|don['’]t)|without|eager|keen)",
)
_DENIED_BEFORE = _phrases(
    _NOT,
    r"no|without|w/o|lack(?:s|ing|ed)?|neither|nor|zero|nil|except|nothing (?:about|in|of|with)",
    r"0 years|0(?: (?:years|months))?(?= of)|little to no|(?:hardly|barely) any|yet to",
    r"unfamiliar|inexperienced|unable|unqualified|untrained|rather than|instead of",
    r"new to|stranger to|ignorant of|failed the|refuse|weak (?:point|spot) is|missing are|gaps?:",
)
_DENIED_AFTER = re.compile(
    # "SQL: none", "SQL experience - never", "SQL (not certified)"
    r"^(?:\s(?:skills?|experience|knowledge|certificates?|licen[cs]e|cards?))?\s*[:(?–—-]\s*(?:"
    r"(?:none|nil|n/a|never|zero|0)\b"
    r"|(?:no|not)(?:\s*(?:$|[).,;])|\s(?:experience|certified|yet|held|used|known|training)))"
    # "Java yes, SQL no", "SQL is not included"
    r"|^(?: \w+){0,2} no$|^(?: \w+)? (?:is |are |was )?not (?:held|included|known|mine|part of)\b"
    # "SQL is not ...", "SQL isn't", "SQL I have never"
    rf"|\b(?:is|was|are|were|it|and)\b[^,;]{{0,12}}\b{_NOT}\b|^\s?(?:is|was|are)?n['’]t\b"
    rf"|^\s?i\b[^,;]{{0,10}}\b{_NOT}\b|\bis something i cannot\b|\bwhich i (?:have not|haven['’]t)\b"
    r"|^[^()]{0,20}\W(?:not|no)\s(?:certified|my area|experience|yet)"
    r"|\b(?:new|unknown) to me\b|\bnon-existent\b|\blimited to (?:none|zero)\b|\bis zero\b|\bexpired\b",
    re.I,
)
_HELD_AFTER = _phrases(r"since \d+|last in|isn['’]t my strongest|any ?more")
"""What was done before is held, however it is said that it is not done now."""
_WISHES = (
    r"eager|keen|willing|happy|ready|prepared|open|hope|hoping|wish|plan(?:ning)?|aim(?:ing)?|want(?:s|ing|ed)?"
    r"|looking|seeking|motivated|(?:would|['’]d) (?:like|love|welcome)|aspir\w+|dream\w*|curious|interest(?:ed)?"
)
_WANTED_BEFORE = _phrases(
    rf"(?:{_WISHES})(?: \w+){{0,3}}? (?:to|in|for|of|about)",
    r"(?<!machine )(?<!deep )(?<!e-)(?<!yet to )learn(?:ing|t? to|ed:)?",  # not "machine learning"
    r"teaching myself|stud(?:y|ying) for|to study|enrolled|(?:about to|just) start(?:ing)?",
    r"beg[iu]n(?:ning)? to learn|working towards|to pick up|course in|aspiring|would welcome",
    r"(?:my|long-term|career) (?:goal|aim|objective)|next on my list",
    r"(?:goal|ambition|objective|aim|next up|in training|my list):",
)
_WANTED_AFTER = _phrases(
    r"want to learn|to be learn\w*|great thing to learn|(?:i want|i would like|i['’]d like) to",
    r"in training|planned|booked|beginner|in progress|pending|expected|interests me|course in",
    r"learning plan|on my list|starts (?:in|next)",
)
_DENIES_NEXT = re.compile(rf"\b(?:{_NOT}|no)\W+(?:\w+\W+){{0,2}}$", re.I)
"""A negation right before a wish: "not interested in"."""
_USES_IT = _phrases(
    r"deepen|extend|strengthen|build on|brush up|to use|(?:improve|put|use|apply|expand) my"
)
_OTHERS = _phrases(
    r"my (?:manager|boss|brother|sister|mother|father|wife|husband|friend|colleagues?)",
    r"(?:our|the) (?:clients?|customers?|partner|supplier|manager|website|company|\w+ team|team next)(?:['’]s)?",
    r"colleagues|they|we will|(?:developers|people) who|an agency|external \w+|hr|head of",
    r"read a book about|a talk on|heard of|ask me about|came from|possibly|(?:may|might) have",
    r"need not|do(?: not|n['’]t) (?:need|expect|require)",
)
_OTHERS_AFTER = re.compile(
    r"^\W{0,3}(?:was|were|is) outsourced|\bby an? (?:external|outside)|^ asked\b|^ sat next|^\?\s*$|\bas i was told\b"
    r"|\b(?:needed|required|necessary)\b",
    re.I,
)
_CLAUSE_END = re.compile(
    r"[.;!](?=\s|$)|\s[-–—]\s|\t|\s{2,}|\s[•·▪●*]\s"
    r"|\b(?:but|however|although|though|yet i|whereas|while|when others)\b"
    r"|,\s*(?:and |so |which )?"
    r"(?:i|we|my|only|eager|but|they|strong|skilled|good|proficient|fluent|experienced|expert)\b"
    r"|,\s*(?=\d)|\band i\b|\bnot \w+ but\b",
    re.I,
)
REACH = 8
"""Words from a trigger to the skill, at most: a line of a PDF may hold a whole page."""


def polarity_of(sentence: str, start: int, end: int) -> str:
    """HELD, DENIED, WANTED or UNKNOWN of what sentence[start:end] names.

    UNKNOWN is what others have or do. Where triggers disagree the one nearest to the skill decides.
    """
    clause_start, clause_end = _clause(sentence, start, end)
    before = _last_words(sentence[clause_start:start])
    after = _first_words(sentence[end:clause_end])
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


def _last_words(text: str) -> str:
    parts = text.rsplit(maxsplit=REACH)
    return text[len(parts[0]) :] if len(parts) > REACH else text


def _first_words(text: str) -> str:
    parts = text.split(maxsplit=REACH)
    return text[: len(text) - len(parts[-1])] if len(parts) > REACH else text


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
