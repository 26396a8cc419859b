import pytest
import torch

from pl_genmodels.losses import class_feature_matching, feature_matching


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


def test_classes_are_matched_each_by_itself():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(7, 3, 2, generator=generator, dtype=torch.double) for _ in range(2))
    label = torch.tensor([0, 0, 2, 0, 2, 3, 3])  # nobody is of class 1
    vectors = torch.eye(4)[label]
    expected = sum((fake[label == one].mean(0) - real[label == one].mean(0)).square().mean() for one in (0, 2, 3))
    found = class_feature_matching(real, fake, vectors)
    torch.testing.assert_close(found, expected.expand(7))
    same = class_feature_matching(real, real[torch.tensor([1, 3, 4, 0, 2, 6, 5])], vectors)  # exchanged within classes
    torch.testing.assert_close(same, torch.zeros(7).double())
    one = class_feature_matching(real, fake, torch.ones(7, 1))
    torch.testing.assert_close(one, feature_matching(real, fake))
