"""What others chose, such as names, prompts and commands, in a page of Markdown: shown as it is, never read as Markdown or HTML."""

import json
import re


def line(value: object) -> str:
    """On one line, without what cannot be seen."""
    seen = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(seen.split())


def code(value: object) -> str:
    """A code span, its fence longer than any row of backticks within."""
    text = line(value)
    fence = "`" * (1 + max((len(row) for row in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else "none"


def code_cell(value: object) -> str:
    """The same for a cell of a table, which a bar would end; what is no text is shown as JSON."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "none" if shown == "null" else code(shown).replace("|", "\\|")


def prose(value: object) -> str:
    """A sentence or a title, in a cell or outside."""
    text = re.sub(r"([\\`*\[\]<>|~])", r"\\\1", line(value))
    text = re.sub(r"&(?=[#\w]+;)", r"\\&", text)  # would be one letter
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it means itself
    text = re.sub(r"^([#+=-])", r"\\\1", text)  # begins a heading or a list
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
