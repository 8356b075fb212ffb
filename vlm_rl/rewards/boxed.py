r"""Find the answer in a response: the content of the last `\boxed{}` with balanced braces. No mathematics.

A box inside a box belongs to the outer one. If a box after the last closed one never closes, the response was cut off and
has no answer. Escaped braces (`\{`, `\}`) are text. One pass in linear time.
"""

import re

_TOKEN = re.compile(r"(?P<slashes>\\+)(?:(?P<box>boxed\s*\{)|(?P<escaped>[{}]))?|[{}]")  # runs of \ as one: linear


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{}`, or None where there is none or the last one never closes."""
    open_braces: list[int | None] = []  # where the content of a box starts, or None for an ordinary brace
    content, end_of_box = None, 0
    for token in _TOKEN.finditer(text):
        is_escaped = len(token["slashes"] or "") % 2 == 1  # `\\{` is a line break and a brace, `\{` is text
        brace = None if is_escaped else token["escaped"] or token[0]
        if token["box"]:
            open_braces.append(token.end())
        elif brace == "{":
            open_braces.append(None)
        elif brace == "}" and open_braces:
            start = open_braces.pop()
            if start is not None:
                content, end_of_box = text[start : token.end() - 1], token.end()
    is_cut_off = any(start is not None and start > end_of_box for start in open_braces)
    return None if is_cut_off else content


def has_box(text: str) -> bool:
    r"""Whether the text has a `\boxed{`, closed or not."""
    return any(token["box"] for token in _TOKEN.finditer(text))
