import hashlib
import subprocess
import sys

import numpy as np
import torch

from vlm_rl.randomness import forked_generator, stream, stream_seed, uniforms


def test_a_seed_is_the_sha256_of_root_seed_purpose_and_path() -> None:
    digest = hashlib.sha256(b'[7,"rollout","train","row-3",2,0.6]').digest()
    assert stream_seed(7, "rollout", "train", "row-3", 2, 0.6) == int.from_bytes(digest[:8], "big") // 2
    assert 0 <= stream_seed(7, "rollout") < 2**63


def test_paths_are_not_glued_together() -> None:
    seeds = {
        stream_seed(*key)
        for key in [(1, "a", "bc"), (1, "ab", "c"), (1, "a", "b", "c"), (11, "a", "bc"), (1, "a", 1), (1, "a", "1")]
    }
    assert len(seeds) == 6


def test_another_process_with_another_hash_salt_draws_the_same() -> None:
    code = "from vlm_rl.randomness import stream; print(stream(3, 'x', 'row', 1).permutation(9).tolist())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "12345", "PATH": ""}
    )
    assert said.stdout.strip() == str(stream(3, "x", "row", 1).permutation(9).tolist())


def test_the_numbers_of_a_response_do_not_depend_on_how_many_are_asked_for() -> None:
    assert np.array_equal(uniforms(5, count=3), uniforms(5, count=100)[:3])
    assert not np.array_equal(uniforms(5, count=3), uniforms(6, count=3))
    assert uniforms(5, count=3).dtype == np.float64


def test_uniform_numbers_are_uniform() -> None:
    numbers = np.concatenate([uniforms(stream_seed(0, "test", i), count=100) for i in range(200)])
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 43.8  # 0.999 quantile of chi-square with 19 degrees of freedom
    assert 0 <= numbers.min() < numbers.max() < 1


def test_a_forked_generator_draws_from_its_seed_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    with forked_generator(4):
        first = torch.rand(3)
    with forked_generator(4):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
