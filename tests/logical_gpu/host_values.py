"""Where the host may wait for the GPU, and why. An entry that nothing needs any more fails its test."""

# Functions of the package, as "file:function".
ALLOWED = {
    "callbacks/recorder.py:_effective_share": "metrics of a step are written down: one look for each",
    "callbacks/recorder.py:_largest": "metrics of a step are written down: one look for each",
    "commands/model_checks.py:forward_differences": "the checks before the first step end in numbers",
    "commands/model_checks.py:check_causality": "the checks before the first step end in numbers",
    "device.py:synchronise": "a stretch of time is over when the GPU has finished; five for each generation step",
    "masking.py:add_up_over_ranks": "once for each update on several ranks: what has a gradient on any of them",
    "masking.py:masked_whiten": "once for each generation step: the tokens under the mask",
    "masking.py:pooled_mean": "means over ranks are written down or compared with a tolerance; never for each micro-batch",
    "models/trained_weights.py:_check": "export.py compares numbers",
    "models/trained_weights.py:merge": "export.py tells the differences",
    "models/policy.py:Policy.statistics": "only response tokens go through the LM head; how many there are, the host must know",
    "models/prompt_sharing.py:own_states": "the same",
    "models/prompt_sharing.py:_pairs": "which responses have one prompt, and how large its pictures are; two looks for each micro-batch",
    "models/prompt_sharing.py:PromptSharing._agrees": "whether a model can share prompts; once for each kind of prompt",
    "models/shared_prompts.py:shared": "the row of a micro-batch is laid out on the host: two looks at lengths and groups",
    "algorithms/groups.py:_sums": "once for each generation step: how many groups there are",
    "algorithms/dynamic_sampling.py:GroupSelection.select": "once for each generation step: the rows that are selected, and counts",
    "pipeline/micro_batches.py:forward_batches": "rows are sorted into batches by their lengths, on the host",
    "pipeline/micro_batches.py:_shared_batches": "the same where responses share their prompt",
    "pipeline/micro_batches.py:mini_batches": "once for each mini-batch: the rows that this rank has of it",
    "pipeline/step4_policy_update.py:clip_gradients": "whether to step depends on the norm of the gradient",
    "pipeline/step4_policy_update.py:PolicyUpdate._stats": "means of a generation step are written down",
    "pipeline/step4_policy_update.py:PolicyUpdate.update": "whether to step depends on the loss",
    "pipeline/step4_policy_update.py:sums_over_tokens": "sums over the mask, four for each micro-batch",
    "rollout/drawing.py:_nucleus": "with top_p below 1 alone: whether the ids that were sorted reach it; one for each token",
    "rollout/huggingface_engine.py:Writing.__init__": "once for each batch of prompts: how long they are",
    "rollout/huggingface_engine.py:Writing._write": "one for each token: which slots have ended",
    "rollout/written.py:finish": "responses become text, once for each batch of sequences",
    "types.py:ImageFeatures.to": "features of a frozen tower wait on the CPU until a forward needs them",
    "types.py:select": "padding that only other rows needed is cut: the host must know how much; two for each micro-batch",
    "types.py:_part": "which images the rows have; one for each micro-batch",
}
# Files of libraries, by how their path begins.
IN_LIBRARIES = {
    "lightning/fabric/utilities/device_dtype_mixin.py": "after the last step Lightning takes the model off the GPU",
    "lightning/fabric/utilities/apply_func.py": "and the state of the optimizer",
    "lightning/pytorch/core/module.py": "the backward pass of `before[mask]` in Policy.statistics",
    "lightning/pytorch/utilities/data.py": "whether all ranks have as many batches, once",
    "peft/tuners/lora/layer.py": "export.py merges: each layer is looked at for numbers that are none",
    "safetensors/torch.py": "a checkpoint is written",
    "transformers/": "vision towers read grids and masks; gpu_synchronisations.py counts them for a token and a micro-batch",
}


def function_of(text: str) -> str:
    """Of a host value as `Findings` writes it."""
    return text.split(" | ")[0]


def file_of(text: str) -> str:
    """Of a wait in a library as `Findings` writes it."""
    return text.split(" @ ")[1]
