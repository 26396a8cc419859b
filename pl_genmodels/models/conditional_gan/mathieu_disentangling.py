"""Factors that labels specify apart from all others (Mathieu et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.layers import Labels
from pl_genmodels.losses import kl_normal
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditional import ConditionalGAN
from pl_genmodels.models.engine import evaluating
from pl_genmodels.networks import ConcatDiscriminator, ConditionalDiscriminator, Encoder, MLPEncoder
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

WEIGHTS = ("reconstruction_weight", "swap_weight", "adversarial_weight", "kl_weight")


class MathieuDisentangling(ConditionalGAN):
    r"""An autoencoder with two codes: s for what the label specifies, and z, a VAE's, for all else.

    The generator is the decoder of z and s, and its player owns the encoder too. Of a sample $x_1$, a partner $x_1'$ of
    its label and another sample $x_2$ of the batch it minimises (section 3): the squared error of $Dec(z_1, s_1)$ and,
    weighted by `swap_weight`, of $Dec(z_1, s_1')$, both against $x_1$; the KL divergence of $z_1$ from N(0, I), over
    the number of values of a sample; and, weighted by `adversarial_weight`, what a discriminator that is told the label
    of $x_2$ makes of $Dec(z_1, s_2)$ and of $Dec(z, s_2)$ with z drawn from N(0, I). Errors are of pixels in [0, 1].

    Samples of a label have the mean s of its recent training samples.

    Departs from the paper: real samples are labelled 1, not 0.95; the label of $x_2$ reaches the discriminator as the
    config says, not by maps after each convolution; the partner of a sample is always the same.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        discriminator: Called with the image shape and the number of labels.
        encoder: Called with the image shape and the length of s, and of mean and log-variance of z.
        specified_dim: Length of s; the length of z is the generator's `latent_dim`.
        reconstruction_weight: Of the error of a sample by its own codes.
        swap_weight: Of the error by the s of its partner.
        adversarial_weight: Of each of the two adversarial terms.
        kl_weight: Of the KL divergence over the number of values; the authors' code has 0.6.
        **kwargs: See `ConditionalGAN`.

    Raises:
        ValueError: For a negative weight, an empty s, or a larger batch of the generator.
    """

    paper = Paper(
        "Disentangling factors of variation in deep representations using adversarial training",
        "Mathieu et al.",
        2016,
        "https://arxiv.org/abs/1611.03383",
        "codes of what a label says and of all else are told apart by exchanging them",
    )

    encoder: Encoder
    specified_sum: Tensor
    specified_share: Tensor

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = ConcatDiscriminator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        specified_dim: int = 16,
        reconstruction_weight: float = 0.5,
        swap_weight: float = 1.0,
        adversarial_weight: float = 0.01,
        kl_weight: float = 0.6,
        **kwargs: Any,
    ) -> None:
        weights = (reconstruction_weight, swap_weight, adversarial_weight, kl_weight)
        for name, value in zip(WEIGHTS, weights, strict=True):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        if specified_dim < 1:
            raise ValueError(f"specified_dim: got {specified_dim}, allowed is 1 or more")
        if (factor := kwargs.get("generator_batch_factor", 1)) > 1:
            raise ValueError(f"generator_batch_factor: got {factor}, allowed is 1, since samples are made of pictures")
        self.reconstruction_weight, self.swap_weight, self.adversarial_weight, self.kl_weight = weights
        self.specified_dim, self._make_encoder = specified_dim, encoder
        super().__init__(image_shape, condition=condition, discriminator=discriminator, **kwargs)

    # ---- networks

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """The generator is told s, the discriminator the label."""
        return factory(image_shape, self.specified_dim if player == "generator" else self.condition.dim)

    def build(self, image_shape: ImageShape) -> None:
        """Create the players, the encoder, and room for the labels' mean s."""
        super().build(image_shape)
        self.encoder = self._make_encoder(image_shape, self.specified_dim + 2 * self.generator.latent_dim)
        self.register_buffer("specified_sum", torch.zeros(self.condition.dim, self.specified_dim))
        self.register_buffer("specified_share", torch.zeros(self.condition.dim))

    def player_networks(self, player: str) -> list[nn.Module]:
        """The encoder is trained with the generator."""
        return [*super().player_networks(player), *([self.encoder] if player == "generator" else [])]

    # ---- training

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If samples come without partners.
        """
        named = super().read_batch(batch)
        if self.trainer.training and "partner" not in named:
            raise ValueError(
                f"batch: has keys {sorted(named)}, but a MathieuDisentangling needs 'partner' too, another sample of "
                "the same label, as data modules give with `partners: true`"
            )
        return named

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A round; then the labels' mean s follow the encoder."""
        super().training_step(batch, batch_idx)
        named = self.read_batch(batch)
        with torch.no_grad(), evaluating(self.encoder):
            specified = self._codes(named["image"])[0]
            vectors = self.condition.vectors(named["label"]).to(self.specified_sum.dtype)  # (B, K)
            self.specified_sum.mul_(0.99).add_(vectors.T @ specified.to(vectors.dtype) / len(vectors))
            self.specified_share.mul_(0.99).add_(vectors.mean(0))

    def _codes(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S, mean and log-variance of z, in at least single precision."""
        size = self.generator.latent_dim
        specified, mean, log_variance = at_least_single(self.encoder(image)).split([self.specified_dim, size, size], 1)
        return specified, mean, log_variance

    def generate(self, batch: Batch) -> Batch:
        """All that the decoder makes of a batch: with own codes, with a partner's s, and with others'."""
        specified, mean, log_variance = self._codes(batch["image"])
        of_partner = self._codes(batch["partner"])[0]
        latent = mean + (0.5 * log_variance).exp() * batch["latent"]
        order = torch.randperm(len(specified), device=specified.device)
        others, condition = specified[order], batch["condition"][order]
        prior = torch.randn_like(latent)
        dtype = batch["latent"].dtype
        made = [(latent, specified), (latent, of_partner), (latent, others), (prior, others)]
        images = [self.generator(z.to(dtype), s) for z, s in made]
        names = ("reconstruction", "swapped", "image", "drawn")
        made_by_name = dict(zip(names, images, strict=True))
        return {**made_by_name, "condition": condition, "kl": kl_normal(mean, log_variance)}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real samples with their labels; samples with an s of another, by either z, with the label of the other."""
        terms = super().discriminator_terms(batch, generated)
        real = self.judge_pairs(self.augment(batch["image"]), batch["condition"])
        drawn = self.judge_pairs(self.augment(generated["drawn"]), generated["condition"])
        return {**terms, "adversarial_drawn": self.loss.discriminator(real, drawn)}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Errors by own and by a partner's s, the divergence of z, and what the discriminator says of others' s."""
        real = batch["image"]
        size = real[0].numel()
        error = {
            name: (0.25 * (generated[name] - real).square()).flatten(1).mean(1)
            for name in ("reconstruction", "swapped")
        }
        judged = {
            name: self.loss.generator(self.judge_pairs(self.augment(generated[name]), generated["condition"]))
            for name in ("image", "drawn")
        }
        return {
            "reconstruction": self.reconstruction_weight * error["reconstruction"],
            "swap": self.swap_weight * error["swapped"],
            "kl": self.kl_weight / size * generated["kl"],
            "adversarial": self.adversarial_weight * judged["image"],
            "adversarial_drawn": self.adversarial_weight * judged["drawn"],
        }

    # ---- what one does with it

    def specify(self, image: Tensor) -> Tensor:
        """Codes s of what the label says, (B, *image_shape) to (B, specified_dim)."""
        with evaluating(self.encoder):
            return self._codes(image.to(self.dtype))[0]

    def encode(self, image: Tensor) -> Tensor:
        """Means of z, all that the label does not say, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self.encoder):
            return self._codes(image.to(self.dtype))[1]

    def swap(self, image: Tensor, other: Tensor) -> Tensor:
        """Samples with what the label says of others, (B, *image_shape) twice to (B, *image_shape)."""
        return self._told(self.encode(image), self.specify(other))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through both codes and back, (B, *image_shape)."""
        return self.swap(image, image)

    def _decode(self, latents: Tensor, values: Tensor) -> Tensor:
        means = self.specified_sum / self.specified_share.clamp(min=1e-12)[:, None]
        return self._told(latents, means[values])

    def _told(self, latents: Tensor, specified: Tensor) -> Tensor:
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            samples = at_least_single(self.sampler(latents.to(dtype), specified.to(dtype)))
        return samples if samples.ndim == 2 else samples.clamp(-1, 1)
