"""What is asked of samples, as numbers, and the layers that are told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pl_genmodels.layers import (
    Attributes,
    Codes,
    ConditionalBatchNorm,
    Conditioned,
    EmbeddingMaps,
    Labels,
    Projection,
    concatenated,
)


def test_vectors_of_values():
    assert Labels(3).vectors(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert Attributes(3).vectors(torch.tensor([[1, 0, 1]])).tolist() == [[1, -1, 1]]
    picked = Attributes(4, chosen=[3, 1])
    assert picked.vectors(torch.tensor([[0, 1, 0, 0]])).tolist() == [[-1, 1]]
    assert picked.vectors(torch.tensor([[1, 0]])).tolist() == [[1, -1]], "what a user gives are those that count"
    codes = Codes([3, 2], num_continuous=1)
    assert (codes.dim, codes.length) == (6, 3)
    assert codes.vectors(torch.tensor([[1, 0, -0.5]])).tolist() == [[0, 1, 0, 1, 0, -0.5]]
    assert Codes([], 2).vectors(torch.tensor([[0.25, 1.0]])).tolist() == [[0.25, 1.0]]


@pytest.mark.parametrize("condition", [Labels(3), Attributes(4, [0, 2]), Codes([3, 4], 2)])
def test_draws_cover_what_is_allowed(condition):
    values = condition.draw(2000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert torch.equal(condition.checked(values, 2000), values)
    vectors = condition.vectors(values)
    assert vectors.shape == (2000, condition.dim)
    expected = {"label": [1 / 3] * 3, "attributes": [0.0] * 2, "code": [1 / 3] * 3 + [1 / 4] * 4 + [0, 0]}
    assert torch.allclose(vectors.mean(0), torch.tensor(expected[condition.entry]), atol=0.06)
    assert condition.checked(values[0], 5).shape[0] == 5
    shown = condition.all_of_one()
    assert len(shown) == {"label": 3, "attributes": 3, "code": 3}[condition.entry]


@pytest.mark.parametrize(
    ("condition", "values", "sentence"),
    [
        (Labels(10), torch.tensor([1, 10]), r"label: got \[10\], allowed are 0 to 9, the model's 10 classes"),
        (Labels(10), -1, r"label: got \[-1\]"),
        (Labels(10), 0.5, r"label: got \[0.5\]"),
        (Labels(10), torch.zeros(3), r"label: got shape \(3,\), allowed are one label or 2"),
        (Attributes(3), torch.zeros(2), r"attributes: got shape \(2,\), allowed are 3 zeros and ones"),
        (Attributes(3), torch.full((3,), 0.5), "attributes: got other values, allowed are 0 and 1"),
        (Attributes(3), torch.zeros(4, 3), "for each of 2"),
        (
            Codes([3], 1),
            torch.zeros(3),
            r"code: got shape \(3,\), allowed are 2 numbers \(1 categories, 1 cont",
        ),
        (Codes([3], 1), torch.tensor([3.0, 0.0]), r"code: got category \[3.0\], allowed for number 1 are 0 to 2"),
    ],
)
def test_wrong_values_are_told_in_one_sentence(condition, values, sentence):
    with pytest.raises(ValueError, match=sentence):
        condition.checked(values, 2)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Labels(0), "num_classes: got 0"),
        (lambda: Attributes(0), "num_attributes: got 0"),
        (lambda: Attributes(3, [0, 3]), r"chosen: got \[0, 3\], allowed are some of 0 to 2"),
        (lambda: Codes([1], 0), r"categories: got \[1\]"),
        (lambda: Codes([], 0), "num_continuous: got 0"),
    ],
)
def test_wrong_conditions(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_conditions_beside_features_and_pictures():
    features, picture, condition = torch.randn(2, 3), torch.randn(2, 1, 4, 5), torch.tensor([[1.0, 2], [3, 4]])
    assert torch.equal(concatenated(features, condition), torch.cat([features, condition], 1))
    maps = concatenated(picture, condition)
    assert torch.equal(maps[:, :1], picture)
    assert torch.equal(maps[:, 1:], condition[:, :, None, None].expand(2, 2, 4, 5))


def test_embedding_maps_of_a_label_are_its_row():
    maps = EmbeddingMaps(3, (2, 4, 5))
    found = maps(Labels(3).vectors(torch.tensor([2, 1])))
    assert torch.equal(found, maps.weight.view(3, 2, 4, 5)[[2, 1]])
    assert torch.allclose(maps(torch.tensor([[0.5, 0.5, 0.0]]))[0], maps.weight.view(3, 2, 4, 5)[:2].mean(0))


def test_projection_is_the_inner_product_with_the_class():
    layer, features = Projection(3, 4), torch.randn(2, 4)
    rows = layer.embedding.weight.T[[2, 0]]
    assert torch.allclose(layer(features, Labels(3).vectors(torch.tensor([2, 0]))), (rows * features).sum(1))


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.BatchNorm2d(4)])
def test_conditional_batch_norm_has_gain_and_bias_of_the_condition(norm):
    told = ConditionalBatchNorm(norm, 3)
    x = torch.randn(6, 4, *([5, 5] if isinstance(norm, nn.BatchNorm2d) else []))
    with pytest.raises(ValueError, match="condition: not set"):
        told(x)
    told.condition = Labels(3).vectors(torch.tensor([0, 1, 2, 0, 1, 2]))
    assert torch.allclose(told(x), norm(x), atol=1e-6), "starts as the plain layer"
    with torch.no_grad():
        told.gain.weight[:, 1], told.shift.weight[:, 1] = 2.0, -1.0
    plain, found = norm(x), told(x)
    assert torch.allclose(found[1::3], 3 * plain[1::3] - 1, atol=1e-5)
    assert torch.allclose(found[::3], plain[::3], atol=1e-6)


def test_a_conditioned_network_is_one_of_samples():
    class Both(nn.Module):
        def forward(self, x, condition):
            return (x * condition).sum(1)

    assert Conditioned(Both(), torch.tensor([[2.0, 1.0]]))(torch.tensor([[3.0, 4.0]])).tolist() == [10.0]


def test_labels_beyond_the_classes_are_told():
    with pytest.raises(ValueError, match=r"label: got 0 to 3, allowed are 0 to 2, the model's 3 classes"):
        Labels(3).vectors(torch.tensor([0, 3]))
