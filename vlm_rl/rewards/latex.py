r"""One spelling for LaTeX that looks the same: parse commands with their arguments, and write them again.

`\frac { 20 } { 3 }`, `\frac{20}3` and `\dfrac{20}{3}` all become `\frac{20}{3}`. Braces that no command, power or index needs are
left out. No mathematics. One pass.
"""

import contextlib
import re
from collections.abc import Mapping

from vlm_rl.rewards.characters import plain_characters

LONGEST = 3000  # characters; a longer text is not parsed
DEEPEST = 50  # nested commands and braces; a deeper text is not parsed

_ONE_ARGUMENT = "sqrt overline vec hat bar dot ddot widehat overrightarrow overleftarrow overarc tilde pmod bmod"
_ARGUMENTS = dict.fromkeys(_ONE_ARGUMENT.split(), 1) | {"frac": 2, "binom": 2}


def _inverted(names: Mapping[str, str]) -> dict[str, str]:
    return {name: one for one, others in names.items() for name in others.split()}


_SAME = _inverted({
    "frac": "dfrac tfrac cfrac sfrac nicefrac", "binom": "dbinom tbinom", "emptyset": "varnothing", "sim": "backsim", "log": "lg",
    "le": "leq leqslant", "ge": "geq geqslant", "ne": "neq", "angle": "measuredangle", "circ": "degree", "times": "ast",
    "vert": "arrowvert lvert rvert", "to": "rightarrow longrightarrow Rightarrow",
})  # fmt: skip
_SIZES_AND_FONTS = (
    "left right displaystyle textstyle scriptstyle limits nolimits boxed fbox big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr "
    "Biggl Biggr bigm middle text textbf textit textrm textnormal textsf texttt emph mathrm mathbf mathit mathsf mathtt "
    "mathnormal underline large Large LARGE huge Huge small tiny normalsize mbox hbox "
    "operatorname bm boldsymbol rm bf it unit mathord mathbin mathop"
)
_DROPPED = frozenset(_SIZES_AND_FONTS.split())
_BECOMES = _inverted({
    " ": "quad qquad , ; : > space thinspace enspace nobreakspace", "": "! ( ) [ ] $ - / dollar textdollar", "|": "vert | mid",
    "=": "approx simeq", r"\cdot": "cdot", ":": "colon", "<": "lt", ">": "gt", r"\{": "lbrace", r"\}": "rbrace", "[": "lbrack",
    "]": "rbrack", "(": "lparen", ")": "rparen", "/": "div", "...": "dots ldots cdots", "#": "#", "&": "&", "_": "_",
}) | {" ": " "}  # fmt: skip
_SEPARATED_THOUSANDS = re.compile(r"(?<=\d)(?:\\,|\{,\}|,\\!|\\!|[\u2009\u202f])(?=\d{3}(?!\d))")
_TOKEN = re.compile(r"\\([A-Za-z]+|.)|\\$|[^\\]", re.DOTALL)
_NEEDLESS_SPACE = re.compile(r"\s+(?=[\^_,;:)\]!]|\\\})|(?<=[(\[])\s+|(?<=\\\{)\s+|\s+(?=\s)")
_THOUSANDS = re.compile(r"(?<![\d.,(\[{])(?<!\d )\d{1,3}(?:(?:,\d{3})+(?!\d|,\d)|(?: \d{3})+(?! ?[\d/]))", re.ASCII)


def normalise(text: str) -> str:
    r"""`text` without sizes, fonts, `\text{}`, `$`, thousands separators and final stop, and with one sign for each meaning."""
    text = _SEPARATED_THOUSANDS.sub("", plain_characters(text))
    if len(text) > LONGEST:
        return text
    if "\\" in text or "{" in text or "}" in text or "^" in text or "_" in text:
        with contextlib.suppress(_TooDeep):
            text = _write(_tree(text))
    text = _NEEDLESS_SPACE.sub("", re.sub(r"\s", " ", text.replace("$", "").replace("~", " ")))
    text = _THOUSANDS.sub(
        lambda match: re.sub("[, ]", "", match[0]), re.sub(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times ", text)
    )
    text = re.sub(r"(?<=\d)\s*\\sim\s*(?=\d)", "-", text).lstrip(" ;:,")
    return text.rstrip(" ;:,\\") if text.endswith("...") else text.rstrip(" .;:,\\")


class _TooDeep(ValueError):
    pass


def _tree(text: str) -> "list[object]":
    """Tokens, and a list for each group in braces; braces without a partner stay text."""
    levels: list[list[object]] = [[]]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "{":
            if len(levels) > DEEPEST:
                raise _TooDeep
            levels.append([])
        elif token == "}" and len(levels) > 1:
            group = levels.pop()
            levels[-1].append(group)
        else:
            levels[-1].append(token)
    while len(levels) > 1:  # groups that never close
        rest = levels.pop()
        levels[-1] += ["{", *rest]
    return levels[0]


class _Writer:
    """Write nodes from left to right, each command with the arguments that it needs."""

    def __init__(self, nodes: "list[object]", *, depth: int) -> None:
        self._nodes, self._at, self._depth = nodes, 0, depth

    def all(self) -> str:
        """All nodes, written; `{20 \\over 3}` as a fraction."""
        for old, command in (("\\over", "frac"), ("\\choose", "binom")):
            if self._nodes.count(old) == 1:
                at = self._nodes.index(old)
                sides = [_write(side, depth=self._depth + 1).strip() for side in (self._nodes[:at], self._nodes[at + 1 :])]
                return rf"\{command}{{{sides[0]}}}{{{sides[1]}}}"
        written: list[str] = []
        while self._at < len(self._nodes):
            piece = self._one()
            glue = " " if written and re.search(r"\\[A-Za-z]+$", written[-1]) and piece[:1].isalnum() else ""
            written.append(glue + piece)
        return "".join(written)

    def _one(self) -> str:
        node = self._nodes[self._at]
        self._at += 1
        if isinstance(node, list):
            return f" {_write(node, depth=self._depth + 1)} "
        assert isinstance(node, str)
        if node in ("^", "_"):
            return self._script(node)
        return self._command(node[1:]) if node[0] == "\\" and len(node) > 1 else node

    def _command(self, name: str) -> str:
        name = _SAME.get(name, name)
        if name in _DROPPED:
            return self._dropped()
        if name in _BECOMES:
            return _BECOMES[name]
        if name in ("color", "textcolor"):
            self._argument()
            return " "
        if name in ("begin", "end"):
            environment = self._argument()
            if name == "begin" and environment == "array" and isinstance(self._peek(), list):
                self._at += 1  # the alignment of its columns
            return rf"\{name}{{{environment}}}"
        root = self._optional() if name == "sqrt" else ""
        arguments = [self._argument() for _ in range(_ARGUMENTS.get(name, 0))]
        return rf"\{name}{root}" + "".join(f"{{{argument}}}" for argument in arguments if argument is not None)

    def _dropped(self) -> str:
        r"""A size or a font is dropped; `\left.` draws no bracket."""
        if self._peek() == ".":
            following = self._nodes[self._at + 1 : self._at + 2]
            self._at += not (following and isinstance(following[0], str) and following[0].isdigit())
        return " "

    def _peek(self) -> object:
        return self._nodes[self._at] if self._at < len(self._nodes) else None

    def _skip_spaces(self) -> None:
        while isinstance(node := self._peek(), str) and node.isspace():
            self._at += 1

    def _argument(self) -> str | None:
        """The next group, command or character; None at the end."""
        self._skip_spaces()
        if self._peek() is None:
            return None
        self._depth += 1  # \frac\frac\frac ...
        if self._depth > DEEPEST:
            raise _TooDeep
        argument = self._one().strip()
        self._depth -= 1
        return argument

    def _optional(self) -> str:
        self._skip_spaces()
        if self._peek() != "[":
            return ""
        nodes = self._nodes[self._at :]
        end = next((place for place, node in enumerate(nodes) if node == "]"), None)
        if end is None:
            return ""
        self._at += end + 1
        return f"[{_write(nodes[1:end], depth=self._depth + 1).strip()}]"

    def _script(self, sign: str) -> str:
        """A power or an index; `10^-19` and `2^10` have the whole number as exponent."""
        self._skip_spaces()
        argument = self._digits() or self._argument()
        if not argument:
            return "" if argument == "" else sign
        if argument == "o" and self._at > 2 and str(self._nodes[self._at - 3]).isdigit():
            argument = r"\circ"  # 35^o
        if sign == "^" and not argument.replace(r"\prime", "'").replace(" ", "").strip("'"):
            return "'" * (argument.count(r"\prime") + argument.count("'"))
        return f"{sign}{argument}" if argument == r"\circ" else f"{sign}{{{argument}}}"

    def _digits(self) -> str:
        """The integer that follows, with its sign; empty where there is none."""
        end = self._at + (self._peek() in ("+", "-"))
        start = end
        while end < len(self._nodes) and isinstance(node := self._nodes[end], str) and node.isdigit():
            end += 1
        if end == start:
            return ""
        digits = "".join(map(str, self._nodes[self._at : end]))
        self._at = end
        return digits


def _write(nodes: "list[object]", *, depth: int = 0) -> str:
    if depth > DEEPEST:
        raise _TooDeep
    return _Writer(nodes, depth=depth).all()
