"""The page for readers of all kinds, as plain HTML: one heading tree, unique ids, tables that say what is in them, pictures in words."""

import html.parser
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vlm_rl.reports.composition import Content
from vlm_rl.reports.figures.drawing import panel_svg
from vlm_rl.reports.figures.panels import Line, Panel
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.page.labels import forest_label, panel_label
from vlm_rl.reports.phrase import say
from vlm_rl.reports.report import write_report

HEADING = re.compile(r"h([1-6])")
LANDMARKS = ("header", "nav", "main", "footer")


class Page(html.parser.HTMLParser):
    """Start tags in order, and the text of each heading and caption."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if HEADING.fullmatch(tag) or tag == "caption":
            self._open = tag
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag == self._open else self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data.replace("\u00a0", " "))

    def attributes(self, name: str) -> Iterator[str]:
        return (value for _, attributes in self.tags if (value := attributes.get(name)) is not None)


@pytest.fixture(scope="module")
def page(fake_page: str) -> Page:
    return Page(fake_page)


@pytest.mark.slow
def test_the_verdict_is_the_one_main_heading_and_no_level_is_left_out(page: Page, fake_content: Content) -> None:
    headings = [(int(tag[1]), text) for tag, text in page.texts if HEADING.fullmatch(tag)]
    assert [text for level, text in headings if level == 1] == [fake_content.decision.headline]
    assert headings[0][0] == 1 and len(headings) > 20
    levels = [level for level, _ in headings]
    assert [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1] == []
    assert [tag for tag, _ in page.tags if tag in LANDMARKS] == list(LANDMARKS)  # each once


@pytest.mark.slow
def test_ids_are_unique_in_pictures_too_and_whatever_is_referred_to_is_there(page: Page, fake_page: str) -> None:
    ids = list(page.attributes("id"))
    assert len(ids) > 100 and len(ids) == len(set(ids))
    referred = [*re.findall(r"url\(#([^)]*)\)", fake_page), *(place[1:] for place in page.attributes("xlink:href"))]
    assert len(referred) > 100 and set(referred) <= set(ids)
    assert {place[1:] for place in page.attributes("href") if place.startswith("#")} <= set(ids)


@pytest.mark.slow
def test_every_table_has_a_caption_headings_of_columns_and_rows_and_its_file(
    page: Page, fake_content: Content, tmp_path: Path
) -> None:
    tables = list(fake_content.tables)
    assert [text for tag, text in page.texts if tag == "caption"] == [table.title for table in tables]
    scopes = list(page.attributes("scope"))
    assert scopes.count("row") == sum(len(table.rows) for table in tables)
    assert scopes.count("col") == sum(len(table.columns) for table in tables)
    write_report(fake_content, folder=tmp_path, language="en")
    linked = [place for place in page.attributes("href") if not place.startswith("#")]
    assert linked == [f"report_files/{table.name}.csv" for table in tables]
    assert [place for place in linked if not (tmp_path / place).is_file()] == []


@pytest.mark.slow
def test_whatever_is_a_picture_or_scrolls_has_a_label_of_its_own(page: Page) -> None:
    labels = [attributes.get("aria-label") or "" for _, attributes in page.tags if attributes.get("role") in ("img", "region")]
    assert len(labels) > 30 and all(labels)
    regions = [attributes["aria-label"] for _, attributes in page.tags if attributes.get("role") == "region"]
    assert len(regions) == len(set(regions))


def test_a_picture_says_its_numbers() -> None:
    x, seeds = np.array([1.0, 2.0, 3.0]), {0: np.array([0.2, 0.4, np.nan]), 1: np.array([0.3, 0.5, np.nan])}
    line = Line(label="grpo", color=0, x=x, by_seed=seeds, unfinished={})
    panel = Panel(title="val", x_label="epoch", y_label="accuracy (%)", lines=(line,), is_share=True, baseline=0.125)
    assert panel_label(panel) == "val: accuracy (%) by epoch. Last values: grpo 45, Vanilla 12.5."
    row = ForestRow(label="grpo", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.05, 0.15))
    forest = Forest(title=say("Effect"), delta=0.02, rows=(row,))
    assert forest_label(forest) == "Effect. grpo: +10.0 points, +0.0 to +20.0; n = 2."


def test_two_pictures_of_the_same_have_no_id_in_common_and_keep_their_references() -> None:
    line = Line(label="a", color=0, x=np.arange(5.0), by_seed={s: np.arange(5.0) + s for s in range(2)}, unfinished={})
    panel = Panel(title="t", x_label="x", y_label="y", lines=(line,))
    one, other = (ET.fromstring(panel_svg(panel, name=name)) for name in ("one-1", "one-2"))
    ids = [{element.get("id") for element in picture.iter() if element.get("id")} for picture in (one, other)]
    assert len(ids[0]) > 3 and ids[0].isdisjoint(ids[1])
    link = "{http://www.w3.org/1999/xlink}href"
    assert {place[1:] for element in one.iter() if (place := element.get(link))} <= ids[0]
