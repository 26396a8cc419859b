"""Context-conditional GANs, CC-GAN and CC-GAN^2 (Denton, Gross, Fergus 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import AdversarialLoss, NonSaturating
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.hole_filling import HoleFillingModule
from pl_genmodels.models.naming import NamingModule
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import AuxiliaryDiscriminator, EncoderDecoderTranslator, Translator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class CCGAN(NamingModule, HoleFillingModule):
    r"""A generator fills a hole; the discriminator of filled pictures shares its layers with a classifier.

    With m = 1 where a picture is known, $x_G = G(m \odot x)$ and $x_I = (1 - m) \odot x_G + m \odot x$, D minimises
    $sp(-D(x)) + sp(D(x_I)) + \lambda_c CE(C(x), y)$, the last of labelled pictures, through the layers that D and C
    share; G minimises $sp(-D(x_I))$. No error of reconstruction is involved, and what G makes outside of the hole
    reaches nobody.

    In CC-GAN$^2$ D judges all of $x_G$ too: D also minimises $sp(-D(x)) + sp(D(x_G))$ and G $sp(-D(x_G))$.

    Departs from the authors' code, in which each of these parts has a step and a batch of its own: here they are terms
    of one step, and both forms of a made picture come from one pass of the generator.

    Args:
        image_shape: See `GenerativeModule`; pictures only.
        num_classes: Of the labels.
        generator: Called twice with the image shape; its source is a picture with a grey hole (0).
        discriminator: Called with the image shape and the number of classes; its second head is the classifier.
        loss: What the two players minimise.
        hole: See `HoleFillingModule`.
        class_weight: $\lambda_c$; with 0 no labels are needed.
        unconditional_weight: Of the terms of all of $x_G$: 0 is CC-GAN, 1 is CC-GAN$^2$.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with those of discriminator and classifier.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the discriminator's optimiser.
        scheduler_interval: Whether schedules advance by `step` (generator updates) or `epoch`.
        critic_steps: Discriminator steps for one generator step, each on its own batch.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For negative weights, fewer than two classes, or holes that do not fit into a picture.
    """

    paper = Paper(
        "Semi-Supervised Learning with Context-Conditional Generative Adversarial Networks",
        "Denton, Gross, Fergus",
        2016,
        "https://arxiv.org/abs/1611.06430",
        "telling filled holes from real pictures is what a classifier with few labels learns from",
    )
    discriminator: AuxiliaryDiscriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        num_classes: int = 10,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = EncoderDecoderTranslator,
        discriminator: Callable[[tuple[int, ...], int], AuxiliaryDiscriminator] = AuxiliaryDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        hole: tuple[int, int] = (32, 32),
        class_weight: float = 1.0,
        unconditional_weight: float = 0.0,
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        critic_steps: int = 1,
        compile: bool = False,
    ) -> None:
        super().__init__(
            hole,
            image_shape,
            {"discriminator": optimizer_discriminator, "generator": optimizer_generator},
            {"discriminator": scheduler_discriminator, "generator": scheduler_generator},
            scheduler_interval,
            critic_steps,
            compile=compile,
        )
        for name, weight in (("class_weight", class_weight), ("unconditional_weight", unconditional_weight)):
            if weight < 0:
                raise ValueError(f"{name}: got {weight}, allowed is 0 or more")
        if num_classes < 2:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 2 or more")
        self.named_classes, self.loss = num_classes, loss
        self.class_weight, self.unconditional_weight = class_weight, unconditional_weight
        self._factories = (generator, discriminator)
        if self.image_shape is not None:
            self.configure_model()

    # ---- networks

    @property
    def num_classes(self) -> int:
        """Classes that are learnt, 0 for none."""
        return self.named_classes if self.class_weight else 0

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        self.require_room(image_shape)
        generator, discriminator = self._factories
        self.generator = generator(image_shape, image_shape)
        self.discriminator = discriminator(image_shape, self.named_classes)
        for network in (self.generator, self.discriminator):
            stored_for(image_shape, network)

    # ---- training

    @property
    def label_need(self) -> str:
        """The term of the classes needs them."""
        return "a CCGAN needs 'label' too; allowed without is class_weight: 0"

    def judge(self, images: Tensor) -> Tensor:
        """Logits of real and filled, in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images)[0])

    def class_logits(self, images: Tensor) -> Tensor:
        """Logits of the classes in at least single precision, with gradient, (B, num_classes)."""
        return at_least_single(self.discriminator(images)[1])

    def classify(self, images: Tensor) -> Tensor:  # noqa: D102
        with evaluating(self.discriminator):
            return self.class_logits(images).argmax(1)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real against filled pictures, and against made ones; of labelled ones the class."""
        logits, classes = (at_least_single(said) for said in self.discriminator(batch["image"]))
        terms = {"adversarial": self.loss.discriminator(logits, self.judge(generated["image"]))}
        if self.unconditional_weight:
            whole = self.loss.discriminator(logits, self.judge(generated["made"]))
            terms["unconditional"] = self.unconditional_weight * whole
        if self.class_weight:
            images, labels = self.labelled(batch)
            said = classes if images is batch["image"] else self.class_logits(images)
            terms["supervised"] = self.class_weight * self.cross_entropy(said, labels)
        return terms

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """That filled pictures, and made ones, look real."""
        real = None
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real = self.judge(batch["image"])
        terms = {"adversarial": self.loss.generator(self.judge(generated["image"]), real)}
        if self.unconditional_weight:
            whole = self.loss.generator(self.judge(generated["made"]), real)
            terms["unconditional"] = self.unconditional_weight * whole
        return terms
