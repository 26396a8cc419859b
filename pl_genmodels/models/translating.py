"""Models that turn a sample of one domain into one of another: the base of every image translation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.layers import mixes_pictures
from pl_genmodels.losses import AdversarialLoss, per_sample
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedGeneratorModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.schedules import ConstantThenLinear
from pl_genmodels.networks import CoupledAutoencoders, Discriminator, Translator
from pl_genmodels.types import Batch, ImageShape, Terms, as_batch


class TranslationModule(AveragedGeneratorModule):
    """A generator from the domain of `source` (A) to that of `target` (B), and perhaps one back.

    `generator` and `discriminator` hold a network for each direction and each judged domain. A direction is `AtoB` or
    `BtoA`.

    Args:
        source_shape: Shape of a source, (C, H, W) or (n,); read from the training data if left out.
        target_shape: Shape of a target; likewise.
        optimizer_generator: Called with the parameters of all generators.
        optimizer_discriminator: Called with the parameters of all discriminators.
        scheduler_generator: Called with the generators' optimiser.
        scheduler_discriminator: Called with the discriminators' optimiser.
        scheduler_interval: Whether schedules advance by `step` (generator updates) or `epoch`.
        critic_steps: Discriminator steps for one generator step, each on its own batch.
        compile: See `GenerativeModule`.
    """

    batch_keys = ("source", "target")
    shape_keys: ClassVar[dict[str, str]] = {"source_shape": "source", "target_shape": "target"}
    directions: ClassVar[tuple[str, ...]] = ("AtoB",)
    generator: nn.ModuleDict
    discriminator: nn.ModuleDict

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        *,
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = ConstantThenLinear,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = ConstantThenLinear,
        scheduler_interval: str = "epoch",
        critic_steps: int = 1,
        compile: bool = False,
    ) -> None:
        super().__init__(
            target_shape,
            {"discriminator": optimizer_discriminator, "generator": optimizer_generator},
            {"discriminator": scheduler_discriminator, "generator": scheduler_generator},
            scheduler_interval,
            critic_steps,
            compile=compile,
        )
        self.source_shape: ImageShape | None = None if source_shape is None else tuple(source_shape)
        if self.knows_shapes:
            self.configure_model()

    @property
    def target_shape(self) -> ImageShape | None:
        """Shape of one target: what the model generates."""
        return self.image_shape

    @target_shape.setter
    def target_shape(self, shape: ImageShape) -> None:
        self.image_shape = shape

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "generator")

    # ---- use

    def convert(self, networks: Any, images: Tensor, direction: str) -> Tensor:
        """Translations by the trained or the averaged generators, in the current mode."""
        return networks[direction](images)

    def forward(self, images: Tensor, direction: str = "AtoB") -> Tensor:
        """Translations with gradient, in the current mode, from the trained (not averaged) generators."""
        return self.convert(self.generator, images, direction)

    def translate(self, images: Tensor, direction: str = "AtoB", seed: int | None = None) -> Tensor:
        """Translate samples, in evaluation mode and without gradient, with averaged weights if there are any.

        Args:
            images: Of the domain that the direction starts from, (B, C, H, W) in [-1, 1], any height and width; or
                points (B, n).
            direction: `AtoB` from sources to targets, or `BtoA` back where the model has learnt it.
            seed: Of the generator's noise, where it has some; the same seed and batch give the same translations.
                Without, torch's global state.

        Returns:
            As many of the other domain, in at least single precision, pictures in [-1, 1].

        Raises:
            ValueError: If the model does not translate in this direction, or samples of another number of channels.
        """
        self._require(direction)
        shape = self.source_shape if direction == "AtoB" else self.target_shape
        if shape and images.shape[1:2] != shape[:1]:
            raise ValueError(
                f"images: got shape {tuple(images.shape)}, allowed for {direction} are {shape[0]} channels, (B, "
                f"{', '.join(map(str, shape))}) or another height and width"
            )
        with evaluating(self.sampler), self._seeded(seed):
            images = images.to(self.device, next(self.sampler.parameters()).dtype)
            translated = self.convert(self.sampler, images, direction)
        return at_least_single(translated if translated.ndim == 2 else translated.clamp(-1, 1))

    def reconstruct(self, images: Tensor, direction: str = "AtoB", seed: int | None = None) -> Tensor:
        """Translate samples and back; see `translate` for the arguments.

        Raises:
            ValueError: If the model has learnt no way back.
        """
        back = "BtoA" if direction == "AtoB" else "AtoB"
        for way in (direction, back):
            self._require(way)
        with self._seeded(seed):
            return self.translate(self.translate(images, direction), back)

    def panels(self, batch: Batch, direction: str = "AtoB", seed: int | None = None) -> dict[str, Tensor]:
        """Columns of a grid for a batch: source, translation, reconstruction if there is a way back, and target.

        Args:
            batch: With `source` and `target`; whether they belong together is known to the data.
            direction: With `BtoA` the batch's targets are what is translated.
            seed: Of the generator's noise.

        Returns:
            Images in [-1, 1] by the column's name, each (B, C, H, W).
        """
        start, end = self.batch_keys if direction == "AtoB" else self.batch_keys[::-1]
        columns = {"source": batch[start], "translation": self.translate(batch[start], direction, seed)}
        if len(self.directions) > 1:
            columns["reconstruction"] = self.reconstruct(batch[start], direction, seed)
        return {**columns, "target": batch[end]} if end in batch else columns

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Translations of the batch's sources."""
        return self.translate(as_batch(batch, self.batch_keys)["source"])

    def _require(self, direction: str) -> None:
        if direction not in self.directions:
            allowed = " and ".join(self.directions)
            raise ValueError(f"direction: got {direction!r}, which a {type(self).__name__} has not, allowed: {allowed}")

    @contextlib.contextmanager
    def _seeded(self, seed: int | None) -> Iterator[None]:
        if seed is None:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield

    # ---- what the players share

    def draw(self, batch: Batch) -> Batch:
        """Nothing to add: noise, where there is some, lies inside of the generator."""
        return batch

    def judge(self, domain: str, images: Tensor) -> Tensor:
        """Logits of a domain's discriminator in at least single precision, (B,) or (B, 1, h, w)."""
        return at_least_single(self.discriminator[domain](images))

    def judge_both(self, domain: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real and generated samples: two calls if a batch's pictures influence each other, else one."""
        if mixes_pictures(self.discriminator[domain]):
            return self.judge(domain, real), self.judge(domain, fake)
        first, second = self.judge(domain, torch.cat([real, fake])).split([len(real), len(fake)])
        return first, second


class TwoWayModule(TranslationModule):
    """Two generators, AtoB and BtoA, and a discriminator for the samples of each domain, A and B.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of its input and its output, once for each direction.
        discriminator: Called with the shape of a domain, once for each.
        **kwargs: Of `TranslationModule`.
    """

    directions = ("AtoB", "BtoA")
    loss: AdversarialLoss

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator | CoupledAutoencoders],
        discriminator: Callable[[tuple[int, ...]], Discriminator],
        **kwargs: Any,
    ) -> None:
        self._make_generator, self._make_discriminator = generator, discriminator
        super().__init__(source_shape, target_shape, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the four networks."""
        source_shape = self.source_shape or image_shape
        self.generator = nn.ModuleDict(
            {
                "AtoB": self._make_generator(source_shape, image_shape),
                "BtoA": self._make_generator(image_shape, source_shape),
            }
        )
        self.discriminator = nn.ModuleDict(
            {"A": self._make_discriminator(source_shape), "B": self._make_discriminator(image_shape)}
        )

    def generate(self, batch: Batch) -> Batch:
        """The batch's sources as targets, and its targets as sources."""
        return {"target": self.generator["AtoB"](batch["source"]), "source": self.generator["BtoA"](batch["target"])}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real samples of each domain against translations into it."""
        return {
            f"adversarial_{name}": per_sample(
                self.loss.discriminator(*self.judge_both(domain, batch[name], generated[name]))
            )
            for domain, name in zip("AB", self.batch_keys, strict=True)
        }

    def cycle(self, generated: Batch) -> Batch:
        """Translations translated back: `source` from the generated targets and the other way round."""
        return {
            "source": self.generator["BtoA"](generated["target"]),
            "target": self.generator["AtoB"](generated["source"]),
        }


class SharedCodeModule(TwoWayModule):
    """Two autoencoders with one space of codes: what one encoder writes, the other one's decoder reads.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with both shapes.
        discriminator: Called with the shape of a domain, once for each.
        **kwargs: Of `TranslationModule`.
    """

    generator: CoupledAutoencoders

    def build(self, image_shape: ImageShape) -> None:
        """Create the autoencoders and both discriminators."""
        source_shape = self.source_shape or image_shape
        self.generator = cast(CoupledAutoencoders, self._make_generator(source_shape, image_shape))
        self.discriminator = nn.ModuleDict(
            {"A": self._make_discriminator(source_shape), "B": self._make_discriminator(image_shape)}
        )

    def convert(self, networks: Any, images: Tensor, direction: str) -> Tensor:
        """Through the code, without noise."""
        return networks.translate(images, direction)

    def passed_on(self, codes: Tensor) -> Tensor:
        """What the decoders read of what the encoders wrote, in training."""
        return codes

    def generate(self, batch: Batch) -> Batch:
        """Translations; for the generators' own turn also reconstructions and codes."""
        codes = self.generator.encode({"A": batch["source"], "B": batch["target"]})
        features = self.generator.start_decoding(self.passed_on(codes))
        if not torch.is_grad_enabled():
            of_source, of_target = features.chunk(2)
            return {"source": self.generator.finish("A", of_target), "target": self.generator.finish("B", of_source)}
        same_source, source = self.generator.finish("A", features).chunk(2)
        target, same_target = self.generator.finish("B", features).chunk(2)
        code_source, code_target = codes.chunk(2)
        generated = {"source": source, "target": target, "code_source": code_source, "code_target": code_target}
        return {**generated, "same_source": same_source, "same_target": same_target}

    def encode_translations(self, generated: Batch) -> Tensor:
        """Codes of the sources' translations, then of the targets', as the other domain's encoder writes them."""
        return self.generator.encode({"B": generated["target"], "A": generated["source"]})
