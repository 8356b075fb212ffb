"""dataset.source.answer_pattern: where the answer column is a longer text, a regular expression cuts the gold out of it."""

from collections.abc import Iterator

import regex  # `re` cannot be stopped: one pattern of seven characters may take years

from vlm_rl.datasets.lazy_rows import BadRow

KEY = "dataset.source.answer_pattern"
SEARCHED = 1_000  # characters at the end of the column
SHOWN = 60  # characters of a text in a message
LIMIT_S = 1.0  # of CPU time, so that a busy machine changes nothing; a pattern needs a thousandth of it
PROBE = 50  # characters: enough for a pattern whose time doubles with each of them


class AnswerPattern:
    """The last match counts: its group `answer`, else its first group, else all of it."""

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"{KEY} is {pattern!r}, not a regular expression. null takes the whole answer column.")
        try:
            self._pattern = regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{KEY}={pattern!r} is no regular expression: {error}. For example '####\\s*(.+)': what the brackets match "
                "is the answer."
            ) from None
        self._group: str | int = "answer" if "answer" in self._pattern.groupindex else min(1, self._pattern.groups)
        for probe in _probes(pattern):
            self._found(probe, place="a text that it meets")

    def cut(self, text: str, *, place: str) -> str:
        """The answer in a text; `place` says in messages where it stands. Raises BadRow where there is none."""
        if found := self._found(text, place=place):
            return found[-1]
        ending = text if len(text) <= SHOWN else "..." + text[-SHOWN:]
        raise BadRow(
            f"{place} ends in {ending!r}, where {KEY}={self._pattern.pattern!r} finds no answer (the last {SEARCHED:,} "
            "characters are searched). Correct the pattern, or drop the row."
        )

    def _found(self, text: str, *, place: str) -> list[str]:
        """What the matches say, but for those that say nothing. The start of the text stays the only one that `^` means."""
        try:
            matches = self._pattern.finditer(text, pos=max(0, len(text) - SEARCHED), timeout=LIMIT_S)
            said = [(match[self._group] or "").strip() for match in matches]
        except TimeoutError:
            raise ValueError(
                f"{KEY}={self._pattern.pattern!r} takes more than {LIMIT_S:g} s for {place}. Write it without a repetition "
                "inside of a repetition, such as (a+)+ or (a|aa)*."
            ) from None
        return list(filter(None, said))


def _probes(pattern: str) -> Iterator[str]:
    """Short texts that nearly match: by them a pattern shows whether its time explodes."""
    start = regex.match(r"[\w\s<>#:/=\"'-]*", pattern.lstrip("^("))[0]
    for sign in sorted({*"a0 ,\n", *pattern}):
        for text in (sign * PROBE, start + sign * PROBE):
            yield from (text, text + "\x00")
