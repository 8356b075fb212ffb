"""What benchmarks/scale_simulation.py is told: costs, a workload, a machine. Those of 7B and 72B are worked out, not measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

GPUS_OF_A_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Seconds of a forward (or a decode step): for the call itself, and for each token in it."""

    fixed: float
    token: float

    def seconds(self, tokens: float, *, calls: int = 1, is_asynchronous: bool = False) -> float:
        """A GPU computes while the host prepares the next kernels; a CPU does one after the other."""
        parts = calls * self.fixed, tokens * self.token
        return max(parts) if is_asynchronous else sum(parts)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds, bytes, and bytes a second, of one device and of what lies between devices."""

    prompt: float  # reading a token of a prompt before sampling
    decode: Pass  # by the embedded engine: a step, and each sequence that writes in it
    served: Pass  # the same by a server
    forward: Pass  # without gradients
    update: Pass  # forward and backward
    optimizer: float  # clipping and AdamW
    encode: float  # Step I, one query
    judge: float  # one answer
    record: float  # one response in the files of a run
    step: float  # the rest of a step
    latency: float  # of one message, for each doubling of ranks
    tell: float  # of an object that ranks tell each other, the same
    link: float  # bytes a second of a rank in an all-gather within a machine
    network: float  # the same between machines
    disk: float  # bytes a second of one machine
    file_system: float  # bytes a second of all machines together
    load: float  # until a server has taken in an adapter that it has read
    weight_bytes: float
    other_bytes: float  # of embeddings, head and vision, which FSDP2 does not gather by layer
    trained_bytes: float  # gradients, and the adapter in a file
    trained_tensors: int  # one all-reduce each
    checkpoint_bytes: float
    is_asynchronous: bool


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One generation step of a run, and its evaluations."""

    queries: int
    group_size: int
    prompt: int  # tokens, the same for all
    mean: float  # tokens of a response
    spread: float  # standard deviation of the logarithm of its length
    longest: int
    num_minibatches: int
    micro_batch_tokens: int
    forward_batch_tokens: int
    passes: int  # without gradients, before the update: old policy and reference
    slots: int  # responses that one engine writes at a time
    steps_per_epoch: int
    checkpoint_every: int
    splits: tuple[int, ...]  # questions
    samples: int  # of a question, over all settings
    batch_rows: int  # questions that one rank answers together

    @property
    def num_responses(self) -> int:
        """Of one step."""
        return self.queries * self.group_size


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where it runs."""

    ranks: int
    servers: int = 0  # 0: the embedded engine samples. Else they sample the next step and evaluate while ranks learn (overlap)
    devices_of_server: int = 1
    is_balanced: bool = False  # rows of a mini-batch change ranks so that tokens are even
    is_sharded: bool = False  # FSDP2
    cores: float = math.inf  # that all ranks share
    contention: float = 1.0  # how much longer everything takes where two processes compute

    @property
    def devices(self) -> int:
        """Of ranks and servers."""
        return self.ranks + self.servers * self.devices_of_server

    @property
    def crowd(self) -> float:
        """Ranks for each core."""
        return max(1.0, self.ranks / self.cores)

    def wall(self, works: Sequence[float]) -> float:
        """Seconds until the last of several processes is done, which share the cores evenly."""
        elapsed, done = 0.0, 0.0
        left = sorted(works)
        for place, work in enumerate(left):
            active = len(left) - place
            rate = min(1.0, self.cores / active) / (self.contention if active > 1 else 1.0)
            elapsed, done = elapsed + (work - done) / rate, work
        return elapsed

    def message(self, seconds: float) -> float:
        """A collective that takes so many seconds between two ranks."""
        return seconds * math.ceil(math.log2(self.ranks)) * self.crowd

    def gather(self, count: float, costs: Costs) -> float:
        """Seconds of an all-gather of so many bytes; an all-reduce takes two of them."""
        link = costs.link if self.ranks <= GPUS_OF_A_NODE else costs.network
        return count / link * (self.ranks - 1) / self.ranks * self.crowd


# The paper's run (Sec. 5.1) on geometry3k. The spread is ours: one response in 65 would be longer than 2,048. Prompts of 400 tokens.
PAPER = Workload(
    queries=896,
    group_size=1,
    prompt=400,
    mean=390,
    spread=1.0,
    longest=2048,
    num_minibatches=32,
    micro_batch_tokens=8192,
    forward_batch_tokens=32768,
    passes=2,
    slots=256,
    steps_per_epoch=2,
    checkpoint_every=10,
    splits=(300, 601),
    samples=13,
    batch_rows=64,
)

FLOPS = 0.35 * 989e12  # operations a second of an H100 in bfloat16, at an assumed use of 35 %
LAYER = 1.4e-3  # seconds of the host for one layer of one call (a decode step on the CPU, with LoRA: 40 ms for 28 layers)


def of_size(*, parameters: float, layers: int, served: Pass, others: float, adapter: float) -> Costs:
    """A model with LoRA on bfloat16 weights, gradient checkpointing: 2 operations a parameter forward, recomputed, and backward."""
    token, fixed = 2 * parameters / FLOPS, layers * LAYER
    return Costs(
        prompt=token,
        decode=Pass(fixed=fixed, token=token),
        served=served,
        forward=Pass(fixed=fixed, token=token),
        update=Pass(fixed=3 * fixed, token=3 * token),
        optimizer=0.01,
        encode=0.03,  # about 2,500 kernels a picture, and the processor: assumed
        judge=0.001,  # one answer in seven needs algebra (7 ms)
        record=5e-5,
        step=0.2,
        latency=30e-6,
        tell=1e-3,
        link=300e9,  # NVLink: assumed
        network=40e9,  # 400 Gb/s for each GPU, of which 80 % arrive: assumed
        disk=2e9,
        file_system=20e9,
        load=1.0,
        weight_bytes=2 * parameters,
        other_bytes=others,
        trained_bytes=adapter,
        trained_tensors=layers * 7 * 2,
        checkpoint_bytes=3 * adapter,
        is_asynchronous=True,
    )


# A server: at least the time to read the weights for each step, and 10,000 to 15,000 tokens a second at 7B. 72B takes four GPUs, whose
# tokens a second are a ninth and a half of those of 7B for each GPU, times 0.8 for what lies between them.
COSTS = {
    "7B": of_size(parameters=7.6e9, layers=28, served=Pass(fixed=0.008, token=1 / 12_500), others=3.5e9, adapter=646e6),
    "72B": of_size(parameters=72.7e9, layers=80, served=Pass(fixed=0.025, token=1 / 4_200), others=6.5e9, adapter=3.37e9),
}
FEWEST_RANKS = {"7B": 1, "72B": 4}
RANKS = (1, 2, 4, 6, 8, 12, 16, 28, 32, 64, 128, 256)  # that are tried
DEVICES_OF_SERVER = {"7B": 1, "72B": 4}


def splits_of(model: str, *, devices: int, is_balanced: bool) -> list[Machine]:
    """Ways to use so many GPUs: ranks that learn and servers that sample; 7B also without servers."""
    size = DEVICES_OF_SERVER[model]
    plain = Machine(ranks=devices, is_balanced=is_balanced, is_sharded=model == "72B")
    alone = [plain] if model == "7B" else []
    of_ranks = [n for n in RANKS if FEWEST_RANKS[model] <= n < devices and (devices - n) % size == 0]
    return alone + [replace(plain, ranks=n, servers=(devices - n) // size, devices_of_server=size) for n in of_ranks]
