"""The guard for families that nobody has tried: a forward that is not the model's own stops the run."""

import pytest

from vlm_rl.callbacks.forward_parity import ForwardMismatch, check_forward_parity, examples, forward_difference
from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models import family
from vlm_rl.models.encoding import PromptEncoder


def test_ours_is_the_models_own_forward_with_and_without_images(experiment: Experiment, mixed_rows: list[Row]) -> None:
    vlm = experiment.policy.vlm.train()
    for row in mixed_rows:
        assert forward_difference(experiment.policy, experiment.encoder, row) < 1e-5
    assert vlm.training  # the check leaves the mode as it was
    vlm.eval()


@pytest.mark.parametrize("broken", ["positions", "logits"])
def test_other_positions_or_another_scale_of_the_logits_stop_the_run(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "positions":  # 1-D positions where the model has multimodal ones: silent, only noisier
        counted = family.position_ids
        monkeypatch.setattr(
            family, "position_ids", lambda vlm, *rest: counted(vlm, *rest).amax(0, keepdim=True).cumsum(-1).expand(3, -1, -1)
        )
    else:
        monkeypatch.setattr(family, "head_of", lambda vlm: lambda hidden: 1.5 * vlm.get_output_embeddings()(hidden))
    encoder = PromptEncoder(policy=experiment.policy, dataset=experiment.dataset)  # it knows no prompt yet
    row = mixed_rows[2]
    with pytest.raises(
        ForwardMismatch, match=r"row 'three'.*Qwen2_5_VLForConditionalGeneration's own forward.*parity.tolerance=0.001"
    ):
        check_forward_parity(experiment.policy, encoder, row, tolerance=0.001)


def test_a_prompt_of_each_kind_is_looked_at_as_text_alone_would_not_show_wrong_positions(mixed_rows: list[Row]) -> None:
    none, one, three = mixed_rows
    assert [row.id for row in examples([none, none, three, one, three])] == ["none", "three", "one"]
    assert [row.id for row in examples([one])] == ["one"]
