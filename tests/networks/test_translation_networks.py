"""The networks of image translation have the published shapes, and take pictures of any size."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.layers import (
    AtHandBatchNorm2d,
    ImagePool,
    NoiseDropout,
    PictureNorm2d,
    mixes_pictures,
    on_multiples,
    reflect,
)
from pl_genmodels.networks import (
    DCGANDiscriminator,
    EncoderDecoderTranslator,
    MLPDiscriminator,
    MLPTranslator,
    PatchDiscriminator,
    PixelDiscriminator,
    ResNetTranslator,
    UNetTranslator,
)

RGB = (3, 256, 256)
PAIR = (6, 256, 256)


def square(channels, side):
    return (channels, side, side)


def translator(kind, channels=3, side=256, outputs=None, **options):
    return partial(kind, square(channels, side), square(outputs or channels, side), **options)


PUBLISHED = {
    "resnet-9": (translator(ResNetTranslator), 11_378_179),
    "resnet-9-batch": (translator(ResNetTranslator, norm="batch"), 11_383_427),
    "resnet-6": (translator(ResNetTranslator, side=128, num_blocks=6), 7_837_699),
    "resnet-6-batch": (translator(ResNetTranslator, num_blocks=6, norm="batch"), 7_841_411),
    "unet-256": (translator(UNetTranslator), 54_413_955),
    "unet-256-instance": (translator(UNetTranslator, norm="instance"), 54_409_603),
    "unet-256-colours": (translator(UNetTranslator, channels=1, outputs=2), 54_409_858),
    "unet-128": (translator(UNetTranslator, side=128), 41_828_995),
    "unet-128-instance": (translator(UNetTranslator, side=128, norm="instance"), 41_825_667),
    "encoder-decoder": (translator(EncoderDecoderTranslator, side=64), 5_513_856),
    "encoder-decoder-bottleneck": (translator(EncoderDecoderTranslator, side=64, bottleneck=100), 7_153_480),
    "unet-64": (translator(UNetTranslator, side=64), 29_244_035),
    "unet-32": (translator(UNetTranslator, side=32), 16_659_075),
    "patch-70-instance": (partial(PatchDiscriminator, RGB), 2_764_737),
    "patch-70-batch": (partial(PatchDiscriminator, RGB, norm="batch"), 2_765_633),
    "patch-70-pair": (partial(PatchDiscriminator, PAIR, norm="batch"), 2_768_705),
    "patch-16": (partial(PatchDiscriminator, RGB, num_layers=1), 136_385),
    "patch-34": (partial(PatchDiscriminator, RGB, num_layers=2), 662_977),
    "patch-142": (partial(PatchDiscriminator, RGB, num_layers=4), 6_959_553),
    "patch-286": (partial(PatchDiscriminator, RGB, num_layers=5), 11_154_369),
    "patch-574": (partial(PatchDiscriminator, RGB, num_layers=6), 15_349_185),
    "pixel": (partial(PixelDiscriminator, RGB), 8_705),
    "pixel-pair": (partial(PixelDiscriminator, PAIR, norm="batch"), 9_024),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name, monkeypatch):
    make, count = PUBLISHED[name]
    for fill in ("normal_", "uniform_", "kaiming_uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(nn.init, fill, lambda tensor, *args, **kwargs: tensor)
    with torch.device("meta"):  # counting takes neither memory nor initial weights
        assert sum(weight.numel() for weight in make().parameters()) == count


@pytest.mark.parametrize(("layers", "side"), [(1, 126), (2, 62), (3, 30), (4, 14), (5, 6), (6, 2)])
def test_map_of_patches(layers, side):
    network = PatchDiscriminator(RGB, channels=2, num_layers=layers)
    assert network(torch.zeros(1, *RGB)).shape == (1, 1, side, side)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_one_logit_sees_exactly_its_patch(layers, field):
    """Without normalisation, which would let every pixel count a little."""
    network = PatchDiscriminator(RGB, channels=2, num_layers=layers, norm="none").double()
    image = torch.randn(1, *RGB, dtype=torch.double, requires_grad=True)
    logits = network(image)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    for axis in (2, 3):
        seen = image.grad.abs().sum(dim=[d for d in range(4) if d != axis]).nonzero().flatten()
        assert len(seen) == seen[-1] - seen[0] + 1 == field


def test_pixels_are_judged_alone():
    network = PixelDiscriminator((3, 8, 8), channels=4, norm="none")
    image = torch.randn(1, 3, 8, 8, requires_grad=True)
    network(image)[0, 0, 2, 5].backward()
    assert image.grad.abs().sum(1).nonzero().tolist() == [[0, 2, 5]]


# ---- state dicts of the authors' code

RESNET_KEYS = ["layers.1.weight", "layers.4.weight", "layers.7.weight", "layers.10.layers.1.weight"]
UNET_KEYS = ["layers.layers.0.weight", "layers.layers.1.layers.1.weight", "layers.layers.1.layers.2.weight"]


def test_keys_are_those_of_the_authors_but_for_two_words():
    """`model.1.weight`, `model.10.conv_block.1.weight`, `model.model.1.model.3...` in theirs."""
    resnet = list(ResNetTranslator(square(3, 32), square(3, 32), channels=2).state_dict())
    assert [key for key in resnet if key.endswith("weight")][:4] == RESNET_KEYS
    assert resnet[-1] == "layers.26.bias"
    unet = UNetTranslator(square(3, 256), square(3, 256), channels=1).state_dict()
    assert [key for key in unet if key.endswith("weight")][:3] == UNET_KEYS
    lowest = "layers.layers.1" + ".layers.3" * 6 + ".layers"
    assert [key for key in unet if key.startswith(lowest) and key.endswith("weight")] == [
        f"{lowest}.{place}.weight" for place in (1, 3, 4)
    ]
    patch = list(PatchDiscriminator(square(3, 32), channels=2).state_dict())
    assert patch == [f"layers.{place}.{part}" for place in (0, 2, 5, 8, 11) for part in ("weight", "bias")]


# ---- sizes

TRANSLATORS = {
    "resnet": partial(ResNetTranslator, channels=4, num_blocks=1),
    "resnet-batch": partial(ResNetTranslator, channels=4, num_blocks=1, norm="batch"),
    "encoder-decoder": partial(EncoderDecoderTranslator, channels=4, num_halvings=3),
    "encoder-decoder-bottleneck": partial(EncoderDecoderTranslator, channels=4, num_halvings=3, bottleneck=5),
    "unet": partial(UNetTranslator, channels=4, num_halvings=4, num_dropouts=0),
    "unet-instance": partial(UNetTranslator, channels=4, num_halvings=4, norm="instance", num_dropouts=0),
}


@pytest.mark.parametrize("kind", TRANSLATORS)
@pytest.mark.parametrize("sides", [(32, 32), (33, 50), (17, 16), (5, 7), (48, 16)])
def test_any_size(kind, sides):
    network = TRANSLATORS[kind](square(3, 32), square(1, 32)).eval()
    images = torch.rand(2, 3, *sides) * 2 - 1
    translated = network(images)
    assert translated.shape == (2, 1, *sides)
    assert translated.abs().max() <= 1
    padded = [-side % network.multiple for side in sides]
    if not any(padded):
        torch.testing.assert_close(translated, network.convert(images))


def test_other_sizes_are_reflected_and_cropped_back():
    image = torch.rand(2, 3, 21, 30)
    seen = []
    assert torch.equal(on_multiples(lambda x: seen.append(x) or x, image, 8), image)
    assert seen[0].shape == (2, 3, 24, 32)
    assert torch.equal(seen[0], nn.functional.pad(image, (1, 1, 1, 2), mode="reflect"))


def test_reflection_goes_back_and_forth():
    line = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    wide = reflect(line, (0, 5), (0, 6)).flatten()
    assert wide.tolist() == [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1]
    pixel = reflect(torch.full((1, 1, 1, 1), 4.0), (1, 2), (1, 0))
    assert torch.equal(pixel, torch.full((1, 1, 3, 3), 4.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ResNetTranslator, (3, 32, 32), (3, 16, 16)), "ResNetTranslator: got source_shape .* same size"),
        (partial(UNetTranslator, (2,), (2,)), "UNetTranslator: got image_shape .* pictures"),
        (partial(UNetTranslator, (3, 32, 32), (3, 32, 32), num_halvings=1), "num_halvings: got 1, .* 2 or more"),
        (partial(UNetTranslator, (3, 32, 32), (3, 32, 32), num_dropouts=4), "num_dropouts: got 4, allowed are 0 to 3"),
        (partial(ResNetTranslator, (3, 32, 32), (3, 32, 32), num_blocks=-1), "num_blocks: got -1"),
        (partial(ResNetTranslator, (3, 32, 32), (3, 32, 32), norm="layer"), "norm: got 'layer', allowed are instance"),
        (partial(EncoderDecoderTranslator, (3, 8, 8), (3, 8, 8), num_halvings=1), "num_halvings: got 1, .* 2 or more"),
        (partial(EncoderDecoderTranslator, (3, 32, 32), (3, 32, 32), bottleneck=9), "bottleneck: got 9, .* below 64"),
        (partial(PatchDiscriminator, (3, 16, 16)), "num_layers: got 3, .* at least 24"),
        (partial(PixelDiscriminator, (3, 16, 16), channels=0), "channels: got 0"),
        (partial(NoiseDropout, 1.0), "p: got 1.0"),
        (partial(ImagePool, (3, 4, 4), -1), "pool_size: got -1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- normalisation and noise


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 5, 4, 6)])
def test_picture_norm_is_instance_norm(shape):
    image = torch.randn(shape, dtype=torch.double) * 3 + 1
    torch.testing.assert_close(PictureNorm2d(shape[1])(image), nn.InstanceNorm2d(shape[1]).double()(image))


def test_batch_norm_at_hand_evaluates_each_picture_as_its_own_batch():
    layer = AtHandBatchNorm2d(3)
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    images = torch.randn(4, 3, 6, 6) * 2 + 1
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(images), plain(images))
    one_by_one = torch.cat([plain(image[None]) for image in images])  # training mode: statistics of the batch at hand
    torch.testing.assert_close(layer.eval()(images), one_by_one)
    assert not torch.allclose(layer(images), plain.eval()(images), atol=1e-2)


def test_only_batch_norm_mixes_pictures():
    assert mixes_pictures(ResNetTranslator(square(3, 16), square(3, 16), channels=2, norm="batch"))
    assert not mixes_pictures(ResNetTranslator(square(3, 16), square(3, 16), channels=2))
    assert mixes_pictures(PatchDiscriminator(square(3, 32), channels=2, norm="batch"))


def test_noise_stays_on_in_evaluation_and_keeps_the_mean():
    layer = NoiseDropout(0.25).eval()
    noisy = layer(torch.ones(200, 500))
    assert (noisy == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert noisy[noisy > 0].unique().item() == pytest.approx(1 / 0.75)
    assert not torch.equal(noisy, layer(torch.ones(200, 500)))


def test_the_unet_has_noise_where_the_paper_has():
    """Dropout follows the second to fourth lowest levels of the decoder."""
    network = UNetTranslator(square(3, 256), square(3, 256), channels=1)
    depths = [name.count("layers") for name, layer in network.named_modules() if isinstance(layer, NoiseDropout)]
    assert sorted(depths) == [6, 7, 8]  # of 2 (outermost) to 9 (lowest)
    images = torch.rand(2, 3, 64, 64)
    small = UNetTranslator(square(3, 64), square(3, 64), channels=4).eval()
    assert not torch.allclose(small(images), small(images), atol=1e-6)
    silent = UNetTranslator(square(3, 64), square(3, 64), channels=4, dropout=0.0).eval()
    assert torch.equal(silent(images), silent(images))


@pytest.mark.parametrize(("make", "widths"), [(DCGANDiscriminator, [4, 8, 16]), (MLPDiscriminator, [256, 256])])
def test_features_are_what_the_logits_are_made_of(make, widths):
    network = (make(square(3, 32), channels=4) if make is DCGANDiscriminator else make(square(3, 32))).eval()
    images = torch.randn(2, 3, 32, 32)
    logits, features = network(images, with_features=True)
    assert network.gives_features
    assert torch.equal(logits, network(images))
    assert [feature.shape[1] for feature in features] == widths
    assert torch.equal(network.layers[-1](features[-1]).flatten(), logits)
    first = nn.functional.leaky_relu(network.layers[0](images if features[0].ndim == 4 else images.flatten(1)), 0.2)
    assert torch.equal(features[0], first)


def test_points_pass_the_mlp():
    network = MLPTranslator((2,), (3,), hidden_dim=8)
    assert network(torch.randn(5, 2)).shape == (5, 3)
    assert MLPTranslator((1, 4, 4), (3, 4, 4))(torch.randn(2, 1, 4, 4)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize("kind", [*TRANSLATORS, "patch"])
def test_weights_start_at_a_fiftieth(kind):
    network = PatchDiscriminator(RGB) if kind == "patch" else TRANSLATORS[kind](square(3, 64), square(3, 64))
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert all((layer.bias == 0).all() for layer in layers if layer.bias is not None)


# ---- the pool


def one_by_one(images, kept, size, coins, places):
    """The authors' loop."""
    shown = []
    for image, coin, place in zip(images, coins, places, strict=True):
        if len(kept) < size:
            kept.append(image)
            shown.append(image)
        elif coin < 0.5:
            shown.append(image)
        else:
            slot = int(place * size)
            shown.append(kept[slot])
            kept[slot] = image
    return torch.stack(shown)


@pytest.mark.parametrize("batch", [1, 7, 16])
def test_pool_is_the_loop_over_pictures(batch, monkeypatch):
    """Also where several pictures of a batch meet in one place of a small pool."""
    generator = torch.Generator().manual_seed(0)
    pool, kept = ImagePool((1,), size=5), []
    for _ in range(20):
        draws = [torch.rand(batch, generator=generator) for _ in range(2)]
        images = torch.randn(batch, 1, generator=generator)
        given = iter(draws)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", lambda *args, given=given, **kwargs: next(given))
            shown = pool(images)
        assert torch.equal(shown, one_by_one(images, kept, 5, *draws))
        assert torch.equal(pool.kept[: len(kept)], torch.stack(kept))


def test_pool_returns_the_first_fifty_and_half_of_the_later_ones():
    torch.manual_seed(0)
    pool = ImagePool((1,))
    first = torch.arange(50.0)[:, None]
    assert torch.equal(torch.cat([pool(part) for part in first.split(1)]), first)
    later = torch.arange(50.0, 10_050.0)[:, None]
    shown = torch.cat([pool(part) for part in later.split(20)])
    assert (shown == later).float().mean().item() == pytest.approx(0.5, abs=0.02)
    old = shown[shown != later]
    assert len(old.unique()) == len(old)  # a picture leaves the pool when it is shown


def test_no_pool_shows_new_pictures():
    images = torch.randn(3, 2)
    assert torch.equal(ImagePool((2,), size=0)(images), images)
