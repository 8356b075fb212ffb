"""How equally rows lie on ranks before and after they change ranks: worked out from lengths that are drawn; nothing is timed.

python benchmarks/balanced_ranks.py
"""

from dataclasses import dataclass

import numpy as np

from vlm_rl.pipeline.balanced_ranks import loads, shares

MU, SIGMA = 5.5848, 0.9037  # lognormal responses: 1.2 % lie above the cut, and the mean is 390 after it
CUT, PROMPT, NUM_DRAWS = 2048, 400, 1000


@dataclass(frozen=True, kw_only=True)
class MiniBatches:
    """Of one size, drawn from the batch of a step."""

    num_groups: int
    group_size: int
    batch_size: int  # groups of a generation step

    def ratios(self, num_ranks: int, generator: np.random.Generator) -> tuple[float, float]:
        """The fullest rank's tokens, before and after, over those of a rank if all were equal and no prompt were read twice."""
        groups = np.repeat(generator.permutation(self.batch_size)[: self.num_groups], self.group_size)
        lengths = np.minimum(generator.lognormal(MU, SIGMA, len(groups)).round(), CUT).clip(1).astype(np.int64)
        prompts = np.full_like(lengths, PROMPT)
        before = groups % num_ranks
        after = shares(before, groups, prompts, lengths, num_ranks=num_ranks, is_shared=True)
        equal = (lengths.sum() + PROMPT * self.num_groups) / num_ranks
        largest = [loads(places, groups, prompts, lengths, num_ranks=num_ranks).max() / equal for places in (before, after)]
        return float(largest[0]), float(largest[1])


KINDS = {
    "28 single rows of 896": MiniBatches(num_groups=28, group_size=1, batch_size=896),
    "4 groups of 7, of 128": MiniBatches(num_groups=4, group_size=7, batch_size=128),
    "16 groups of 8, of 128": MiniBatches(num_groups=16, group_size=8, batch_size=128),
}


def main() -> None:
    """The table of docs/performance.md."""
    print(
        "| a mini-batch | ranks | largest over mean, before | after | 95 % of them below | worst of 1,000 | useful time, before | after |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, kind in KINDS.items():
        for num_ranks in (2, 4, 8, 16, 64):
            generator = np.random.default_rng(0)
            before, after = np.array([kind.ratios(num_ranks, generator) for _ in range(NUM_DRAWS)]).T
            useful = [f"{1 / ratios.mean():.0%}" for ratios in (before, after)]
            figures = [f"{value:.2f}" for value in (before.mean(), after.mean(), np.quantile(after, 0.95), after.max())]
            print("| " + " | ".join([name, str(num_ranks), *figures, *useful]) + " |", flush=True)


if __name__ == "__main__":
    main()
