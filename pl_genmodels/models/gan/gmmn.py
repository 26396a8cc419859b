"""Generative moment matching: a generator without an opponent (Li et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import MomentMatching
from pl_genmodels.models.latent_generator import LatentGenerator
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import Generator, MLPGenerator, Prior, UniformPrior
from pl_genmodels.types import Batch, Paper, Terms


class GMMN(LatentGenerator):
    r"""G minimises the maximum mean discrepancy of its samples from real ones; there is no discriminator.

    $\sqrt{E k(x,x') + E k(y,y') - 2 E k(x,y)}$ over a batch, y = G(z) (equation 3 and section 4). Batches should be
    large. `GMMNAE` matches the codes of an autoencoder instead.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        loss: The discrepancy and its kernel.
        prior: Distribution of the latents.
        optimizer_generator: Called with the generator's parameters.
        scheduler_generator: Called with the optimiser.
        scheduler_interval: Whether the schedule advances by `step` or `epoch`.
        compile: See `GenerativeModule`.
    """

    paper = Paper(
        "Generative Moment Matching Networks",
        "Li, Swersky, Zemel",
        2015,
        "https://arxiv.org/abs/1502.02761",
        "no game: a kernel compares batches of real and generated samples",
    )
    players = ("generator",)

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        loss: MomentMatching = MomentMatching(),
        prior: Prior = UniformPrior(),
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        super().__init__(
            image_shape,
            {"generator": optimizer_generator},
            {"generator": scheduler_generator},
            scheduler_interval,
            compile=compile,
        )
        self.loss, self.prior = loss, prior
        self._factories = {"generator": generator}
        if self.image_shape is not None:
            self.configure_model()

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """One value for the batch."""
        return {"mmd": self.loss(batch["image"], generated["image"])}
