"""Energies, kernels and mixtures: what their papers promise, rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn

from pl_genmodels.data import Ring8
from pl_genmodels.losses import (
    EnergyMargin,
    GaussianSum,
    MomentMatching,
    RationalQuadratic,
    WeightClipping,
    kernels,
    witness_penalty,
)
from pl_genmodels.losses.boosting import boosting_weights
from pl_genmodels.metrics import mode_coverage, sliced_wasserstein
from pl_genmodels.models.gan import adagan, mmd_gan
from pl_genmodels.models.gan.adagan import AdaGAN
from pl_genmodels.models.gan.bayesian_gan import BayesianGAN
from pl_genmodels.models.gan.ebgan import EBGAN
from pl_genmodels.models.gan.gmmn import GMMN
from pl_genmodels.models.gan.gmmn_ae import GMMNAE
from pl_genmodels.models.gan.mmd_gan import MMDGAN
from pl_genmodels.models.optimizers import GANAdam, WGANRMSprop
from pl_genmodels.models.schedules import ConstantThenLinear
from pl_genmodels.models.sghmc import SGHMC
from pl_genmodels.networks import (
    AutoencoderDiscriminator,
    Discriminator,
    MLPDecoder,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
)
from tests.learning.bench import Check, EachBatch, Stream, assert_learns, digits, every, fit, near, passed, ring8
from tests.learning.solvable import NEVER, Normal
from tests.learning.test_gan import POINTS

pytestmark = pytest.mark.learning

ADAM = partial(GANAdam, lr=1e-3)
SEEDS = (0, 1)
FLAT_GENERATOR = partial(MLPGenerator, latent_dim=32, hidden_dim=256, batch_norm=True)

# ---- ebgan


class Energies(Discriminator):
    """An energy for each of three places."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.energies = nn.Parameter(torch.full((3,), 0.4))

    def forward(self, image):
        return -self.energies.abs()[image[:, 0].long()]


class Places(Normal):
    """The second and the third of three places, in turn."""

    def forward(self, latent):
        return 1 + (torch.arange(len(latent)) % 2)[:, None].float() + 0 * self.shift


def ebgan_margin():
    """p = (1/2, 1/2, 0) and q = (0, 1/2, 1/2): the least loss is m (1 - TV) = 1/2, energies per sample."""
    seed_everything(0, verbose=False)
    sgd = partial(torch.optim.SGD, lr=0.05)
    options = {"pulling_away_weight": 0.0, "critic_steps": NEVER, "optimizer_discriminator": sgd}
    model = EBGAN((1,), Places, Energies, margin=1.0, **options)
    real = (torch.arange(64) % 2)[:, None].float()
    losses = EachBatch(lambda module: module.last_terms["discriminator"][0]["adversarial"].mean().item())
    fit(model, Stream(lambda: real, 400), epochs=1, callbacks=[losses])
    first, _, last = model.discriminator.energies.abs().tolist()
    return [
        near("least loss", losses.values[-1], 0.5, 0.03, LAST["ebgan"][0]),
        near("energy of what only data have", first, 0, 0.03, LAST["ebgan"][1]),
        near("energy of what only samples have", last, 1, 0.05, LAST["ebgan"][2]),
    ]


AUTOENCODER = partial(
    AutoencoderDiscriminator,
    code_dim=16,
    encoder=partial(MLPEncoder, hidden_dim=256),
    decoder=partial(MLPDecoder, hidden_dim=256),
)


def ebgan_digits(seed=0, updates=4000, **options):
    """The sheet's setting; the margin is about three times the energy of digits at first."""
    options = {"margin": 0.5, "optimizer_generator": ADAM, "optimizer_discriminator": ADAM, **options}
    make = partial(EBGAN, (1, 8, 8), FLAT_GENERATOR, AUTOENCODER, **options)
    return digits(make, updates=updates, last=LAST["ebgan_digits"][seed], seed=seed)


# ---- gmmn, gmmn_ae


def gmmn_digits(seed=0, updates=1100):
    """A batch of 128 says little of a law, and the less the nearer the two are: the rate falls in the end."""
    kernel = GaussianSum((2.0, 5.0, 10.0, 20.0))
    rate = {
        "optimizer_generator": ADAM,
        "scheduler_generator": partial(ConstantThenLinear, constant_epochs=updates - 400, decay_epochs=400),
    }
    make = partial(GMMN, (1, 8, 8), FLAT_GENERATOR, MomentMatching(kernel), **rate)
    return digits(make, updates=updates, precision=0.22, last=LAST["gmmn"][seed], seed=seed)


def gmmn_ae_digits(seed=0, updates=2000):
    make = partial(
        GMMNAE,
        (1, 8, 8),
        32,
        FLAT_GENERATOR,
        partial(MLPEncoder, hidden_dim=256),
        partial(MLPDecoder, hidden_dim=256),
        autoencoder_updates=1000,
        optimizer_generator=ADAM,
        optimizer_autoencoder=ADAM,
    )
    return digits(make, updates=updates, precision=0.22, last=LAST["gmmn_ae"][seed], seed=seed)


# ---- mmd_gan


def mmd_gan_players():
    """The critic makes batches look farther apart, G nearer together; the encoder is clipped, the decoder is not."""
    seed_everything(0, verbose=False)
    critic = partial(AutoencoderDiscriminator, code_dim=4, encoder=partial(MLPEncoder, hidden_dim=64))
    sgd = partial(torch.optim.RMSprop, lr=1e-3)
    model = MMDGAN(
        (2,),
        partial(Normal, shift=1.5, scale=1.0),
        partial(critic, decoder=partial(MLPDecoder, hidden_dim=64)),
        clip=0.1,
        warmup_updates=0,
        critic_steps=10,
        rank_weight=0.0,
        reconstruction_weight=0.0,
        optimizer_generator=sgd,
        optimizer_discriminator=sgd,
    )
    real, latent = torch.randn(256, 2), torch.randn(256, 2)

    @torch.no_grad()
    def discrepancy(module):
        codes = [module.codes(images)[1] for images in (real, module(latent))]
        return module.matching(*codes)[0].item()

    found = EachBatch(discrepancy)
    fit(model, Stream(lambda: real, 40), epochs=1, callbacks=[found])
    before, critics = found.values[20], found.values[28]
    encoder, decoder = model.discriminator.encoder, model.discriminator.decoder
    largest = lambda network: max(p.abs().max().item() for p in network.parameters())
    return [
        Check("rise through critic steps", critics - before, 1e-4, 1, LAST["mmd_gan"][0]),
        Check("shift of G to the data", 1.5 - model.generator.shift[0].item(), 1e-3, 1.5, LAST["mmd_gan"][1]),
        Check("largest weight of the encoder", largest(encoder), 0, 0.1 + 1e-6, LAST["mmd_gan"][2]),
        Check("largest weight of the decoder", largest(decoder), 0.1 + 1e-3, 10, LAST["mmd_gan"][3]),
    ]


CRITIC = partial(
    AutoencoderDiscriminator,
    code_dim=8,
    encoder=partial(MLPEncoder, hidden_dim=128, num_layers=2),
    decoder=partial(MLPDecoder, hidden_dim=128),
)
RMSPROP = partial(WGANRMSprop, lr=1e-3)


def mmd_gan_ring(seed, updates=1000, rank_weight=0.1):
    """As in its config; within clipped weights as a Wasserstein GAN's gate."""
    options = {"clip": 0.3, "critic_steps": 2, "warmup_updates": 0, "rank_weight": rank_weight}
    rmsprop = {"optimizer_generator": RMSPROP, "optimizer_discriminator": RMSPROP}
    make = partial(MMDGAN, (2,), POINTS["generator"], CRITIC, **options, **rmsprop)
    return ring8(make, updates=updates, every=250, high_quality=0.4, last=LAST["mmd_gan_ring"][seed], seed=seed)


def witness_slope():
    """Between two clouds that lie 3 apart the witness rises by about 1 per unit where it may."""
    seed_everything(0, verbose=False)
    critic = partial(AutoencoderDiscriminator, code_dim=4, encoder=partial(MLPEncoder, hidden_dim=64))
    model = MMDGAN(
        (2,),
        partial(Normal, shift=3.0, scale=0.5),
        partial(critic, decoder=partial(MLPDecoder, hidden_dim=64)),
        loss=MomentMatching(RationalQuadratic(), unbiased=True, root=False),
        reconstruction_weight=0.0,
        rank_weight=0.0,
        witness_weight=10.0,
        clip=None,
        warmup_updates=0,
        critic_steps=NEVER,
        optimizer_discriminator=ADAM,
    )
    fit(model, Stream(lambda: 0.5 * torch.randn(256, 2), 600), epochs=1)
    real, fake = 0.5 * torch.randn(1000, 2), 0.5 * torch.randn(1000, 2) + torch.tensor([3.0, 0.0])
    encoder, kernel = model.discriminator.encoder, model.matching.kernel
    deviation = witness_penalty(encoder, kernel, real, fake).mean().item()
    return [Check("mean squared deviation of the slope from 1", deviation, 0, 0.15, LAST["witness_slope"][0])]


# ---- adagan, bayesian_gan

JUDGE = partial(MLPDiscriminator, hidden_dim=128)


def adagan_modes(seed=0, **changes):
    """Six weak generators of 120 updates each: the mixture finds more and more modes, thrice as many as the first."""
    seed_everything(seed, verbose=False)
    data = Ring8(num_samples=100_000, batch_size=256, seed=seed)
    adam = dict.fromkeys(("optimizer_generator", "optimizer_discriminator", "optimizer_classifier"), ADAM)
    options = {"num_components": 6, "component_updates": 120, **adam, **changes}
    model = AdaGAN((2,), partial(MLPGenerator, latent_dim=1, hidden_dim=8, num_layers=1), JUDGE, JUDGE, **options)
    found = []
    covered = lambda module: mode_coverage(module.sample(2500, seed=0), data.centers, data.sigma)["modes"]
    at_ends = EachBatch(lambda module: found.append(covered(module)) if module.generator_updates % 120 == 119 else None)
    fit(model, data, updates=6 * 120 - 1, callbacks=[at_ends])
    return [
        Check("modes of all over those of the first", found[-1] / max(found[0], 1), 3, 8, LAST["adagan"][seed][0]),
        Check(
            "least change from one to the next", torch.tensor(found).diff().min().item(), 0, 8, LAST["adagan"][seed][1]
        ),
    ]


def bayesian_modes(seed):
    """Five generators together find all modes, and none is another."""
    seed_everything(seed, verbose=False)
    data = Ring8(num_samples=100_000, batch_size=256, seed=seed)
    chain = partial(SGHMC, friction=0.5, num_data=100_000)
    model = BayesianGAN(
        (2,),
        partial(MLPGenerator, latent_dim=2, hidden_dim=64),
        partial(MLPDiscriminator, hidden_dim=64),
        num_generators=5,
        num_discriminators=2,
        optimizer_generator=partial(chain, lr=5e-7, seed=2 * seed),
        optimizer_discriminator=partial(chain, lr=2e-7, seed=2 * seed + 1),
    )
    fit(model, data, updates=600)
    latents = torch.randn(1000, 2)
    with torch.no_grad():
        each = [model.generator(latents, torch.full((1000,), number)) for number in range(5)]
    apart = [sliced_wasserstein(each[i], each[j]) for i in range(5) for j in range(i)]
    found = mode_coverage(model.sample(2500, seed=0), data.centers, data.sigma)
    return [
        Check("modes of five generators", found["modes"], 8, 8, LAST["bayesian_gan"][seed][0]),
        Check("least distance of two", min(apart), 0.05, 10, LAST["bayesian_gan"][seed][1]),
    ]


def posterior_variance():
    """Of U = x^2 / 2, whose samples have the variance 1; 0.5 without the noise's factor 2, 0 without noise."""
    weights = torch.zeros(4000, requires_grad=True)
    sampler, variances = SGHMC([weights], lr=1e-2, friction=0.5, num_data=1, prior_std=1e6), []
    for step in range(3000):
        weights.grad = weights.detach().clone()
        sampler.step()
        if step > 1000 and step % 50 == 0:
            variances.append(weights.var().item())
    return [near("variance", sum(variances) / len(variances), 1, 0.05, LAST["posterior"][0])]


LAST = {  # measured last
    "ebgan": (0.5125, 0.0, 1.025),
    "mmd_gan": (0.0630, 0.0300, 0.1, 0.499),
    "mmd_gan_ring": [(0.516, 0.0234, 500), (0.524, 0.0068, 500)],
    "witness_slope": (0.0492,),
    "ebgan_digits": [(1.367, 0.738, 0.489, 0.131), (0.987, 0.698, 0.518, 0.053)],
    "gmmn": [(0.522, 0.253, 0.693, 0.009), (0.559, 0.267, 0.687, 0.007)],
    "gmmn_ae": [(0.963, 0.496, 0.438, 0.011), (0.841, 0.529, 0.418, 0.004)],
    "adagan": [(5, 0), (6, 0)],
    "bayesian_gan": [(8, 1.2025), (8, 1.1385)],
    "posterior": (1.0070,),
}


def of_the_mean(self, real, fake):
    return torch.relu(self.margin + fake.mean()) - real


def without_factor_two(*given):
    return noise(*given) / 2**0.5


def inverted(ratio, beta, among):
    return boosting_weights(1 / ratio, beta, 1 / among)


def towards_each_other(self, batch, generated):
    terms = critic_terms(self, batch, generated)
    return {**terms, "mmd": -terms["mmd"]}


def without_gradient(*given):
    return penalty(*given).detach()


def away(self, real, fake):
    return -matching(self, real, fake)


def without_repulsion(kernel, real, fake, unbiased=False):
    within = kernel.varying(real, real).mean() + kernel.varying(fake, fake).mean().detach()
    return within - 2 * kernel.varying(real, fake).mean()


def only_real(self, real, fake):
    return -real


noise, critic_terms, penalty = SGHMC._noise, MMDGAN.discriminator_terms, witness_penalty
matching = MomentMatching.__call__
BREAKAGES = {
    "ebgan-hinge-of-the-mean": (ebgan_margin, EnergyMargin, "discriminator", of_the_mean),
    "ebgan-without-fakes": (partial(ebgan_digits, updates=1000), EnergyMargin, "discriminator", only_real),
    "gmmn-away": (partial(gmmn_digits, updates=500), MomentMatching, "__call__", away),
    "gmmn-without-repulsion": (partial(gmmn_digits, updates=500), kernels, "squared_mmd", without_repulsion),
    "gmmn_ae-away": (partial(gmmn_ae_digits, updates=1500), MomentMatching, "__call__", away),
    "mmd_gan-witness-without-gradient": (witness_slope, mmd_gan, "witness_penalty", without_gradient),
    "mmd_gan-encoder-not-clipped": (mmd_gan_players, WeightClipping, "project", lambda self, network: None),
    "mmd_gan-critic-the-wrong-way": (mmd_gan_players, MMDGAN, "discriminator_terms", towards_each_other),
    "adagan-ratio-inverted": (adagan_modes, adagan, "boosting_weights", inverted),
    "bayesian_gan-noise-without-factor-two": (posterior_variance, SGHMC, "_noise", staticmethod(without_factor_two)),
}

ROWS = {
    "ebgan": [ebgan_margin, partial(every, SEEDS, ebgan_digits)],
    "gmmn": [partial(every, SEEDS, gmmn_digits)],
    "gmmn_ae": [partial(every, SEEDS, gmmn_ae_digits)],
    "mmd_gan": [mmd_gan_players, partial(every, SEEDS, mmd_gan_ring)],
    "mmd_gan_witness": [witness_slope],
    "adagan": [partial(every, SEEDS, adagan_modes)],
    "bayesian_gan": [posterior_variance, partial(every, SEEDS, bayesian_modes)],
}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_caught(name, monkeypatch):
    experiment, *patch = BREAKAGES[name]
    monkeypatch.setattr(*patch)
    checks = experiment()
    print(*checks, sep="\n")
    assert not passed(checks)
