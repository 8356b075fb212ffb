"""What is done with an export: the lines of its card and of the documents ask the model, and a push uploads the folder."""

import contextlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from exported_runs import export_of, run_of
from httpx import Request, Response
from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError
from peft import PeftModel
from PIL import Image
from tiny_runs import Build
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlm_rl.commands import export as exporting
from vlm_rl.models.loading import resolve

pytestmark = pytest.mark.slow

# The README names in a sentence what the card imports.
IMPORTED = {
    "AutoModelForImageTextToText": AutoModelForImageTextToText,
    "AutoProcessor": AutoProcessor,
    "Image": Image,
    "PeftModel": PeftModel,
}
ROOT = Path(__file__).parents[2]
CODE = re.compile(r"```python\n(.+?)```", flags=re.DOTALL)


@pytest.fixture(scope="module")
def run(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with adapters that move every trained weight."""
    return run_of(built("study=s"), tmp_path_factory.mktemp("adapter") / "outputs/s/grpo/seed-0")


class FakeHub(HfApi):
    """What is asked of the hub, in order."""

    asked: list[tuple[str, Any]]
    there: Mapping[str, bool] = {}  # repositories that are there, and whether they are private

    def __init__(self) -> None:
        FakeHub.asked = []

    def repo_info(self, name: str) -> ModelInfo:
        if name not in self.there:
            raise RepositoryNotFoundError(name, response=Response(404, request=Request("GET", "https://hub")))
        return ModelInfo(id=name, private=self.there[name])

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        self.asked.append(("create", (name, private, exist_ok)))
        return f"https://hub/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        self.asked.append(("upload", (repo_id, sorted(os.listdir(folder_path)))))


def test_a_push_makes_a_private_repository_and_uploads_the_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "get_token", lambda: "hf_fake")
    monkeypatch.setattr(exporting, "HfApi", FakeHub)
    for is_private, private in ((True, True), (True, False), (False, False)):  # there already
        monkeypatch.setattr(FakeHub, "there", {"me/mine": is_private})
        export_of(run, tmp_path / "mine", push="me/mine", private=private)
        assert [what for what, _ in FakeHub.asked] == ["create", "upload"]
    monkeypatch.setattr(FakeHub, "there", {})
    folder = export_of(run, tmp_path / "mine", push="me/mine")
    assert FakeHub.asked == [("create", ("me/mine", True, True)), ("upload", ("me/mine", sorted(os.listdir(folder))))]
    assert '"me/mine"' in (folder / "README.md").read_text()
    assert "Pushed to https://hub/me/mine" in capsys.readouterr().out


def test_a_private_push_into_a_public_repository_is_refused_before_anything_is_done(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "get_token", lambda: "hf_fake")
    monkeypatch.setattr(exporting, "HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "there", {"me/mine": False})
    with pytest.raises(ValueError, match=r"push=me/mine: that repository is there and public.* private=false"):
        export_of(run, tmp_path / "mine", push="me/mine")
    assert FakeHub.asked == []
    assert list(tmp_path.iterdir()) == []


def test_without_an_account_a_push_says_how_to_get_one_before_anything_is_done(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "get_token", lambda: None)
    with pytest.raises(ValueError, match="hf auth login"):
        export_of(run, tmp_path / "mine", push="me/mine")
    assert list(tmp_path.iterdir()) == []


def said_by(code: str, *, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What these lines print, where there is a figure.png."""
    Image.linear_gradient("L").resize((168, 112)).save(folder / "figure.png")
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "card", "exec"), dict(IMPORTED))
    return out.getvalue().strip()


@pytest.mark.parametrize("merge", [False, True])
def test_the_lines_of_the_card_ask_the_model(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool) -> None:
    monkeypatch.chdir(tmp_path)
    folder = export_of(run, Path("mine"), merge=merge)
    (code,) = CODE.findall((folder / "README.md").read_text())
    assert said_by(code, folder=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize(
    "page", [page for page in ("README.md", "docs/sharing.md") if "PeftModel" in (ROOT / page).read_text()]
)
def test_the_lines_of_the_documents_ask_the_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    export_of(run, Path("my-adapter"))
    (code,) = (code for code in CODE.findall((ROOT / page).read_text()) if "PeftModel" in code)
    own = code.replace('"Qwen/Qwen2.5-VL-7B-Instruct"', repr(resolve("tiny")))
    assert own != code
    assert said_by(own, folder=tmp_path, monkeypatch=monkeypatch)
