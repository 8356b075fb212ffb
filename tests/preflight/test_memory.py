"""The estimate of memory is what a real generation step takes, phase by phase, for every family and every choice of what is trained."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra.utils import instantiate

from vlm_rl.models.quantization import constants
from vlm_rl.preflight.fake_tensors import FakeTensors
from vlm_rl.preflight.phase import WEIGHTS

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.15
FULL, SEEING = ("model.lora=null",), ("model.lora=null", "model.freeze=[]")
SMALL = ("model.dtype=float32", "model.gradient_checkpointing=false", "model.lora.rank=4", "preflight.cache=null")
BF16 = (*SMALL[2:], "model.dtype=bfloat16", "model.gradient_checkpointing=true")
NF4 = ("model.quantization=nf4",)
needs_library = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra nf4")
TRAINED = {  # each family with one of the choices, each choice with some family
    "qwen2_vl": (*SMALL, *SEEING),
    "qwen2_5_vl": BF16,
    "qwen3_vl": (*SMALL, *SEEING),
    "gemma3": BF16,
    "smolvlm": (*SMALL, *FULL),
    "idefics3": SMALL,
    "llava_onevision": SMALL,
    "internvl": (*BF16, *FULL),
}


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    """benchmarks/memory_estimate.py; what it needs lies beside it, and the families of tests/models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        patch.syspath_prepend(ROOT / "tests" / "models")
        import memory_estimate

        yield memory_estimate


@pytest.fixture(scope="module")
def folder_of(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's small model."""
    from families.build import build

    return cache(lambda family: build(family, tmp_path_factory.mktemp(family)))


def check(benchmark: ModuleType, case: object) -> None:
    lines = benchmark.compared(case)
    assert [line.phase for line in lines] == ["look", "sample", "score", "learn"]
    for line in lines:
        assert line.estimated == pytest.approx(line.measured, rel=TOLERANCE), line.phase


def check_family(benchmark: ModuleType, folder_of: Callable[[str], Path], family: str) -> None:
    from families.trials import CONFIGS

    at = str(folder_of(family))
    overrides = (f"model={CONFIGS[family]}", f"model.name={at}", *TRAINED[family])
    check(benchmark, benchmark.Case(name=family, at=at, overrides=overrides, max_new_tokens=6, batch_size=4))


@pytest.mark.slow
def test_a_family_takes_what_was_estimated_deep_stack_and_trained_tower_included(
    benchmark: ModuleType, folder_of: Callable[[str], Path]
) -> None:
    check_family(benchmark, folder_of, "qwen3_vl")


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(TRAINED) - {"qwen3_vl"}))
def test_every_family_takes_what_was_estimated(benchmark: ModuleType, folder_of: Callable[[str], Path], family: str) -> None:
    check_family(benchmark, folder_of, family)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [(), FULL, pytest.param(NF4, marks=needs_library)],
    ids=["LoRA", "full with a reference copy", "LoRA over 4 bits"],
)
def test_the_shipped_model_takes_what_was_estimated(benchmark: ModuleType, overrides: tuple[str, ...]) -> None:
    check(benchmark, benchmark.Case(name="tiny", overrides=overrides))


@needs_library
@pytest.mark.slow
def test_weights_in_four_bits_are_estimated_with_all_that_undoes_the_quantisation(benchmark: ModuleType) -> None:
    case = benchmark.Case(name="tiny", overrides=NF4)
    real = benchmark.experiment_of(case)
    real.reward.close()
    loaded = {t.untyped_storage().data_ptr(): t.nbytes for p in real.policy.parameters() for t in (p, *constants(p))}
    for phase in benchmark.estimated(case, real.cfg, on_gpu=False):
        assert phase.parts[WEIGHTS] == pytest.approx(sum(loaded.values()), rel=0.01)


def test_all_families_of_the_models_tests_are_here(benchmark: ModuleType) -> None:
    from families.build import FAMILIES

    assert set(TRAINED) == set(FAMILIES)


@pytest.mark.slow
def test_tracing_reads_no_weights_and_takes_no_memory(benchmark: ModuleType, tmp_path: Path) -> None:
    """Seven billion parameters of which no file exists."""
    from memory_cases import EYES, TEXT_7B, overrides_of, qwen

    qwen(TEXT_7B, EYES | {"depth": 1, "fullatt_block_indexes": [0]}, vocab=152_064)(tmp_path)
    case = benchmark.Case(name="7B", at=str(tmp_path), overrides=("model.dtype=bfloat16",))
    cfg = benchmark.composed(overrides_of(case))
    before = benchmark.process_memory("VmRSS")
    with torch.device("meta"):
        policy = instantiate(cfg.model, temperature=1.0, seed=0)
    FakeTensors().replace(policy)
    assert sum(p.numel() for p in policy.parameters()) > 7e9
    assert benchmark.process_memory("VmRSS") - before < 1e9


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with 80 GB")
@pytest.mark.parametrize("size", ["3B", "7B"])
def test_the_real_sizes_take_what_was_estimated(benchmark: ModuleType, tmp_path: Path, size: str) -> None:
    from memory_cases import CASES

    case = next(case for case in CASES["real"] if case.name.startswith(size))
    check(benchmark, benchmark.prepared(case, str(tmp_path)))
