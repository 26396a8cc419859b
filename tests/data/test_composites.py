"""Composites: the square is the only thing that differs, and held-out ones are of other parts."""

import pytest
import torch

from pl_genmodels.data import PastedPhotographs
from pl_genmodels.data.composites import relit


def test_composites_differ_from_their_targets_in_the_square():
    data = PastedPhotographs(size=16, num_patches=8)
    assert data.source_shape == data.target_shape == (3, 16, 16)
    for split, number in (("train", 88), ("val", 22), ("test", 22)):
        tensors = data.load(split).tensors
        differs = (tensors["source"] != tensors["target"]).any(1).float().mean(0)
        assert len(tensors["source"]) == number
        assert differs[4:12, 4:12].mean() > 0.9
        differs[4:12, 4:12] = 0
        assert differs.sum() == 0
        again = PastedPhotographs(size=16, num_patches=8).load(split).tensors
        assert torch.equal(again["source"], tensors["source"])
    assert len(data.load("val").tensors["target"][:11].flatten(1).float().std(1).unique()) > 5
    still = PastedPhotographs(size=16, num_patches=4, light=0.0).load("val").tensors
    assert torch.equal(still["source"], still["target"])


def test_light_changes_each_channel_alone():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, -1, -1)
    lit = relit(images, 0.5, torch.Generator().manual_seed(0)).float()
    assert len({tuple(channel.flatten().tolist()) for image in lit for channel in image}) == 6
    assert (lit.flatten(2).diff(dim=2) >= 0).all(), "what was lighter stays lighter"


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="size: got 18, allowed are multiples of 4"):
        PastedPhotographs(size=18)
    with pytest.raises(ValueError, match=r"light: got 2, allowed are values in \[0, 1\]"):
        PastedPhotographs(light=2)
