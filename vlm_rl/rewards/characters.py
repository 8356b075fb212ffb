r"""One character for each sign: Unicode signs, full-width digits, commands that lost their backslash."""

import html.entities
import re
import unicodedata

_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi"
)
_GREEK = {html.entities.html5[f"{name};"]: name for name in _LETTERS.split()}
GREEK = frozenset(_GREEK.values()) | {"varphi", "vartheta", "varepsilon", "varrho", "varsigma", "Omega", "Upsilon", "ell"}
_SIGNS = {  # replacement: the signs that are replaced
    "-": "\u2212\u2013\u2014\u2012\u2010\u2011\ufe63", " ": "\u00a0", "": "\u200b\ufeff", "°": "º˚∘度", "/": "÷∕⁄", ":": "∶：", "=": "≈≃",
    "'": "′’‘", '"': "“”", ",": "，、", ".": "。", ";": "；", "(": "（", ")": "）", "°C": "℃", "°F": "℉", "''": "″", " cents": "¢",
    r"\times ": "×✕", r"\cdot ": "·⋅•", r"\pm ": "±", r"\mp ": "∓", r"\angle ": "∠∡", r"\triangle ": "△∆", r"\le ": "≤⩽", r"\ge ": "≥⩾",
    r"\ne ": "≠", r"\infty ": "∞", r"\cup ": "∪", r"\cap ": "∩", r"\emptyset ": "∅", r"\perp ": "⊥", r"\parallel ": "∥", r"\cong ": "≅",
    r"\sim ": "∼∽", r"\to ": "→⇒", r"\odot ": "⊙", r"\in ": "∈", r"\phi ": "ϕ", r"\Omega ": "Ω", " m": "米",
}  # fmt: skip
_TABLE = str.maketrans({sign: written for written, signs in _SIGNS.items() for sign in signs})
_TABLE |= {ord(letter): rf"\{name} " for letter, name in _GREEK.items()}
_CHINESE_UNITS = {"厘米": " cm", "毫米": " mm", "千米": " km", "千克": " kg"}
_FRACTION = re.compile("[¼-¾⅐-⅞]")
_CHINESE_LIST = re.compile(r"或者?|和|及|与")
_COUNTER = re.compile(r"(?<=\d)\s*[个只条人次本张种段]$")
_CIRCLED = re.compile("[\u2460-\u2473]")
_CURRENCIES = {"$": "dollars", "£": "gbp", "€": "euros", "¥": "yen", "￥": "yen"}
_CURRENCY = re.compile(r"(?:\\(?P<dollar>\$)|(?P<sign>[£€¥￥])|^\s*(?P<lone>\$)(?!.*\$))\s*(?P<amount>-?\d[\d.,]*\d|\d)")
_PREFIX = re.compile(
    r"^\s*(?:about|approximately|approx\.?|roughly|around)\s+(?=[-\d\\$])|(?P<minus>^\s*(?:minus|negative)\s+(?=\d))",
    re.IGNORECASE,
)
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))|(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")
_LOST_BACKSLASH = (  # \f of \frac read as a form feed, \t of \times as a tab, ...
    (re.compile(r"\x0c(?=rac|box|orall)"), r"\\f"),
    (re.compile(r"\t(?=imes|heta|ext|an\b|riangle|frac|au\b|o\b|ilde)"), r"\\t"),
    (re.compile(r"\x08(?=eta|oxed|ar\b|inom|egin|ig|ullet)"), r"\\b"),
    (re.compile(r"\x07(?=lpha|pprox|ngle|st\b)"), r"\\a"),
    (re.compile(r"\r(?=ight|ho\b|m\b|angle)"), r"\\r"),
    (re.compile(r"\n(?=eq\b|e\b|u\b|ot\b)"), r"\\n"),
    (re.compile(r"\x0b(?=ec|ert|arphi|ee\b)"), r"\\v"),
)
_COMMANDS_AS_WORDS = re.compile(
    r"(?<![\\A-Za-z])(pi|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|alpha|beta|gamma|theta|infty|sqrt|angle(?=\s+[A-Z])|triangle(?=\s+[A-Z]))"
    r"(?![A-Za-z])"
)


def plain_characters(text: str) -> str:
    """`text` with one character for each sign. Characters outside the tables become their compatibility form (NFKC)."""
    for pattern, replacement in _LOST_BACKSLASH:
        text = pattern.sub(replacement, text)
    text = _CURRENCY.sub(
        lambda match: f"{match['amount']} {_CURRENCIES[match['dollar'] or match['sign'] or match['lone']]}", text
    )
    text = _PREFIX.sub(lambda match: "-" if match["minus"] else "", text)
    text = re.sub(r"(?<=\d)\s*[~\uff5e]\s*(?=\d)", "-", text)
    if not text.isascii():
        for name, unit in _CHINESE_UNITS.items():
            text = text.replace(name, unit)
        text = _FRACTION.sub(_fraction, text)
        text = _CIRCLED.sub(lambda match: f"({ord(match[0]) - 0x245F}),", _COUNTER.sub("", _CHINESE_LIST.sub(" or ", text)))
        text = _ROOT.sub(_root, text)
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", r"^{\g<0>}", text)  # NFKC makes usual digits of them
        text = re.sub("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+", r"_{\g<0>}", text)
        text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    elif "sqrt" in text:
        text = _ROOT.sub(_root, text)
    return _COMMANDS_AS_WORDS.sub(r"\\\1 ", text)


def _fraction(match: re.Match[str]) -> str:
    top, bottom = unicodedata.normalize("NFKC", match[0]).split("\N{FRACTION SLASH}")
    return rf" \frac{{{top}}}{{{bottom}}}"


def _root(match: re.Match[str]) -> str:
    return rf"\sqrt{{{next(filter(None, match.groups()), '')}}}"
