"""What one does with a trained generator on a GPU, tried on one that is pretended: pictures may come from the CPU."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.utils._pytree import tree_leaves

from pl_genmodels import editing
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import DCGANDiscriminator, MLPEncoder
from tests.pretended_cuda import CUDA, pretended_cuda
from tests.small import gan

SHAPE, FEW = (1, 8, 8), {"num_starts": 2, "num_steps": 2}


@pytest.fixture(params=["gan", "vae"])
def model(request):
    """On the device, which lasts as long as the test."""
    made = gan(SHAPE, discriminator=partial(DCGANDiscriminator, channels=4)) if request.param == "gan" else VAE(SHAPE)
    with pretended_cuda():
        yield made.eval().to(CUDA)


def pictures(number=3):
    return torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def known():
    mask = torch.ones(SHAPE[1:], dtype=torch.bool)
    mask[2:5, 2:5] = False
    return mask


def square():
    return (~known()).float()[None]


VERBS = {
    "interpolate": lambda model: editing.interpolate(model, 2, 3),
    "combine": lambda model: editing.combine(model, *model.draw_latents(6, seed=0).split(2)),
    "around": lambda model: editing.around(model.draw_latents(1, seed=0)[0]),
    "directions": lambda model: editing.principal_directions(editing.LatentSpace(model), 2),
    "project": lambda model: vars(editing.project(model, pictures(), **FEW)),
    "projector": lambda model: (
        editing.project(
            model,
            pictures(),
            num_steps=2,
            start=editing.fit_projector(model, pictures(), MLPEncoder, num_steps=2, batch_size=2),
        ).latents
    ),
    "inpaint": lambda model: vars(editing.inpaint(model, pictures(), known(), **FEW)),
    "anomaly": lambda model: vars(editing.anomaly_scores(model, pictures(), **FEW)),
    "edit": lambda model: vars(
        editing.edit(
            model,
            model.draw_latents(2, seed=0),
            colour=pictures(1),
            colour_mask=square(),
            sketch=square(),
            num_candidates=2,
            num_steps=2,
        )
    ),
    "morph": lambda model: editing.morph(model, *model.draw_latents(4, seed=0).split(2), num_steps=3),
    "transfer": lambda model: editing.transfer(
        pictures(1).to(CUDA), editing.morph(model, *model.draw_latents(2, seed=0).split(1), num_steps=2)
    ),
    "blend": lambda model: editing.blend(pictures(2).to(CUDA), pictures(2).to(CUDA), square(), model, **FEW),
    "blend without a model": lambda model: editing.blend(pictures(2).to(CUDA), pictures(2).to(CUDA), square()),
    "warped": lambda model: editing.warped(pictures(2).to(CUDA), (1, 1, 4, 4), (2, 2)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_leave_nothing_on_the_cpu(verb, model):
    found = [value for value in tree_leaves(VERBS[verb](model)) if isinstance(value, torch.Tensor)]
    assert found
    assert all(value.is_cuda for value in found)


def test_neighbours_are_kept_on_the_cpu(model):
    """Memory of a GPU is not for all the images that there are."""
    found = editing.nearest_neighbours(pictures(2).to(CUDA), [pictures(5), pictures(4).to(CUDA)], 3)
    assert not any(value.is_cuda for value in vars(found).values())
