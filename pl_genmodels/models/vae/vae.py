"""Auto-encoding variational Bayes (Kingma, Welling 2014)."""

from __future__ import annotations

from pl_genmodels.models.variational import VariationalModule
from pl_genmodels.types import Paper


class VAE(VariationalModule):
    r"""Maximises the evidence lower bound (equations 3 and 7).

    $\log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| N(0, I))$ with $q(z|x) = N(\mu(x), \sigma^2(x))$ and one
    latent $z = \mu + \sigma\epsilon$ an image. Other objectives (KL warm-up, a weight C on the reconstruction, free
    bits, several importance-weighted latents) and posteriors are named in the config.
    """

    paper = Paper(
        "Auto-Encoding Variational Bayes",
        "Kingma, Welling",
        2014,
        "https://arxiv.org/abs/1312.6114",
        "an encoder trained with the decoder through reparametrised latents; a bound on the likelihood",
    )
