"""Completions of half pictures, while training and from the command line."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.callbacks import Completions
from pl_genmodels.callbacks.completions import completion_picture
from pl_genmodels.cli import main
from pl_genmodels.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from pl_genmodels.models.known_pixels import known_half
from pl_genmodels.networks import GatedPixelCNNNetwork
from tests.models.harness import trainer
from tests.small import gan, loader

SHAPE = (1, 8, 6)


def small(shape=SHAPE, num_classes=0):
    torch.manual_seed(0)
    network = functools.partial(GatedPixelCNNNetwork, channels=4, num_layers=1, head_channels=4)
    return GatedPixelCNN(shape, network=network, num_classes=num_classes)


def test_halves():
    assert known_half("top", 3, 2).tolist() == [[True, True], [False, False], [False, False]]
    assert known_half("bottom", 3, 2).tolist() == [[False, False], [True, True], [True, True]]
    assert known_half("left", 2, 3).tolist() == [[True, False, False]] * 2
    assert known_half("right", 2, 3).tolist() == [[False, True, True]] * 2
    with pytest.raises(ValueError, match="side: got 'middle', allowed are top, bottom, left, right"):
        known_half("middle", 2, 3)


def test_a_row_is_the_known_half_its_completions_and_the_whole():
    model = small()
    image, mask = model.sample(2, seed=5), known_half("left", 8, 6)
    completions = model.complete(image, mask, 3, seed=0)
    assert completions.shape == (2, 3, 1, 8, 6)
    assert torch.equal(completions[..., mask], image[:, None][..., mask].expand(-1, 3, -1, -1))
    assert not torch.equal(completions[0, 0], completions[0, 1])
    found = np.asarray(completion_picture(image, mask, completions, image))[..., 0].astype(float) / 127.5 - 1
    scale = 64 // 6
    pixels = found[scale // 2 :: scale, scale // 2 :: scale]
    rows = [pixels[1 + 9 * row : 9 + 9 * row] for row in range(2)]
    for row, given, several in zip(rows, image, completions, strict=True):
        panels = [row[:, 1 + 7 * column : 7 + 7 * column] for column in range(5)]
        assert np.array_equal(panels[0] * mask.numpy(), (given[0] * mask).numpy())
        assert np.abs(panels[0][~mask.numpy()]).max() < 0.01
        for panel, wanted in zip(panels[1:], [*several[:, 0], given[0]], strict=True):
            assert np.array_equal(panel, wanted.numpy())


def test_a_run_saves_completions_of_the_same_pictures(tmp_path):
    model, callback = small((1, 8, 8), num_classes=3), Completions(every_n_images=8, num_samples=2, num_completions=2)
    data = loader(2, (1, 8, 8))
    data.dataset.tensors = (data.dataset.tensors[0], data.dataset.tensors[1] % 3)
    runner = trainer(tmp_path, max_epochs=1, callbacks=[callback])
    runner.fit(model, data)
    pictures = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "completions").glob("*.png"))]
    assert len(pictures) == 3
    columns = [picture[:, :65] for picture in pictures]
    assert all(np.array_equal(columns[0], column) for column in columns), "the given halves change"
    with pytest.raises(ValueError, match="Completions: got GAN, allowed are models that draw pixel by pixel"):
        trainer(tmp_path, max_epochs=1, callbacks=[Completions()]).fit(gan(), loader(1))
    with pytest.raises(ValueError, match="known: got 'middle', allowed are top, bottom, left, right"):
        Completions(known="middle")
    with pytest.raises(ValueError, match="num_completions: got 0"):
        Completions(num_completions=0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model, path = small(), tmp_path_factory.mktemp("model") / "model.ckpt"
    runner = trainer(path.parent, max_epochs=1)
    runner.fit(model, loader(1, SHAPE))
    runner.save_checkpoint(path)
    return model, path


@pytest.fixture
def pictures(checkpoint, tmp_path):
    image = checkpoint[0].sample(2, seed=7)
    (tmp_path / "input").mkdir()
    for index, pixels in enumerate(image[:, 0].numpy()):
        Image.fromarray(((pixels + 1) * 127.5).astype(np.uint8)).save(tmp_path / "input" / f"{index}.png")
    return image, tmp_path / "input"


def complete(checkpoint, input, *arguments):
    main(["complete", "--ckpt_path", str(checkpoint[1]), "--input", str(input), *map(str, arguments)])


def test_the_command_completes_a_folder_by_any_mask(checkpoint, pictures, tmp_path):
    image, folder = pictures
    mask = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    Image.fromarray((mask.numpy() * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    options = ["--mask", tmp_path / "mask.png", "--out", tmp_path / "out", "--num_completions", 2, "--seed", 4]
    complete(checkpoint, folder, *options)
    wanted = checkpoint[0].complete(image, mask, 2, seed=4)
    assert len(list((tmp_path / "out").iterdir())) == 4
    for index, several in enumerate(wanted):
        for number, completion in enumerate(several):
            found = np.asarray(Image.open(tmp_path / "out" / f"{index}_{number}.png")) / 127.5 - 1
            assert np.array_equal(found, completion[0].numpy())
    complete(checkpoint, folder / "1.png", "--mask", "left", "--out", tmp_path / "grid.png", "--num_completions", 2)
    assert Image.open(tmp_path / "grid.png").size == (220, 100)  # 3 by 1 pictures of 6x8, 1 around them, 10 times


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mask", "small.png"], "has 4x4 pixels (height x width), allowed are those of the model, 8x6"),
        (["--mask", "middle"], "mask: got 'middle', allowed are top, bottom, left, right or the file of a picture"),
        (["--out", "x.gif"], "out: got 'x.gif', allowed are a .png file or a folder"),
        (["--num_completions", "0"], "num_completions: got 0, allowed is 1 or more"),
        (["--label", "1"], "label: given, but the model has no classes"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, sentence, checkpoint, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (4, 4)).save("small.png")
    with pytest.raises(SystemExit) as end:
        complete(checkpoint, pictures[1], *arguments)
    assert end.value.code
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_the_command_refuses_pictures_of_another_size(checkpoint, tmp_path, capsys):
    Image.new("L", (4, 4)).save(tmp_path / "small.png")
    with pytest.raises(SystemExit):
        complete(checkpoint, tmp_path / "small.png")
    assert "input: " in capsys.readouterr().err
