"""A model card shows names, prompts and sentences as they are: none of them becomes Markdown, HTML or YAML."""

from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.manifest import versions
from vlm_rl.commands.model_card import Card, code, code_cell, prose
from vlm_rl.commands.stored_verdict import StoredVerdict
from vlm_rl.run_folder import RunFolder

ODD = "# a`b``\n\n# Proven\n---\n<script>x()</script> ![i](http://y) | *z* _u_ ~~s~~ &lt; \\ {{ told }} it`"
SHOWN = "# a`b`` # Proven --- <script>x()</script> ![i](http://y) | *z* _u_ ~~s~~ &lt; \\ {{ told }} it`"
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def inline(tokens: list[Token]) -> list[list[Token]]:
    """What stands within each paragraph, heading and cell."""
    return [token.children or [] for token in tokens if token.type == "inline"]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of a run in which everything that can be named has the odd name."""
    run = tmp_path_factory.mktemp("run")
    for step, accuracy in ((0, 0.4), (2, 0.9)):
        line = {"event": "evaluation", "generation_steps": step, f"{ODD}/accuracy": accuracy}
        RunFolder(path=run).append("metrics.jsonl", line)
    config: dict[str, Any] = plain(composed(["study=s"]))
    config["dataset"] |= {"name": ODD, "prompt": f"{ODD}\n```\n{{question}}"}
    told = {
        "config": config,
        "algorithm": ODD,
        "seed": 0,
        "arm": ODD,
        "command": ODD,
        "versions": dict.fromkeys(versions(), ODD),
    }
    made = Card(
        manifest=told | {"git": {"commit": ODD}, "data": {"train": ODD}},
        run=run,
        generation_steps=2,
        verdict=StoredVerdict(
            outcome="improvement", said=ODD, question=ODD, basis=(ODD,), risks=(ODD,), scope=ODD, command=ODD
        ),
        base=ODD,
        license=ODD,
        is_adapter=True,
        merged=None,
        num_parameters=7,
    )
    return made.text(f"me/{ODD.replace('/', '')}")


def test_odd_names_add_no_heading_no_html_no_link_and_no_row(card: str) -> None:
    tokens = PARSER.parse(ModelCard(card).text)
    kinds = {token.type for children in inline(tokens) for token in children} | {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "s_open", "hr", "code_block"}
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["Does it help?", "How to ask it", "How it was trained"]
    assert sum(token.type == "fence" for token in tokens) == 1
    rows = [token.type for token in tokens if token.type in ("tr_open", "td_open", "th_open")]
    assert rows.count("tr_open") == 2 + 1 + 13  # accuracy with its head, and what _training lists with its empty head
    assert sum(token.type == "strong_open" for children in inline(tokens) for token in children) == 1


def test_odd_names_are_read_as_they_were_written(card: str) -> None:
    tokens = inline(PARSER.parse(ModelCard(card).text))
    texts = ["".join(token.content for token in children if token.type == "text") for children in tokens]
    assert texts.count(SHOWN) == 4  # the verdict, what it rests on, a risk and the scope
    assert f"{SHOWN.replace('/', ', ')}" in texts  # the split and setting
    spans = [token.content for children in tokens for token in children if token.type == "code_inline"]
    assert spans.count(SHOWN) >= 8  # base, algorithm, data, two commands, and the table


def test_odd_names_in_the_header_are_single_values(card: str) -> None:
    data = ModelCard(card).data
    assert (data.license, data.base_model, data.datasets) == (SHOWN, SHOWN, [SHOWN])
    assert set(data.to_dict()) == {
        "library_name",
        "pipeline_tag",
        "tags",
        "datasets",
        "base_model",
        "base_model_relation",
        "license",
    }


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (prose("1. one"), "1\\. one"),
        (prose("- a_b <b>"), "\\- a_b \\<b\\>"),
        (prose("p < 0.001 & more"), "p \\< 0.001 & more"),
        (code("a\u202e\tb"), "`a b`"),
        (code("a``b`c"), "```a``b`c```"),
        (code("`"), "`` ` ``"),
        (code(" \n"), "none"),
        (code_cell("a|b"), "`a\\|b`"),
        (code_cell({"a": 1}), '`{"a": 1}`'),
        (code_cell(None), "none"),
    ],
)
def test_what_is_written_by_hand(written: str, shown: str) -> None:
    assert written == shown
