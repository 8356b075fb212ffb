"""The numbers that memory and time are estimated with, worked out by hand from configs."""

import functools
from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from rich.console import RenderableType
from rich.table import Table

from vlm_rl.commands import preflight_estimate
from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import checked_algorithm
from vlm_rl.commands.preflight_estimate import Prompted, estimates, length_of, not_estimated, workload_of
from vlm_rl.preflight.data_page import Verdict
from vlm_rl.preflight.device import Device, Machine
from vlm_rl.preflight.memory import PhaseMemory, trace
from vlm_rl.preflight.shapes import PromptShape

PROMPTED = Prompted(longest=PromptShape(tokens=90, pictures=()), typical=PromptShape(tokens=60, pictures=()), image_tokens=100)


def told_of(verdict: Verdict, *overrides: str, prompted: Prompted = PROMPTED) -> list[RenderableType]:
    """The page of the smoke experiment."""
    cfg = composed(["experiment=smoke", *overrides])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    return list(estimates(cfg, dataset, algorithm, prompted=prompted, verdict=verdict))


def tables_of(*overrides: str) -> list[dict[str, list[str]]]:
    """Each of the page's tables by the first cell of its lines."""
    tables = [piece for piece in told_of(Verdict(), *overrides) if isinstance(piece, Table)]
    lines = [zip(*(map(str, column.cells) for column in table.columns), strict=True) for table in tables]
    return [{name: cells for name, *cells in each} for each in lines]


def test_a_rank_takes_its_share_of_a_step() -> None:
    """geo: 896 queries over 7 ranks are 128 each; the mini-batches stay 32."""
    cfg = composed(["dataset=geo", "model=qwen"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    workload = workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=7, on_gpu=True)
    assert (workload.batch_size, workload.num_minibatches, workload.group_size, workload.max_new_tokens) == (128, 32, 1, 2048)
    assert workload.forward_batch_size == 256
    assert workload.needs_reference and workload.needs_old_logprobs and workload.on_gpu and workload.num_ranks == 7


def test_sft_samples_for_its_evaluations_only_and_needs_no_reference() -> None:
    cfg = composed(["experiment=smoke", "algorithm=sft"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    workload = workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=1, on_gpu=False)
    assert (workload.forward_batch_size, workload.needs_reference) == (256, False)


def test_a_run_is_counted_with_the_evaluation_of_its_vanilla_model() -> None:
    """16 rows in batches of 8 for 2 epochs: 4 steps, 3 evaluations of 8 + 8 rows under three settings of 8, 4 and 1 samples."""
    cfg = composed(["experiment=smoke"])
    length = length_of(cfg, instantiate(cfg.dataset), checked_algorithm("train", cfg), ranks=1, features_are_kept=True)
    assert (length.num_steps, length.num_rows, length.num_evaluations) == (4, 16, 3)
    assert (length.evaluated_rows, length.evaluated_responses) == (16 * 3, 16 * (8 + 4 + 1))


def test_a_run_that_does_not_fit_is_a_problem_with_its_phase_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's weights alone are 5 MB."""
    small = Device(device=torch.device("cpu"), name="card", free_bytes=1_000_000, on_gpu=False, is_certain=True)
    monkeypatch.setattr(preflight_estimate, "device_of", lambda _, memory: small)
    memory, *pieces = told_of(verdict := Verdict())
    assert isinstance(memory, Table) and memory.row_count >= 5
    assert any("whole run" in piece for piece in pieces if isinstance(piece, str))
    (problem,) = verdict.problems
    assert problem.startswith("It would not fit: phase ") and "card has" in problem and "Smaller by model." in problem


def test_a_model_that_cannot_be_traced_is_no_reason_to_refuse_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise NotImplementedError("no shadow of this kernel")

    monkeypatch.setattr(preflight_estimate, "trace", fails)
    (told,) = told_of(verdict := Verdict())
    assert isinstance(told, str)
    assert told.startswith("No estimate of memory and time: NotImplementedError: no shadow of this kernel")
    assert verdict.sentence == (
        "Training could start, as far as was checked; memory and time were not estimated (NotImplementedError)."
    )


def test_a_machine_is_measured_with_the_run_s_threads_and_given_solutions_take_no_time_to_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, before = [], torch.get_num_threads()

    def look(*_: object, **__: object) -> Machine:
        threads.append(torch.get_num_threads())
        return Machine(flops={"float32": 1.0}, bandwidth=1.0, start=1.0)

    monkeypatch.setattr(preflight_estimate, "measured", look)
    times = tables_of("num_threads=3", "algorithm=sft")[1]
    assert (threads, torch.get_num_threads()) == ([3], before)
    assert times["step 2, sampling"] == ["0 s", "0 s", "0 s"]
    assert "0 s" not in times["step 4, update"]


def test_eager_attention_is_estimated_as_such_and_adapters_are_told_of_their_rank() -> None:
    """Eager attention keeps a matrix of (query, key) for each head, which the fused kernels never make."""
    elsewhere = "preflight.device_memory=1GiB"  # no time is measured
    fused, eager = (tables_of(f"model.attention={name}", elsewhere)[0] for name in ("sdpa", "eager"))
    assert float(eager["update"][0].removesuffix(" MiB")) > 1.1 * float(fused["update"][0].removesuffix(" MiB"))
    assert fused["optimizer step"][-1] == "a smaller model.lora.rank or fewer model.lora.targets"


def test_a_model_without_adapters_is_told_of_them() -> None:
    phase = PhaseMemory(name="optimizer step", parts={"weights": 5, "optimizer states": 9}, resident=5)
    assert phase.smaller_by == "fewer trained parts (model.freeze) or LoRA (model.lora)"


def test_another_attention_or_strategy_than_was_traced_is_said() -> None:
    def told(*overrides: str, ranks: int) -> list[str]:
        return list(not_estimated(composed(["experiment=smoke", *overrides]), ranks=ranks))

    assert told(ranks=2) == told("trainer.strategy=ddp_find_unused_parameters_true", ranks=2) == []
    assert told("trainer.strategy=fsdp", ranks=1) == told("model.attention=eager", ranks=1) == []
    (attention,) = told("model.attention=flash_attention_2", ranks=1)
    assert attention == "Memory and time are those of model.attention=sdpa; what flash_attention_2 takes was not estimated."
    (strategy,) = told("trainer.strategy=fsdp", ranks=2)
    assert strategy.endswith("what trainer.strategy=fsdp takes was not estimated.")


def test_several_ranks_keep_their_gradients_a_second_time_to_add_them_up() -> None:
    """DDP's buckets are as large as the gradients of what is trained, in every phase, and nothing else changes."""
    cfg = composed(["experiment=smoke"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    make = functools.partial(instantiate, cfg.model, temperature=1.0, seed=0, untrained=True)
    found = [
        trace(
            make, workload=replace(workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=1, on_gpu=False), num_ranks=n)
        )
        for n in (1, 2)
    ]
    trained = sum(p.nbytes for p in found[0].policy.parameters() if p.requires_grad)
    for alone, together in zip(*(each.memory.phases for each in found), strict=True):
        assert together.parts == {**alone.parts, "gradient buckets of DDP": trained}


def test_prompts_are_read_in_batches_whose_cache_is_told_from_what_passes() -> None:
    """8 prompts of 90 tokens, three at a time: most is alive at the end of the second batch, with the cache of six."""
    cfg = composed(["experiment=smoke", "model.optimization.forward_batch_tokens=300"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    make = functools.partial(instantiate, cfg.model, temperature=1.0, seed=0, untrained=True)
    traced = trace(make, workload=workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=1, on_gpu=False))
    phase = {phase.name: phase for phase in traced.memory.phases}
    text = traced.policy.vlm.config.get_text_config()
    of_a_prompt = 2 * text.num_hidden_layers * text.num_key_value_heads * text.hidden_size // text.num_attention_heads * 90 * 4
    assert phase["prefill"].parts["kv cache"] == 6 * of_a_prompt
    assert phase["first tokens"].parts["kv cache"] > 8 * of_a_prompt


@pytest.mark.parametrize(("algorithm", "num_queries"), [("dapo", 12), ("grpo", 8)])
def test_a_step_holds_the_features_of_all_images_that_it_samples_from(algorithm: str, num_queries: int) -> None:
    """A picture of 84 x 56 is the features of 6 tokens. Dapo samples half as many queries again as the batch of 8."""
    cfg = composed(["experiment=smoke", f"algorithm={algorithm}"])
    shape = PromptShape(tokens=90, pictures=((84, 56),))
    prompted = Prompted(longest=shape, typical=shape, image_tokens=100)
    dataset, settings = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    work = workload_of(cfg, dataset, settings, prompted=prompted, ranks=1, on_gpu=False)
    assert (work.batch_size, work.num_queries) == (8, num_queries)
    traced = trace(functools.partial(instantiate, cfg.model, temperature=1.0, seed=0, untrained=True), workload=work)
    phase = {phase.name: phase for phase in traced.memory.phases}
    features = 6 * traced.policy.vlm.config.get_text_config().hidden_size * 4
    assert phase["first tokens"].parts["images"] == num_queries * features + 3 * 8  # the size of the traced picture
