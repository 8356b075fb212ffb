"""The numbers that memory and time are estimated with, worked out by hand from configs, and phases traced with them."""

import resource
from collections.abc import Sequence

import pytest
import torch
from hydra.utils import instantiate
from rich.console import RenderableType
from rich.table import Table
from tiny_runs import Sheet

from vlm_rl.commands import preflight_estimate
from vlm_rl.commands.build import composed
from vlm_rl.commands.preflight_estimate import estimates, length_of
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.split_check import PromptLength
from vlm_rl.models.loading import load_processor
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.data_page import Verdict
from vlm_rl.preflight.device import Device, Machine
from vlm_rl.preflight.fake_tensors import LARGEST_REAL
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.phases import trace
from vlm_rl.preflight.workload import PromptSizes, Workload

LENGTH = PromptLength(text=60, image=0)
PROMPTS = PromptSizes(row=Row(id="1", question="", answer="", solution=None, images=()), longest=LENGTH, mean=LENGTH)


def workload_of(
    *overrides: str, num_words: int = 0, picture: tuple[int, int] | None = None, num_ranks: int = 1, on_gpu: bool = False
) -> Workload:
    """A prompt of so many words, and perhaps a picture."""
    cfg = composed(["experiment=smoke", *overrides])
    dataset = instantiate(cfg.dataset)
    images = () if picture is None else (Sheet(1, width=picture[0], height=picture[1]),)
    row = Row(id="1", question="<image>" * len(images) + "and " * num_words, answer="1", solution=None, images=images)
    (length,) = Prompts(processor=load_processor("tiny", {}), dataset=dataset).lengths([row])
    return Workload(
        dataset=dataset,
        algorithm=instantiate(cfg.algorithm),
        prompts=PromptSizes(row=row, longest=length, mean=length),
        forward_batch_size=cfg.rollout.engine.forward_batch_size,
        num_ranks=num_ranks,
        on_gpu=on_gpu,
    )


def traced(workload: Workload, *overrides: str) -> tuple[Policy, dict[str, Phase]]:
    cfg = composed(["experiment=smoke", *overrides])
    with torch.device("meta"):
        policy = instantiate(cfg.model, temperature=1.0, seed=0, untrained=True)
    return policy, {phase.name: phase for phase in trace(policy, workload=workload)}


@pytest.fixture(scope="module")
def smoke() -> tuple[Workload, Policy, dict[str, Phase]]:
    """8 prompts with a picture of 6 tokens, three read at a time: most is alive at the end of the second batch."""
    workload = workload_of(num_words=30, picture=(84, 56))
    tokens = f"model.optimization.forward_batch_tokens={3 * workload.prompts.longest.total + 2}"
    return workload, *traced(workload, tokens)


def test_a_rank_takes_its_share_of_a_step() -> None:
    """geo: 896 queries over 7 ranks are 128 each; the mini-batches stay 32."""
    cfg = composed(["dataset=geo", "model=qwen"])
    workload = Workload(
        dataset=instantiate(cfg.dataset),
        algorithm=instantiate(cfg.algorithm),
        prompts=PROMPTS,
        forward_batch_size=256,
        num_ranks=7,
        on_gpu=True,
    )
    assert (workload.batch_size, workload.num_queries, workload.num_responses, workload.mini_batch) == (128, 128, 128, 4)
    assert (workload.chunk, workload.rows_within(10_000)) == (128, 10_000 // (60 + 2048))


def test_a_run_is_counted_with_the_evaluation_of_its_vanilla_model() -> None:
    """16 rows in batches of 8 for 2 epochs: 4 steps, 3 evaluations of 8 + 8 rows under three settings of 8, 4 and 1 samples."""
    cfg, workload = composed(["experiment=smoke"]), workload_of()
    length = length_of(cfg, workload, features_are_cached=True)
    assert (length.num_steps, length.encoded_prompts, length.num_evaluations) == (4, 16, 3)
    assert (length.evaluated_rows, length.evaluated_responses) == (16, 16 * (8 + 4 + 1))
    assert length_of(cfg, workload, features_are_cached=False).encoded_prompts == 4 * 8


@pytest.mark.slow
def test_prompts_are_read_in_batches_whose_cache_is_told_from_what_passes(
    smoke: tuple[Workload, Policy, dict[str, Phase]],
) -> None:
    workload, policy, phase = smoke
    text = policy.vlm.config.get_text_config()
    width = text.num_key_value_heads * text.hidden_size // text.num_attention_heads
    of_a_token = 2 * text.num_hidden_layers * width * 4
    of_a_prompt, room = workload.prompts.longest.total * of_a_token, workload.dataset.max_new_tokens * of_a_token
    of_responses = workload.chunk * workload.algorithm.group_size * room  # each prompt is there once, beside what is written
    assert phase["prefill"].parts["kv cache"] == 6 * of_a_prompt + of_responses
    assert phase["first tokens"].parts["kv cache"] == phase["last tokens"].parts["kv cache"] == 8 * of_a_prompt + of_responses


@pytest.mark.slow
def test_several_ranks_have_buckets_for_their_gradients_and_a_step_holds_the_features_of_all_its_images(
    smoke: tuple[Workload, Policy, dict[str, Phase]],
) -> None:
    """DDP's buckets are as large as the gradients of what is trained, in every phase. Dapo samples half as many queries again as the
    batch of 8; those of two ranks are shared out."""
    _, policy, alone = smoke
    workload = workload_of(
        *("algorithm=dapo", "algorithm.group_size=2", "dataset.batch_size=16"), num_words=30, picture=(84, 56), num_ranks=2
    )
    _, together = traced(workload)
    trained = sum(parameter.nbytes for parameter in policy.trained_parameters)
    assert all("gradient buckets of DDP" not in phase.parts for phase in alone.values())
    assert {phase.parts["gradient buckets of DDP"] for phase in together.values()} == {trained}
    features = 6 * policy.vlm.config.get_text_config().hidden_size * 4
    assert alone["first tokens"].parts["images"] == 8 * features
    assert together["first tokens"].parts["images"] == 12 * features


@pytest.mark.slow
def test_eager_attention_is_estimated_as_such_and_adapters_are_told_of_their_rank(
    smoke: tuple[Workload, Policy, dict[str, Phase]],
) -> None:
    """Eager attention keeps a matrix of (query, key) for each head, which the fused kernels never make."""
    workload, _, fused = smoke
    _, eager = traced(workload, "model.attention=eager")
    assert eager["update"].total > 1.1 * fused["update"].total
    assert fused["optimizer step"].smaller_by == "a smaller model.lora.rank or fewer model.lora.targets"


@pytest.mark.slow
def test_a_batch_of_half_a_million_tokens_with_pictures_is_estimated_in_proportion() -> None:
    """256 rows of 2,100 ids are 4.3 MB, more than LARGEST_REAL; each phase then takes 8 times what 32 rows take."""
    tokens = ("model.optimization.forward_batch_tokens=1_000_000", "model.optimization.micro_batch_tokens=1_000_000")
    sizes = ("algorithm=grpo", "algorithm.group_size=2", "algorithm.num_minibatches=1", "dataset.max_new_tokens=8", *tokens)
    found = []
    for num_responses in (32, 256):
        workload = workload_of(
            *sizes, f"dataset.batch_size={num_responses // 2}", num_words=1_700, picture=(560, 560), on_gpu=True
        )
        num_tokens = num_responses * workload.prompts.longest.total
        assert (num_tokens * 8 > LARGEST_REAL) == (num_responses == 256)
        _, phases = traced(workload, *tokens)
        found.append({name: phase.parts["activations"] for name, phase in phases.items()})
    for phase in ("prefill", "scoring", "update"):
        assert 0.95 < found[1][phase] / (8 * found[0][phase]) < 1.05, phase
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KiB; the estimate is of 31 GiB


def page(
    monkeypatch: pytest.MonkeyPatch, phases: Sequence[Phase] | Exception, *overrides: str, free_bytes: int = 2**40
) -> tuple[list[RenderableType], Verdict]:
    """What is said of phases, or of an error in tracing them, on a card with so much memory."""
    card = Device(device=torch.device("cpu"), name="card", free_bytes=free_bytes, on_gpu=False, is_certain=True)

    def traced(*_: object, **__: object) -> Sequence[Phase]:
        if isinstance(phases, Exception):
            raise phases
        return phases

    monkeypatch.setattr(preflight_estimate, "device_of", lambda _, memory: card)
    monkeypatch.setattr(preflight_estimate, "trace", traced)
    cfg, verdict = composed(["experiment=smoke", *overrides]), Verdict()
    with torch.device("meta"):
        policy = instantiate(cfg.model, temperature=1.0, seed=0, untrained=True)
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    return list(estimates(cfg, policy, dataset, algorithm, prompts=PROMPTS, verdict=verdict)), verdict


def test_a_model_that_cannot_be_traced_is_no_reason_to_refuse_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    (message,), verdict = page(monkeypatch, NotImplementedError("no such kernel"))
    assert str(message).startswith("No estimate of memory and time: NotImplementedError: no such kernel")
    assert verdict.sentence == (
        "Training could start, as far as was checked; memory and time were not estimated (NotImplementedError)."
    )


@pytest.mark.slow
def test_a_run_that_does_not_fit_is_a_problem_and_its_time_is_measured_with_its_threads(
    smoke: tuple[Workload, Policy, dict[str, Phase]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model's weights alone are 5 MB. Solutions that are given take no time to sample."""
    threads = []

    def measured(*_: object, num_threads: int, **__: object) -> Machine:
        threads.append(num_threads)
        return Machine(flops={"float32": 1.0}, bandwidth=1.0, start=1.0)

    monkeypatch.setattr(preflight_estimate, "measured", measured)
    words = ("num_threads=3", "algorithm=sft")
    (memory, *_, times, last), verdict = page(monkeypatch, list(smoke[2].values()), *words, free_bytes=1_000_000)
    assert isinstance(memory, Table) and isinstance(times, Table) and memory.row_count == 7
    (problem,) = verdict.problems
    assert problem.startswith("It would not fit: phase ") and "card has" in problem and "Smaller by model." in problem
    lines = {cells[0]: cells[1:] for cells in zip(*(column.cells for column in times.columns), strict=True)}
    assert threads == [3]
    assert lines["step 2, sampling"] == ("0 s", "0 s", "0 s")
    assert "0 s" not in lines["step 4, update"]
    assert "The whole run, evaluations included: " in str(last)
