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


def conditional(entry, shape=SHAPE, latent_dim=12, hidden_dim=32):
    """A model of labels, attributes or codes; the same weights every time."""
    torch.manual_seed(0)
    judge = partial(MLPDiscriminator, hidden_dim=16, num_layers=1)
    maker = partial(MLPGenerator, hidden_dim=hidden_dim, num_layers=1)
    generator = partial(ConcatGenerator, latent_dim=latent_dim, generator=maker)
    kind, around = (InfoGAN, AuxiliaryDiscriminator) if entry == "code" else (CGAN, ConcatDiscriminator)
    networks = {"generator": generator, "discriminator": partial(around, discriminator=judge)}
    return contrasted(kind(shape, condition=CONDITIONS[entry], **networks))


def spots(places, side):
    """Bright spots, 4 pixels wide, on black, at places in pixels from the middle, (B, 2) to (B, 1, side, side)."""
    axis = torch.arange(side) + 0.5 - side / 2
    across, down = ((axis - places[:, place, None]).square() for place in (0, 1))
    return 2 * torch.exp(-(across[:, None, None] + down[:, None, :, None]) / 8) - 1


def taught(side=16):
    """Codes, and latents of which the first two move a spot over a dim pattern that all others change."""
    model, pattern = (conditional("code", (1, side, side), 12, hidden_dim) for hidden_dim in (128, 32))
    optimizer = torch.optim.Adam(model.generator.parameters(), 3e-3)
    with torch.enable_grad():
        for _ in range(400):
            latents = model.draw_latents(128)
            told = model.condition.vectors(model.condition.draw(128, None, latents.device))
            wanted = (spots(3 * latents[:, :2], side) + 0.3 * pattern.generator(latents, told).detach()).clamp(-1, 1)
            loss = (model.generator(latents, told) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model
