"""Every sentence of a report exists in every language, with the same values in it."""

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes

from vlm_rl.reports.composition import Content
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.phrase import (
    LANGUAGES,
    LONE_VALUE,
    Phrase,
    catalogue_of,
    in_language,
    listed,
    paragraph,
    say,
    say_named,
    sentences_of,
    words,
)
from vlm_rl.reports.tables.table import table_of

REPORTS = Path(__file__).parents[2] / "vlm_rl" / "reports"
OTHERS = [language for language in LANGUAGES if language != "en"]


def nodes_of_code() -> list[tuple[str, ast.AST]]:
    return [(path.name, node) for path in REPORTS.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]


def in_code() -> Iterator[str]:
    for name, node in nodes_of_code():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
            (template,) = node.args
            assert isinstance(template, ast.Constant), f"{name}:{node.lineno}: a template must be a literal string"
            yield template.value


def in_page(path: Path) -> Iterator[str]:
    for call in jinja2.Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "say":
            assert isinstance(call.args[0], nodes.Const), f"{path.name}: a template must be a literal string"
            yield call.args[0].value


def in_words(part: Any) -> Iterator[str]:
    """Every text of a file of words but lone values, which are sentences of the code, and how columns and panels are drawn."""
    if isinstance(part, str):
        yield from [] if LONE_VALUE.fullmatch(part) else [part]
    elif isinstance(part, dict):
        for key, value in part.items():
            shown = {"columns": lambda column: [column[2]], "panels": lambda panel: panel[1:3]}.get(key)
            yield from in_words(value if shown is None else [text for one in value for text in shown(one)])
    else:
        for value in part:
            yield from in_words(value)


def templates() -> set[str]:
    code = list(in_code())
    page = [template for path in REPORTS.rglob("*.j2") for template in in_page(path)]
    files = {path.stem for path in (REPORTS / "words").glob("*.toml")} - {"workspace"}  # names of metrics
    named = [template for name in files for template in in_words(words(name))]
    assert len(code) > 100 and len(page) > 10 and len(named) > 100  # the collector finds something
    return {*code, *page, *named}


def placeholders(template: str) -> set[tuple[str, str]]:
    """Name and format of each value; a language may order them anew but not write a number otherwise."""
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name is not None}


def templates_in(phrase: Phrase) -> Iterator[str]:
    yield phrase.template
    for value in phrase.values.values():
        if isinstance(value, Phrase):
            yield from templates_in(value)


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_once_with_the_same_values(language: str) -> None:
    pairs = json.loads((REPORTS / f"wording_{language}.json").read_text(encoding="utf-8"), object_pairs_hook=list)
    catalogue = catalogue_of(language)
    assert len(pairs) == len(catalogue)
    assert sorted(templates() ^ catalogue.keys()) == []  # nothing is missing, and nothing that no report says any more
    assert [text for text, other in catalogue.items() if placeholders(text) != placeholders(other)] == []


JAPANESE_RULES = {  # what no Japanese text may have: one style, one word for each thing, signs as a native reader expects them
    "a sentence in plain style": r"(?:である|だ|ない|する|(?<![まで])した|なる|なった|いる|ある|れる|せる|きる)。",
    "a hyphen for a minus": r"(?<![\w-])-(?=[\d{])",
    "a full-width digit or percent sign": r"[０-９％＋－]",
    "another sign for a range": r"[〜~]",
    "a half-width bracket after Japanese": r"[ぁ-んァ-ヶ一-龠]\(",
    "回答": r"応答|(?<!模範)解答|サンプル(?!リング)",
    "実験": r"研究|スタディ",
    "実行": r"(?:実行|学習) [^ ]+ 件",
    "学習条件": r"(?<!学習)条件|アーム",
    "学習前モデル": r"学習前のモデル|未訓練",
    "比較対象": r"比較の基準|参照モデル",
    "レポート": r"報告書",
    "ほか": r"(?<!その)他[のに]",
    "わかる": r"分か[らりるっ]",
    "結論": r"言葉で",
    "個": r"シード [^ 、。]+ (?:つ|件)|シード(?:が)? \d+ つ",
}


@pytest.mark.parametrize("rule", JAPANESE_RULES)
def test_japanese_has_one_style_and_one_word_for_each_thing(rule: str) -> None:
    assert [text for text in catalogue_of("ja").values() if re.search(JAPANESE_RULES[rule], text)] == []


def test_a_japanese_sentence_ends_as_one_where_the_english_does() -> None:
    pairs = catalogue_of("ja").items()
    assert [text for text, other in pairs if text.endswith(".") != other.endswith(("。", "。）"))] == []


def test_the_japanese_page_has_a_true_minus_and_english_and_files_the_hyphen_that_programs_know(
    fake_content: Content, fake_page: str
) -> None:
    phrase = say("{gain:+.1f} points", gain=-1.25)
    assert (phrase, in_language(phrase, catalogue={})) == ("-1.2 points", "-1.2 points")
    assert in_language(phrase, catalogue=catalogue_of("ja")) == "\u22121.2 ポイント"
    assert in_language(say("{text}", text="f-1"), catalogue={}) == "f-1"  # a name is no number
    pages = fake_page, render_html(fake_content, language="ja")
    english, japanese = (re.findall(r"<small>(\[.*?\])</small>", page) for page in pages)
    assert any("-" in text for text in english)
    assert [text.replace("-", "\u2212") for text in english] == japanese


def texts_in_code() -> Iterator[str]:
    """Regular expressions for every text of the code; the value of an f-string is any word, and one that begins with it none."""
    for _, node in nodes_of_code():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            yield "".join(re.escape(one.value) if isinstance(one, ast.Constant) else r"\w+" for one in node.values)


def dotted(part: dict[str, Any], *, before: str = "") -> Iterator[str]:
    for key, value in part.items():
        yield from dotted(value, before=f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]


def test_every_name_in_a_file_of_words_is_asked_for_in_the_code_and_no_other_name_is_taken() -> None:
    sentences = dict(words("sentences"))
    kinds = sentences.pop("names")
    asked = re.compile("|".join({text for text in texts_in_code() if len(text) < 60}))
    assert asked.fullmatch("verdict.open.headline") and not asked.fullmatch("verdict.open") and not asked.fullmatch("no_such")
    held = [*dotted(sentences), *kinds, *words("tables"), *words("figures")]
    assert len(held) > 150
    assert [name for name in held if not asked.fullmatch(name)] == []
    with pytest.raises(KeyError):
        say_named("verdict.open.no_such")
    with pytest.raises(KeyError):
        table_of("no_such", [])


JAPANESE = {
    "One.": "一。",
    "A {x}.": "甲 {x}。",
    "{first} {rest}": "{first}{rest}",
    "{first}, {rest}": "{first}、{rest}",
    "the arm {name}": "系統 {name}",
    "{arm} gained {gain:+.1f} points": "{gain:+.1f} ポイント：{arm}",
    "{kind} ({count} times)": "{kind}（{count} 回）",
    "{what} was seen": "{what} が見られた",
}
GAINED = say("{arm} gained {gain:+.1f} points", arm=say("the arm {name}", name="grpo"), gain=1.25)
SEEN = say("{what} was seen", what=say("{kind} ({count} times)", kind="KL", count=2))


@pytest.mark.parametrize(
    ("text", "english", "japanese"),
    [
        (GAINED, "the arm grpo gained +1.2 points", "+1.2 ポイント：系統 grpo"),
        (SEEN, "KL (2 times) was seen", "KL（2 回）が見られた"),
        ("One.", "One.", "One."),  # what a model wrote stays
        (say("{text}", text="a） b"), "a） b", "a） b"),  # no space is taken from what is not ours
        (paragraph(say("One."), "", say("A {x}.", x=2)), "One. A 2.", "一。甲 2。"),
        (listed([say("One."), "b", say("A {x}.", x=2)]), "One., b, A 2.", "一。、b、甲 2。"),
        (paragraph(), "", ""),
        (listed([]), "", ""),
        (sentences_of(["A {x}.", "{then}", "{none}"], {"x": 1, "then": say("One."), "none": ""}), "A 1. One.", "甲 1。一。"),
    ],
)
def test_a_phrase_is_english_and_is_translated_part_by_part(text: str, english: str, japanese: str) -> None:
    assert (text, in_language(text, catalogue=JAPANESE)) == (english, japanese)


@pytest.mark.slow
def test_the_whole_page_is_japanese_but_for_names_numbers_and_what_models_wrote(fake_content: Content) -> None:
    content, catalogue = fake_content, catalogue_of("ja")
    page, first = render_html(content, language="ja"), fake_content.decision
    shown = [first.headline, *first.cost, *first.risks, *first.next_stage]
    shown += [text for card in first.verdicts for text in (card.badge, card.said, *card.more)]
    shown += [text for table in content.tables for text in (table.title, table.note, *(c.title for c in table.columns))]
    for text in shown:
        assert isinstance(text, Phrase), f"{text!r} is not made by say"
        assert set(templates_in(text)) <= catalogue.keys()
    assert in_language(first.headline, catalogue=catalogue) in page.replace("\u00a0", " ") and '<html lang="ja">' in page
    assert first.headline not in page
