"""Somebody else's data is data: each hostile row, file or picture is told by name, and nothing else is opened or run."""

import gzip
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hostile_data import SECRET, told
from own_files import png, png_of_size, write_pictures
from PIL import Image, PngImagePlugin

from vlm_rl.datasets.dataset import Source
from vlm_rl.datasets.jsonl import JsonlSource

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


def lines(data: Path, *raw: str | bytes) -> Source:
    """The authors' JSONL, written as it is given."""
    (data / "train.jsonl").write_bytes(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\n" for one in raw))
    return JsonlSource(folder=str(data), files={"train": "train.jsonl"})


GOOD = json.dumps({"id": 1, "question": "<image>Q", "answer": "1", "image": "good.png"})


def row(**changes: Any) -> str:
    """The good row with changes."""
    return json.dumps({**json.loads(GOOD), **changes})


def raw(text: str) -> str:
    """A row whose answer is this JSON, as it stands."""
    return GOOD.replace('"answer": "1"', f'"answer": {text}')


ROWS: dict[str, tuple[str | bytes, str, str]] = {  # what is said, and the way out
    "key twice": ('{"id": 1, "question": "Q", "answer": "1", "answer": "2"}', "'answer' twice", "Keep one of them"),
    "key twice inside": (row()[:-1] + ', "x": {"a": 1, "a": 2}}', "'a' twice", "Keep one of them"),
    "key twice by escape": ('{"id": 1, "question": "Q", "answer": "1", "\\u0061nswer": "2"}', "'answer' twice", "Keep one"),
    "NaN": (raw("NaN"), "NaN, which is no JSON", "Write null"),
    "Infinity": (raw("Infinity"), "Infinity, which is no JSON", "Write null"),
    "-Infinity": (raw("-Infinity"), "-Infinity, which is no JSON", "Write null"),
    "NaN deep inside": (row()[:-1] + ', "x": [[NaN]]}', "NaN, which is no JSON", "Write null"),
    "1e999": (raw("1e999"), "'1e999', which is too large", "Write it as a text"),
    "5000 digits": (raw("1" * 5000), "a number that is too long: 5,000", "Write it as a text"),
    "5000 decimals": (raw("0." + "1" * 5000), "a number that is too long", "Write it as a text"),
    "deep lists": (raw("[" * 100_000 + "]" * 100_000), "nested too deeply", "Write it flat"),
    "deep objects": (raw('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply", "Write it flat"),
    "deep and open": (raw("[" * 500_000), "nested too deeply", "Write it flat"),
    "true answer": (raw("true"), "'answer' is true", "Write it as a text"),
    "false answer": (raw("false"), "'answer' is false", "Write it as a text"),
    "true question": (row(question=True), "'question' is true", "Write it as a text"),
    "true solution": (row(solution=True), "'solution' is true", "Write it as a text"),
    "true id": (row(id=True), "'id' is true", "Write it as a text"),
    "NUL in question": (row(question="<image>a\0b"), "'question' holds the control character U+0000", "Take it out"),
    "NUL in answer": (row(answer="1\0"), "'answer' holds the control character U+0000", "Take it out"),
    "NUL in solution": (row(solution="1\0"), "'solution' holds the control character U+0000", "Take it out"),
    "NUL in id": (row(id="1\0"), "'id' holds the control character U+0000", "Take it out"),
    "escape": (row(question="<image>\x1b[2J"), "U+001B", "Take it out"),
    "one-byte escape": (row(question="<image>\x9b2J"), "U+009B", "Take it out"),
    "delete": (row(answer="1\x7f"), "U+007F", "Take it out"),
    "lost backslash": (row(answer="\frac{1}{2}"), "U+000C", r"twice in JSON (\\f)"),
    "bell": (row(question="<image>\x07lpha"), "U+0007", r"twice in JSON (\\a)"),
    "no object": ("[1, 2]", "is no JSON object", "a row is one line like"),
    "half an object": ('{"id": 1,', "is no JSON: ", "column"),
    "raw control": (b'{"id": 1, "question": "a\x00b", "answer": "1"}', "is no JSON: Invalid control character", "column"),
    "half a sign": (raw('"\\ud800"'), "half a sign", "Save it again as UTF-8"),
    "no answer": (row(answer=None), "has no 'answer'", "A row needs question, answer, id"),
    "no question": (row(question=None), "has no 'question'", "A row needs question, answer, id"),
    "list as answer": (row(answer=["1"]), "'answer' is a list", "neither text nor a number"),
    "object as question": (row(question={"text": "Q"}), "'question' is a dict", "neither text nor a number"),
    "list as solution": (row(solution=["x"]), "'solution' is a list", "neither text nor a number"),
    "number as image": (row(image=7), "holds a int", "neither a file name nor a picture"),
    "nothing as image": (row(image=[None]), "holds a NoneType", "neither a file name nor a picture"),
    "object as answer": (raw('{"__class__": "os.system"}'), "'answer' is a dict", "neither text nor a number"),
    "marker of code": (row(image={"_target_": "os.system"}), "holds a dict", "neither a file name nor a picture"),
}


def test_a_hostile_row_is_told_by_file_and_line(data: Path) -> None:
    problems = told(lines(data, GOOD, *(hostile for hostile, _, _ in ROWS.values()), row(id=3)), data=data)
    for number, (problem, (_, message, way_out)) in enumerate(zip(problems, ROWS.values(), strict=True), start=2):
        assert problem.startswith(f"{data}/train.jsonl, line {number}")
        assert message in problem
        assert way_out in problem
        assert len(problem) < 600


ODD = [
    "tab\tand\nline\r\nend",
    "zero\u200dwidth\u200cjoiners",
    "\u202bשלום\u202c \u200fمرحبا\u200e",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "soft\u00adhyphen \ufeff \u2028 \u2029 \x85",
    r"\frac{1}{2} \beta \alpha \x00",
    "=1+1",
    "../../etc/passwd",
    "${oc.env:HOME} {{7*7}} $(touch canary) !!python/object:os.system",
]


def test_a_text_that_only_looks_odd_is_a_text(data: Path) -> None:
    assert (
        told(lines(data, *(row(question="<image>" + text, answer=text, solution=text, id=text) for text in ODD)), data=data)
        == []
    )


def chunked(*chunks: tuple[bytes, bytes], size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG with further chunks behind its header."""
    whole = png(size=size)
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return whole[:33] + extra + whole[33:]


def saved(kind: str, **options: Any) -> bytes:
    """A small picture in some format."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, **options)
    return file.getvalue()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(canary) (w) file closefile\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><script>1</script></svg>'
NO_PICTURE = "it is no picture in one of the formats"
CONTENTS: dict[str, tuple[bytes, str]] = {
    "eps": (POSTSCRIPT, NO_PICTURE),
    "eps of Pillow": (saved("EPS"), NO_PICTURE),
    "pdf": (saved("PDF"), NO_PICTURE),
    "svg": (SVG, NO_PICTURE),
    "svgz": (gzip.compress(SVG), NO_PICTURE),
    "imagemagick": (b"push graphic-context\nfill 'url(https://x/\"|touch canary\")'\npop graphic-context\n", NO_PICTURE),
    "pickle": (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x0ctouch canary\x94\x85R.", NO_PICTURE),
    "empty": (b"", NO_PICTURE),
    "icon": (saved("ICO"), NO_PICTURE),
    "fits": (b"SIMPLE  =                    T" + b" " * 2850, NO_PICTURE),
    "wmf": (b"\xd7\xcd\xc6\x9a" + bytes(100), NO_PICTURE),
    "truncated": (png(size=(400, 300))[:150], "cannot be read"),
    "bomb": (png_of_size(12_000, 12_000), "more than dataset.source.largest_image"),
    "largest sides": (png_of_size(65_535, 65_535), "bomb"),
    "even larger": (png_of_size(2**31 - 1, 2**31 - 1), "cannot be read"),
    "no pixels": (png_of_size(0, 0), "cannot be read"),
    "no height": (png_of_size(5, 0), "cannot be read"),
    "text bomb": (chunked((b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), "cannot be read"),
    "text bombs": (chunked(*[(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**19 * 2))] * 70), "cannot be read"),
    "gif bomb": (b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;", "bomb"),
    "tiff loop": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "cannot be read"),
    "bmp bomb": (saved("BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + saved("BMP")[26:], "bomb"),
    "ppm bomb": (b"P6 60000 60000 255\n", "bomb"),
}


def test_a_hostile_picture_is_told_by_its_file(data: Path) -> None:
    write_pictures(data, {f"{name}.png": content for name, (content, _) in CONTENTS.items()})
    problems = told(lines(data, GOOD, *(row(id=name, image=f"{name}.png") for name in CONTENTS)), data=data)
    for problem, (name, (_, message)) in zip(problems, CONTENTS.items(), strict=True):
        assert problem.startswith(f"its image {data}/{name}.png cannot be read: ")
        assert message in problem
        assert problem.endswith("Save it again or drop the row.")
        assert len(problem) < 600


def test_pictures_of_all_usual_formats_pass_even_with_a_little_text_in_them(data: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "=cmd|' /C calc'!A0 <script>")
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(9)]
    usual = {kind: saved(kind) for kind in ("BMP", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")}
    usual |= {"GIF": saved("GIF", save_all=True, append_images=frames), "notes": saved("PNG", pnginfo=notes)}
    write_pictures(data, usual)
    assert told(lines(data, *(row(id=name, image=name) for name in usual)), data=data) == []


OUT, GONE = "leaves the folder of the file; keep images beside or below it", "Restore the file or drop the row"
NAMES = {  # what is said of a name
    "../secret.png": OUT,
    "../" * 30 + "etc/passwd": OUT,
    "x/../../secret.png": OUT,
    "/etc/passwd": OUT,
    "~/.ssh/id_rsa": GONE,
    "$HOME/secret.png": GONE,
    "file:///etc/passwd": GONE,
    "http://127.0.0.1:9/a.png": GONE,
    "data:image/png;base64,AAAA": GONE,
    "zip://a.png::good.zip": GONE,
    "|touch canary": GONE,
    "good.png\0.txt": OUT,
    "x" * 5000: "is too long for the name of a file",
    "secret-link.png": OUT,
    "device-link.png": OUT,
    "loop.png": "",
    "process-link.png": OUT,
    "there/secret.png": OUT,  # the folder is a link
    "pipe.png": "it is no regular file",
    "folder.png": "folder.png cannot be read",
    ".": "cannot be read",
}


def test_a_name_that_is_no_picture_of_the_folder_is_told(data: Path) -> None:
    links = {"secret-link.png": data.parent / "secret.png", "device-link.png": "/dev/zero", "loop.png": "loop.png",
             "process-link.png": "/proc/self/environ", "there": data.parent}  # fmt: skip
    for name, target in links.items():
        (data / name).symlink_to(target)
    os.mkfifo(data / "pipe.png")
    (data / "folder.png").mkdir()
    for image, message in [*NAMES.items(), (["../secret.png"], OUT)]:
        (problem,) = told(lines(data, GOOD, row(id=2, image=image)), data=data)
        assert str(data) in problem
        assert message in problem
        assert SECRET not in problem
