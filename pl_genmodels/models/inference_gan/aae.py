"""Adversarial autoencoder (Makhzani et al. 2016)."""

from __future__ import annotations

from pl_genmodels.models.adversarial_autoencoder import AdversarialAutoencoder
from pl_genmodels.types import Paper


class AAE(AdversarialAutoencoder):
    r"""An autoencoder whose codes as a whole, $q(z) = \int q(z|x) p_d(x) dx$, come to follow a prior (section 2).

    The prior is any law that one can draw from: `NormalPrior`, `RingPrior`, `SwissRollPrior`. One with thin arms, as
    the roll, is met where the autoencoder learns more slowly than encoder and discriminator, and all rates fall at the
    end.

    See `AdversarialAutoencoder` for the arguments.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "a discriminator of codes, in place of a divergence, matches these to any prior",
    )
