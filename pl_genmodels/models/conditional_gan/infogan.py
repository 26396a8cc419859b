"""InfoGAN (Chen et al. 2016)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.layers import Codes
from pl_genmodels.models.auxiliary import AuxiliaryGAN
from pl_genmodels.models.engine import evaluating
from pl_genmodels.types import Batch, Paper, Terms


class InfoGAN(AuxiliaryGAN):
    r"""$\min_{G,Q} \max_D V(D, G) - \lambda L_I(G, Q)$ (equation 6), whose code c nobody labels.

    $L_I = E_{c, x \sim G(z, c)} \log Q(c|x) + H(c)$ bounds the mutual information of code and sample (equation 5). Q is
    the discriminator's second head: a softmax for each categorical code, and for continuous ones a normal law around
    its answer with deviation 1, as in the authors' code. Also as there, both players minimise $-\lambda L_I$.

    The terms are $-\lambda L_I$ themselves, `categorical` and `continuous`: the former is $-\lambda H(c)$ at best.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The codes that the generator is told.
        categorical_weight: Of the categorical codes' information, the paper's lambda.
        continuous_weight: Of the continuous codes' information; the paper suggests less, the authors' code has 1.
        **kwargs: See `AuxiliaryGAN`.

    Raises:
        ValueError: For a negative weight.
    """

    paper = Paper(
        "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets",
        "Chen et al.",
        2016,
        "https://arxiv.org/abs/1606.03657",
        "a part of the latent can be read off the sample, and so comes to mean something without labels",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Codes = Codes(),
        categorical_weight: float = 1.0,
        continuous_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        for name, value in (("categorical_weight", categorical_weight), ("continuous_weight", continuous_weight)):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        self.categorical_weight, self.continuous_weight = categorical_weight, continuous_weight
        self.codes = condition
        super().__init__(image_shape, condition=condition, **kwargs)

    # ---- training

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name, without codes."""
        return self.plain_batch(batch)

    def draw(self, batch: Batch) -> Batch:
        """Add latents and codes, unless the batch brings its own."""
        code = batch["code"] if "code" in batch else self._codes(len(batch["image"]))
        return super().draw({**batch, "code": code})

    def _codes(self, count: int) -> Tensor:
        return self.codes.draw(count, None, self.device)

    def draw_for_clock(self, batch: Batch) -> Batch:
        """New latents and codes for the generator's turn."""
        code = self._codes(self.generator_batch_factor * len(batch["image"]))
        return {**super().draw_for_clock(batch), "code": code, "condition": self.codes.vectors(code)}

    def found_terms(self, said: Tensor, batch: Batch) -> Terms:
        """The negative bound on the mutual information, with its weights."""
        terms, code = {}, batch["code"]
        categories, numbers = self._parts(said)
        if categories:
            losses = [
                F.cross_entropy(logits, code[:, place].long(), reduction="none") - math.log(logits.shape[1])
                for place, logits in enumerate(categories)
            ]
            terms["categorical"] = self.categorical_weight * torch.stack(losses).sum(0)
        if self.codes.num_continuous:
            distance = 0.5 * (code[:, len(categories) :].to(numbers.dtype) - numbers).square()
            constant = 0.5 * math.log(2 * math.pi) - math.log(2)  # of the normal law, less the entropy of U(-1, 1)
            terms["continuous"] = self.continuous_weight * (distance + constant).sum(1)
        return terms

    def _parts(self, said: Tensor) -> tuple[list[Tensor], Tensor]:
        """Logits of each categorical code, and the means of the continuous ones."""
        *categories, numbers = said.split([*self.codes.categories, self.codes.num_continuous], 1)
        return categories, numbers

    # ---- what one does with it

    def represent(self, images: Tensor) -> Tensor:
        """What Q says of samples, in evaluation mode: probabilities of categories, then means of numbers.

        Args:
            images: (B, *image_shape).

        Returns:
            (B, K).
        """
        with evaluating(self.discriminator):
            categories, numbers = self._parts(self.say(images.to(self.dtype))[1])
        return torch.cat([*(logits.softmax(1) for logits in categories), numbers], 1)

    def cluster(self, images: Tensor) -> Tensor:
        """Most likely category of the first code, (B, *image_shape) to (B,).

        Raises:
            ValueError: Without categorical codes.
        """
        if not self.codes.categories:
            raise ValueError("categories: got none, but clusters are the categories of the first code")
        return self.represent(images)[:, : self.codes.categories[0]].argmax(1)
