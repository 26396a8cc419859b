"""ALI: adversarially learned inference (Dumoulin et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.inferring import InferringGAN
from pl_genmodels.networks import NormalEncoder
from pl_genmodels.types import Paper


class ALI(InferringGAN):
    r"""D tells (x, $\hat z$) with $\hat z = \mu(x) + \sigma(x) \epsilon$ from (G(z), z) (algorithm 1).

    BiGAN with an encoder that draws; its law is pulled nowhere by a divergence. The deviation $\sigma$, which may
    collapse unnoticed, is logged as `val/deviation`, a mean over images and latents.

    Departs from the authors' code: D steps first and G and E see the new one, where there all three step at once.

    Args:
        image_shape: See `GenerativeModule`.
        encoder: Called with the image shape and the length of a latent.
        **kwargs: See `InferringGAN`.
    """

    paper = Paper(
        "Adversarially Learned Inference",
        "Dumoulin et al.",
        2017,
        "https://arxiv.org/abs/1606.00704",
        "an encoder that draws and a generator are matched as joint laws of samples and latents",
    )

    encoder: NormalEncoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        encoder: Callable[[tuple[int, ...], int], NormalEncoder] = NormalEncoder,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, encoder=encoder, **kwargs)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """How far the encoder's draws lie from their centre."""
        image = self.read_batch(batch)["image"]
        with evaluating(self.encoder):
            deviation = at_least_single(self.encoder.law(image)[1]).exp().mean()
        self.log("val/deviation", deviation, batch_size=len(image), sync_dist=True)
