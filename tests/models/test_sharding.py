"""A model that is shared out over ranks, here over a group of one: what is gathered, and what is refused."""

from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from vlm_rl.commands.build import composed
from vlm_rl.commands.placement import check_strategy, is_sharded
from vlm_rl.models.loading import load_model
from vlm_rl.models.sharding import ShardedModel, Sharding, check_room, decoder_layers
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.sharded_memory import Sizes, shared_out


@pytest.fixture
def sharding() -> Iterator[Sharding]:
    """Over the one rank of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Sharding(device=torch.device("cpu"))
    dist.destroy_process_group()


def is_part(parameter: torch.Tensor) -> bool:
    """Whether it is shared out."""
    return isinstance(parameter, DTensor)


def test_all_tensors_are_shared_out_as_they_are_read_and_whole_only_inside(sharding: Sharding) -> None:
    """Tied embeddings stay one tensor, whichever way they are."""
    with sharding.reading():
        vlm = load_model("tiny", untrained=False, dtype="float32", attention="sdpa", root_seed=0)
    assert all(map(is_part, vlm.parameters()))
    sharding.share_out(vlm)
    assert vlm.lm_head.weight is vlm.get_input_embeddings().weight
    sharded = sharding.wrap(vlm)
    layers = {id(p) for layer in decoder_layers(vlm) for p in layer.parameters()}
    assert len(decoder_layers(vlm)) == vlm.config.text_config.num_hidden_layers
    with sharded.gathered():
        assert {is_part(p) for p in vlm.parameters() if id(p) not in layers} == {False}
        assert {is_part(p) for layer in decoder_layers(vlm) for p in layer.parameters()} == {True}
        assert vlm.lm_head.weight is vlm.get_input_embeddings().weight
        with sharded.whole():  # inside of the other, as an evaluation encodes images
            with sharded.whole():
                pass
            assert not any(map(is_part, vlm.parameters()))
    assert all(map(is_part, vlm.parameters()))


def test_a_failure_inside_leaves_the_parts_in_their_places(sharding: Sharding) -> None:
    vlm, sharded = _shared_out(sharding)
    before = list(vlm.parameters())
    with pytest.raises(KeyError), sharded.whole():
        raise KeyError
    assert all(left is right for left, right in zip(before, vlm.parameters(), strict=True))


def test_random_weights_are_shared_out_when_they_are_drawn(sharding: Sharding) -> None:
    whole = load_model("tiny", untrained=True, dtype="float32", attention="sdpa", root_seed=3)
    with sharding.reading():
        vlm = load_model("tiny", untrained=True, dtype="float32", attention="sdpa", root_seed=3)
    sharding.share_out(vlm)
    for left, right in zip(whole.parameters(), vlm.parameters(), strict=True):
        assert isinstance(right, DTensor)
        assert torch.equal(left, right.full_tensor())


def test_the_embedded_engine_is_refused_where_a_rank_has_no_room_for_the_whole_model(
    sharding: Sharding, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm, _ = _shared_out(sharding)
    size = sum(p.nbytes for p in vlm.parameters())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=4 * size))
    check_room(vlm, num_local_ranks=2)  # exactly half of a rank's memory
    with pytest.raises(ValueError, match=r"each rank would gather all .* GiB of weights, more than half .*rollout=vllm"):
        check_room(vlm, num_local_ranks=3)


def test_a_strategy_is_chosen_by_its_group_and_one_rank_has_nobody_to_share_with() -> None:
    two, one, both = (
        composed([*words, "trainer.accelerator=cpu"])
        for words in (["trainer/strategy=fsdp2", "trainer.devices=2"], ["trainer.strategy=fsdp2"], ["trainer.devices=2"])
    )
    assert [is_sharded(cfg.trainer) for cfg in (two, one, both)] == [True, False, False]
    four_bits = composed(["trainer/strategy=fsdp2", "model.quantization=nf4"])
    with pytest.raises(ValueError, match=r"weights in 4 bits are not shared out .* model.quantization=null"):
        check_strategy(four_bits)


def test_memory_of_a_rank_of_four() -> None:
    """A model of 100 bytes, 80 in ten layers, 8 of adapters beside it. Two layers of 8 are whole at a time in an update, and the 20
    that are no layers; the embedded engine gathers all 100."""
    sizes = Sizes(all=100, layers=80, largest_layer=8)
    adapters = [_phase(name, weights=108) for name in (names.UPDATE, names.FIRST_TOKENS, names.OPTIMIZER_STEP)]
    found = [phase.parts[names.WEIGHTS] for phase in shared_out(adapters, sizes, num_ranks=4)]
    assert found == [8 + 25 + 20 + 16, 8 + 25 + 100, 8 + 25]
    (full,) = shared_out([_phase(names.UPDATE, weights=100, gradients=100, optimizer=200)], sizes, num_ranks=4)
    assert full.parts == {
        names.WEIGHTS: 25 + 20 + 16,
        names.GRADIENTS: 25 + 20,
        names.OPTIMIZER: 50,
        names.BUCKETS: 0,
        "activations": 1000,
    }
    assert full.resident == 400 - (1400 - full.total)


def _shared_out(sharding: Sharding) -> tuple[torch.nn.Module, ShardedModel]:
    with sharding.reading():
        vlm = load_model("tiny", untrained=False, dtype="float32", attention="sdpa", root_seed=0)
    sharding.share_out(vlm)
    return vlm, sharding.wrap(vlm)


def _phase(name: str, *, weights: int, gradients: int = 0, optimizer: int = 0) -> Phase:
    parts = {names.WEIGHTS: weights, names.GRADIENTS: gradients, names.OPTIMIZER: optimizer, "activations": 1000}
    return Phase(
        name=name,
        parts={part: size for part, size in parts.items() if size},
        resident=weights + gradients + optimizer,
        operations=(),
        num_sequences=1,
        only_adapters=not gradients,
    )
