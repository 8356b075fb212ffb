"""A report that is made again as runs go on: equal to a fresh one, served to this machine alone, and no look at the study."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_manifest, write_study
from usual import usual_settings

from vlm_rl.reports.memory import Memory, recall, stamp_of
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.reading.at_work import at_work_in
from vlm_rl.reports.report import json_text, make_report, read_content
from vlm_rl.reports.verdicts.looks import FILE as LOOKS
from vlm_rl.reports.watching.loop import Watcher, new_board
from vlm_rl.reports.watching.server import serve
from vlm_rl.run_lock import this_process

ROOT = Path(__file__).parents[2]


def hold(run: Path, *, command: str = "python train.py", **changes: Any) -> None:
    """As if a process trained into a folder now."""
    run.mkdir(parents=True, exist_ok=True)
    holder = this_process(command).__dict__ | changes
    (run / ".holder.json").write_text(json.dumps(holder))


def go_on(run: Path) -> None:
    """One generation step more."""
    for name in ("metrics.jsonl", "cost.jsonl"):
        lines = (run / name).read_text().splitlines()
        last = json.loads(lines[-1])
        last["generation_steps"] += 1
        with (run / name).open("a") as file:
            file.write(json.dumps(last) + "\n")


def said(study: Path) -> tuple[str, str]:
    """report.json and report.html."""
    content, _ = read_content([study], settings=usual_settings(), judge=None, lately=())
    return json_text(content.as_json()), render_html(content, language="en")


@pytest.mark.slow
def test_what_is_recalled_is_what_a_fresh_process_makes(tmp_path: Path) -> None:
    study, memory = write_study(tmp_path / "s", epochs=2), Memory()
    with memory.making():
        first = said(study)
    go_on(study / "default" / "seed-1")
    (study / "algorithm-sft" / "seed-0" / "evaluations" / "epoch-0002" / "val_pass@1_t0.6.parquet").write_bytes(b"broken")
    shutil.rmtree(study / "default" / "seed-2")
    with memory.making():
        again = said(study)
    assert again == said(study)  # without any memory
    assert first[0] != again[0] and first[1] != again[1]
    with memory.making():
        assert said(study) == again


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    file, memory, read = tmp_path / "f", Memory(), list[str]()

    def content() -> str:
        return recall("f", stamp_of(file), make=lambda: read.append(file.read_text()) or file.read_text())  # type: ignore[func-returns-value]

    for text in ("a", "a", "bb"):
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        with memory.making():
            assert content() == text
    assert read == ["a", "bb"]
    recall("f", stamp_of(file), make=lambda: read.append("outside"))
    assert read[-1] == "outside"  # nothing is recalled where no report is being made


def test_what_one_making_did_not_ask_for_is_forgotten_and_a_key_without_bytes_is_never_kept() -> None:
    memory, made = Memory(), list[str]()
    for names in (("a", "b"), ("b",), ("a",)):
        with memory.making():
            for name in names:
                recall(name, make=lambda name=name: made.append(name))  # type: ignore[misc]
            recall(lambda: None, make=lambda: made.append("!"))
    assert made == ["a", "b", "!", "!", "a", "!"]


def watcher_of(study: Path, *, out: list[str]) -> Watcher:
    def make(lately: Any) -> Any:
        return read_content([study], settings=usual_settings(), judge=None, lately=lately)[0]

    return Watcher(
        studies=[study],
        make=make,
        draw=lambda content, is_newest: out.append("drawn"),
        tell=lambda before, content: out.append(f"{len(before)} {len(content.states)}"),
        language="en",
        board=new_board(language="en"),
    )


@pytest.mark.slow
def test_the_watcher_makes_a_report_when_something_has_changed_and_tells_what_goes_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / "s", list[str]()
    watcher = watcher_of(study, out=out)
    assert [watcher.look(), watcher.look()] == [False, False]
    assert "there is no folder" in str(watcher.board.read()["trouble"])
    assert capsys.readouterr().out.count("cannot be made yet") == 1
    write_study(study, arms=(("grpo", "default", "a", 0.05),), epochs=1)
    assert [watcher.look(), watcher.look()] == [True, False]
    version = watcher.board.read()["version"]
    assert (watcher.board.read()["trouble"], watcher.board.read()["state"]) == ("", "finished (3)")
    assert out == ["0 3", "drawn"]
    write_manifest(study / "default" / "seed-3", algorithm="grpo", seed=3, arm="a" * 16, vanilla=None, status="running")
    hold(study / "default" / "seed-3")
    assert watcher.look() and out[2:] == ["3 4"]  # no PNG and PDF while runs are at work
    news = watcher.board.read()
    assert news["version"] != version and news["state"] == "running (1), finished (3)"
    assert [row[:2] for row in news["runs"][1:]] == [["s/default/seed-3", "running"]]


def test_who_is_at_work_is_told_by_the_beat_of_its_process(tmp_path: Path) -> None:
    gone, own, elsewhere, old = (tmp_path / "default" / f"seed-{seed}" for seed in range(4))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    hold(gone, pid=process.pid)
    hold(own)
    hold(elsewhere, machine="another", host="another", pid=process.pid)
    hold(old)
    os.utime(old / ".holder.json", (time.time() - 100,) * 2)
    link = tmp_path / "default" / "seed-4"
    link.mkdir()
    (link / ".holder.json").symlink_to(own / ".holder.json")
    assert at_work_in(tmp_path) == (own.resolve(), elsewhere.resolve())


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "report_files").mkdir()
    (tmp_path / "report.html").write_text("the report")
    (tmp_path / "report_files" / "cost.csv").write_text("1\n")
    (tmp_path / "report_files" / "link.csv").symlink_to("/etc/hostname")
    (tmp_path / "manifest.json").write_text("{}")
    server = serve(new_board(language="ja"), folder=tmp_path, port=0, language="ja")
    yield "127.0.0.1", int(server.socket.getsockname()[1])
    server.shutdown()
    server.server_close()


Ask = Callable[..., tuple[int, bytes, dict[str, str]]]


@pytest.fixture
def ask(address: tuple[str, int]) -> Ask:
    def answer(path: str, *, method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
            connection.request(method, path, headers={} if host is None else {"Host": host})
            found = connection.getresponse()
            return found.status, found.read(), dict(found.getheaders())

    return answer


def test_known_files_are_served_and_nothing_else(ask: Ask) -> None:
    assert ask("/report.html")[:2] == (200, b"the report")
    assert ask("/report_files/cost.csv?v=1")[:2] == (200, b"1\n")
    assert ask("/report.html", method="HEAD")[:2] == (200, b"")
    assert json.loads(ask("/news.json")[1])["version"] == ""
    others = (
        "/manifest.json",
        "/report_files/",
        "/report_files/link.csv",
        "/../report.html",
        "/report_files/../manifest.json",
    )
    assert [ask(path)[0] for path in others] == [404] * len(others)
    assert [ask("/", method=method)[0] for method in ("POST", "PUT", "DELETE")] == [501] * 3


def test_the_frame_runs_its_own_script_only_and_speaks_the_language_of_the_report(ask: Ask) -> None:
    status, page, headers = ask("/")
    policy = headers["Content-Security-Policy"]
    assert status == 200 and b'<html lang="ja">' in page
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy and "unsafe" not in policy


def test_a_name_of_somebody_else_that_leads_here_reads_nothing(ask: Ask, address: tuple[str, int]) -> None:
    port = address[1]
    good = ("localhost", f"localhost:{port}", f"127.0.0.1:{port}")
    bad = ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "", f"localhost:{port + 1}")
    assert [ask("/report.html", host=host)[0] for host in good] == [200] * 3
    assert [ask("/report.html", host=host)[0] for host in bad] == [421] * 5


@pytest.mark.slow
def test_the_command_serves_a_growing_study_judges_nothing_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    study = write_study(tmp_path / "outputs" / "s", arms=(("grpo", "default", "a", 0.2),), epochs=1)
    hold(study / "default" / "seed-3", pid=os.getpid())
    words = [sys.executable, str(ROOT / "report.py"), f"studies=[{study}]", "watch=1", "report.breakdown=[]"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([*words, f"watch_port={port}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        with closing(http.client.HTTPConnection("localhost", port, timeout=10)) as connection:
            connection.request("GET", "/report.html")
            served = connection.getresponse().read()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert lines[0].startswith(f"Watching: http://127.0.0.1:{port}/") and "starting (1), finished (3)" in lines[1]
    assert served == (study / "report.html").read_bytes() and b"watch=1" not in served
    assert (process.returncode, rest) == (130, "\nStopped watching. The last report stays where it is.\n")
    assert not (study / LOOKS).exists()
    decision = json.loads((study / "report.json").read_text())["decision"]
    assert "Wait until all runs have finished" in json.dumps(decision)
    assert make_report([study], out=None, settings=usual_settings()).exists() and not (study / LOOKS).exists()
