"""What the training loop costs beyond the step itself."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.models.translation.cyclegan import CycleGAN
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, MLPDecoder, MLPEncoder, ResNetTranslator
from tests.benchmarks.loops import cyclegan_step, gan_step, vae_step, wgan_gp_step
from tests.benchmarks.timing import loop_ratio

CHANNELS = 32


def dcgan(image_shape, model=DCGAN, **options):
    return model(
        image_shape,
        generator=partial(DCGANGenerator, channels=CHANNELS),
        discriminator=partial(DCGANDiscriminator, channels=CHANNELS, **options),
    )


def cyclegan(image_shape):
    return CycleGAN(image_shape, image_shape, generator=partial(ResNetTranslator, num_blocks=6))


def vae(image_shape):
    """Two layers of 500 units and a latent of 50."""
    encoder, decoder = (partial(kind, hidden_dim=500, num_layers=2) for kind in (MLPEncoder, MLPDecoder))
    return VAE(image_shape, latent_dim=50, encoder=encoder, decoder=decoder)


CASES = {  # model, shape, batch size, bare step, steps a round, rounds, bound
    "points": (GAN, (2,), 256, gan_step, 50, 12, 1.5),
    "dcgan-32": (dcgan, (1, 32, 32), 64, gan_step, 6, 12, 1.05),
    "dcgan-64": (dcgan, (3, 64, 64), 64, gan_step, 2, 12, 1.03),
    "wgan_gp-32": (partial(dcgan, model=WGANGP, batch_norm=False), (1, 32, 32), 64, wgan_gp_step, 5, 10, 1.05),
    "cyclegan-64": (cyclegan, (3, 64, 64), 1, cyclegan_step, 2, 8, 1.05),
    "vae": (vae, (1, 28, 28), 100, partial(vae_step, make_optimizer=torch.optim.Adam), 10, 12, 1.05),
    "vae with the same optimiser": (vae, (1, 28, 28), 100, vae_step, 10, 12, 1.25),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", CASES)
def test_the_loop_costs_little_beyond_the_step(name, tmp_path, device, measured):
    model, shape, batch_size, bare_step, steps, rounds, bound = CASES[name]
    ours, bare = (model(shape).to(device) for _ in range(2))

    paired = isinstance(ours, CycleGAN)

    def images():
        return torch.rand(batch_size, *shape) * 2 - 1

    ratio = loop_ratio(ours, bare_step(bare), images, tmp_path, device, rounds, steps, ours.batch_keys[: 1 + paired])
    setting = f"{'x'.join(map(str, shape))}, batch {batch_size}"
    row = measured(f"loop/{name}", "step", "bare PyTorch", ratio, f"<= {bound}", unit="time", setting=setting)
    assert row.holds
