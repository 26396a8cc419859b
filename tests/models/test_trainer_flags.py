"""The Trainer's clipping and accumulation, which it refuses under manual optimisation, against the step by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback

from tests.models.harness import trainer
from tests.small import BATCH, Batches, fit, gan, samples

CLIP = 0.05
RATE = 0.3


def plain_gan(**arguments):
    """In double precision and with plain gradient descent, which shows the size of a gradient."""
    descent = partial(torch.optim.SGD, lr=RATE)
    return gan(optimizer_generator=descent, optimizer_discriminator=descent, **arguments).double()


def given_batches(num_batches, rows=BATCH):
    """Real samples and latents."""
    torch.manual_seed(3)
    real = samples(num_batches, batch=rows).double()
    return Batches({"image": x, "latent": torch.randn(rows, 3).double()} for x in real.split(rows))


def by_hand(batches, clip=None, algorithm="norm", critic_steps=1):
    """The weights that the same steps lead to, written out, and the sizes of the gradients on the way."""
    model = plain_gan()
    generator, discriminator = model.generator, model.discriminator
    norms = []

    def step(network, loss):
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        norms.append(float(norm))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if clip is not None and algorithm == "value":
                gradient = gradient.clamp(-clip, clip)
            elif clip is not None:
                gradient = gradient * min(1.0, clip / (norm + 1e-6))
            parameter.data -= RATE * gradient

    for index, batch in enumerate(batches, 1):
        fake = generator(batch["latent"])
        on_real, on_fake = discriminator(batch["image"]), discriminator(fake.detach())
        step(discriminator, (F.softplus(-on_real) + F.softplus(on_fake)).mean())
        if index % critic_steps == 0:
            step(generator, F.softplus(-discriminator(fake)).mean())
    return model.state_dict(), norms


def assert_close(model, wanted):
    for key, value in model.state_dict().items():
        assert torch.allclose(value, wanted[key], rtol=0, atol=1e-12), key


class FlagsDuringTheRun(Callback):
    def on_train_batch_end(self, trainer, *args):
        self.seen = trainer.gradient_clip_val, trainer.accumulate_grad_batches


@pytest.mark.parametrize(("algorithm", "clip"), [("norm", 0.25), ("value", 0.05)])
def test_gradients_are_clipped(algorithm, clip, tmp_path):
    model, batches = plain_gan(critic_steps=2), given_batches(6)
    options = {"gradient_clip_val": clip, "gradient_clip_algorithm": algorithm, "precision": "64-true"}
    fit(model, batches, tmp_path, **options)
    wanted, norms = by_hand(batches, clip, algorithm, critic_steps=2)
    assert_close(model, wanted)
    assert max(norms) > 0.25 > min(norms), "both sides of the bound"


def test_the_algorithm_is_the_norm_by_default(tmp_path):
    model, batches = plain_gan(), given_batches(3)
    fit(model, batches, tmp_path, gradient_clip_val=CLIP, precision="64-true")
    assert_close(model, by_hand(batches, CLIP)[0])


@pytest.mark.parametrize(("rows", "parts"), [(8, 2), (8, 4), (7, 3), (3, 5)])
def test_micro_batches_equal_the_whole_batch(rows, parts, tmp_path):
    model, batches = plain_gan(critic_steps=2), given_batches(4, rows)
    most = []
    model.discriminator.register_forward_hook(lambda module, inputs, output: most.append(len(output)))
    fit(model, batches, tmp_path, accumulate_grad_batches=parts, precision="64-true")
    assert max(most) == -(-rows // parts)
    assert_close(model, by_hand(batches, critic_steps=2)[0])


@pytest.mark.parametrize(("rows", "parts"), [(8, 2), (7, 3), (3, 5)])
@pytest.mark.parametrize("arguments", [{"fresh_latents": True}, {"generator_batch_factor": 2}], ids=["fresh", "factor"])
def test_micro_batches_of_fresh_latents_equal_the_whole_batch(arguments, rows, parts, tmp_path):
    whole, split = plain_gan(**arguments), plain_gan(**arguments)
    batches = Batches({"image": batch["image"]} for batch in given_batches(3, rows))
    fit(whole, batches, tmp_path, precision="64-true")
    fit(split, batches, tmp_path, accumulate_grad_batches=parts, precision="64-true")
    assert_close(split, whole.state_dict())


def test_clipping_looks_at_the_accumulated_gradient(tmp_path):
    model, batches = plain_gan(), given_batches(4)
    fit(model, batches, tmp_path, accumulate_grad_batches=4, gradient_clip_val=CLIP, precision="64-true")
    assert_close(model, by_hand(batches, CLIP)[0])


def test_accumulation_changes_no_count(tmp_path):
    model = plain_gan()
    runner = fit(model, given_batches(4), tmp_path, accumulate_grad_batches=4, precision="64-true")
    assert (runner.global_step, model.images_seen) == (4, 4 * BATCH)


def test_the_flags_are_given_back(tmp_path):
    during = FlagsDuringTheRun()
    options = {"gradient_clip_val": CLIP, "accumulate_grad_batches": 2, "precision": "64-true"}
    runner = fit(plain_gan(), given_batches(1), tmp_path, callbacks=[during], **options)
    assert during.seen == (None, 1)
    assert (runner.gradient_clip_val, runner.accumulate_grad_batches) == (CLIP, 2)


def test_the_flags_hold_in_every_fit_of_a_trainer(tmp_path):
    runner = trainer(tmp_path, max_epochs=1, gradient_clip_val=CLIP, precision="64-true")
    for _ in range(2):
        model, batches = plain_gan(), given_batches(3)
        runner.fit_loop.epoch_progress.reset()
        runner.fit(model, batches)
        assert_close(model, by_hand(batches, CLIP)[0])


def test_a_trainer_without_flags_does_not_inherit_them(tmp_path):
    model, batches = plain_gan(), given_batches(2)
    fit(model, batches, tmp_path, gradient_clip_val=CLIP, accumulate_grad_batches=2, precision="64-true")
    model.load_state_dict(plain_gan().state_dict())
    fit(model, batches, tmp_path, precision="64-true")
    assert_close(model, by_hand(batches)[0])


def test_the_flags_are_given_back_after_an_error(tmp_path):
    class Failing(Callback):
        def on_train_batch_end(self, *args):
            raise RuntimeError("on purpose")

    options = {"gradient_clip_val": CLIP, "accumulate_grad_batches": 2, "precision": "64-true"}
    runner = trainer(tmp_path, callbacks=[Failing()], max_epochs=1, **options)
    with pytest.raises(RuntimeError, match="on purpose"):
        runner.fit(plain_gan(), given_batches(1))
    assert (runner.gradient_clip_val, runner.accumulate_grad_batches) == (CLIP, 2)
