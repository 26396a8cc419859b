"""Edits that reach the original: by the model's error, and in the middle of what it has not seen."""

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from pl_genmodels.editing import carry_over, transfer, transfer_error
from pl_genmodels.editing.originals import middle

SHAPE = (3, 12, 16)


def pictures(number, seed, shape=SHAPE):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.6


def test_an_error_is_kept_where_nothing_changes_and_lost_where_all_does():
    original, before = pictures(2, 0), pictures(2, 1)
    assert torch.equal(transfer_error(original, before, before), original)
    after = before.clone()
    after[..., :6, :] = -before[..., :6, :].sign()  # changes by 1 or more
    found = transfer_error(original, before, after)
    assert torch.allclose(found[..., :3, :], after[..., :3, :], atol=1e-6), "what the model made"
    assert torch.equal(found[..., 9:, :], original[..., 9:, :]), "three pixels of blur farther nothing is touched"


def test_the_formula():
    original, before, after = pictures(1, 0), pictures(1, 1), pictures(1, 2)
    change = (after - before).abs().mean(1)[0].clamp(max=1).double().numpy()
    mask = torch.from_numpy(gaussian_filter(change, 0.7, mode="mirror", truncate=4)).float()
    expected = after + (1 - mask) * (original - before)
    assert torch.allclose(transfer_error(original, before, after), expected.clamp(-1, 1), atol=1e-4)


def test_details_of_a_larger_original_stay_outside_of_the_edit():
    before = pictures(1, 1)
    after = before.clone()
    after[..., 4:7, 4:7] += 0.4
    detail = 0.2 * torch.sign(torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)))
    large = F.interpolate(before, (48, 64), mode="bilinear") + detail
    found = transfer_error(large, before, after)
    assert found.shape == large.shape
    assert torch.allclose(found[..., 48:, :], large[..., 48:, :])
    inside = (found - large)[..., 20:24, 20:24]
    assert inside.mean() == pytest.approx(0.4, abs=0.05)
    kept = (found - F.interpolate(after, (48, 64), mode="bilinear"))[..., 20:24, 20:24]
    assert torch.allclose(kept, 0.6 * detail[..., 20:24, 20:24], atol=0.1), "M is 0.4 there"


def test_the_middle_that_a_model_sees():
    whole = torch.arange(30 * 20).view(1, 30, 20)
    assert torch.equal(middle(whole, (1, 8, 8)), whole[:, 5:25])
    assert torch.equal(middle(whole, (1, 8, 4)), whole[:, :, 2:17][:, :, :15])
    assert middle(whole, (1, 4, 8)).shape == (1, 10, 20)
    assert middle(whole[:, :1], (1, 8, 8)).shape == (1, 1, 1)


@pytest.mark.parametrize("how", ["motion", "error"])
def test_all_outside_of_the_middle_stays(how):
    whole, path = pictures(2, 0, (3, 40, 24)), torch.stack([pictures(2, seed, (3, 16, 16)) for seed in (1, 2)], 1)
    found = carry_over(whole, path, how)
    part = whole[..., 8:32, :]
    by = transfer(part, path) if how == "motion" else transfer_error(part, path[:, 0], path[:, 1])
    assert torch.equal(found[..., 8:32, :], by)
    assert torch.equal(found[..., :8, :], whole[..., :8, :])
    assert torch.equal(found[..., 32:, :], whole[..., 32:, :])
    assert not torch.equal(by, part)


def test_what_does_not_belong_together_is_refused():
    original, before = pictures(2, 0), pictures(2, 1)
    with pytest.raises(ValueError, match="after: got shape"):
        transfer_error(original, before, before[:1])
    with pytest.raises(ValueError, match=r"original: got shape \(1, 3, 12, 16\), allowed is \(2, 3, H, W\)"):
        transfer_error(original[:1], before, before)
    with pytest.raises(ValueError, match="transfer: got 'copy', allowed are motion, error"):
        carry_over(original, before[:, None].expand(-1, 2, -1, -1, -1), "copy")
