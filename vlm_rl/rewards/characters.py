r"""Characters that are written in several ways: Unicode signs, full-width digits, commands that lost their backslash."""

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")
_GREEK = {chr(code): name for name, code in {
    "alpha": 0x3B1, "beta": 0x3B2, "gamma": 0x3B3, "delta": 0x3B4, "epsilon": 0x3B5, "zeta": 0x3B6, "eta": 0x3B7, "theta": 0x3B8,
    "iota": 0x3B9, "kappa": 0x3BA, "lambda": 0x3BB, "mu": 0x3BC, "nu": 0x3BD, "xi": 0x3BE, "pi": 0x3C0, "rho": 0x3C1,
    "sigma": 0x3C3, "tau": 0x3C4, "upsilon": 0x3C5, "phi": 0x3C6, "chi": 0x3C7, "psi": 0x3C8, "omega": 0x3C9, "Gamma": 0x393,
    "Delta": 0x394, "Theta": 0x398, "Lambda": 0x39B, "Xi": 0x39E, "Pi": 0x3A0, "Sigma": 0x3A3, "Phi": 0x3A6, "Psi": 0x3A8,
}.items()}  # fmt: skip
GREEK = frozenset(_GREEK.values()) | {"varphi", "vartheta", "varepsilon", "varrho", "varsigma", "Omega", "Upsilon", "ell"}
_SIGNS = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2012": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-", "\u00a0": " ",
    "\u200b": "", "\ufeff": "",
    "º": "°", "˚": "°", "∘": "°", "℃": "°C", "℉": "°F", "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "•": r"\cdot ", "÷": "/",
    "∕": "/", "⁄": "/", "±": r"\pm ", "∓": r"\mp ", "∠": r"\angle ", "∡": r"\angle ", "△": r"\triangle ", "∆": r"\triangle ", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": "=", "≃": "=", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ",
    "∅": r"\emptyset ",
    "⊥": r"\perp ", "∥": r"\parallel ", "≅": r"\cong ", "∼": r"\sim ", "→": r"\to ", "⇒": r"\to ", "∶": ":", "：": ":",
    "′": "'", "’": "'", "‘": "'",
    "″": "''", "“": '"', "”": '"', "，": ",", "。": ".", "；": ";", "（": "(", "）": ")", "、": ",", "⊙": r"\odot ", "∈": r"\in ",
    "½": r" \frac{1}{2}", "¼": r" \frac{1}{4}", "¾": r" \frac{3}{4}", "⅓": r" \frac{1}{3}", "⅔": r" \frac{2}{3}", "⅛": r" \frac{1}{8}",
    "⅕": r" \frac{1}{5}", "⅖": r" \frac{2}{5}", "⅗": r" \frac{3}{5}", "⅘": r" \frac{4}{5}", "⅙": r" \frac{1}{6}", "⅚": r" \frac{5}{6}",
    "⅜": r" \frac{3}{8}", "⅝": r" \frac{5}{8}", "⅞": r" \frac{7}{8}", "¢": " cents", "∽": r"\sim ", "厘米": " cm", "毫米": " mm",
    "千米": " km", "米": " m", "千克": " kg", "度": "°",
    **{letter: rf"\{name} " for letter, name in _GREEK.items()}, "ϕ": r"\phi ", "Ω": r"\Omega ",
}  # fmt: skip
_TABLE = str.maketrans({sign: said for sign, said in _SIGNS.items() if len(sign) == 1})
_LONGER = [(sign, said) for sign, said in _SIGNS.items() if len(sign) > 1]
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
    """`text` with one character for each sign; what is not ASCII and stands in no table by its compatibility form (NFKC)."""
    for pattern, replacement in _LOST_BACKSLASH:
        text = pattern.sub(replacement, text)
    text = _CURRENCY.sub(
        lambda match: f"{match['amount']} {_CURRENCIES[match['dollar'] or match['sign'] or match['lone']]}", text
    )
    text = _PREFIX.sub(lambda match: "-" if match["minus"] else "", text)
    text = re.sub(r"(?<=\d)\s*[~\uff5e]\s*(?=\d)", "-", text)
    if not text.isascii():
        for sign, said in _LONGER:
            text = text.replace(sign, said)
        text = _CIRCLED.sub(lambda match: f"({ord(match[0]) - 0x245F}),", _COUNTER.sub("", _CHINESE_LIST.sub(" or ", text)))
        text = _ROOT.sub(_root, text)
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}", text)
        text = re.sub("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+", lambda match: f"_{{{match[0].translate(_SUBSCRIPTS)}}}", text)
        text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    elif "sqrt" in text:
        text = _ROOT.sub(_root, text)
    return _COMMANDS_AS_WORDS.sub(r"\\\1 ", text)


def _root(match: re.Match[str]) -> str:
    return rf"\sqrt{{{next(filter(None, match.groups()), '')}}}"
