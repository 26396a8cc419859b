"""VAE-GAN: an autoencoder with a learned similarity (Larsen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.balance import who_trains
from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import NonSaturating, kl_normal, squared_distance
from pl_genmodels.losses.adversarial import CrossEntropy
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.hybrid import HybridGAN
from pl_genmodels.networks import Discriminator, Encoder, Generator, MLPDiscriminator, MLPEncoder, MLPGenerator
from pl_genmodels.networks.wrapped import feature_lengths
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class VAEGAN(HybridGAN):
    r"""The decoder's likelihood is of the discriminator's features, not of pixels (algorithm 1).

    With $z \sim q(z|x)$, $\tilde x = Dec(z)$, $x_p = Dec(z_p)$, a layer l of the discriminator and
    $L_{llike} = \frac12 \|Dis_l(x) - Dis_l(\tilde x)\|^2$, a sum over features:

    the encoder minimises $KL(q(z|x) \| N(0, I)) + L_{llike}$; the decoder $\gamma L_{llike}$ plus what the
    discriminator makes of $\tilde x$ and $x_p$; the discriminator
    $sp(-D(x)) + \frac12 sp(D(\tilde x)) + \frac12 sp(D(x_p))$: real samples weigh as much as both kinds of generated
    ones, as in the authors' code. The encoder never minds whether it fools the discriminator, and the discriminator
    never minds the likelihood.

    Where the discriminator is stronger or weaker than a margin allows, it or the decoder waits; see `who_trains`.
    `balance/discriminator` and `balance/generator` say whether they learnt from the batch.

    Departs from the paper: the decoder's adversarial loss does not saturate, unless `loss` is `Minimax`. Departs from
    the authors' code: real and generated samples are normalised apart, not as one batch.

    Args:
        image_shape: See `GenerativeModule`.
        generator: The decoder, called with the image shape; it says how long a code is.
        encoder: Called with the image shape and twice the length of a code: for means and log deviations.
        discriminator: Called with the image shape; one that gives features.
        loss: Of the discriminator's logits.
        likelihood_weight: The paper's gamma, of the likelihood beside the adversarial loss in the decoder's objective;
            1e-5 in the authors' script, for 16,384 features.
        feature_layer: l, a number of the list of features; -1 is the last.
        judges_reconstructions: Whether these are among the generated samples; the authors' script for CelebA leaves
            them out.
        balance_margin: How far the discriminator's cross-entropies may be from 0.68 before somebody waits; 0.35 in the
            authors' code, None to let all learn from every batch.
        **kwargs: See `HybridGAN`.

    Raises:
        ValueError: For a weight or margin that is not positive, a discriminator without features or without that layer.
    """

    paper = Paper(
        "Autoencoding beyond pixels using a learned similarity metric",
        "Larsen et al.",
        2016,
        "https://arxiv.org/abs/1512.09300",
        "a VAE's reconstructions are compared by the features of a GAN's discriminator",
    )

    encoder: Encoder
    discriminator: Discriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        loss: CrossEntropy = NonSaturating(),
        likelihood_weight: float = 0.1,
        feature_layer: int = -1,
        judges_reconstructions: bool = True,
        balance_margin: float | None = 0.35,
        **kwargs: Any,
    ) -> None:
        for name, value in (("likelihood_weight", likelihood_weight), ("balance_margin", balance_margin)):
            if value is not None and value <= 0:
                raise ValueError(f"{name}: got {value}, allowed is more than 0")
        self.loss, self.likelihood_weight, self.feature_layer = loss, likelihood_weight, feature_layer
        self.judges_reconstructions, self.balance_margin = judges_reconstructions, balance_margin
        self.trains = {"discriminator": True, "generator": True}  # on this batch
        factories: dict[str, Callable[..., Any]] = {"generator": generator, "encoder": encoder}
        self._factories = {**factories, "discriminator": discriminator}
        super().__init__(image_shape, **kwargs)

    # ---- networks

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """The encoder is told how much it has to say of a code."""
        return factory(image_shape, 2 * self.generator.latent_dim) if player == "encoder" else factory(image_shape)

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks, and look at the discriminator's features."""
        super().build(image_shape)
        count = len(feature_lengths(self.discriminator))
        if not -count <= self.feature_layer < count:
            raise ValueError(f"feature_layer: got {self.feature_layer}, allowed are {-count} to {count - 1}")

    def law(self, image: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        mean, log_deviation = at_least_single(self.encoder(image)).chunk(2, 1)
        return mean, log_deviation

    def encoding_networks(self) -> list[Any]:  # noqa: D102
        return [self.encoder]

    def judge(self, images: Tensor) -> Tensor:
        """Logits in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images))

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the features of layer l, in at least single precision, (B,) and (B, n)."""
        logits, features = self.discriminator(images, with_features=True)
        return at_least_single(logits), at_least_single(features[self.feature_layer]).flatten(1)

    # ---- the players

    def fakes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reconstructions and samples, with gradient to the decoder and never to the encoder."""
        with torch.no_grad():
            code = self.codes(batch, self.law(batch["image"]))
        return self.generator(code), self.generator(batch["latent"])

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real samples, reconstructions and samples, as batches of their own."""
        with torch.no_grad():
            made = dict(zip(("reconstruction", "sample"), self.fakes(batch), strict=True))
        if not self.judges_reconstructions:
            del made["reconstruction"]
        terms = {name: self.loss.as_fake(self.judge(images)) / len(made) for name, images in made.items()}
        return {"real": self.loss.as_real(self.judge(batch["image"])), **terms}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The likelihood of features, and to be taken for real."""
        reconstruction, sample = self.fakes(batch)
        logits, features = self.look(reconstruction)
        terms = {"likelihood": self.likelihood_weight * self.negative_likelihood(batch["image"], features)}
        if self.judges_reconstructions:
            terms["adversarial_reconstruction"] = self.loss.generator(logits)
        return {**terms, "adversarial": self.loss.generator(self.judge(sample))}

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The bound: the divergence of codes, and the likelihood of features."""
        mean, log_deviation = self.law(batch["image"])
        _, features = self.look(self.generator(self.codes(batch, (mean, log_deviation))))
        likelihood = self.negative_likelihood(batch["image"], features)
        return {"kl": kl_normal(mean, 2 * log_deviation), "likelihood": likelihood}

    def negative_likelihood(self, image: Tensor, features: Tensor) -> Tensor:
        """L_llike of features of reconstructions, (B, *image_shape) and (B, n) to (B,)."""
        with torch.no_grad():
            _, wanted = self.look(image)
        return 0.5 * squared_distance(features, wanted)

    # ---- who waits

    def takes_step(self, player: str) -> bool:
        """The discriminator's costs on this batch decide about both."""
        if player == "discriminator" and self.balance_margin is not None:
            parts = self.last_terms[player]  # each with its share of the batch
            costs = {name: torch.stack([part[name].mean() for part in parts]).sum() for name in parts[0]}
            real = costs.pop("real")
            fake = torch.stack(list(costs.values())).sum()
            decided = who_trains(mean_over_ranks(real), mean_over_ranks(fake), self.balance_margin)
            self.trains = dict(zip(("discriminator", "generator"), decided, strict=True))
        return self.trains.get(player, True)

    def plays(self, player: str) -> bool:
        """The discriminator always, because its costs are needed; the decoder unless it has to wait."""
        return player != "generator" or self.trains[player]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A round, and who learnt in it."""
        super().training_step(batch, batch_idx)
        if self.log_due and self.balance_margin is not None:
            self.log_dict({f"balance/{player}": float(trains) for player, trains in self.trains.items()})
