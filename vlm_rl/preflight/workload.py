"""The numbers of a run that memory and time depend on."""

from dataclasses import dataclass

from vlm_rl.preflight.shapes import PromptShape


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one rank does in one generation step."""

    longest: PromptShape
    typical: PromptShape  # of mean length
    max_new_tokens: int
    batch_size: int  # queries that the update of a generation step learns from
    group_size: int
    num_minibatches: int
    ppo_epochs: int
    forward_batch_size: int  # sequences that the embedded engine samples at a time
    needs_old_logprobs: bool
    needs_reference: bool
    num_ranks: int
    on_gpu: bool  # AdamW takes all weights at once, with temporary copies; pictures wait in the host's memory
    surplus: int = 0  # queries that dynamic sampling samples beyond them

    @property
    def num_queries(self) -> int:
        """Queries that a generation step samples."""
        return self.batch_size + self.surplus

    @property
    def num_responses(self) -> int:
        """Responses that the update of a generation step learns from."""
        return self.batch_size * self.group_size

    @property
    def mini_batch(self) -> int:
        """Responses of one optimizer step."""
        return max(1, self.num_responses // self.num_minibatches)

    @property
    def chunk(self) -> int:
        """Queries that are sampled together."""
        return min(self.num_queries, max(1, self.forward_batch_size // self.group_size))

    def rows_within(self, max_tokens: int) -> int:
        """Responses of full length, to the longest prompt, that fit into a batch of so many tokens; one alone may exceed it."""
        return max(1, max_tokens // (self.longest.tokens + self.max_new_tokens))
