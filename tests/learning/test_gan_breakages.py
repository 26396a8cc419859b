"""Each row of `test_gan.py` fails for a model that is wrong in the ways that are easy to get wrong.

The ring alone would not do: it is learnt without any clipping too.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.layers import BatchSimilarity
from pl_genmodels.layers.balance import Balance
from pl_genmodels.losses import (
    R1,
    R2,
    BregmanRatio,
    FDivergence,
    ForwardRatio,
    GradientPenalty,
    Hinge,
    LabelNoise,
    LeastSquares,
    Minimax,
    NonSaturating,
    ReverseRatio,
    SpectralNorm,
    Wasserstein,
    WeightClipping,
    penalties,
)
from pl_genmodels.losses.penalties import input_gradient
from pl_genmodels.models.gan import bsgan_discrete, unrolled_gan
from pl_genmodels.models.gan.gogan import GoGAN
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.gan.wgan import WGAN
from pl_genmodels.models.lookahead import Lookahead
from pl_genmodels.networks import dcgan
from tests.learning.bench import passed
from tests.learning.test_gan import (
    dcgan_networks,
    gan_optimum,
    hinge_optimum,
    lsgan_optimum,
    minimax_orbit,
    r3gan_dirac,
    ring,
    spectral_norm_gap,
    wgan_critic,
    wgan_gp_linear,
    wgan_schedule,
)
from tests.learning.test_objectives import (
    b_gan_ratios,
    began_balance,
    bsgan_discrete_law,
    d2gan_ratios,
    fgan_bounds,
    gogan_stages,
)
from tests.learning.test_tricks import hacked_ring, noisy_optima, similarity_counts, unrolled_dirac

pytestmark = pytest.mark.learning


def sign_of_generator(self, fake, real=None):
    return -F.softplus(-fake)


def without_fakes(self, real, fake):
    return 2 * F.softplus(-real)


def halved(self, real, fake):
    return 0.5 * (F.softplus(-real) + F.softplus(fake))


def smoothed(self, real, fake):
    return 0.9 * F.softplus(-real) + 0.1 * F.softplus(real) + F.softplus(fake)


def with_sigmoid(self, real, fake):
    return 0.5 * (real.sigmoid() - self.real_target) ** 2 + 0.5 * (fake.sigmoid() - self.fake_target) ** 2


def without_half(self, real, fake):
    return (real - self.real_target) ** 2 + (fake - self.fake_target) ** 2


def towards_fake_target(self, fake, real=None):
    return 0.5 * (fake - self.fake_target) ** 2


def sign_of_critic(self, real, fake):
    return real - fake


def without_second_order(discriminator, points):
    return input_gradient(discriminator, points).detach()


def centred_at_zero(self, discriminator, real, fake):
    return self.weight * input_gradient(discriminator, real).square().sum(1)


def mean_before_hinge(self, real, fake):
    return F.relu(1 - real.mean()) + F.relu(1 + fake.mean()) + 0 * real


def hinge_of_generator(self, fake, real=None):
    return F.relu(1 - fake)


def nothing(self, network):
    pass


def penalty_with_root(self, discriminator, real, fake):
    return self.gamma / 2 * input_gradient(discriminator, real).norm(dim=1)


def no_penalty(self, discriminator, real, fake):
    return torch.zeros(len(real))


def penalty_without_half(self, discriminator, real, fake):
    return self.gamma * input_gradient(discriminator, real).square().sum(1)


def exchanged(self, real, fake):
    return discriminator_of_bregman(self, fake, real)


discriminator_of_bregman = BregmanRatio.discriminator


def with_sigmoid_at_the_end(self, logits):
    return variational(self, logits.sigmoid())


def without_log_two(self, logits):
    return -F.softplus(-logits), F.softplus(logits)


variational = FDivergence.variational


def ratio_with_sigmoid(self, real, fake):
    return fake.sigmoid() - self.alpha * F.logsigmoid(real)


def ratio_of_generated(self, real, fake):
    return F.softplus(fake) - self.beta * F.softplus(real).log()


def equal_weights(logits):
    return torch.full_like(logits, 1 / logits.shape[1])


def inverse_weights(logits):
    return (-logits).softmax(1)


def flipped(self, a, b):
    self.k.add_(self.rate * (b - self.gamma * a)).clamp_(0, 1)
    self.measure.copy_(a + (self.gamma * a - b).abs())


def stage_never_kept(self):
    return 0


def without_flips(self, logits, usual, other):
    return usual[0] + (usual[1] - usual[0]) * torch.rand_like(logits)


def counting_itself(self, features):
    return similarities(self, features) + 1


similarities = BatchSimilarity.forward


class FirstOrder(Lookahead):
    def step(self, gradients):
        super().step({name: gradient.detach() for name, gradient in gradients.items()})


short_ring = partial(ring, seeds=(0,), updates=1000)

BREAKAGES = {
    "gan-sign-of-generator": (partial(short_ring, "gan"), NonSaturating, "generator", sign_of_generator),
    "gan-without-fakes": (gan_optimum, NonSaturating, "discriminator", without_fakes),
    "gan-halved": (gan_optimum, NonSaturating, "discriminator", halved),
    "gan-smoothed": (gan_optimum, NonSaturating, "discriminator", smoothed),
    "gan_minimax-not-saturating": (minimax_orbit, Minimax, "generator", NonSaturating.generator),
    "gan_minimax-discriminator-still": (minimax_orbit, Minimax, "discriminator", lambda self, real, fake: 0 * real),
    "dcgan-default-start": (dcgan_networks, dcgan, "init_weights", lambda module: None),
    "lsgan-with-sigmoid": (lsgan_optimum, LeastSquares, "discriminator", with_sigmoid),
    "lsgan-without-half": (lsgan_optimum, LeastSquares, "discriminator", without_half),
    "lsgan-towards-fake-target": (partial(short_ring, "lsgan"), LeastSquares, "generator", towards_fake_target),
    "wgan-without-clipping": (wgan_critic, WeightClipping, "project", nothing),
    "wgan-sign-of-critic": (wgan_critic, Wasserstein, "discriminator", sign_of_critic),
    "wgan-without-warmup": (wgan_schedule, WGAN, "critic_steps_at", lambda self, update: self.critic_steps),
    "wgan_gp-without-second-order": (wgan_gp_linear, penalties, "input_gradient", without_second_order),
    "wgan_gp-centred-at-zero": (wgan_gp_linear, GradientPenalty, "__call__", centred_at_zero),
    "geometric_gan-mean-before-hinge": (hinge_optimum, Hinge, "discriminator", mean_before_hinge),
    "geometric_gan-hinge-of-generator": (hinge_optimum, Hinge, "generator", hinge_of_generator),
    "geometric_gan-without-spectral-norm": (spectral_norm_gap, SpectralNorm, "attach", nothing),
    "fgan-with-sigmoid": (partial(fgan_bounds, ("pearson",)), FDivergence, "variational", with_sigmoid_at_the_end),
    "fgan-without-log-two": (partial(fgan_bounds, ("jensen_shannon",)), FDivergence, "variational", without_log_two),
    "d2gan-with-sigmoid": (d2gan_ratios, ForwardRatio, "discriminator", ratio_with_sigmoid),
    "d2gan-second-like-first": (d2gan_ratios, ReverseRatio, "discriminator", ratio_of_generated),
    "b_gan-exchanged": (partial(b_gan_ratios, ("kl",)), BregmanRatio, "discriminator", exchanged),
    "bsgan_discrete-equal-weights": (bsgan_discrete_law, bsgan_discrete, "importance_weights", equal_weights),
    "bsgan_discrete-inverse-weights": (bsgan_discrete_law, bsgan_discrete, "importance_weights", inverse_weights),
    "began-balance-flipped": (began_balance, Balance, "update", flipped),
    "gogan-no-stages": (gogan_stages, GoGAN, "stage", property(stage_never_kept)),
    "minibatch_discrimination-counts-itself": (similarity_counts, BatchSimilarity, "forward", counting_itself),
    "ganhacks-sign-of-generator": (
        partial(hacked_ring, seeds=(0,), updates=500),
        NonSaturating,
        "generator",
        sign_of_generator,
    ),
    "noisy_labels-without-flips": (noisy_optima, LabelNoise, "_draw", without_flips),
    "unrolled_gan-detached": (unrolled_dirac, unrolled_gan, "Lookahead", FirstOrder),
    "unrolled_gan-not-ahead": (unrolled_dirac, UnrolledGAN, "_gradients", lambda self, *given: {}),
    "r3gan-without-second-order": (r3gan_dirac, penalties, "input_gradient", without_second_order),
    "r3gan-without-r2": (r3gan_dirac, R2, "__call__", no_penalty),
    "r3gan-penalty-with-root": (r3gan_dirac, R1, "__call__", penalty_with_root),
    "r3gan-penalty-without-half": (r3gan_dirac, R1, "__call__", penalty_without_half),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_caught(name, monkeypatch):
    experiment, *patch = BREAKAGES[name]
    monkeypatch.setattr(*patch)
    checks = experiment()
    print(*checks, sep="\n")
    assert not passed(checks)
