"""CC-GAN: holes, what each player minimises, and what of a made picture reaches whom."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pl_genmodels.callbacks import TranslationGrid
from pl_genmodels.cli import main
from pl_genmodels.data import Digits
from pl_genmodels.models.conditional_gan.ccgan import CCGAN
from pl_genmodels.models.known_pixels import square_holes
from pl_genmodels.networks import AuxiliaryDiscriminator, MLPDiscriminator, MLPTranslator, VGGDiscriminator
from tests.models.harness import Recorder
from tests.small import Batches, fit

SHAPE = (1, 8, 8)


def ccgan(**arguments):
    torch.manual_seed(0)
    judge = partial(MLPDiscriminator, hidden_dim=8, num_layers=1)
    networks = {
        "generator": partial(MLPTranslator, hidden_dim=8, num_layers=1),
        "discriminator": partial(AuxiliaryDiscriminator, discriminator=judge),
    }
    return CCGAN(SHAPE, **{"num_classes": 3, "hole": (2, 4), **networks, **arguments})


def batch(**others):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(6, *SHAPE, generator=generator) * 2 - 1
    return {"image": image, "label": torch.tensor([0, -1, 2, 1, -1, -1]), **others}


def round_of(model, **others):
    drawn = model.draw(batch(**others))
    return drawn, model.generate(drawn)


# ---- holes


def test_holes_are_squares_of_all_sides_and_places():
    torch.manual_seed(0)
    masks = square_holes(torch.rand(4000, 3), 2, 4, 7, 9)
    assert masks.shape == (4000, 1, 7, 9)
    holes = ~masks[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(heights, widths)
    assert torch.equal(holes.sum((1, 2)), heights * widths)
    counts = heights.bincount(minlength=5)
    assert (counts[2:] / 4000 - 1 / 3).abs().max() < 0.04
    assert counts[:2].sum() == 0
    firsts = torch.stack([holes.any(2).int().argmax(1), holes.any(1).int().argmax(1)], 1)[heights == 4]
    assert len(firsts.unique(dim=0)) == (7 - 4 + 1) * (9 - 4 + 1)
    ends = square_holes(torch.tensor([[1 - 2**-24] * 3, [0.0] * 3]), 2, 4, 7, 9)
    assert not bool(ends[0, 0, 3:, 5:].any())
    assert not bool(ends[1, 0, :2, :2].any())


def test_outside_of_the_hole_a_filled_picture_is_the_picture():
    """Bit for bit, and no gradient leaves it there."""
    model = ccgan()
    drawn, generated = round_of(model)
    made = generated["made"].detach().requires_grad_()
    filled = torch.where(drawn["mask"], drawn["image"], made)
    known = drawn["mask"].expand_as(filled)
    assert torch.equal(generated["image"], filled)
    assert torch.equal(filled[known], drawn["image"][known])
    terms = model.generator_terms(drawn, {"image": filled, "made": made})
    (gradient,) = torch.autograd.grad(terms["adversarial"].sum(), made)
    assert bool((gradient[known] == 0).all())
    assert bool((gradient[~known] != 0).all())


def test_the_generator_does_not_see_what_was_in_the_hole():
    model = ccgan()
    drawn, generated = round_of(model)
    others = {**drawn, "image": torch.where(drawn["mask"], drawn["image"], 0.3)}
    assert torch.equal(model.generate(others)["made"], generated["made"])


# ---- objectives


def test_terms_are_the_papers():
    model = ccgan(class_weight=0.5)
    drawn, generated = round_of(model)
    (real, said), (fake, _) = (model.discriminator(each["image"]) for each in (drawn, generated))
    of_d, of_g = model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)
    assert of_d.keys() == {"adversarial", "supervised"}
    assert torch.allclose(of_d["adversarial"], -real.sigmoid().log() - (1 - fake.sigmoid()).log(), atol=1e-6)
    known = drawn["label"] >= 0
    named = F.cross_entropy(said, drawn["label"].clamp(min=0), reduction="none") * known
    assert torch.allclose(of_d["supervised"], 0.5 * named)
    assert of_g.keys() == {"adversarial"}
    assert torch.allclose(of_g["adversarial"], -fake.sigmoid().log(), atol=1e-6)


def test_squared_judges_all_that_is_made_too():
    model = ccgan(unconditional_weight=2.0)
    drawn, generated = round_of(model)
    (real, _), (whole, _) = model.discriminator(drawn["image"]), model.discriminator(generated["made"])
    of_d, of_g = model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)
    assert torch.allclose(of_d["unconditional"], 2 * (F.softplus(-real) + F.softplus(whole)))
    assert torch.allclose(of_g["unconditional"], 2 * F.softplus(-whole))
    (gradient,) = torch.autograd.grad(of_g["unconditional"].sum(), generated["made"])
    assert bool((gradient != 0).all())


def test_labelled_pictures_train_the_layers_that_judge():
    model = ccgan()
    labelled = {"labelled_image": -batch()["image"], "labelled_label": torch.tensor([0, 1, 2, 0, 1, 2])}
    drawn, generated = round_of(model, **labelled)
    term = model.discriminator_terms(drawn, generated)["supervised"]
    said = model.class_logits(labelled["labelled_image"])
    assert torch.allclose(term, F.cross_entropy(said, labelled["labelled_label"], reduction="none"))
    term.sum().backward()
    *shared, last = model.discriminator.judge.layers
    assert all(bool(p.grad.any()) for layer in shared for p in layer.parameters())
    assert all(p.grad is None for p in last.parameters())


def test_labels_are_needed_where_they_count(tmp_path):
    unlabelled = Batches([{"image": batch()["image"]}])
    fit(ccgan(class_weight=0), unlabelled, tmp_path)
    with pytest.raises(ValueError, match="needs 'label' too; allowed without is class_weight: 0"):
        fit(ccgan(), unlabelled, tmp_path)
    with pytest.raises(ValueError, match="num_classes: got 3, but there are labels from 0 to 5"):
        fit(ccgan(), Batches([batch(label=torch.arange(6))]), tmp_path)


def test_accuracy_is_logged(tmp_path):
    model, recorder = ccgan(), Recorder()
    val = batch(label=torch.tensor([0, 1, 2, 0, 1, 2]))
    runner = fit(model, Batches([batch()]), tmp_path, logger=recorder, limit_val_batches=1.0)
    runner.validate(model, Batches([val]), verbose=False)
    right = (model.classify(val["image"]) == val["label"]).float().mean()
    assert recorder.rows[-1][1]["val/accuracy"] == pytest.approx(right.item())


# ---- use


def test_pictures_are_filled():
    model, image = ccgan(), batch()["image"]
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[2:5, 1:4] = False
    filled = model.fill(image, mask)
    assert torch.equal(filled[..., mask], image[..., mask])
    blank = torch.where(mask, image, 0.0)
    assert torch.equal(filled[..., ~mask], model.generator(blank)[..., ~mask])
    found = model.translate(image, seed=3)
    assert torch.equal(found, model.translate(image, seed=3))
    assert torch.equal(found[:4], model.translate(image[:4], seed=3))
    changed = (found != image).flatten(1).sum(1)
    assert bool(((changed >= 4) & (changed <= 16)).all())
    panels = model.panels({"image": image}, seed=3)
    assert torch.equal(panels["translation"], found)
    assert bool((panels["source"] == image).flatten(1).sum(1).ge(48).all())
    with pytest.raises(ValueError, match="direction: got 'BtoA'"):
        model.translate(image, "BtoA")


def test_fillings_are_drawn(tmp_path):
    model = ccgan(num_classes=10)
    data = Digits(size=8, batch_size=16, labels_per_class=2)
    fit(model, data, tmp_path, max_steps=1, callbacks=[TranslationGrid(50, num_samples=3)])
    assert list((tmp_path / "translations").iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"hole": (0, 4)}, r"hole: got \[0, 4\], allowed are two sides from 1 to 8, the smaller first"),
        ({"hole": (5, 4)}, r"hole: got \[5, 4\], allowed are"),
        ({"hole": (4, 9)}, r"hole: got \[4, 9\], allowed are"),
        ({"class_weight": -1.0}, r"class_weight: got -1\.0, allowed is 0 or more"),
        ({"unconditional_weight": -1.0}, r"unconditional_weight: got -1\.0, allowed is 0 or more"),
        ({"num_classes": 1}, "num_classes: got 1, allowed is 2 or more"),
    ],
)
def test_what_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ccgan(**arguments)


def test_pictures_are_needed():
    with pytest.raises(ValueError, match=r"CCGAN: got image_shape \(2,\), allowed are pictures"):
        CCGAN((2,))


# ---- the networks


def test_vgg_is_configuration_a_without_its_last_layers():
    network = VGGDiscriminator((3, 96, 96))
    widths = [
        [layer.out_channels for layer in block if hasattr(layer, "stride") and hasattr(layer, "out_channels")]
        for block in network.blocks
    ]
    assert widths == [[64], [128], [256, 256], [512, 512], [512, 512]]
    assert network.last.in_features == 512 * 3 * 3


def test_features_of_vgg_are_what_its_blocks_give():
    torch.manual_seed(0)
    network, image = VGGDiscriminator((1, 9, 8), (3, 5), (1, 2)), torch.randn(4, 1, 9, 8)
    logits, features = network(image, with_features=True)
    assert [tuple(each.shape) for each in features] == [(4, 3, 4, 4), (4, 5, 2, 2)]
    assert torch.equal(logits, network.last(features[-1].flatten(1)).squeeze(1))
    assert torch.equal(network.eval()(image), network(image))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"widths": ()}, r"widths: got \[\], allowed are one or more positive numbers"),
        ({"widths": (4, 4), "depths": (1, 0)}, r"depths: got \[1, 0\], allowed are one or more positive numbers"),
        ({"widths": (4, 4), "depths": (1,)}, r"depths: got \[1\], allowed is a number for each of 2 widths"),
        ({}, "VGGDiscriminator: got images of 8x8, allowed is 32 or more"),
    ],
)
def test_what_no_vgg_is(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        VGGDiscriminator(SHAPE, **arguments)


def test_the_second_head_misses_whole_maps():
    torch.manual_seed(0)
    vgg = partial(VGGDiscriminator, widths=(6,), depths=(1,))
    network = AuxiliaryDiscriminator(SHAPE, 3, vgg, dropout=0.5)
    network.head, image = torch.nn.Identity(), torch.randn(20, *SHAPE)
    logits, seen = network(image)
    again, features = network.judge(image, with_features=True)
    assert torch.equal(logits, again)
    ratio = seen.view_as(features[-1]) / features[-1]
    assert set(ratio.flatten().round(decimals=4).tolist()) == {0.0, 2.0}
    assert bool((ratio.flatten(2).std(2) < 1e-4).all())
    with pytest.raises(ValueError, match=r"dropout: got 1\.0, allowed is 0 up to but not including 1"):
        AuxiliaryDiscriminator(SHAPE, 3, vgg, dropout=1.0)


# ---- the command


def test_the_command_that_fills_holes(tmp_path):
    model = ccgan(num_classes=10)
    fit(model, Digits(size=8, batch_size=16), tmp_path, max_steps=1).save_checkpoint(tmp_path / "last.ckpt")
    image = Digits(size=8).load("test").tensors["image"][:2]
    for number, pixels in enumerate(image):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / f"{number}.png")
    out = tmp_path / "filled" / "all.png"
    main(["inpaint", "--ckpt_path", str(tmp_path / "last.ckpt"), "--input", str(tmp_path), "--out", str(out)])
    with Image.open(out) as picture:
        tiles = np.asarray(picture)[..., 0][4::8, 4::8]  # eight pixels for each of a picture's
    found = [tiles[:, 9 * column + 1 : 9 * column + 9][1:9] for column in range(8)]
    assert all(np.array_equal(found[4 * row + 3], image[row, 0].numpy()) for row in range(2))
    assert all(np.array_equal(found[4 * row + 1][:4], image[row, 0, :4].numpy()) for row in range(2))
