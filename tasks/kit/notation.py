r"""Rewrite how people and models typeset numbers and formulas, in LaTeX or by Unicode, as plain ASCII.

An en dash becomes a minus, `1{,}234` `1,234`, `\frac{1}{2}` `1/2`, `\pmod{7}` `(mod 7)`, and a box bold type.
What has no equal in ASCII stays, so that a reader can refuse it. All of it is linear in the text.
"""

from __future__ import annotations

import html
import re
import unicodedata

_DIGITS = {chr(0xFF10 + digit): str(digit) for digit in range(10)} | {
    chr(0x1D7CE + place): str(place % 10) for place in range(50)
}
"""Digits of full width, as in Chinese text, and the bold and other ones of mathematics."""

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""What is written in place of a hyphen or minus: the hyphens, dashes and minus signs of Unicode."""

_CHARACTERS = str.maketrans(
    dict.fromkeys(DASHES, "-")
    | dict.fromkeys("\u00d7\u00b7\u22c5\u2217", "*")
    | dict.fromkeys("\u00f7\u2044\u2215", "/")
    | dict.fromkeys("\u2248\u2261\uff1d", "=")
    | dict.fromkeys("\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f", " ")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "")
    | _DIGITS
    | {"\uff0c": ",", "\uff1a": ":", "\u3001": ", ", "\u3002": ". "}
    | {"\uff08": "(", "\uff09": ")", "\u3010": "[", "\u3011": "]"}
)

# Between a digit and three more: `{,}`, `,\!`, `\text{,}`, `\,`, thin and no-break spaces, an apostrophe, an
# underscore.
_SEPARATOR = re.compile(
    r"(?<=[0-9])(?:\\!){0,2}"
    r"(?:,|\{\\?,\}|\\(?:text|math[a-z]{2,5})\{,\}|\\[,;: ]|\\thinspace[ ]?"
    r"|[\u00a0\u2007\u2009\u202f'\u2019\u02bc\uff0c_])"
    r"(?:\\![ ]?){0,2}(?=[0-9]{3}(?![0-9]))"
)

# Two arguments of digits, in braces or, of one digit each, without; or a character such as one half. Digits
# that follow would run into the denominator.
_ARGUMENT = r"(?:\{[ ]?(-?[0-9]{1,40})[ ]?\}|([0-9]))"
_FRACTION = re.compile(
    rf"(?:\\(?:[dtcs]|nice)?frac[ ]?{_ARGUMENT}[ ]?{_ARGUMENT}|[\u00bc-\u00be\u2150-\u215e])(?![0-9])"
)

_BOX = r"\\(?:boxed|fbox|framebox)[ ]?\{"
_EXPONENT = r"(?:\^[ ]?(?:[23]|\{[23]\})|[\u00b2\u00b3])"
_UNITS = "[ckm]?m|in|ft|yd|mi|inch(?:es)?|feet|met(?:er|re)s?|units?|m/s"  # those that people square

_NOTATIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        # GSM8K's notes for a calculator: `9 * 2 = <<9*2=18>>18`
        (r"<<[^<>\n]{0,80}>>", ""),
        (r"\\([$%])", r"\1"),
        # What parts the digits of a number that is no thousands separator is a decimal comma.
        (r"(?<=[0-9])\{,\}(?=[0-9])", ","),
        (r"\\[{}]", " "),
        (r"\\(?:cdot|times|ast)(?![a-z])", "*"),
        (r"\\div(?![a-z])", "/"),
        (r"\\(?:equiv|approx)(?![a-z])", "="),
        (r"\^[ ]?(?:\\circ(?![a-z])|\{[ ]?\\circ[ ]?\})", "\u00b0"),
        (r"\\[pb]?mod(?![a-z])(?:[ ]|\\[,;: ])?\{{0,2}[ ]?([0-9]{1,9}|[a-z])[ ]?\}{0,2}", r" (mod \1)"),
        (r"\\(?:text)?color\{[A-Za-z]{1,20}\}", " "),
        (
            r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|it|rm|sf|tt)|bm|boldsymbol|underline|mbox|emph"
            r"|operatorname)[ ]?\{([^{}]*)\}",
            r" \1 ",
        ),
        (
            r"\\(?:[][(),;:! \\]|(?:q?quad|left|right|displaystyle|bf|to|implies|therefore"
            r"|(?:[Ll]ong)?[Rr]ightarrow)(?![a-z]))",
            " ",
        ),
        (r"\\(?:begin|end)\{[a-z]{1,12}\*?\}", " "),
        # `5 cm^2`: the exponent is the unit's
        (rf"(?<=[0-9])([ ]{{0,3}}(?:{_UNITS})[ ]{{0,2}}){_EXPONENT}", r"\1"),
        (r"(?<=[0-9])([ ]?[ckm]?m)[23](?!\w)", r"\1"),
        (r"\{\{([^{}]*)\}\}", r"{\1}"),
        (r"(?<!\w)__(?=[^\s_])([^_\n]*[^\s_])__(?!\w)", r"**\1**"),
        (r"(?<!\w)_(?=[^\s_])([^_\n]*[^\s_])_(?!\w)", r"*\1*"),
        (rf"{_BOX}[ ]?([^{{}}]*?)[ ]?\}}", r" **\1** "),
        # A box in a box
        (rf"{_BOX}[ $]{{0,3}}(\*\*[^{{}}*]*\*\*)[ $.]{{0,3}}\}}", r" \1 "),
    ]
]
"""What a notation is replaced by, in this order: boxes last, when nothing in them has braces any more."""


def plain(text: str) -> str:
    """Return a text with LaTeX, typography and character references of HTML as ASCII."""
    text = _SEPARATOR.sub(",", html.unescape(text)).translate(_CHARACTERS)
    text = _FRACTION.sub(_plain_fraction, text)
    for pattern, replacement in _NOTATIONS:
        text = pattern.sub(replacement, text)
    return text


def _plain_fraction(found: re.Match[str]) -> str:
    """`1/2`; behind a digit apart from it, as in `3 1/2`."""
    arguments = [part for part in found.groups() if part]
    fraction = "/".join(arguments) or unicodedata.normalize("NFKC", found[0]).replace("\u2044", "/")
    is_mixed = found.start() > 0 and found.string[found.start() - 1].isdigit()
    return f" {fraction}" if is_mixed else fraction
