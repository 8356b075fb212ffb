"""A model's folder that somebody gave us is data: what it holds is read or refused in words, and never run."""

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from safetensors.torch import load_file
from tiny_commands import TINY
from watched import watched

from vlm_rl.models import chat_templates
from vlm_rl.models.loading import load_config, load_pretrained, load_processor, resolve

pytestmark = pytest.mark.slow
Spoil = Callable[[Path], object]
SECRET = "outside"  # a folder beside the model, which nobody may read from
_seen: list[str] = []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the tiny model to spoil, beside a canary; afterwards nothing outside was opened, and nothing was started."""
    monkeypatch.setattr(chat_templates, "CPU_SECONDS", 1)
    shutil.copytree(resolve("tiny"), tmp_path / "model")
    (tmp_path / SECRET).mkdir()
    for name in ("secret.json", "secret.safetensors", "secret.bin"):
        (tmp_path / SECRET / name).write_text("{}")
    (tmp_path / "model" / "evil.py").write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')")
    _seen.clear()
    yield tmp_path / "model"
    assert not (tmp_path / "exploded").exists()
    own = [event for event in _seen if "template_trial.py" in event or event in ("open /dev/null", "os.posix_spawn")]
    assert [event for event in _seen if event not in own] == []


def load(folder: Path) -> None:
    """As a run does."""
    whole = folder.parents[1] if folder.parent.name == "snapshots" else folder  # the hub's cache has links to its blobs
    with watched(whole, Path("/proc"), Path("/sys")) as seen:
        try:
            load_config(str(folder))
            load_processor(str(folder), {})
            load_pretrained(str(folder), dtype="float32", attention="sdpa")
        finally:
            _seen.extend(seen)


def put(file: str, **changes: Any) -> Spoil:
    """Other keys in a JSON file."""

    def spoil(folder: Path) -> None:
        settings = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
        (folder / file).write_text(json.dumps(settings | changes))

    return spoil


def write(file: str, text: str | bytes) -> Spoil:
    """Other content."""

    def spoil(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())

    return spoil


def link(file: str, target: str) -> Spoil:
    """A link in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(target)

    return spoil


def sharded(name: str) -> Spoil:
    """An index in the place of the weights, which says that they are in `name`."""

    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        names = dict.fromkeys(load_file(folder / "model-1.safetensors"), name)
        write("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": names}))(folder)

    return spoil


def cut(folder: Path) -> None:
    """The last tensor is missing."""
    os.truncate(folder / "model.safetensors", 4_000_000)


def fifo(folder: Path) -> None:
    """Reading it would wait for ever."""
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")


def text_config(**changes: Any) -> Spoil:
    """Keys inside of the text part."""
    return lambda folder: put(
        "config.json", text_config=json.loads((folder / "config.json").read_text())["text_config"] | changes
    )(folder)


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TEMPLATE = "chat_template.jinja"
HOSTILE: dict[str, tuple[Spoil, str]] = {
    "loop": (write(TEMPLATE, LOOP), r"chat_template\.jinja.* took over 1 s of computing"),
    "multiplied": (write(TEMPLATE, "{{ 'a' * 10**10 }}"), r"chat_template\.jinja.* took over 1 GiB of memory"),
    "range": (write(TEMPLATE, "{{ range(10**9)|list }}"), r"chat_template\.jinja.* fails .*Range too big"),
    "recursion": (write(TEMPLATE, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), r"chat_template\.jinja.* too deeply"),
    "nested template": (write(TEMPLATE, "{% if 1 %}" * 3000 + "{% endif %}" * 3000), r"chat_template\.jinja.* too deeply"),
    "long prompt": (write(TEMPLATE, "{% for i in range(9999) %}{{ 'a' * 999 }}{% endfor %}"), r"chat_template\.jinja.* writes over"),
    "sandbox": (write(TEMPLATE, "{{ ''.__class__.__mro__[1].__subclasses__() }}"), r"chat_template\.jinja.* fails .*SecurityError"),
    "huge template": (write(TEMPLATE, "x" * 2_000_000), r"chat_template\.jinja has 2000000 bytes"),
    "another template": (write("additional_chat_templates/tool_use.jinja", LOOP), r"'tool_use'.* additional_chat_templates.* took over"),
    "index upwards": (sharded("../outside/secret.safetensors"), r"index\.json says .*no \*\.safetensors file beside it"),
    "index pickle": (sharded("secret.bin"), r"index\.json says .*'secret\.bin'"),
    "index of nothing": (sharded("model-2.safetensors"), r"index\.json names model-2\.safetensors, which is not there"),
    "index no map": (write("model.safetensors.index.json", "{}"), r"index\.json has no weight_map"),
    "linked weights": (link("model.safetensors", "../outside/secret.safetensors"), r"model\.safetensors is a link to .*copy there"),
    "linked template": (link(TEMPLATE, "/etc/passwd"), r"chat_template\.jinja is a link to /etc/passwd.*copy there"),
    "linked templates": (link("additional_chat_templates", "../outside"), r"additional_chat_templates is a link\. .*copy there"),
    "dangling": (link("config.json", "config2.json"), r"config\.json is a link to .*not there"),
    "a pipe": (fifo, r"generation_config\.json is no plain file"),
    "cut": (cut, r"model\.safetensors is cut off: .*Copy or download"),
    "no header": (write("model.safetensors", struct.pack("<Q", 4) + b"nope"), r"model\.safetensors is no safetensors file.*Copy"),
    "empty": (write("model.safetensors", b""), r"model\.safetensors is no safetensors file.*Copy"),
    "lfs": (write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), r"a pointer of Git LFS.*git lfs pull"),
    "no json": (write("config.json", "{"), r"config\.json is no JSON: .*Copy or download"),
    "a list": (write("config.json", "[]"), r"config\.json holds a list"),
    "deep": (write("config.json", '{"a":' * 99 + "1" + "}" * 99), r"config\.json is nested too deeply"),
    "very deep": (write("tokenizer_config.json", '{"a":' * 99999 + "1" + "}" * 99999), r"tokenizer_config\.json is nested too deeply"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"there is no config\.json in .*save_pretrained"),
    "no tokenizer": (write("tokenizer.json", "{}"), r"tokenizer\.json or .*is damaged.*Copy or download"),
    "kernel": (put("config.json", attn_implementation="evil/kernel"), r"config\.json: attn_implementation='evil/kernel' .*another model"),
    "kernel of a part": (text_config(_attn_implementation="evil/kernel@v1"), r"config\.json: text_config\._attn_implementation="),
    "kernels of parts": (put("config.json", _attn_implementation={"text_config": "e/k"}), r"config\.json: _attn_implementation="),
    "kernels": (put("config.json", use_kernels=True), r"config\.json: use_kernels='True' fetches kernels"),
    "quantized": (put("config.json", quantization_config={"quant_method": "quark"}), r"config\.json: quantization_config=.*imports"),
    "other weights": (put("config.json", transformers_weights="evil.bin"), r"config\.json: transformers_weights='evil\.bin'"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_refused_with_the_file_and_a_way_out(folder: Path, case: str) -> None:
    spoil, told = HOSTILE[case]
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=told) as caught:
        load(folder)
    said = str(caught.value)
    assert any(way in said for way in ("Correct", "Copy", "copy there", "git lfs pull", "another model", "save"))
    assert "trust_remote_code" not in said and "weights_only" not in said


def in_cache(folder: Path) -> Path:
    """As the hub's client keeps it."""
    home = folder.parent / "models--a--b"
    snapshot = home / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    for file in folder.glob("*.*"):
        file.rename(home / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    return snapshot


@pytest.mark.parametrize("made", [lambda folder: folder, in_cache])
def test_a_sane_folder_loads(folder: Path, made: Callable[[Path], Path]) -> None:
    load(made(folder))


def test_custom_generate_of_the_folder_is_never_run(folder: Path) -> None:
    write("custom_generate/generate.py", (folder / "evil.py").read_text())(folder)
    load(folder)
    model = load_pretrained(str(folder), dtype="float32", attention="sdpa")
    model.generate(model.dummy_inputs["input_ids"] % 100, max_new_tokens=1)


def test_a_command_tells_it_in_words(forking: Forking, folder: Path) -> None:
    HOSTILE["kernel"][0](folder)
    finished = forking.run("train.py", [f"model.name={folder}", *TINY, "study=s"], cwd=folder.parent)
    assert finished.code == 2, finished.out + finished.err
    assert str(folder) in finished.err[finished.err.rindex("\nError: ") :]
    assert "Traceback" not in finished.err
