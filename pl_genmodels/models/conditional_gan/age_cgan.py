"""Age-cGAN, faces at other ages (Antipov, Baccouche, Dugelay 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers import Labels
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.box_lbfgs import Descent, minimise_in_box
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.engine import evaluating, keeping_gradient
from pl_genmodels.models.invertible import InvertibleGAN
from pl_genmodels.models.latent_grids import latent_quantiles
from pl_genmodels.networks import Encoder
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

SHARPNESS = 16.0  # of the softmax over cosines, by which people are told apart


class Cosines(nn.Linear):
    """Of features of length 1 to a vector for each person, (B, num_features) to (B, num_identities)."""

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        return features @ F.normalize(at_least_single(self.weight)).T.to(features.dtype)


class AgeCGAN(InvertibleGAN):
    r"""A conditional GAN of age groups, whose latents are searched for the person, who is then shown at another age.

    The GAN is that of equation 1, the encoder E that of `InvertibleGAN`, whose $E_y$ estimates the age $y_0$ of a
    picture x. From $z_0 = E(x)$, L-BFGS with backtracking finds
    $z^* = \arg\min_z \|FR(x) - FR(G(z, y_0))\|^2$ (equation 2), with a frozen face recogniser FR whose features have
    length 1, and x at age y is $G(z^*, y)$. Latents stay in the prior's middle: beyond it G does not as it is told.

    The paper's FR is FaceNet. Give one with own weights, or let one learn here to tell `num_identities` people apart,
    by the entry `identity` of batches: a softmax over 16 times the cosine to a vector of each.

    Departs from the paper: ages are estimated by $E_y$; E learns from pairs drawn anew for each batch, not 100,000.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The age groups.
        recogniser: FR, called with the image shape and the number of features; None where all searches are told.
        num_features: Length of FR's features.
        num_identities: People by whom FR is trained, with the encoders; 0 leaves its own weights as they are.
        recogniser_noise: Deviation of what is added to the pictures that FR learns from, which are cleaner than G's.
        search_steps: Steps of L-BFGS.
        search_tail: Share of the prior beyond each end of what a latent's coordinate may be.
        **kwargs: See `InvertibleGAN`.

    Raises:
        ValueError: For counts or a share out of range.
    """

    paper = Paper(
        "Face Aging With Conditional Generative Adversarial Networks",
        "Antipov, Baccouche, Dugelay",
        2017,
        "https://arxiv.org/abs/1702.01983",
        "latents are searched until a recogniser sees the same person, who is then shown at another age",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(6),
        recogniser: Callable[[tuple[int, ...], int], Encoder] | None = None,
        num_features: int = 128,
        num_identities: int = 0,
        recogniser_noise: float = 0.0,
        search_steps: int = 60,
        search_tail: float = 0.02,
        **kwargs: Any,
    ) -> None:
        for name, value, least in (
            ("num_features", num_features, 1),
            ("num_identities", num_identities, 0),
            ("recogniser_noise", recogniser_noise, 0),
            ("search_steps", search_steps, 0),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")
        if num_identities and recogniser is None:
            raise ValueError(f"num_identities: got {num_identities}, allowed is 0 without a recogniser")
        if not 0 < search_tail < 0.5:
            raise ValueError(f"search_tail: got {search_tail}, allowed is more than 0 and less than 0.5")
        self._make_recogniser, self.num_features, self.num_identities = recogniser, num_features, num_identities
        self.recogniser_noise, self.search_steps, self.search_tail = recogniser_noise, search_steps, search_tail
        super().__init__(image_shape, condition=condition, **kwargs)

    # ---- networks and training

    def build(self, image_shape: ImageShape) -> None:
        """Create the players and encoders, and the recogniser if there is one, with a vector for each person."""
        super().build(image_shape)
        if self._make_recogniser is None:
            return
        self.recogniser = self._make_recogniser(image_shape, self.num_features)
        if self.num_identities:
            self.people = Cosines(self.num_features, self.num_identities, bias=False)
        else:
            self.recogniser.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> AgeCGAN:
        """A recogniser with own weights is always as in evaluation."""
        super().train(mode)
        if hasattr(self, "recogniser") and not self.num_identities:
            self.recogniser.eval()
        return self

    def player_networks(self, player: str) -> list[nn.Module]:
        """A recogniser that learns does so with the encoders."""
        learns = player == "encoder" and self.num_identities
        return [*super().player_networks(player), *([self.recogniser, self.people] if learns else [])]

    def plain_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If a recogniser is to learn, and the run's first people have no numbers or wrong ones.
        """
        named = super().plain_batch(batch)
        people = named.get("identity")
        if self.num_identities and self.trainer.training and self.images_seen == 0:
            found = "no 'identity'" if people is None else f"identities from {int(people.min())} to {int(people.max())}"
            if people is None or not 0 <= int(people.min()) <= int(people.max()) < self.num_identities:
                raise ValueError(
                    f"batch: has {found}, but a recogniser that learns needs 'identity' from 0 to "
                    f"{self.num_identities - 1}; num_identities: 0 leaves a recogniser as it is"
                )
        return named

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Latents and ages, and who is in real pictures."""
        terms = super().encoder_terms(batch, generated)
        if not self.num_identities:
            return terms
        image = batch["image"]
        noisy = image + self.recogniser_noise * torch.randn(image.shape, device=image.device).to(image.dtype)
        cosines = self.people(F.normalize(at_least_single(self.recogniser(noisy))))
        return {**terms, "identity": F.cross_entropy(SHARPNESS * cosines, batch["identity"], reduction="none")}

    # ---- what one does with it

    def recognise(self, image: Tensor) -> Tensor:
        """FR's features of pictures, of length 1, (B, *image_shape) to (B, num_features).

        Raises:
            ValueError: For a model without recogniser.
        """
        if self._make_recogniser is None:
            raise ValueError("features: none given, but this AgeCGAN has no recogniser to compare people by")
        with evaluating(self.recogniser):
            return F.normalize(at_least_single(self.recogniser(image.to(next(self.recogniser.parameters()).dtype))))

    def preserve(
        self,
        image: Tensor,
        values: Tensor | int | None = None,
        *,
        features: Callable[[Tensor], Tensor] | None = None,
        num_steps: int | None = None,
    ) -> Descent:
        """Latents of the person in each picture, $z^*$; all weights stay as they are.

        Args:
            image: (B, *image_shape) in [-1, 1].
            values: The age groups that the pictures have; by default what $E_y$ says.
            features: What is compared, with gradient, (R, *image_shape) to (R, n); by default `recognise`.
            num_steps: Of the search; by default `search_steps`, and 0 gives $z_0$.

        Returns:
            Latents (B, latent_dim), their squared distances, and those of every step.

        Raises:
            ValueError: For age groups that there are not, or without anything to compare.
        """
        compared = self.recognise if features is None else features
        image = image.to(self.device)
        asked = values_for(self.condition, self.read(image) if values is None else values, len(image), self.device)
        with torch.no_grad():
            wanted = compared(image)

        def loss(latents: Tensor, rows: Tensor) -> Tensor:
            with keeping_gradient():
                return (compared(self._decode(latents, asked[rows])) - wanted[rows]).square().sum(1)

        low, high = latent_quantiles(self, torch.tensor([self.search_tail, 1 - self.search_tail])).unbind(0)
        steps = self.search_steps if num_steps is None else num_steps
        return minimise_in_box(loss, self.encode(image), low, high, steps)

    def locate(self, image: Tensor) -> Tensor:
        """$z^*$ of pictures, (B, *image_shape) to (B, latent_dim); needs a recogniser."""
        return self.preserve(image).points
