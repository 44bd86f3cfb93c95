r"""Read the numbers of an answer, by grammars that are linear in the text: the one reader of all packs.

A number counts only as what stands around it lets it be: `- 5`, `5 dozen`, `\sqrt{16}` and an operand of
`20-5` are none. In doubt there is no number: a wrong sign or size, or one of two, must not be rewarded.

math-verify is not used for reading: it reads text by evaluating it, `10**10**10` included.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

from tasks.kit.notation import plain
from tasks.kit.parsing import TAIL_CHARS, tail

MAX_ANSWER_CHARS = 200
MAX_NUMBER_CHARS = 40
_WINDOW = 64  # characters on either side that can make another number of one

# Everything that belongs to one number, readable or not: digits with their points, commas and slashes, the
# fraction behind a whole number, and what letters tie to it (`1e5`, `0x10`). Digits are ASCII.
_CLUSTER = re.compile(
    r"(?<![0-9.,/])(?:[0-9]+[ ](?:and[ ])?(?=[0-9]+/[0-9]))?[0-9.,/]*[0-9]"
    r"(?:(?:[eE][-+]|[A-Za-z_]+)[0-9.,/]*[0-9])*"
)
_VALUE = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?P<part>\.[0-9]+)?(?:[eE](?P<exponent>[-+]?[0-9]{1,3}))?"
    # With a decimal comma; its points part thousands
    r"|(?P<points>[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3})+),(?P<decimals>[0-9]+)"
    r"|(?P<millions>[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,})"
    r"|(?:(?P<units>[0-9]+)[ ](?:and[ ])?)?(?P<above>[0-9]+)/0*(?P<below>[1-9][0-9]*)"
)
LARGEST_EXPONENT = MAX_NUMBER_CHARS
_EXACT = Context(prec=4 * MAX_NUMBER_CHARS)
_PERCENT = re.compile(r"[ ]?%|[ ]?per[ ]?cent\b")

_MAGNITUDES = {
    **{"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    **{"k": 10**3, "K": 10**3, "M": 10**6, "bn": 10**9},
}
_MAGNITUDE = re.compile(r"(?i:[ -]?(hundred|thousand|million|billion|trillion))\b|(k|K|M|bn)\b")

_CURRENCIES = "$\u00a3\u00a5\u20a9\u20ac\u20b9\u20bd"
# What a number may touch on its left, the sign and the currency between.
_SIGN = re.compile(
    rf"(?:\A|[\s=:;~#(\[{{\"'`*{_CURRENCIES}\u2018\u201c\u2192]|[-=]>|</?[A-Za-z]\w{{0,20}}>)"
    rf"(?P<sign>[-+]?(?:Rs|USD|EUR|GBP|INR|CHF|[{_CURRENCIES}])?|[{_CURRENCIES}][-+])\Z"
)

_TENS = "(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion"
_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    f"|{_TENS}"
)

_OPENING = rf"*`\"'(\[{{{_CURRENCIES}"  # between what makes an operand of a number, and the number
_OPERAND_BEFORE = re.compile(
    "(?:"
    + "|".join(
        [
            # A sign apart, an operator, a command such as `\sqrt`, but no rule (`---`) above
            rf"(?:(?<!-)-|[+/^\u221a\u00b1\u2213\u2260\u2264\u2265]|[<>!]=|\\[A-Z]+)[{_OPENING}\s]*",
            rf"-[{_OPENING} \t]*",
            rf"\b(?:minus|negative|neg\.?)[{_OPENING}\s]*",
            rf"\b(?:plus|times|(?:divided|multiplied) by|(?:root|half) of|twice)[{_OPENING}\s]*",
            # What it is not, or only bounds
            rf"(?:\b(?:not|than)|n['\u2019]t)[{_OPENING}\s]*|\w[ ]+[<>][{_OPENING}\s]*",
            # Part of a number in words, or one of two
            rf"\b(?:{_TENS})[ -]+(?:and[ ]+)?|\b(?:{_WORDS})[ ,]+(?:or|to)[ ]+[{_OPENING}]*",
            # `2*5`, `2 * 5`, `x*5`, but neither bold type nor a bullet
            rf"(?:[0-9)\]}}]\*+|\S[ \t]+\*+[ \t])[{_OPENING} \t]*",
            rf"[A-Z]\*+[{_OPENING}]*",
            # `f(5)`, `x_{5}`, `(2)(5)`
            r"[\w)\]}][(\[{]+[ \t]*",
            # `1,**234**`
            r"[0-9][.,]\*+",
        ]
    )
    + r")\Z",
    re.IGNORECASE,
)

# What a number may touch on its right. Of units of one or two letters only those that name no variable.
_EDGE_BEHIND = re.compile(
    "|".join(
        [
            r"\Z",
            rf"[\s.,;:?)\]}}\"'`%=~{_CURRENCIES}\u2019\u201d\u00a2\u00b0\u00ba\u2026\u2032\u2033]",
            r"!(?![)\]}$=*/^])",  # else a factorial
            r"\*++(?![\w(\\]|[.,$][0-9])",  # else a product
            r"<[/|a-z]|-[A-Za-z]{2}|/[A-Za-z]",
            r"(?:[ckm]?m|mi|in|ft|yd|ha|[mk]?g|lbs?|oz|t|[cdm]?l|m?L|pt|qt)(?![\w(^])",
            r"(?:m?s|h|hrs?|d|wk|yr|[ap]m|[AP]M|[CF]|m?[VA]|k?[WJN]|Pa|Hz|[kMGT]B|st|nd|rd|th)(?![\w(^])",
            r"(?!sqrt|log|sin|cos|tan|exp|mod|div|pow)[A-Za-z]{3,}(?![\w(^])",
        ]
    )
)

_OPERAND = r"(?:[0-9(\\\u221a]|[.$][0-9]|(?![aI]\b)[A-Za-z]\b)"
# What makes another number, or an operand, of the one before; brackets and emphasis may close first.
_ANOTHER_BEHIND = re.compile(
    r"[)\]}*$`\"']*(?:"
    + "|".join(
        [
            rf"[ \t]+[-+*/][ \t]*{_OPERAND}|[+*/]{_OPERAND}",
            # A power, a command such as `\pi`, a factor
            r"[\s-]*(?:\^|\\[A-Z]|[\u03c0\u221a\u2030\u2031]|x[ \t]?[0-9])",
            r"[\s-]*(?:hundred|thousand|million|billion|trillion|dozen|ten)(?:s|ths?)?\b",
            rf"[ ]+point[ ]+(?:{_WORDS})\b|[ ,]+(?:or|to)[ ]+(?:{_WORDS})\b",
            r"[\s-]*(?:half|halves|thirds?|fourths?|fifths?|sixths?|eighths?)\b",
            r"[\s-]*(?:lakh|crore|grand|mi[lo]|ml[dn]|bln|mrd)\b",
            r"[\s-]*(?-i:k|K|M|B|T|bn|mn|tn)\b",
            # What it is not
            r"[ ]+(?:is|are|was)(?:n['\u2019]t\b|[ ]+(?:not|wrong|incorrect|false)\b)",
            r"\s*(?:squared|cubed|factorial|and (?:a|one) (?:half|third|quarter))\b",
            r"[ \u00b0A-Z]{0,24}\bbelow zero\b",
        ]
    )
    + ")",
    re.IGNORECASE,
)
_MILLIONS_BEHIND = re.compile(r"[ ]?m\b")  # `$5m`; without a currency these are metres

_RELATION = re.compile(r"=|(?<![0-9]):|:(?![0-9])|\b(?:equals|is equal to)\b")
_COPULA = re.compile(r"\b(?:is|are|was|were|be)\b")
_BOLD = re.compile(r"(?<![0-9A-Za-z*])\*\*(?=\S)(?:[^*]|\*(?!\*))+(?<=\S)\*\*")

# Between two numbers of which only one can be the answer, but for `5 or more`; and, beside bold type, between
# numbers of a list.
_OR = re.compile(
    r"\bor\b(?![ ]+(?:more|less|so|fewer|above|below|over|under|older|younger)\b)", re.IGNORECASE
)
_LISTED = re.compile(r"[\s*]*(?:(?:[,;|&]|\b(?:and|or|maybe|perhaps)\b)[\s*]*)+|\*\*\s+\*\*")
# `x = 5, x = 6`, also `x_1` and `x_2`
_ALSO = re.compile(
    r"(?<![-+*/][ ])(?<![-+*/^])\b([A-Za-z])(?:_\{?[0-9]\}?)?[ ]?=[\s$*]{0,4}([-+]?[0-9.]{0,40}[0-9])"
    r"[\s$*]{0,4}(?:[,;&]|\band\b)[\s$*]{0,4}(?:and[\s$]{1,3})?\1(?:_\{?[0-9]\}?)?[ ]?="
    r"[\s$*]{0,4}+(?!\2(?![0-9]|[.,/][0-9]))"
)
# What stands between a number and the same number again: `18, so 18`
_AGAIN = re.compile(
    r"(?=[ ]*[^ ])(?:[\s,;.(*=`$\"]|:(?=\s)"
    r"|\b(?:or|i\.e\.|that is|so|thus|final|the|answer|is|in total)(?!\w))*"
)

_POWER_OF_TEN = re.compile(
    r"(?<![0-9.,/^])(?:([0-9]+(?:\.[0-9]+)?)[ ]{0,3}[*xX][ ]{0,3})?(?<![0-9.,/^])10[ ]?"
    r"(?:\^[ ]?(?:\{[ ]?([-+]?[0-9]{1,3})[ ]?\}|([-+]?[0-9]{1,3}))"
    r"|([\u207a\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{1,3}))(?![0-9^!])"
)
# Before a minus apart, or in words, that is neither a bullet nor an operator
_MINUS_APART = re.compile(r"([=(\[][ ]{0,3}|(?<![\w)\]}$*])(?:\*\*|\$))-[ ]{1,3}(?=[0-9$])")
_MINUS_IN_WORDS = re.compile(
    r"(\A|[=:(\[]|(?<![\w)\]}$*])(?:\*\*|\$)|\b(?:is|are|was|be|of|to|so|at|equals|get|gives?|answer)\b)"
    r"(\s{0,3}[*$(]{0,4})\b(?:minus|negative)[ ]{1,3}(?=[0-9$])",
    re.IGNORECASE,
)
_RUPEES = re.compile(r"\bRs\.[ ]?(?=[0-9])")
_GROUPS = re.compile(r"(?<![0-9.,/][ ])(?<![0-9.,/])[1-9][0-9]{0,2}(?:[ ][0-9]{3})+(?![0-9/])(?![ ][0-9])")
"""Thousands that blanks part, such as `1 234 567`."""


class NumberError(ValueError):
    """No number could be read; the text is the reason, a slug."""


def read_number(text: str) -> str:
    """Return the one number that a text gives, among any words, in canonical form.

    Of the text counts what stands behind its last `=` or `:`; of that, the last bold part or box that holds
    one number. Canonical are `1234`, `-0.5`, `1/2` and `50%`: no thousands separators, currencies, units or
    leading zeros.

    Raises:
        NumberError: `answer-too-big`, `no-number`, `not-a-number` or `several-numbers`.
    """
    return read_numbers(text, 1)[0]


def read_numbers(text: str, count: int) -> list[str]:
    """Return the `count` numbers that a text gives, each as `read_number` reads one.

    Where several are asked for, a comma or a blank between digits parts two numbers: `10,250` is one, or two.

    Raises:
        NumberError: `answer-too-big`, `no-number` (or fewer), `not-a-number` or `several-numbers` (more).
    """
    if len(text) > TAIL_CHARS:
        raise NumberError("answer-too-big")
    text = _legible(text.strip(), join_groups=count == 1).strip()
    start = max((sign.end() for sign in _RELATION.finditer(text)), default=0)
    if len(text) - start > MAX_ANSWER_CHARS:
        raise NumberError("answer-too-big")
    # A digit of any script, or a number by itself as a superscript is; not a letter.
    if any(unicodedata.category(char) in ("Nd", "No") for char in text[start:] if not char.isascii()):
        raise NumberError("not-a-number")
    if text.count("{") > text.count("}"):
        # Cut off in the middle of a box.
        raise NumberError("not-a-number")
    found = _clusters(text, start, count)
    if len(found) < count and count > 1:
        text = text.replace(",", " ")
        found = _clusters(text, start, count)
    if len(found) < count:
        raise NumberError("no-number")
    if count == 1:
        found = [_only(text, start, found)]
    elif len(found) > count or any(_OR.search(gap) for gap in _gaps(text, found)):
        raise NumberError("several-numbers")
    return [_canonical(text, each) for each in found]


def read_integer(number: str) -> int | None:
    """The integer of at most nine digits that a canonical number is, `5.0` included; None if it is none."""
    found = re.fullmatch(r"(-?[0-9]{1,9})(?:\.0+)?", number)
    return int(found[1]) if found else None


def read_first_number(text: str) -> str:
    """Return the number that a text begins with, whatever words or numbers follow, in canonical form.

    Raises:
        NumberError: `no-number`, or `not-a-number` if it cannot be read or means another one (`1 million`).
    """
    seen = _legible(text[: 2 * MAX_ANSWER_CHARS])
    found = _CLUSTER.match(seen, int(seen.startswith("-")))
    if found is None:
        raise NumberError("no-number")
    # `1 234 5`, `1~234`, `12:30`
    if re.match(r"[ ][0-9]{3}(?![0-9])|[^\s\w=]{1,4}[0-9]", seen[found.end() :]):
        raise NumberError("not-a-number")
    return _canonical(seen, found)


def read_last_number(text: str) -> str:
    """Return the last number in the last 4,096 characters of a text, in canonical form.

    Raises:
        NumberError: `no-number`; or `not-a-number` if the last digits cannot be read, or mean another number.
    """
    seen = tail(text)
    if len(seen) < len(text):
        # The first word may be the end of a longer one.
        seen = re.sub(r"^\S+", "", seen)
    seen = _legible(seen)
    clusters = list(_CLUSTER.finditer(seen))
    if not clusters:
        raise NumberError("no-number")
    found = clusters[-1]
    before = seen[max(0, found.start() - _WINDOW) : found.start()]
    is_group = re.match(r"[0-9]{3}(?![0-9])", found[0]) and re.search(
        r"(?<![0-9])[0-9]{1,3}[ ,]{1,3}\Z", before
    )
    if is_group or re.search(r"[0-9][^\s\w=>]{1,4}\Z", before):
        raise NumberError("not-a-number")
    return _canonical(seen, found)


def _legible(text: str, *, join_groups: bool = True) -> str:
    """A plain text in which numbers have no powers of ten and, if asked for, no blanks in thousands."""
    text = _POWER_OF_TEN.sub(_exponent, _RUPEES.sub("Rs ", plain(text)))
    text = _MINUS_IN_WORDS.sub(r"\1\2-", _MINUS_APART.sub(r"\1-", text))
    return _GROUPS.sub(lambda found: found[0].replace(" ", ""), text) if join_groups else text


def _exponent(found: re.Match[str]) -> str:
    """`1.5e-3`, for a product with a power of ten."""
    power = found[2] or found[3] or unicodedata.normalize("NFKC", found[4]).replace("\u2212", "-")
    return f"{found[1] or 1}e{power}"


def _clusters(text: str, start: int, count: int) -> list[re.Match[str]]:
    """The numbers of a text from `start` on; if its last bold part that holds `count` of them, those."""
    found = list(_CLUSTER.finditer(text, start))
    for bold in _BOLD.finditer(text):
        inside = list(_CLUSTER.finditer(text, max(start, bold.start()), max(start, bold.end())))
        if len(inside) == count:
            found = inside
    return found


def _gaps(text: str, found: Sequence[re.Match[str]]) -> list[str]:
    """What stands between one number and the next."""
    return [text[left.end() : right.start()] for left, right in itertools.pairwise(found)]


def _only(text: str, start: int, found: Sequence[re.Match[str]]) -> re.Match[str]:
    """The one number that a text gives, among those that count: all the same, or behind the only `is`.

    Raises:
        NumberError: `several-numbers`, also if the text leaves open which of two it is.
    """
    if any(not _AGAIN.fullmatch(gap) for gap in _gaps(text, found)) or not _are_equal(text, found):
        verbs = list(_COPULA.finditer(text, start))
        found = [each for each in found if len(verbs) == 1 and each.start() >= verbs[0].end()]
        if len(found) != 1:
            raise NumberError("several-numbers")
    if _ALSO.search(text):
        raise NumberError("several-numbers")
    every = list(_CLUSTER.finditer(text))
    place = next(place for place, each in enumerate(every) if each.start() == found[0].start())
    for pair in (every[max(place - 1, 0) : place + 1], every[place : place + 2]):
        for gap in _gaps(text, pair):
            if (_OR.search(gap) or _LISTED.fullmatch(gap)) and not _are_equal(text, pair):
                raise NumberError("several-numbers")
    return found[0]


def _are_equal(text: str, found: Sequence[re.Match[str]]) -> bool:
    """Whether all of these can be read, and say the same."""
    if len(found) == 1:
        return True
    try:
        return len({_value(_canonical(text, each)) for each in found}) == 1
    except NumberError:
        return False


def _value(number: str) -> tuple[Fraction, bool]:
    """What tells canonical numbers apart: their value, and whether it is a percentage."""
    return Fraction(number.removesuffix("%")), number.endswith("%")


def _canonical(text: str, found: re.Match[str]) -> str:
    """The number that a cluster of digits is, where nothing around it makes it another one.

    Raises:
        NumberError: `not-a-number`.
    """
    value = _VALUE.fullmatch(found[0])
    before = text[max(0, found.start() - _WINDOW) : found.start()]
    percent = _PERCENT.match(text, found.end())
    magnitude = _MAGNITUDE.match(text, found.end())
    end = (percent or magnitude or found).end()
    behind = text[end : end + _WINDOW]
    sign = _SIGN.search(before)
    if value is None or sign is None or len(found[0]) > MAX_NUMBER_CHARS:
        raise NumberError("not-a-number")
    lead = before[: sign.start("sign")]
    is_operand = _OPERAND_BEFORE.search(lead) or (sign["sign"] and re.search(r"[0-9)\]}%|]\s*\Z", lead))
    is_another = _ANOTHER_BEHIND.match(behind) or not _EDGE_BEHIND.match(behind)
    is_millions = set(sign["sign"]).intersection(_CURRENCIES) and _MILLIONS_BEHIND.match(behind)
    if is_operand or is_another or is_millions:
        raise NumberError("not-a-number")
    digits = _digits(value)
    if magnitude:
        digits = _times(digits, _MAGNITUDES[(magnitude[1] or "").lower() or magnitude[2]])
    return f"{'-' if '-' in sign['sign'] else ''}{digits}{'%' if percent else ''}"


def _digits(value: re.Match[str]) -> str:
    groups = value.groupdict(default="")
    if groups["millions"]:
        return groups["millions"].replace(".", "")
    if groups["decimals"]:
        return f"{groups['points'].replace('.', '').lstrip('0') or '0'}.{groups['decimals']}"
    if not groups["below"]:
        written = f"{groups['whole'].replace(',', '').lstrip('0') or '0'}{groups['part']}"
        if not groups["exponent"]:
            return written
        exponent = int(groups["exponent"])
        if abs(exponent) > LARGEST_EXPONENT:
            raise NumberError("not-a-number")
        return _write(_EXACT.scaleb(Decimal(written), exponent))
    above, below = int(groups["above"]), int(groups["below"])
    if groups["units"]:
        if above >= below:
            raise NumberError("not-a-number")
        above += int(groups["units"]) * below
    return f"{above}/{below}"


def _times(digits: str, factor: int) -> str:
    """A canonical number without a sign, times a whole one."""
    if "/" in digits:
        return str(Fraction(digits) * factor)
    return _write(_EXACT.multiply(Decimal(digits), factor))


def _write(number: Decimal) -> str:
    """A decimal number in canonical form."""
    whole = number.to_integral_value(context=_EXACT)
    return format(whole if whole == number else number, "f")
