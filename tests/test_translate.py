"""Folders of pictures through a trained or an official generator, and generators in the formats of others."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import pl_genmodels
from pl_genmodels.cli import main
from pl_genmodels.cli import translation as verbs
from pl_genmodels.data.pictures import to_float
from pl_genmodels.editing.tiles import by_tiles, windows
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.networks import ResNetTranslator, UNetTranslator
from pl_genmodels.networks.official import from_official, read_layout, to_official
from tests.models.harness import trainer
from tests.official_networks import (
    ResnetGenerator,
    UnetGenerator,
    instance,
    instance_with_statistics,
    without_dropout,
)
from tests.small import gan
from tests.small_translation import cyclegan, pix2pix, rings
from tests.test_cli import fails


def saved(model, path):
    """A checkpoint of an untrained model."""
    runner = trainer(path.parent)
    runner.strategy.connect(model)
    model.trainer = runner
    runner.save_checkpoint(path)
    return str(path)


def small():
    """Quick to export, since nothing in it comes twice."""
    return cyclegan(generator=partial(ResNetTranslator, channels=4, num_blocks=0, num_halvings=1))


def unet():
    """Skips, and sizes that are padded to multiples of four."""
    return cyclegan(generator=partial(UNetTranslator, channels=4, num_halvings=2, num_dropouts=0, norm="instance"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {
        "cyclegan": cyclegan(),
        "grey": cyclegan((1, 16, 16), (3, 16, 16), identity_weight=0.0),
        "pix2pix": pix2pix(),
        "small": small(),
        "unet": unet(),
        "rings": rings(),
        "gan": gan(),
    }
    return {name: saved(model, folder / f"{name}.ckpt") for name, model in made.items()}


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def as_floats(pixels):
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return to_float(torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous())


def pixels_of(path):
    return np.asarray(Image.open(path))


def near(pixels, images):
    """Rounding may fall the other way where a batch is summed in another order."""
    expected = verbs.to_bytes(images)[0].permute(1, 2, 0).squeeze(-1).numpy()
    return pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected.astype(int)).max() <= 1


# ---- folders


def test_a_folder_keeps_its_names_and_every_size(checkpoints, tmp_path, capsys):
    shapes = {"a.png": (16, 16), "b.jpg": (17, 23), "deep/c.png": (16, 16), "deep/d.png": (16, 16), "e.png": (5, 40)}
    inputs = {name: pixels_of(save(tmp_path / "in" / name, noise(*shape))) for name, shape in shapes.items()}
    main(["translate", "--ckpt_path", checkpoints["cyclegan"], "--input", str(tmp_path / "in"), "--out",
          str(tmp_path / "out"), "--batch_size", "2", "--device", "cpu"])  # fmt: skip
    assert capsys.readouterr().out == f"5 pictures in {tmp_path / 'out'}\n"
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.png", "b.png", "deep/c.png", "deep/d.png", "e.png"]
    model = cyclegan()
    for name, pixels in inputs.items():
        assert near(pixels_of((tmp_path / "out" / name).with_suffix(".png")), model.translate(as_floats(pixels)))


def test_direction_and_sources_beside_their_translations(checkpoints, tmp_path):
    pixels = noise(16, 20)
    path = save(tmp_path / "one.png", pixels)
    main(["translate", "--ckpt_path", checkpoints["cyclegan"], "--input", str(path), "--out", str(tmp_path / "out"),
          "--side_by_side", "--direction", "BtoA"])  # fmt: skip
    both = pixels_of(tmp_path / "out" / "one.png")
    assert (both[:, :20] == pixels).all()
    assert near(both[:, 20:], cyclegan().translate(as_floats(pixels), "BtoA"))
    verbs.translate(str(path), str(tmp_path / "grey"), checkpoints["grey"], side_by_side=True)
    both = pixels_of(tmp_path / "grey" / "one.png")
    assert (both[:, :20] == np.asarray(Image.fromarray(pixels).convert("L"))[..., None]).all()


def test_two_files_of_one_stem_stay_two(checkpoints, tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        save(tmp_path / "in" / name, noise(8, 8))
    verbs.translate(str(tmp_path / "in"), str(tmp_path / "out"), checkpoints["cyclegan"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg.png", "a.png.png", "b.png"]


def test_every_kind_of_picture_is_translated(checkpoints, tmp_path):
    ramp = np.linspace(0, 255, 256).round().astype(np.uint8).reshape(16, 16)
    colour = np.stack([ramp, 255 - ramp, np.full_like(ramp, 40)], 2)
    solid = np.dstack([colour, np.where(ramp > 128, 255, 0).astype(np.uint8)])
    kinds = {
        "grey": (ramp, np.stack([ramp] * 3, 2)),
        "wide": (ramp.astype(np.uint16) * 257, np.stack([ramp] * 3, 2)),
        "alpha": (solid, np.where((ramp > 128)[..., None], colour, 255).astype(np.uint8)),
    }
    for name, (pixels, _) in kinds.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    verbs.translate(str(tmp_path / "in"), str(tmp_path / "out"), checkpoints["cyclegan"])
    for name, (_, read) in kinds.items():
        assert near(pixels_of(tmp_path / "out" / f"{name}.png"), cyclegan().translate(as_floats(read))), name


def test_noise_is_that_of_the_seed(tmp_path):
    save(tmp_path / "in" / "a.png", noise(16, 16))
    noisy = partial(UNetTranslator, channels=4, num_halvings=3, num_dropouts=1)
    path = saved(pix2pix(generator=noisy), tmp_path / "noise.ckpt")
    read = []
    for number, seed in enumerate((1, 1, 2)):
        verbs.translate(str(tmp_path / "in"), str(tmp_path / f"out{number}"), path, seed=seed)
        read.append(pixels_of(tmp_path / f"out{number}" / "a.png"))
    assert (read[0] == read[1]).all()
    assert (read[0] != read[2]).any()


# ---- tiles


@pytest.mark.parametrize(("side", "tile", "overlap"), [(100, 100, 20), (101, 100, 20), (333, 100, 49), (200, 100, 0)])
def test_weights_of_tiles_sum_to_one(side, tile, overlap):
    begins, weights = windows(side, tile, overlap)
    total = torch.zeros(side)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + tile] += weight
    assert torch.allclose(total, torch.ones(side))
    assert all(right - left <= tile - overlap for left, right in pairwise(begins))
    assert all((weight[: overlap // 4] == 0).all() for weight in weights[1:])


@pytest.mark.parametrize("shape", [(200, 90), (64, 150), (97, 64)])
def test_tiles_equal_the_whole_where_the_network_sees_no_further_than_a_quarter_of_the_overlap(shape):
    kernel = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))

    def network(images):  # zeros at the border, which a whole picture has at its own border only
        return F.conv2d(F.conv2d(images, kernel, padding=4).tanh(), kernel.permute(1, 0, 2, 3), padding=4)

    image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    tiled = by_tiles(network, image, 80, 32, batch_size=3)
    assert torch.allclose(tiled, network(image[None])[0], atol=1e-3)
    assert not torch.allclose(by_tiles(network, image, 80, 0), network(image[None])[0], atol=1e-1)


def test_a_constant_picture_shows_no_seam():
    torch.manual_seed(0)
    network = ResNetTranslator((3, 64, 64), (3, 64, 64), channels=4, num_blocks=3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4).add_(0.2 * torch.randn_like(parameter) if parameter.ndim == 1 else 0)
        done = by_tiles(network, torch.full((3, 150, 211), 0.3), 96, 40, batch_size=2)
        whole = network(torch.full((1, 3, 150, 211), 0.3))[0]
    inner = done[:, 48:-48, 48:-48]
    assert inner.abs().max() > 0.05
    for axis in (1, 2):
        assert inner.diff(dim=axis).abs().max() / 2 < 1 / 255
    assert (inner - whole[:, 48:-48, 48:-48]).abs().max() / 2 < 1 / 255


def test_large_pictures_are_cut_into_tiles_and_small_ones_are_not(checkpoints, tmp_path):
    pixels = {"large.png": noise(70, 50), "small.png": noise(20, 24)}
    for name, picture in pixels.items():
        save(tmp_path / "in" / name, picture)
    verbs.translate(str(tmp_path / "in"), str(tmp_path / "out"), checkpoints["cyclegan"], tile=40, overlap=16)
    model = cyclegan()
    tiled = by_tiles(model.translate, as_floats(pixels["large.png"])[0], 40, 16)
    assert near(pixels_of(tmp_path / "out" / "large.png"), tiled[None])
    assert near(pixels_of(tmp_path / "out" / "small.png"), model.translate(as_floats(pixels["small.png"])))


# ---- the authors' weights


def official(kind, norm, size, dropout=False):
    torch.manual_seed(1)
    network = (
        ResnetGenerator(3, 3, 4, size, norm, dropout)
        if kind == "resnet"
        else UnetGenerator(3, 2, size, 2, norm, dropout)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return without_dropout(network.train())


CASES = [
    ("resnet", instance, 9, False, "resnet_9blocks"),
    ("resnet", instance_with_statistics, 6, False, "resnet_6blocks"),
    ("resnet", instance, 6, True, "resnet_6blocks"),
    ("resnet", nn.BatchNorm2d, 6, False, "resnet_6blocks"),
    ("unet", nn.BatchNorm2d, 8, True, "unet_256"),
    ("unet", nn.BatchNorm2d, 7, False, "unet_128"),
    ("unet", instance, 7, False, "unet_128"),
]


@pytest.mark.parametrize(("kind", "norm", "size", "dropout", "arch"), CASES)
def test_official_weights_give_the_official_output(kind, norm, size, dropout, arch):
    theirs = official(kind, norm, size, dropout)
    state = theirs.state_dict()
    side = 32 if kind == "resnet" else 2**size
    images = torch.rand(2, 3, side, side) * 2 - 1
    expected = torch.cat([theirs(image[None]) for image in images])
    plain = {key: value for key, value in state.items() if "running" not in key and "num_batches" not in key}
    for variant in (state, plain, {f"module.{key}": value for key, value in state.items()}):
        ours = from_official(variant, arch, dropout=0.0).eval()
        assert torch.allclose(ours(images), expected, atol=1e-5)
    back = to_official(ours)
    assert plain.keys() <= back.keys() or dropout
    if not (kind == "resnet" and dropout):
        assert all(torch.equal(back[key], value) for key, value in plain.items())
    fresh = official(kind, norm, size)  # and its own network takes it
    strict = norm is not instance_with_statistics
    fresh.load_state_dict(back, strict=strict)
    assert torch.allclose(torch.cat([fresh(image[None]) for image in images]), expected, atol=1e-5)


def test_dropout_is_the_noise_of_official_u_nets():
    state = official("unet", nn.BatchNorm2d, 7).state_dict()
    image = torch.rand(1, 3, 128, 128)
    noisy, plain = from_official(state).eval(), from_official(state, dropout=0.0).eval()
    assert not torch.equal(noisy(image), noisy(image))
    assert torch.equal(plain(image), plain(image))
    resnet = from_official(official("resnet", instance, 6).state_dict()).eval()
    assert torch.equal(resnet(image), resnet(image))


def test_a_folder_is_translated_with_official_weights_of_either_format(tmp_path):
    from safetensors.torch import save_file

    theirs = official("resnet", instance, 6)
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G.pth")
    save_file(theirs.state_dict(), tmp_path / "G.safetensors")
    pixels = noise(24, 32)
    save(tmp_path / "in" / "a.png", pixels)
    for name, arch in (("latest_net_G.pth", ["--arch", "resnet_6blocks"]), ("G.safetensors", [])):
        out = tmp_path / name.partition(".")[0]
        main(
            ["translate", "--weights", str(tmp_path / name), *arch, "--input", str(tmp_path / "in"), "--out", str(out)]
        )
        assert near(pixels_of(out / "a.png"), theirs(as_floats(pixels)).detach())


def test_weights_of_another_architecture_are_told(tmp_path, capsys):
    state = official("resnet", instance, 6).state_dict()
    with pytest.raises(ValueError, match=r"arch: got 'resnet_9blocks', but .*model\.15\.conv.*resnet_6blocks"):
        from_official(state, "resnet_9blocks")
    with pytest.raises(ValueError, match=r"arch: got 'resnet_6blocks', but .*, which fits unet_128"):
        from_official(official("unet", nn.BatchNorm2d, 7).state_dict(), "resnet_6blocks")
    with pytest.raises(ValueError, match="arch: got 'resnet9', allowed are resnet_6blocks, resnet_9blocks, unet_128"):
        from_official(state, "resnet9")
    with pytest.raises(ValueError, match=r"begins with 0\.weight, 0\.bias; allowed are generators of the CycleGAN"):
        read_layout(nn.Sequential(nn.Linear(2, 2)).state_dict())
    short = {key: value for key, value in state.items() if key != "model.12.conv_block.5.bias"}
    with pytest.raises(ValueError, match=r"looks like resnet_6blocks but misses layers\.12\.layers\.5\.bias"):
        from_official(short)


# ---- bad input


def test_what_is_wrong_is_one_sentence(checkpoints, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", noise(16, 16))
    folder, out, model = str(tmp_path / "in"), str(tmp_path / "out"), checkpoints["cyclegan"]

    def said(*arguments):
        return fails(capsys, "translate", "--out", out, *arguments)

    assert "direction: got 'BtA', allowed are AtoB and BtoA" in said(
        "--ckpt_path", model, "--input", folder, "--direction", "BtA"
    )
    assert "direction: got 'BtoA', which a Pix2Pix has not" in said(
        "--ckpt_path", checkpoints["pix2pix"], "--input", folder, "--direction", "BtoA"
    )
    assert "there is no picture or folder" in said("--ckpt_path", model, "--input", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "in which there is no picture" in said("--ckpt_path", model, "--input", str(tmp_path / "empty"))
    latent = said("--ckpt_path", checkpoints["gan"], "--input", folder)
    assert "of a GAN, which makes samples out of nothing; allowed for it are sample" in latent
    assert "the model translates samples of shape (2,)" in said("--ckpt_path", checkpoints["rings"], "--input", folder)
    assert "either --ckpt_path or --weights" in said("--input", folder)
    assert "weights: there is no file" in said("--weights", str(tmp_path / "x.pth"), "--input", folder)
    assert "holds more than tensors" in said("--weights", str(tmp_path / "in" / "a.png"), "--input", folder)
    assert "is no state dict of one network" in said("--weights", model, "--input", folder)
    assert "overlap: got 64 for tiles of 100, allowed is 0 to 49" in said(
        "--ckpt_path", model, "--input", folder, "--tile", "100"
    )
    assert "the folder of the input" in fails(
        capsys, "translate", "--ckpt_path", model, "--input", folder, "--out", folder
    )
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    assert "in/broken.png: cannot be read as a picture" in said("--ckpt_path", model, "--input", folder)
    (tmp_path / "in" / "broken.png").unlink()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "in" / "float.tif")
    assert "float.tif: cannot be read as a picture (its pixels are floating-point" in said(
        "--ckpt_path", model, "--input", folder
    )


def test_a_checkpoint_of_other_channels_is_refused(checkpoints):
    checkpoint = torch.load(checkpoints["cyclegan"], weights_only=True)
    sentence = r"the checkpoint's source_shape is \(3, 16, 16\), here it is \(1, 16, 16\), allowed is the same number"
    with pytest.raises(ValueError, match=sentence):
        cyclegan((1, 16, 16), identity_weight=0.0).on_load_checkpoint(checkpoint)
    cyclegan((3, 32, 32), (3, 32, 32)).on_load_checkpoint(checkpoint)


def test_verbs_that_a_translation_has_not_name_those_that_it_has(checkpoints, capsys):
    said = fails(capsys, "sample", "--ckpt_path", checkpoints["cyclegan"])
    assert "of a CycleGAN, which needs an input to work on; allowed for it are translate, evaluate and export" in said
    for verb, more in (("interpolate", []), ("project", ["--input", "x.png"])):
        said = fails(capsys, verb, "--ckpt_path", checkpoints["cyclegan"], *more)
        assert "which has no latents; allowed for it are translate, evaluate and export" in said


# ---- export


def test_pth_is_the_authors_format(checkpoints, tmp_path):
    main(["export", "--ckpt_path", checkpoints["cyclegan"], "--direction", "BtoA", "--format", "pth", "--out",
          str(tmp_path / "G.pth")])  # fmt: skip
    theirs = ResnetGenerator(3, 3, 4, 1, instance)
    theirs.load_state_dict(torch.load(tmp_path / "G.pth", weights_only=True))
    images = torch.rand(1, 3, 16, 24) * 2 - 1
    assert torch.allclose(theirs(images), cyclegan().translate(images, "BtoA"), atol=1e-5)


def test_safetensors_hold_the_weights_and_how_to_build_the_network(checkpoints, tmp_path):
    from safetensors import safe_open

    main(
        [
            "export",
            "--ckpt_path",
            checkpoints["gan"],
            "--format",
            "safetensors",
            "--out",
            str(tmp_path / "G.safetensors"),
        ]
    )
    with safe_open(tmp_path / "G.safetensors", "pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        told = file.metadata()
    generator = gan().generator
    assert all(torch.equal(weights[key], value) for key, value in generator.state_dict().items())
    assert json.loads(told["network"])["class_path"].endswith("MLPGenerator")
    assert json.loads(told["image_shape"]) == [2]


def test_an_export_of_ours_translates_without_its_checkpoint(checkpoints, tmp_path, capsys):
    file, source = str(tmp_path / "G.safetensors"), save(tmp_path / "in" / "a.png", noise(16, 20))
    translation = ["translate", "--weights", file, "--input", str(source), "--out", str(tmp_path / "out")]
    for name in ("gan", "grey"):
        main(["export", "--ckpt_path", checkpoints[name], "--format", "safetensors", "--out", file])
        if name == "gan":
            assert "weights: the file holds a MLPGenerator, which translates nothing" in fails(capsys, *translation)
    assert "arch: got 'unet_128', but" in fails(capsys, *translation, "--arch", "unet_128")
    main(translation)
    grey = torch.from_numpy(np.array(Image.open(source).convert("L")))[None, None]
    expected = cyclegan((1, 16, 16), identity_weight=0.0).translate(to_float(grey))
    assert near(pixels_of(tmp_path / "out" / "a.png"), expected)


@pytest.mark.parametrize("name", ["small", "unet", "gan"])
@pytest.mark.parametrize("format", ["torch_export", "onnx"])
def test_graphs_compute_the_same_for_any_batch_and_size(name, format, checkpoints, tmp_path):
    path = tmp_path / f"G{ {'torch_export': '.pt2', 'onnx': '.onnx'}[format] }"
    main(["export", "--ckpt_path", checkpoints[name], "--format", format, "--out", str(path)])
    model = pl_genmodels.load(checkpoints[name])
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        run = lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    else:
        run = torch.export.load(path).module()
    if isinstance(model, GAN):
        inputs, compute = [torch.randn(number, 3) for number in (1, 5)], model.decode
    else:
        inputs = [torch.rand(shape) * 2 - 1 for shape in ((1, 3, 16, 16), (3, 3, 24, 40), (2, 3, 8, 12))]
        compute = model.translate
    for given in inputs:
        assert torch.allclose(run(given), compute(given), atol=1e-5)


def test_averaged_weights_are_the_ones_that_are_exported(tmp_path):
    model = cyclegan()
    model.add_average()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.add_(1.0)
    saved(model, tmp_path / "a.ckpt")
    main(["export", "--ckpt_path", str(tmp_path / "a.ckpt"), "--format", "pth", "--out", str(tmp_path / "G.pth")])
    state = torch.load(tmp_path / "G.pth", weights_only=True)
    assert torch.equal(state["model.1.weight"], cyclegan().generator["AtoB"].layers[1].weight)


def test_what_cannot_be_exported_is_said(checkpoints, tmp_path, capsys, monkeypatch):
    def said(name, format, out, *more):
        arguments = ("--ckpt_path", checkpoints[name], "--format", format, "--out", str(tmp_path / out))
        return fails(capsys, "export", *arguments, *more)

    assert "allowed are pth, safetensors, onnx, torch_export" in said("gan", "h5", "G.h5")
    assert "allowed for format onnx is a file ending in .onnx" in said("gan", "onnx", "G.pth")
    assert "for a MLPGenerator, allowed are ResNetTranslator and UNetTranslator" in said("gan", "pth", "G.pth")
    assert "the generators of a Pix2Pix are AtoB" in said("pix2pix", "pth", "G.pth", "--direction", "BtoA")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "onnx needs the package onnx, which is not installed; pip install 'pl_genmodels[export]'" in said(
        "gan", "onnx", "G.onnx"
    )
