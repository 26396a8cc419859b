import pytest
import torch

from pl_genmodels.losses import feature_matching


def test_the_distance_of_means_and_not_the_mean_of_distances():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(n, 3, 2, generator=generator, dtype=torch.double) for n in (5, 7))
    gap = real.flatten(1).mean(0) - fake.flatten(1).mean(0)
    assert torch.allclose(feature_matching(real, fake), gap.square().mean().expand(7))
    assert torch.allclose(feature_matching(real, fake, "absolute"), gap.abs().mean().expand(7))
    spread = torch.tensor([[1.0], [-1.0]])
    assert feature_matching(torch.zeros(4, 1), spread).tolist() == [0, 0]
    assert feature_matching(real.half(), fake.half()).dtype == torch.float32
    with pytest.raises(ValueError, match="distance: got 'cosine', allowed are squared, absolute"):
        feature_matching(real, fake, "cosine")


def test_every_sample_moves_the_mean_by_its_share():
    fake = torch.zeros(4, 2, dtype=torch.double, requires_grad=True)
    feature_matching(torch.ones(3, 2).double(), fake).mean().backward()
    assert torch.allclose(fake.grad, torch.full((4, 2), -2 / (4 * 2), dtype=torch.double))
