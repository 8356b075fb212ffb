"""`model=qwen dataset=geo`, the paper's command, on a folder of the real architecture in small and files of the real format."""

import json
from pathlib import Path

import pytest
from families.build import build
from forking import Forking
from PIL import Image
from safetensors import safe_open
from tiny_commands import only_run, train, trained_steps

FILES = {"rl": 8, "validation": 3, "test": 2}  # rows of geometry3k_<name>_v0.jsonl
SMALL = ("dataset.batch_size=4", "dataset.ppo_batch_size=2", "dataset.epochs=1", "dataset.max_new_tokens=6", "num_threads=1")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command's arguments; what differs from the paper's is where things lie and how large they are."""
    folder = tmp_path_factory.mktemp("geometry3k")
    (folder / "geometry3k_images").mkdir()
    for shade, (kind, count) in enumerate(FILES.items()):
        lines = []
        for i in range(count):
            name = f"geometry3k_images/geometry3k_{kind}_{i}.png"
            Image.new("RGB", (90 + 20 * i, 80), (10 * i, 40 * shade, 200)).save(folder / name)
            row = {
                "question": f"<image>In the figure, $A B = {i}$. What is $B C ?$",
                "answer": str(20 + i),
                "id": f"geometry3k_{kind}_{i}",
            }
            lines.append(json.dumps(row | {"solution": rf"\boxed{{{20 + i}}}", "image": name}))
        (folder / f"geometry3k_{kind}_v0.jsonl").write_text("\n".join(lines), encoding="utf-8")
    model = build("qwen2_5_vl", tmp_path_factory.mktemp("qwen2_5_vl"))
    return ("model=qwen", "dataset=geo", f"model.name={model}", f"dataset.source.folder={folder}", "model.lora.rank=4", *SMALL)


@pytest.mark.slow
def test_the_papers_command_trains_adapters_over_a_bfloat16_base(
    forking: Forking, paper: tuple[str, ...], tmp_path: Path
) -> None:
    train(forking, tmp_path, *paper, "study=paper", "reward=random", "algorithm.score_at=last_token")
    run = only_run(tmp_path, study="paper")
    assert trained_steps(run) == [1, 2]
    assert run.manifest is not None and run.manifest["status"] == "finished"
    assert run.manifest["config"]["model"]["dtype"] == "bfloat16"
    (reached,) = run.manifest["adapters"]
    assert (reached["part"], reached["adapted_matrices"], reached["matrices"]) == ("language", 3 * 7, 3 * 7)
    with safe_open(run.path / "checkpoints" / "step-000002" / "adapter_model.safetensors", framework="pt") as saved:
        names = list(saved.keys())
        assert len(names) == 3 * 7 * 2  # layers x projections x two matrices
        assert all(".language_model.layers." in name for name in names)
        assert all(str(saved.get_tensor(name).dtype) == "torch.float32" for name in names)
        assert any(saved.get_tensor(name).abs().sum() > 0 for name in names if ".lora_B." in name)  # they begin at zero
