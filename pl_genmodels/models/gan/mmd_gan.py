"""MMD GAN: moment matching under a kernel that is learnt (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import GaussianSum, MomentMatching, WeightClipping, witness_penalty
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import WGANRMSprop
from pl_genmodels.models.schedules import steps_with_warmup
from pl_genmodels.networks import AutoencoderDiscriminator, Generator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class MMDGAN(LatentGAN):
    r"""The kernel of a moment matching network compares codes of an autoencoder that learns to tell batches apart.

    With f the encoder, the discriminator maximises $M(f(x), f(y)) - \lambda_{AE} (\|x - AE(x)\|^2 + \|y - AE(y)\|^2)$
    $+ \lambda_{r} r$, and G minimises $M(f(x), f(y)) + \lambda_r r$, y = G(z). M is the maximum mean discrepancy, the
    reconstruction keeps f injective, and $r = \mathrm{mean}_d \min(0, E f_d(x) - E f_d(y))$ keeps the codes of real
    samples above those of generated ones (equations 4 and 5, and the authors' code, which clips the encoder only). M
    and r are of the batches of all ranks, but of one micro-batch at a time.

    Binkowski et al. 2018 bound the witness of M in place of the weights: an unbiased `loss` without root and with a
    `RationalQuadratic` kernel, `clip: null`, no rank or reconstruction, and a `witness_weight`, which adds its
    multiple of $(\|\nabla w(u)\| - 1)^2$ to the discriminator's loss, see `witness_penalty`.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; an autoencoder.
        loss: The discrepancy M of codes.
        reconstruction_weight: lambda_AE, 8 in the authors' code.
        rank_weight: lambda_r, 16 in the authors' code.
        witness_weight: Of the penalty on the witness's gradient, 1 in its paper, 0 in the first.
        clip: Every parameter of the encoder stays in [-clip, clip]; None for no bounds.
        critic_steps: Discriminator steps for one generator step.
        warmup_updates: The first so many generator updates, and every 500th, get `warmup_steps` discriminator steps; 0
            turns the schedule off.
        warmup_steps: Discriminator steps of those updates.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the autoencoder's parameters.

    Raises:
        ValueError: For a negative weight, a clip that is not positive, or wrong counts.
    """

    paper = Paper(
        "MMD GAN: Towards Deeper Understanding of Moment Matching Network",
        "Li et al.",
        2017,
        "https://arxiv.org/abs/1705.08584",
        "the kernel of moment matching is learnt, as an adversary",
    )

    discriminator: AutoencoderDiscriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], AutoencoderDiscriminator] = AutoencoderDiscriminator,
        loss: MomentMatching = MomentMatching(GaussianSum((1.0, 2.0, 4.0, 8.0, 16.0))),
        reconstruction_weight: float = 8.0,
        rank_weight: float = 16.0,
        witness_weight: float = 0.0,
        clip: float | None = 0.01,
        critic_steps: int = 5,
        warmup_updates: int = 25,
        warmup_steps: int = 100,
        optimizer_generator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        **kwargs: Any,
    ) -> None:
        weights = {"reconstruction": reconstruction_weight, "rank": rank_weight, "witness": witness_weight}
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"{name}_weight: got {weight}, allowed is 0 or more")
        self.matching, self.clipping = loss, None if clip is None else WeightClipping(clip)
        self.reconstruction_weight, self.rank_weight, self.witness_weight = weights.values()
        steps_with_warmup(0, critic_steps, warmup_updates, warmup_steps)  # refuses wrong counts
        self.warmup_updates, self.warmup_steps = warmup_updates, warmup_steps
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            critic_steps=critic_steps,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks; the encoder starts within its bounds."""
        super().build(image_shape)
        if self.clipping is not None:
            self.clipping.attach(self.discriminator.encoder)

    def replicated_players(self) -> set[str]:
        """A gradient of the witness's gradient needs the encoder whole."""
        return super().replicated_players() | ({"discriminator"} if self.witness_weight else set())

    def codes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Minus errors of reconstruction, (B,), and codes, (B, code_dim)."""
        logits, (codes,) = self.discriminator(images, with_features=True)
        return logits, at_least_single(codes)

    def rank(self, real: Tensor, fake: Tensor) -> Tensor:
        """How far codes of generated samples lie above those of real ones on average, at most 0; (B,)."""
        gap = mean_over_ranks(real.mean(0) - fake.mean(0))  # (code_dim,)
        return self.rank_weight * gap.clamp(max=0).mean().expand(len(fake))

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The autoencoder tells batches apart, reconstructs both, and keeps their codes in order."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        (logits_real, codes_real), (logits_fake, codes_fake) = self.codes(real), self.codes(fake)
        terms = {
            "mmd": -self.matching(codes_real, codes_fake),
            "reconstruction": -self.reconstruction_weight * (logits_real + logits_fake),
            "rank": -self.rank(codes_real, codes_fake),
        }
        if self.witness_weight:
            encoder, kernel = self.discriminator.encoder, self.matching.kernel
            terms["witness"] = self.witness_weight * witness_penalty(encoder, kernel, real, fake)
        return {**terms, **self.penalty_terms(real, fake)}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """G brings its batch's codes to those of the real one."""
        (_, codes_real), (_, codes_fake) = (self.codes(self.augment(part["image"])) for part in (batch, generated))
        return {"mmd": self.matching(codes_real, codes_fake), "rank": self.rank(codes_real, codes_fake)}

    def critic_steps_at(self, update: int) -> int:
        """As in `WGAN`."""
        return steps_with_warmup(update, self.critic_steps, self.warmup_updates, self.warmup_steps)

    def after_step(self, player: str) -> None:
        """Bring the encoder, not the decoder, back within its bounds."""
        super().after_step(player)
        if player == "discriminator" and self.clipping is not None:
            self.clipping.project(self.discriminator.encoder)
