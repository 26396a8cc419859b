"""Models small enough to be explored in a test, whose pictures change visibly with their latents."""

from functools import partial

import torch

from pl_genmodels.layers import Attributes, Codes, Labels
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.conditional_gan.infogan import InfoGAN
from pl_genmodels.networks import (
    AuxiliaryDiscriminator,
    ConcatDiscriminator,
    ConcatGenerator,
    MLPDiscriminator,
    MLPGenerator,
)

SHAPE = (1, 8, 8)
CONDITIONS = {"label": Labels(3), "attributes": Attributes(4, [0, 2]), "code": Codes([3], 1)}


def contrasted(model):
    """Larger weights: a generator that has learnt nothing makes grey pictures."""
    with torch.no_grad():
        for weight in model.generator.parameters():
            weight.mul_(4)
    return model.eval()


def conditional(entry, shape=SHAPE, latent_dim=12):
    """A model of labels, attributes or codes; the same weights every time."""
    torch.manual_seed(0)
    judge = partial(MLPDiscriminator, hidden_dim=16, num_layers=1)
    maker = partial(MLPGenerator, hidden_dim=32, num_layers=1)
    generator = partial(ConcatGenerator, latent_dim=latent_dim, generator=maker)
    kind, around = (InfoGAN, AuxiliaryDiscriminator) if entry == "code" else (CGAN, ConcatDiscriminator)
    networks = {"generator": generator, "discriminator": partial(around, discriminator=judge)}
    return contrasted(kind(shape, condition=CONDITIONS[entry], **networks))
