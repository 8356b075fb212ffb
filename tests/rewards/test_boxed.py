r"""Which text is in the last `\boxed{}`, worked out by hand."""

import time

import pytest

from vlm_rl.rewards.boxed import has_box, last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"So \boxed{5}.", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{a_{1_{2}}} and }", "a_{1_{2}}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{1} then \boxed{2}", "2"),  # the last one
        (r"\boxed{\boxed{3}}", r"\boxed{3}"),  # the outer one
        (r"\boxed{3 or \boxed{4}}", r"3 or \boxed{4}"),  # a choice cannot hide in a nested box
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),  # escaped braces are text
        (r"\boxed{a \\{b}}", r"a \\{b}"),  # a line break, then a real brace
        (r"\\boxed{5}", "5"),  # escaped once too often, as in JSON
        (r"{ \boxed{5}", "5"),
        (r"} \boxed{5}", "5"),
        (r"\boxed{", None),
        (r"\boxed{5", None),
        (r"\boxed{1} so \boxed{2", None),  # cut off while writing the last answer
        (r"\boxed{1 so \boxed{2}", "2"),  # the first never closes, the last does
        ("boxed{5}", None),
        (r"\box{5}", None),
        (r"\boxed 5", None),
        (r"\boxed{}", ""),
        ("", None),
    ],
)
def test_the_last_box_with_balanced_braces_is_the_answer(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


def test_a_long_text_of_anything_is_scanned_in_linear_time() -> None:
    for piece in ("{", "}", "\\", r"\boxed{", "boxed", r"\boxed ", r"\{", "x"):
        start = time.process_time()
        last_boxed(piece * (300_000 // len(piece)))
        assert time.process_time() - start < 10.0  # under a second; in quadratic time, hours


def test_an_unclosed_box_is_still_seen() -> None:
    assert has_box(r"\boxed{5")
    assert not has_box("5")
