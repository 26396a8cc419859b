"""Conditional GANs whose encoders lead back."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from torch.nn import functional as F

from pl_genmodels.layers import Attributes, Labels
from pl_genmodels.models.conditional_gan.icgan import IcGAN
from pl_genmodels.networks import ConcatDiscriminator, ConcatGenerator, MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.callbacks.test_last_checkpoint import AtBatch, SavedAt, saving
from tests.small import Batches, fit

SHAPE, COUNT = (1, 8, 8), 6


def icgan(condition=Labels(3), **arguments):
    torch.manual_seed(0)
    of_latents = partial(MLPGenerator, hidden_dim=8, batch_norm=True)
    networks = {
        "generator": partial(ConcatGenerator, latent_dim=4, generator=of_latents),
        "discriminator": partial(ConcatDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8)),
        "encoder_latent": partial(MLPEncoder, hidden_dim=8),
        "encoder_condition": partial(MLPEncoder, hidden_dim=8),
    }
    return IcGAN(SHAPE, condition=condition, **{**networks, **arguments})


def batch(**entries):
    image = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"image": image, "label": torch.arange(COUNT) % 3, **entries}


def stop():
    raise RuntimeError("far enough")


def test_terms_by_hand():
    model = icgan()
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    own = F.one_hot(drawn["label"], 3).float()
    torch.manual_seed(1)
    terms = model.discriminator_terms(drawn, generated)
    torch.manual_seed(1)
    others = own[torch.randperm(COUNT)]
    assert not torch.equal(own, others)
    assert torch.allclose(terms["real"], F.softplus(-model.discriminator(drawn["image"], own)))
    assert torch.allclose(terms["mismatched"], 0.5 * F.softplus(model.discriminator(drawn["image"], others)))
    assert torch.allclose(terms["fake"], 0.5 * F.softplus(model.discriminator(generated["image"], own)))
    buffers = {key: value.clone() for key, value in model.generator.named_buffers()}
    terms = model.encoder_terms(drawn, generated)
    assert all(torch.equal(value, buffers[key]) for key, value in model.generator.named_buffers())
    assert model.generator.training
    image = model.generator.eval()(drawn["latent"], own)
    assert torch.allclose(terms["latent"], (model.encoder_latent(image) - drawn["latent"]).square().mean(1))
    assert torch.allclose(terms["condition"], (model.encoder_condition(drawn["image"]) - own).square().mean(1))


def test_encoders_learn_from_the_weights_that_decode_for_them():
    """Averaged ones, which the trained ones stop drawing along once the generator is finished."""
    model = icgan()
    model.add_average()
    with torch.no_grad():
        for parameter in model.generator_ema.parameters():
            parameter.add_(0.1)
    drawn = model.draw(batch())
    image = model.decode(drawn["latent"], drawn["label"])
    assert not torch.allclose(image, model.generator.eval()(drawn["latent"], drawn["condition"]))
    terms = model.encoder_terms(drawn, {})
    assert torch.allclose(terms["latent"], (model.encoder_latent(image) - drawn["latent"]).square().mean(1))


def test_steps_that_are_never_reached_do_not_end_a_run(tmp_path):
    """`global_step` counts updates of a generator that is finished after two."""
    data, model = Batches([batch()] * 4), icgan(gan_updates=2)
    with pytest.raises(ValueError, match=r"max_steps: got 3, which global_step never reaches: .* is max_epochs"):
        fit(model, data, tmp_path, max_epochs=-1, max_steps=3)
    assert fit(model, data, tmp_path, max_epochs=-1, max_steps=2).global_step == 2
    assert fit(icgan(gan_updates=2), data, tmp_path, max_epochs=1, max_steps=3).global_step == 2
    timer = Timer(timedelta(minutes=10))
    with pytest.raises(RuntimeError, match="far enough"):
        fit(icgan(gan_updates=2), data, tmp_path, max_epochs=-1, max_steps=3, callbacks=[timer, AtBatch(9, stop)])


def test_a_finished_generator_does_not_keep_encoders_from_being_saved(tmp_path):
    """Ten batches count as a step of the interval, and twenty of fifty are left for the end."""
    options, path = saving(tmp_path, every=2)
    watch = SavedAt(path)
    options["callbacks"].insert(0, watch)
    fit(icgan(gan_updates=3), Batches([batch()] * 50), tmp_path, **options)
    assert watch.batches == [2, 22, 42, "end"]


def test_the_players_stop_and_the_encoders_go_on(tmp_path):
    model = icgan(gan_updates=2)
    fit(model, Batches([batch()] * 2), tmp_path)
    assert model.frozen
    assert model.generator_updates == 2
    before = {key: value.clone() for key, value in model.state_dict().items()}
    runner = fit(model, Batches([batch()] * 5), tmp_path)
    assert model.generator_updates == 2
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"encoder_latent", "encoder_condition"}
    assert runner.global_step == 0


def test_edits_keep_the_latent_and_change_the_condition():
    model = icgan().eval()
    image = batch()["image"]
    latent, labels = model.encode(image), model.read(image)
    assert torch.equal(labels, model.encoder_condition(image).argmax(1))
    assert torch.allclose(model.edit(image, 2), model.decode(latent, 2))
    assert torch.allclose(model.reconstruct(image), model.decode(latent, labels))
    with pytest.raises(ValueError, match=r"label: got \[5\], allowed are 0 to 2"):
        model.edit(image, 5)
    told = icgan(Attributes(2))
    assert torch.equal(told.read(image), (told.encoder_condition(image) > 0).long())
    with pytest.raises(ValueError, match="gan_updates: got -1, allowed is 0 or more"):
        icgan(gan_updates=-1)
