"""Folders of pictures of all kinds."""

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.data import ImageFolder


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def shade(value, height=6, width=6):
    return np.full((height, width, 3), value, np.uint8)


def pixels_of(root, **options):
    data = ImageFolder(root, val_fraction=0, **options)
    return data.load("train").tensors["image"]


def test_sub_folders_are_classes_and_pictures_are_sorted(tmp_path):
    for number in range(4):
        save(tmp_path / "b" / "deep" / f"{number}.png", shade(number))
        save(tmp_path / "a" / f"{number}.png", shade(10 + number))
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    save(tmp_path / "a" / ".hidden.png", shade(99))
    save(tmp_path / ".cache" / "0.png", shade(99))
    data = ImageFolder(tmp_path, size=6, val_fraction=0.25)
    train, val = data.load("train").tensors, data.load("val").tensors
    assert data.classes == ["a", "b"]
    assert data.num_classes == 2
    values = train["image"][:, 0, 0, 0].tolist() + val["image"][:, 0, 0, 0].tolist()
    assert sorted(values) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert values[:6] == sorted(values[:6], key=lambda value: (value < 10, value))  # a before b
    for part in (train, val):
        assert [value < 10 for value in part["image"][:, 0, 0, 0].tolist()] == part["label"].tolist()
    assert val["label"].tolist() == [0, 1]
    assert data.load("test") is data.load("val")


def test_without_two_classes_there_are_no_labels(tmp_path):
    for number in range(3):
        save(tmp_path / "one" / "folder" / f"{number}.png", shade(number))
    data = ImageFolder(tmp_path, size=6, val_fraction=0)
    assert data.num_classes is None
    assert data.load("train").tensors.keys() == {"image"}
    assert data.load("val") is data.load("test") is data.load("train")
    save(tmp_path / "3.png", shade(3))
    assert ImageFolder(tmp_path, size=6).num_classes is None
    save(tmp_path / "two" / "4.png", shade(4))
    assert ImageFolder(tmp_path, size=6).num_classes is None  # 3.png has no class


def test_every_kind_of_picture_is_read(tmp_path):
    ramp = np.linspace(0, 255, 36).round().astype(np.uint8).reshape(6, 6)
    colour = np.stack([ramp, 255 - ramp, np.full_like(ramp, 40)], 2)
    wide = ramp.astype(np.uint16) * 257
    transparent = np.dstack([colour, np.where(ramp > 128, 255, 0).astype(np.uint8)])
    palette = Image.fromarray(ramp).convert("P")
    on_white = np.where((ramp > 128)[..., None], colour, 255)
    kinds = {
        "grey.png": (ramp, ramp[..., None]),
        "colour.png": (colour, colour),
        "colour.bmp": (colour, colour),
        "colour.tif": (colour, colour),
        "wide.png": (wide, ramp[..., None]),
        "wide.tiff": (wide, ramp[..., None]),
        "alpha.png": (transparent, on_white),
        "grey_alpha.png": (transparent[..., [0, 3]], np.where(ramp > 128, ramp, 255)[..., None]),
        "upper.PNG": (colour, colour),
    }
    for name, (pixels, expected) in kinds.items():
        folder = tmp_path / name.replace(".", "_")
        save(folder / name, pixels)
        read = pixels_of(folder, size=6)
        assert read.dtype == torch.uint8
        assert torch.equal(read[0], torch.from_numpy(np.broadcast_to(expected, (6, 6, 3)).copy()).permute(2, 0, 1)), (
            name
        )
    for name, picture in {
        "palette": palette,
        "bits": Image.fromarray(ramp > 128),
        "int": Image.fromarray(wide),
    }.items():
        (tmp_path / name).mkdir()
        picture = picture.convert("I") if name == "int" else picture
        picture.save(tmp_path / name / ("a.tif" if name == "int" else "a.png"))
        expected = 255 * (ramp > 128) if name == "bits" else ramp
        assert np.abs(pixels_of(tmp_path / name, size=6, channels=1)[0, 0].numpy().astype(int) - expected).max() <= 1
    for name in ("lossy.jpg", "lossy.JPEG", "lossy.webp"):
        save(tmp_path / name.replace(".", "_") / name, np.kron(shade(1, 2, 2) * 90, np.ones((8, 8, 1), np.uint8)))
        assert (pixels_of(tmp_path / name.replace(".", "_"), size=16).float() - 90).abs().max() < 4
    luminance = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(pixels_of(tmp_path / "colour_png", size=6, channels=1)[0, 0], luminance)


def test_exif_orientation_is_respected(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 200  # bright on top as stored
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a circle
    save(tmp_path / "a.png", pixels, exif=exif)
    read = pixels_of(tmp_path, size=8)[0, 0]
    assert read[0, 0] == 0
    assert read[-1, 0] == 200


@pytest.mark.parametrize("turned", [False, True])
def test_crops_lie_where_they_say(tmp_path, turned):
    rows = np.repeat(np.arange(0, 240, 8, dtype=np.uint8), 2)[:, None].repeat(20, 1)  # 60 high, 20 wide

    def read(**options):
        image = pixels_of(tmp_path, channels=1, **options)[0, 0]
        return image.T if turned else image

    save(tmp_path / "a.png", rows.T.copy() if turned else rows)
    assert read(size=20).tolist() == rows[20:40].tolist()
    assert read(size=10).float().mean() == pytest.approx(rows[20:40].mean(), abs=1)
    squashed = read(size=20, crop="stretch").float()
    assert squashed[0].mean() < 12
    assert squashed[-1].mean() > 220
    places = [read(size=20, crop="random", seed=seed)[0, 0].item() // 4 for seed in range(12)]
    assert all(read(size=20, crop="random", seed=seed).tolist() in rows_at(rows) for seed in range(12))
    assert len(set(places)) > 4
    assert min(places) < 14
    assert max(places) > 26  # of 40
    again = [read(size=20, crop="random", seed=seed)[0, 0].item() // 4 for seed in range(12)]
    assert places == again


def rows_at(rows):
    return [rows[top : top + 20].tolist() for top in range(41)]


def test_shrinking_is_antialiased(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    save(tmp_path / "a.png", board.astype(np.uint8))
    inner = pixels_of(tmp_path, size=16, channels=1)[0, 0, 2:-2, 2:-2].float()
    assert (inner - 127.5).abs().max() < 4


def test_lazy_and_in_memory_are_the_same(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(9):
        height, width = generator.integers(8, 20, 2)
        folder = tmp_path / ("ab"[number % 2])
        save(folder / f"{number}.png", generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    options = {"size": 8, "batch_size": 2, "crop": "random", "flip": True}
    eager = ImageFolder(tmp_path, **options)
    lazy = ImageFolder(tmp_path, in_memory=False, num_workers=1, **options)
    assert eager.fingerprint == lazy.fingerprint
    batches = list(zip(eager.train_dataloader(), lazy.train_dataloader(), strict=True))
    assert len(batches) == 4
    for ours, theirs in batches:
        assert ours.keys() == theirs.keys() == {"image", "label", "flip"}
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    save(tmp_path / "a" / "0.png", shade(0))
    assert ImageFolder(tmp_path, **options).fingerprint != eager.fingerprint


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_broken_picture_is_named(tmp_path, in_memory):
    save(tmp_path / "good.png", shade(1))
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    save(tmp_path / "sub" / "cut.png", noise)
    whole = (tmp_path / "sub" / "cut.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"not a picture", b""):
        (tmp_path / "sub" / "cut.png").write_bytes(content)
        data = ImageFolder(tmp_path, size=6, val_fraction=0, in_memory=in_memory)
        with pytest.raises(ValueError, match=r"sub/cut.png: cannot be read as a picture"):
            list(data.evaluation_loader("train"))


def test_floating_point_pictures_are_refused(tmp_path):
    save(tmp_path / "a.tif", np.zeros((6, 6), np.float32))
    with pytest.raises(ValueError, match=r"a.tif: .* floating-point"):
        pixels_of(tmp_path, size=6)


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        ImageFolder(tmp_path / "nowhere").load("train")
    with pytest.raises(FileNotFoundError, match="in which there is no picture"):
        ImageFolder(tmp_path).load("train")
    save(tmp_path / "a.png", shade(1))
    with pytest.raises(ValueError, match=r"val_fraction: got 0.1 for the 1 picture"):
        ImageFolder(tmp_path).load("train")
    with pytest.raises(ValueError, match="crop: got 'middle', allowed are center, random, stretch"):
        ImageFolder(tmp_path, crop="middle")
    with pytest.raises(ValueError, match="val_fraction: got 1"):
        ImageFolder(tmp_path, val_fraction=1)
    assert ImageFolder(tmp_path / "nowhere", size=16).image_shape == (3, 16, 16)  # needs no files
