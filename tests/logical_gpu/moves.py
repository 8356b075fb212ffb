"""Every place of the package that names a device, by the scenario that fails without it. A new place needs a scenario too.

`python tests/logical_gpu/mutants.py` takes each away in turn and says which were caught.
"""

CAUGHT_BY: dict[str, tuple[str, ...]] = {
    "algorithm grpo": (
        "algorithms/groups.py:_sums: torch.zeros(len(counts), dtype ... float64, device=values.device)",
        "pipeline/step3_trajectory_generation.py:response_logprobs: torch.zeros(samples.response_m ... =samples.response_mask.device)",
    ),
    "algorithm sft": (
        "callbacks/forward_parity.py:forward_difference: encoder.batch([row], indices=[0], step=0).to(policy.device)",
        "callbacks/forward_parity.py:forward_difference: encoder.prompts.process(row).to(policy.device)",
        "pipeline/micro_batches.py:mini_batches: place.to(indices.device)",
        "pipeline/step4_policy_update.py:PolicyUpdate.update: torch.zeros(len(TOKEN_SUMS), d ... t64, device=advantages.device)",
        "pipeline/step4_policy_update.py:PolicyUpdate._gradients: torch.zeros(len(TOKEN_SUMS), d ... =mini_batch.advantages.device)",
        "pipeline/step4_policy_update.py:sums_over_tokens: torch.full((), torch.nan, dtyp ... h.float64, device=mask.device)",
        "rollout/solution_engine.py:SolutionEngine.generate: ids.to(self._policy.device)",
        "rollout/solution_engine.py:SolutionEngine.generate: torch.zeros(ids.shape, device=ids.device)",
    ),
    "dry run": (
        "commands/build.py:placed_policy: policy.to(placement.device)",
        "models/policy.py:Policy._features: image.features.to(self.device)",
        "models/policy.py:Policy.statistics: torch.zeros(mask.shape, device=mask.device)",
        "models/vision.py:_on_device_of: value.to(vlm.device)",
        "pipeline/step3_trajectory_generation.py:TrajectoryGeneration.generate: queries.to(policy.device)",
        "pipeline/step3_trajectory_generation.py:concatenate: torch.arange(len(queries.rows), device=mask.device)",
        "pipeline/step3_trajectory_generation.py:concatenate: torch.arange(group, device=mask.device)",
        "pipeline/step3_trajectory_generation.py:concatenate: torch.arange(mask.shape[1], device=mask.device)",
        "pipeline/step3_trajectory_generation.py:concatenate: torch.tensor(queries.indices, device=mask.device)",
        "pipeline/step3_trajectory_generation.py:concatenate: scores.to(mask.device, torch.float32)",
        "pipeline/step3_trajectory_generation.py:concatenate: torch.tensor(ended, device=mask.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine.generate: queries.to(policy.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._sample: numbers.to(policy.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._sample: torch.full(numbers.shape, -1, device=policy.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._sample: torch.zeros(numbers.shape, device=policy.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._sample: torch.tensor(policy.stop_ids, device=policy.device)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._prefill: torch.arange(count, device=policy.device) (2)",
        "rollout/huggingface_engine.py:HuggingFaceEngine._prefill: torch.zeros(count, dtype=torch.bool, device=policy.device)",
        "types.py:QueryBatch.to: value.to(device)",
    ),
    "evaluate.py and export.py after training": (
        "commands/export.py:base_of: base.to(device)",
        "models/trained_weights.py:merge: load_pretrained(str(folder), d ... pa').eval().to(rounded.device)",
        "models/trained_weights.py:_probe: processor.apply_chat_template( ... tensors='pt').to(model.device)",
    ),
    "algorithm dr_grpo": ("masking.py:constant_length_weights: torch.tensor(len(mask), device=mask.device)",),
    "algorithm reinforce_pp": ("models/policy.py:Policy.encode_images: vision.features_of(self.vlm, images).to('cpu')",),
    "groups selected by accuracy": (
        "algorithms/dynamic_sampling.py:GroupSelection.select: torch.tensor(terms['accuracy'], device=device)",
        "algorithms/dynamic_sampling.py:GroupSelection.select: torch.zeros((2, self.settings. ... ype=torch.long, device=device)",
    ),
    "waits": ("rollout/huggingface_engine.py:HuggingFaceEngine._prefill: torch.arange(count, device=policy.device)",),
    "family gemma3": ("types.py:ImageFeatures.to: pooled.detach().to(device)",),
    "family qwen3_vl": (
        "types.py:ImageFeatures.to: p.detach().to(device)",
        "types.py:ImageFeatures.to: image.detach().to(device)",
    ),
}
# Those that the tests take away each time.
IN_TESTS = (
    "rollout/huggingface_engine.py:HuggingFaceEngine.generate: queries.to(policy.device)",  # every run on a GPU died without it
    "pipeline/step3_trajectory_generation.py:TrajectoryGeneration.generate: queries.to(policy.device)",
    "commands/build.py:placed_policy: policy.to(placement.device)",  # evaluate.py computed on the CPU without it, and did not say so
    "masking.py:constant_length_weights: torch.tensor(len(mask), device=mask.device)",  # a collective
    "models/policy.py:Policy.encode_images: vision.features_of(self.vlm, images).to('cpu')",  # the memory of the GPU
)
