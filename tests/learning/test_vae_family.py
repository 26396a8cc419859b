"""Autoencoders of every kind learn what their papers say."""

from __future__ import annotations

import functools
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import nn

from pl_genmodels.data import Sprites
from pl_genmodels.layers import InverseAutoregressiveStep
from pl_genmodels.losses import Bernoulli, EvidenceLowerBound, FreeBits, Gaussian, ImportanceWeightedBound, log_normal
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.vae.autoencoder import Autoencoder
from pl_genmodels.models.vae.beta_vae import BetaVAE
from pl_genmodels.models.vae.conv_vae import ConvVAE
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.models.vae.cvae_structured import CVAEStructured
from pl_genmodels.models.vae.iaf_resnet_vae import IAFResNetVAE
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import ConvDecoder, ConvEncoder, LadderNetwork, MLPDecoder, MLPEncoder
from pl_genmodels.networks.ladder import Evidence
from tests.learning.bench import Check, Stream, assert_learns, fit, passed, real_digits
from tests.learning.test_vae import binary_digits, bound

LAST = {  # measured last, by experiment, in the order of the checks
    "autoencoder": (1.0008, 0.481),
    "weighted": (0.008, 0.623, 0.307),
    "convolutional": (12.20, 0.656),
    "labels": (0.993, 16.4),
    "quadrants": (3.15, 0.176, 0.051, 1.05),
    "beta": (8.13, 2.59, 18.35, 14.73),
    "flow": (1.586, 0.438, 0.276),
    "layers": (-20.85, 4.80, 0.88),
}


def mlp(hidden_dim, num_layers=1, activation="relu", kinds=("encoder",)):
    options = {"hidden_dim": hidden_dim, "num_layers": num_layers, "activation": activation}
    encoder, decoder = functools.partial(MLPEncoder, **options), functools.partial(MLPDecoder, **options)
    return {**dict.fromkeys(kinds, encoder), "decoder": decoder}


def adam(lr=1e-3):
    return functools.partial(torch.optim.Adam, lr=lr)


def stream(batch_size, length, *values):
    """Rows drawn at random, and as many batches an epoch as go into the data."""

    class Rows(Stream):
        def __iter__(self):
            for _ in range(self.batches):
                rows = torch.randint(len(values[0]), (batch_size,))
                yield {key: value[rows] for key, value in zip(("image", "label"), values, strict=False)}

    return Rows(None, length)


# ---- autoencoder


def grey_digits():
    """1,500 and 297 digits of 8 x 8 pixels."""
    images = real_digits(8)[0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return torch.split(images[order].float() / 127.5 - 1, [1500, 297])


def squared_error(model, images):
    """Mean over images of the sum over pixels."""
    return (model.reconstruct(images) - images).square().flatten(1).sum(1).mean().item()


def autoencoder(model=Autoencoder, last=LAST["autoencoder"]):
    """PCA's error is the least that a linear autoencoder can have; a deeper one has less."""
    train, test = grey_digits()
    pca = PCA((1, 8, 8), latent_dim=5)
    pca.fit(train)
    seed_everything(0, verbose=False)
    schedule = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=4000)
    options = {"latent_dim": 5, "scheduler": schedule}
    unbounded = Gaussian(math.sqrt(0.5), bounded=False)
    linear = model((1, 8, 8), likelihood=unbounded, optimizer=adam(1e-2), **options, **mlp(1, 0))
    fit(linear, stream(250, 4000, train), epochs=1)
    deep = model((1, 8, 8), optimizer=adam(3e-3), **options, **mlp(128))
    fit(deep, stream(100, 4000, train), epochs=1)
    centred = (train - train.mean(0)).flatten(1).double()
    least = torch.linalg.svdvals(centred)[5:].square().sum().item() / len(train)
    return [
        Check("linear, over PCA on training digits", squared_error(linear, train) / least, 1, 1.03, last[0]),
        Check(
            "one hidden layer, over PCA on test digits",
            squared_error(deep, test) / squared_error(pca, test),
            high=0.7,
            last=last[1],
        ),
    ]


class Negative(Autoencoder):
    """A sign is lost on the way to the target."""

    def terms(self, batch):
        code = self.features_of(batch["image"])
        return {"reconstruction": -self.likelihood.log_prob(self.parameters_of(code), -batch["image"])}


# ---- importance weights


def small_vae(model=VAE, **arguments):
    seed_everything(0, verbose=False)
    train, test = binary_digits()
    vae = model((1, 8, 8), latent_dim=10, optimizer=adam(), **mlp(200, 1, "tanh"), **arguments)
    fit(vae, stream(50, 30, train), epochs=100)
    return vae.eval(), test


def weighted(objective=ImportanceWeightedBound, last=LAST["weighted"]):
    """Both train with 50 latents an image, so that only where the mean is taken tells them apart."""
    vae, test = small_vae(objective=EvidenceLowerBound(num_latents=50))
    torch.manual_seed(0)
    bounds = [vae.log_likelihood(test, count).mean().item() for count in (1, 5, 50, 500, 2000)]
    tight, _ = small_vae(objective=objective(50))
    gain = tight.log_likelihood(test, 2000).mean().item() - bounds[-1]
    steps = [after - before for before, after in pairwise(bounds)]
    return [
        Check("least step from K = 1, 5, 50, 500 to 2000", min(steps), low=-0.05, last=last[0]),
        Check("bound of 500 over that of 1", bounds[3] - bounds[0], low=0.3, last=last[1]),
        Check("gain by training with 50", gain, low=0.05, last=last[2]),
    ]


class MeanOfLogarithms(ImportanceWeightedBound):
    """All K give the lower bound of one."""

    def __call__(self, log_likelihood, latents, images_seen):
        return {"bound": -(log_likelihood + latents.log_ratio()).mean(0)}


# ---- convolutions


def sprites():
    """32 x 32 pixels: 3 shapes, 3 scales, 16 places along each axis; 2,304 images."""
    data = Sprites(size=32, num_scales=3, num_orientations=1, num_x=16, num_y=16)
    return torch.where(data.images_of(torch.arange(2304)) > 127, 1.0, -1.0)


def convolutional(model=ConvVAE, last=LAST["convolutional"]):
    """Shapes at places that were left out, after equal steps with equal latents, fully connected layers having more.

    The sheet's nat is of MNIST's 60,000 digits. The 1,500 embedded ones, centred and of 16 x 16 pixels, show no gain:
    100 epochs end 1.11 nats below fully connected layers. Convolutions help where things move.
    """
    images = sprites()
    train, test = images[torch.randperm(2304, generator=torch.Generator().manual_seed(0))].split([1800, 504])
    convolutions = {
        "encoder": functools.partial(ConvEncoder, channels=16, hidden_dim=128),
        "decoder": functools.partial(ConvDecoder, channels=16, hidden_dim=128),
    }
    found, sizes = [], []
    for kind, networks in ((model, convolutions), (VAE, mlp(256))):
        seed_everything(0, verbose=False)
        vae = kind((1, 32, 32), latent_dim=8, optimizer=adam(), **networks)
        fit(vae, stream(64, 1000, train), epochs=1)
        found.append(bound(vae.eval(), test, repeats=5)[0])
        sizes.append(sum(parameter.numel() for parameter in vae.parameters()))
    return [
        Check("bound over that of fully connected layers", found[0] - found[1], low=1, last=last[0]),
        Check("parameters over theirs", sizes[0] / sizes[1], high=1, last=last[1]),
    ]


class Scrambled(ConvVAE):
    """Convolutions over pixels in an order that has nothing to do with where they are."""

    def features_of(self, image):
        return super().features_of(image.flatten(1)[:, self.order()].view_as(image))

    def parameters_of(self, latent):
        parameters = super().parameters_of(latent)
        return parameters.flatten(1)[:, self.order().argsort()].view_as(parameters)

    def order(self):
        return torch.randperm(1024, generator=torch.Generator().manual_seed(1))


# ---- labels


def labelled_digits():
    images, labels = real_digits(8)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return torch.where(images[order] > 127, 1.0, -1.0), labels[order]


def labels(model=CVAE, last=LAST["labels"]):
    """Samples have the label asked for, by a classifier of real digits; the label tells about the image."""
    from sklearn.linear_model import LogisticRegression

    images, known = labelled_digits()
    seed_everything(0, verbose=False)
    cvae = model((1, 8, 8), latent_dim=10, optimizer=adam(), **mlp(200, 1, "tanh"))
    fit(cvae, stream(50, 30, images[:1500], known[:1500]), epochs=100)
    judge = LogisticRegression(max_iter=500).fit(images[:1500].flatten(1).numpy(), known[:1500].numpy())
    samples = cvae.eval().sample(1000, seed=0).flatten(1).numpy()
    agreement = judge.score(samples, torch.arange(1000).numpy() % 10)
    test, told = images[1500:], known[1500:]
    gain = cvae.log_likelihood(test, 100, told) - cvae.log_likelihood(test, 100, (told + 1) % 10)
    return [
        Check("samples of the label asked for", agreement, low=0.9, last=last[0]),
        Check("nats that the right label is worth", gain.mean().item(), low=3, last=last[1]),
    ]


class DeafDecoder(CVAE):
    """The decoder hears of one label only."""

    def decoder_input(self, latents, batch):
        return super().decoder_input(latents, {**batch, "label": torch.zeros_like(batch["label"])})


# ---- quadrants


class Baseline(nn.Module):
    """Unseen pixels from the seen ones, without a latent."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 200), nn.ReLU(), nn.Linear(200, 64))

    def forward(self, image):
        return self.layers(image[:, 0, 4:, :4].flatten(1))

    def log_likelihood(self, image):
        unseen = torch.ones(8, 8)
        unseen[4:, :4] = 0
        each = F.binary_cross_entropy_with_logits(self(image), (image > 0).float().flatten(1), reduction="none")
        return -(each * unseen.flatten()).sum(1)


def completer(model, share):
    seed_everything(0, verbose=False)
    train, test = binary_digits()
    networks = mlp(200, kinds=("encoder", "prior_encoder"))
    cvae = model((1, 8, 8), latent_dim=10, recognition_share=share, optimizer=adam(), **networks)
    fit(cvae, stream(50, 30, train), epochs=60)
    cvae.eval()
    torch.manual_seed(0)
    by_prior = cvae.log_likelihood(test, 500, from_prior=True).mean().item()
    return by_prior, (cvae.log_likelihood(test, 500).mean().item() if share else math.nan)


def quadrants(model=CVAEStructured, last=LAST["quadrants"]):
    train, test = binary_digits()
    torch.manual_seed(0)
    baseline = Baseline()
    optimizer = torch.optim.Adam(baseline.parameters(), lr=1e-3)
    for _ in range(60 * 30):
        optimizer.zero_grad()
        (-baseline.log_likelihood(train[torch.randint(len(train), (50,))]).mean()).backward()
        optimizer.step()
    plain = baseline.log_likelihood(test).mean().item()
    drawn, proposed = completer(model, 1.0)
    stochastic, _ = completer(model, 0.0)
    hybrid, _ = completer(model, 0.5)
    return [
        Check("nats gained on a network without latent", drawn - plain, low=1.5, last=last[0]),
        Check("by importance sampling over Monte Carlo", proposed - drawn, low=-0.05, last=last[1]),
        Check("stochastic network from it", stochastic - plain, -0.5, 0.5, last[2]),
        Check("hybrid between the two", hybrid - plain, 0.5, drawn - plain, last[3]),
    ]


class FixedPrior(CVAEStructured):
    """A fixed standard normal prior, from which completions know nothing of what is seen."""

    def terms(self, batch):
        terms = super().terms(batch)
        if "kl" not in terms:  # a stochastic network, without recognition
            return terms
        mean, log_variance = self.encoder(batch["image"]).chunk(2, 1)
        return {**terms, "kl": 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)}


# ---- beta


def beta(model=BetaVAE, last=LAST["beta"]):
    images, found = sprites(), []
    for weight in (1.0, 4.0, 8.0):
        seed_everything(0, verbose=False)
        vae = model((1, 32, 32), beta=weight, latent_dim=8, optimizer=adam(), **mlp(256))
        fit(vae, stream(64, 2000, images), epochs=1)
        elbo, kl = bound(vae.eval(), images[::3], repeats=3)
        found.append((kl, -elbo - kl))
    (low_kl, low), (middle_kl, middle), (high_kl, high) = found
    return [
        Check("KL of 1 over that of 4", low_kl - middle_kl, low=1, last=last[0]),
        Check("KL of 4 over that of 8", middle_kl - high_kl, low=0.5, last=last[1]),
        Check("reconstruction of 4 over that of 1", middle - low, low=1, last=last[2]),
        Check("reconstruction of 8 over that of 4", high - middle, low=1, last=last[3]),
    ]


class WithoutBeta(BetaVAE):
    """The weight is forgotten."""

    def terms(self, batch):
        return self.evaluation_terms(batch)


# ---- flow


def energy(z):
    """U2 of Rezende, Mohamed 2015, made proper by z1^2 / 36; (..., 2) to (...)."""
    return 0.5 * ((z[..., 1] - torch.sin(math.pi / 2 * z[..., 0])) / 0.4).square() + z[..., 0].square() / 36


def log_partition():
    axis = torch.linspace(-20, 20, 1601)
    grid = torch.cartesian_prod(axis, axis)
    return torch.logsumexp(-energy(grid), 0).item() + 2 * math.log((axis[1] - axis[0]).item())


def divergence(num_steps, step=InverseAutoregressiveStep, updates=1500):
    """KL(q || p) of a flow of so many steps that was fitted to the energy."""
    torch.manual_seed(0)
    start = nn.Parameter(torch.zeros(2, 2))  # mean and log-variance
    steps = nn.ModuleList(step(2, 0, 64, reverse=bool(index % 2)) for index in range(num_steps))
    optimizer = torch.optim.Adam([start, *steps.parameters()], lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)

    def estimate(count):
        mean, log_variance = start
        latent = mean + (0.5 * log_variance).exp() * torch.randn(count, 2)
        log_density = log_normal(latent, mean, log_variance)
        for each in steps:
            latent, log_scale = each(latent)
            log_density = log_density - log_scale
        return (log_density.sum(1) + energy(latent)).mean()

    for _ in range(updates):
        optimizer.zero_grad()
        estimate(256).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return estimate(50_000).item() + log_partition()


def flow(step=InverseAutoregressiveStep, last=LAST["flow"]):
    diagonal, four = divergence(0, step), divergence(4, step)
    return [
        Check("KL of a diagonal normal", diagonal, 1.3, 1.7, last[0]),
        Check("KL of four steps", four, 0, 0.6, last[1]),
        Check("one over the other", four / diagonal, 0, 0.5, last[2]),
    ]


class WrongSign(InverseAutoregressiveStep):
    """The determinant counts the wrong way round."""

    def forward(self, latent, context=None):
        moved, log_scale = super().forward(latent, context)
        return moved, -log_scale


# ---- latents in layers


def layers(model=IAFResNetVAE, last=LAST["layers"]):
    """Independent pixels give -25.2 nats; the bound of a VAE with fully connected layers is in `test_vae.py`."""
    seed_everything(0, verbose=False)
    train, test = binary_digits()
    network = functools.partial(LadderNetwork, channels=32, latent_channels=4, num_resolutions=2, num_blocks=1)
    options = {"likelihood": Bernoulli(), "objective": FreeBits(0.1), "optimizer": adam(5e-3)}
    vae = model((1, 8, 8), network=network, **options)
    fit(vae, stream(50, 30, train), epochs=40)
    elbo, kl = bound(vae.eval(), test)
    torch.manual_seed(0)
    return [
        Check("bound, nats; above -15 something is counted that is not there", elbo, -21.5, -15, last[0]),
        Check("its KL", kl, 3, 10, last[1]),
        Check("bound of 100 over that of 1", vae.log_likelihood(test, 100).mean().item() - elbo, 0.3, 2, last[2]),
    ]


class FreeFlow(IAFResNetVAE):
    """The determinants of the flow are left out."""

    def build(self, image_shape):
        super().build(image_shape)
        for layer in self.network.downs:
            layer.flow.register_forward_hook(lambda flow, given, found: (found[0], torch.zeros_like(found[1])))


class Untold(IAFResNetVAE):
    """The way up tells nothing."""

    def build(self, image_shape):
        super().build(image_shape)
        for layer in self.network.ups:
            layer.register_forward_hook(lambda way, given, found: (found[0], Evidence(*(0 * x for x in found[1]))))


EXPERIMENTS = [autoencoder, weighted, convolutional, labels, quadrants, beta, flow, layers]
BROKEN = [
    (autoencoder, Negative),
    (weighted, MeanOfLogarithms),
    (convolutional, Scrambled),
    (labels, DeafDecoder),
    (quadrants, FixedPrior),
    (beta, WithoutBeta),
    (flow, WrongSign),
    (layers, FreeFlow),
    (layers, Untold),
]


@pytest.mark.learning
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.__name__)
def test_family(experiment):
    assert_learns([experiment])


@pytest.mark.learning
@pytest.mark.parametrize(("experiment", "broken"), BROKEN, ids=lambda each: each.__name__)
def test_breakages_of_the_family_are_seen(experiment, broken):
    assert not passed(experiment(broken))
