"""Two domains: what belongs together stays together, and what does not is drawn anew each epoch."""

import itertools

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from skimage.filters import sobel

from pl_genmodels.data import (
    AlignedFolder,
    DigitsToColour,
    EdgesToPhotos,
    PairLoader,
    RingToRing,
    TensorSet,
    UnalignedFolders,
    UnpairedSet,
    UnpairedTensors,
    loader,
    pair_sets,
    rebuild,
)
from pl_genmodels.data.pairs import cut
from pl_genmodels.data.pictures import luminance

RAMP = np.arange(12 * 12, dtype=np.uint8).reshape(12, 12)  # every pixel says where it is


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def unaligned(root, num_a=6, num_b=4, splits=("train", "test"), shape=(12, 12)):
    for split in splits:
        for letter, number, shade in (("A", num_a, 10), ("B", num_b, 100)):
            for index in range(number):
                save(root / f"{split}{letter}" / f"{index}.png", np.full((*shape, 3), shade + index, np.uint8))
    return root


def aligned(root, splits=("train", "val", "test"), left=RAMP, right=RAMP, number=4):
    for split in splits:
        for index in range(number):
            save(root / split / f"{index}.png", np.hstack([left, right]))
    return root


def points(num_sources, num_targets):
    return UnpairedTensors(torch.arange(num_sources), torch.arange(num_targets), "Numbers")


def pairs_of(made):
    return [list(zip(batch["source"].tolist(), batch["target"].tolist(), strict=True)) for batch in made]


def ready(data, batch):
    return data.on_after_batch_transfer(batch, 0)


# ---- the order of pairs


@pytest.mark.parametrize(("num_sources", "num_targets"), [(7, 3), (3, 7), (5, 5)])
def test_one_index_names_any_pair(num_sources, num_targets):
    data = points(num_sources, num_targets)
    sources, targets = torch.cartesian_prod(torch.arange(num_sources), torch.arange(num_targets)).unbind(1)
    indices = data.pair(sources, targets)
    assert sorted(indices.tolist()) == list(range(num_sources * num_targets))
    batch = data.gather(indices)
    assert torch.equal(batch["source"], sources)
    assert torch.equal(batch["target"], targets)
    assert [tuple(data[int(index)].values()) for index in indices] == list(zip(sources, targets, strict=True))
    in_order = data.gather(torch.arange(num_sources))
    assert in_order["source"].tolist() == list(range(num_sources))
    assert in_order["target"].tolist() == [index % num_targets for index in range(num_sources)]


@pytest.mark.parametrize(("num_sources", "num_targets"), [(40, 15), (15, 40)])
def test_an_epoch_has_each_source_once_and_targets_equally_often(num_sources, num_targets):
    def epoch_of(made):
        return list(itertools.chain.from_iterable(pairs_of(made)))

    data = points(num_sources, num_targets)
    epochs = [epoch_of(PairLoader(data, 5, shuffle=True, seed=seed)) for seed in (0, 1)]
    made = PairLoader(data, 5, shuffle=True)
    epochs += [epoch_of(made) for _ in range(3)]
    assert epochs[0] == epochs[2]  # a function of seed and epoch
    assert len({tuple(epoch) for epoch in epochs}) == 4
    for epoch in epochs:
        sources, targets = zip(*epoch, strict=True)
        assert sorted(sources) == list(range(num_sources))
        counts = torch.tensor(targets).bincount(minlength=num_targets)
        assert counts.max() - counts.min() <= 1
    assert len({tuple(target for _, target in epoch) for epoch in epochs}) == 4
    partners = {target for epoch in epochs for source, target in epoch if source == 3}
    assert len(partners) > 2


def test_ranks_share_the_pairs_of_one_process(monkeypatch):
    whole = pairs_of(PairLoader(points(12, 9), 4, shuffle=True, drop_last=True, flip=True))
    shares = []
    for rank in range(2):
        monkeypatch.setattr(loader, "shard", lambda rank=rank: (rank, 2))
        shares.append(pairs_of(PairLoader(points(12, 9), 2, shuffle=True, drop_last=True, flip=True)))
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in whole]


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_loader_resumes_pairs_crops_and_flips_anywhere(stop):
    def make():
        images = torch.zeros(8, 1, 4, 4, dtype=torch.uint8)
        return PairLoader(UnpairedTensors(images, images, ""), 2, shuffle=True, flip=True, jitter=True, size=3)

    def steps(made, number):
        found = []
        while len(found) < number:
            for batch in made:
                found.append(batch)
                if len(found) == number:
                    break
        return found

    straight = steps(make(), 8)
    first = make()
    steps(first, stop)
    second = make()
    second.load_state_dict(first.state_dict())
    for ours, theirs in zip(steps(second, 8 - stop), straight[stop:], strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


# ---- crops and flips


def test_cut_takes_the_square_that_it_is_told():
    images = torch.arange(2 * 3 * 5 * 5).view(2, 3, 5, 5)
    places = torch.tensor([[0.0, 0.999], [0.5, 0.2]])  # of three places along each side
    squares = cut(images, 3, places, torch.tensor([False, True]))
    assert torch.equal(squares[0], images[0, :, 0:3, 2:5])
    assert torch.equal(squares[1], images[1, :, 1:4, 0:3].flip(-1))
    assert torch.equal(cut(images, 5, None, torch.tensor([True, False])), torch.stack([images[0].flip(-1), images[1]]))


def test_aligned_pairs_get_the_same_crop_and_flip_and_others_their_own(tmp_path):
    options = {"size": 8, "load_size": 12, "source_channels": 1, "target_channels": 1, "batch_size": 4}
    together = AlignedFolder(aligned(tmp_path / "pairs"), **options)
    save(tmp_path / "apart" / "trainA" / "0.png", RAMP)
    for index in range(4):
        save(tmp_path / "apart" / "trainA" / f"{index}.png", RAMP)
        save(tmp_path / "apart" / "trainB" / f"{index}.png", RAMP)
    apart = UnalignedFolders(tmp_path / "apart", **options)
    squares = {
        tuple(candidate.flatten())
        for top in range(5)
        for left in range(5)
        for candidate in (RAMP[top : top + 8, left : left + 8], RAMP[top : top + 8, left : left + 8][:, ::-1])
    }
    assert len(squares) == 50
    seen, same, order = set(), 0, {"AlignedFolder": together, "UnalignedFolders": apart}
    for name, data in order.items():
        made = data.train_dataloader()
        for batch in (ready(data, batch) for _ in range(40) for batch in made):
            for source, target in zip(batch["source"], batch["target"], strict=True):
                left, right = (tuple(((x + 1) * 127.5).round().int().flatten().tolist()) for x in (source, target))
                assert {left, right} <= squares
                seen |= {left} if name == "AlignedFolder" else set()
                same += left == right
                if name == "AlignedFolder":
                    assert left == right
    assert len(seen) > 40  # of 160 draws from 50
    assert 160 <= same < 175  # one of 50 by chance


def test_evaluation_is_centred_uncropped_and_unflipped(tmp_path):
    options = {"size": 8, "load_size": 12, "source_channels": 1, "target_channels": 1}
    data = AlignedFolder(aligned(tmp_path), **options)
    train, val = next(iter(data.evaluation_loader("train"))), next(iter(data.val_dataloader()))
    assert torch.equal(train["source"][0, 0], torch.from_numpy(RAMP[2:10, 2:10].copy()))
    shrunk = np.asarray(Image.fromarray(RAMP).resize((8, 8), Image.Resampling.BICUBIC))
    assert np.array_equal(val["source"][0, 0], shrunk)
    assert val.keys() == train.keys() == {"source", "target"}
    assert torch.equal(next(iter(data.domain_loader("val", "target")))["image"], val["target"])


# ---- folders


def test_unaligned_folders_are_the_official_layout(tmp_path):
    data = UnalignedFolders(unaligned(tmp_path), size=4, source_channels=1, batch_size=3)
    assert (data.source_shape, data.target_shape, data.image_shape) == ((1, 4, 4), (3, 4, 4), (3, 4, 4))
    epoch = [ready(data, batch) for batch in data.train_dataloader()]
    assert [len(batch["source"]) for batch in epoch] == [3, 3]
    shades = torch.cat([batch["source"][:, 0, 0, 0] for batch in epoch])
    assert torch.allclose(shades.sort().values, torch.arange(10, 16) / 127.5 - 1)
    assert epoch[0]["target"].shape == (3, 3, 4, 4)
    assert not data.paired
    sources, targets = (
        torch.cat([batch["image"] for batch in data.domain_loader("test", domain)])[:, 0, 0, 0].tolist()
        for domain in ("source", "target")
    )
    assert (sources, targets) == ([10, 11, 12, 13, 14, 15], [100, 101, 102, 103])
    turned = UnalignedFolders(tmp_path, size=4, source_channels=1, direction="BtoA")
    assert len(turned.load("train")) == 4
    assert turned.load("train").tensors["source"].unique().tolist() == [100, 101, 102, 103]
    unaligned(tmp_path, splits=("val",), num_a=2)
    assert len(UnalignedFolders(tmp_path, size=4).load("val")) == 2  # and not the test set


def test_aligned_pictures_are_split_in_the_middle(tmp_path):
    colour = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 40)], 2)
    data = AlignedFolder(aligned(tmp_path, left=colour, right=255 - colour), size=12, target_channels=1)
    train = data.load("train").tensors
    assert np.array_equal(train["source"][0].permute(1, 2, 0), colour)
    assert np.array_equal(train["target"][0, 0], np.asarray(Image.fromarray(255 - colour).convert("L")))
    back = AlignedFolder(tmp_path, size=12, direction="BtoA").load("train").tensors
    assert np.array_equal(back["target"][0].permute(1, 2, 0), colour)
    assert np.array_equal(back["source"][0].permute(1, 2, 0), 255 - colour)


def test_what_a_data_set_lacks_is_read_from_its_other_half(tmp_path):
    data = AlignedFolder(aligned(tmp_path, splits=("train", "val")), size=4)
    assert data.files("test")[0] == data.files("val")[0]
    with pytest.raises(FileNotFoundError, match=r"in which there is no folder val or test, allowed is a folder with"):
        AlignedFolder(aligned(tmp_path / "b", splits=("train",)), size=4).load("val")


def test_wide_grey_pictures_are_read_by_both_layouts(tmp_path):
    wide = RAMP.astype(np.uint16) * 257
    pair = AlignedFolder(aligned(tmp_path / "pair", left=wide, right=wide), size=12, source_channels=1).load("train")
    assert np.array_equal(pair.tensors["source"][0, 0], RAMP)
    assert np.array_equal(pair.tensors["target"][0], np.stack([RAMP] * 3))
    for name in ("trainA", "trainB"):
        save(tmp_path / "two" / name / "0.png", wide)
    two = UnalignedFolders(tmp_path / "two", size=12, source_channels=1).load("train")
    assert np.array_equal(two[0]["source"][0], RAMP)


@pytest.mark.parametrize("kind", [UnalignedFolders, AlignedFolder])
def test_lazy_and_in_memory_are_the_same(tmp_path, kind):
    generator = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "testA", "testB", "train", "test"):
        for index in range(5):
            pixels = generator.integers(0, 256, (generator.integers(9, 20), 14, 3), dtype=np.uint8)
            save(tmp_path / folder / f"{index}.png", pixels)
    options = {"size": 6, "load_size": 8, "crop": "center", "batch_size": 2, "source_channels": 1}
    eager, lazy = kind(tmp_path, **options), kind(tmp_path, in_memory=False, num_workers=1, **options)
    assert eager.fingerprint == lazy.fingerprint != kind(tmp_path, **{**options, "crop": "stretch"}).fingerprint
    for made in ("train_dataloader", "val_dataloader"):
        for ours, theirs in zip(getattr(eager, made)(), getattr(lazy, made)(), strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    ours, theirs = (list(data.domain_loader("train", "target")) for data in (eager, lazy))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(ours, theirs, strict=True))
    assert ours[0]["image"].shape == (2, 3, 6, 6)


def test_a_missing_or_empty_domain_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere'?, which is no folder, allowed is a folder with trainA"):
        UnalignedFolders(tmp_path / "nowhere").load("train")
    save(tmp_path / "trainA" / "0.png", RAMP)
    with pytest.raises(FileNotFoundError, match=r"there is trainA but no folder trainB, allowed"):
        UnalignedFolders(tmp_path).load("train")
    (tmp_path / "trainB").mkdir()
    with pytest.raises(FileNotFoundError, match=r"trainB', in which there is no picture"):
        UnalignedFolders(tmp_path).load("train")
    with pytest.raises(ValueError, match="has 0 images in the target domain"):
        points(3, 0)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_odd_width_and_a_broken_file_are_told_by_path(tmp_path, in_memory):
    aligned(tmp_path, splits=("test",))
    save(tmp_path / "train" / "odd.png", np.zeros((4, 7), np.uint8))
    with pytest.raises(ValueError, match=r"train/odd.png: has an odd width, allowed are two pictures"):
        list(AlignedFolder(tmp_path, in_memory=in_memory).evaluation_loader("train"))
    for content in (b"", b"no picture"):
        (tmp_path / "train" / "odd.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"train/odd.png: cannot be read as a picture"):
            list(AlignedFolder(tmp_path, in_memory=in_memory).evaluation_loader("train"))


def test_arguments_out_of_range_are_said(tmp_path):
    for kind in (UnalignedFolders, AlignedFolder):
        with pytest.raises(ValueError, match="direction: got 'AtB', allowed are AtoB and BtoA"):
            kind(tmp_path, direction="AtB")
        with pytest.raises(ValueError, match=r"load_size: got 200, allowed is 256 \(the size\) or more"):
            kind(tmp_path, load_size=200)
        with pytest.raises(ValueError, match="crop: got 'random', allowed are center, stretch"):
            kind(tmp_path, crop="random")
        with pytest.raises(ValueError, match="channels: got 2"):
            kind(tmp_path, target_channels=2)
    with pytest.raises(ValueError, match="domain: got 'A', allowed are source and target"):
        RingToRing().domain_loader("val", "A")


# ---- embedded


def test_digits_are_the_negative_of_their_patch_where_the_pen_went(monkeypatch):
    data = DigitsToColour(size=16)
    monkeypatch.setattr(data, "_patches", lambda number, split: torch.full((number, 3, 16, 16), 100, dtype=torch.uint8))
    val = data.load("val").tensors
    ink = 255 - val["source"].int()
    assert torch.equal(val["target"].int(), (100 - ink).abs())
    assert ink.amax() == 255
    assert val["source"].shape == val["target"].shape == (149, 3, 16, 16)
    assert val["label"].bincount().min() > 10
    assert len(val["label"][:16].unique()) > 5  # a grid of the first ones shows several


def test_a_bright_background_makes_the_pen_darker_everywhere():
    dark, bright = (DigitsToColour(size=16, brightness=value).load("val").tensors for value in (0, 176))
    pen, paper = dark["source"] == 0, dark["source"] == 255
    assert bright["target"][pen].max() <= 255 - 176 < 176 <= bright["target"][paper].min()
    patches = dark["target"][paper].int()
    assert torch.equal(bright["target"][paper].int(), 176 + patches * 79 // 255)
    with pytest.raises(ValueError, match="brightness: got 255, allowed is 0 to 254"):
        DigitsToColour(brightness=255)


def test_digits_train_unpaired_on_halves_that_share_no_digit(monkeypatch):
    data = DigitsToColour(size=8, patches_per_digit=2, source_channels=1)
    monkeypatch.setattr(data, "_patches", lambda number, split: torch.zeros(number, 3, 8, 8, dtype=torch.uint8))
    train = data.load("train")
    assert isinstance(train, UnpairedSet)
    assert (len(train), train.num_targets) == (750, 1500)
    sources, targets = 255 - train.tensors["source"][:, 0], train.tensors["target"][:, 0]
    assert torch.equal(targets[:750], targets[750:])
    whole = data._digits.load("train").tensors["image"]
    together = sorted(torch.cat([sources, targets[:750]]).flatten(1).tolist())
    assert together == sorted(whole.flatten(1).tolist())


def test_digits_in_colour_are_pictures_of_every_kind():
    data = DigitsToColour(batch_size=50)
    assert data.source_shape == data.target_shape == (3, 32, 32)
    targets = data.load("train").tensors["target"].float()
    assert len(targets.flatten(1).unique(dim=0)) == 3000
    assert (targets.amax(1) - targets.amin(1)).mean() > 20  # in colour
    assert targets.std(0).min() > 30
    back = DigitsToColour(direction="BtoA", source_channels=1)
    assert (back.source_shape, back.target_shape) == ((3, 32, 32), (1, 32, 32))
    assert torch.equal(back.load("val").tensors["source"], data.load("val").tensors["target"])


@pytest.mark.parametrize("kind", ["sobel", "canny"])
def test_edges_are_those_of_their_photograph(kind):
    data = EdgesToPhotos(size=16, num_patches=8, edges=kind, scale=2)
    val = data.load("val").tensors
    lines, photos = val["source"], val["target"]
    assert lines.shape == photos.shape == (22, 3, 16, 16)
    assert torch.equal(lines[:, :1].expand(-1, 3, -1, -1), lines)
    if kind == "canny":
        assert set(lines.unique().tolist()) == {0, 255}
        return
    for line, grey in zip(lines[:, 0], luminance(photos)[:, 0], strict=True):
        inner = (255 * (1 - (3 * sobel(grey.numpy() / 255)).clip(max=1)))[1:-1, 1:-1]
        assert np.abs(line[1:-1, 1:-1].numpy() - inner).max() <= 0.51
    back = EdgesToPhotos(size=16, num_patches=8, direction="BtoA", source_channels=1)
    assert torch.equal(back.load("val").tensors["source"], photos)
    assert torch.equal(back.load("val").tensors["target"], lines[:, :1])


@pytest.mark.parametrize("scale", [1, 2])
def test_parts_of_photographs_that_are_val_and_test_do_not_train(monkeypatch, scale):
    """Nor do edges tell of the other side of a part's border."""
    picture = np.full((64, 64, 3), 10, np.uint8)
    picture[:32, 48:], picture[32:, 48:] = 120, 230
    monkeypatch.setattr(pair_sets.Photographs, "photographs", lambda self: {"one": lambda: picture})
    data = EdgesToPhotos(size=8, num_patches=20, scale=scale)
    for split, shade, number in (("train", 10, 20), ("val", 120, 5), ("test", 230, 5)):
        tensors = data.load(split).tensors
        assert tensors["target"].unique().tolist() == [shade]
        assert tensors["source"].unique().tolist() == [255]
        assert len(tensors["source"]) == number


def test_only_the_chosen_photographs_are_cut():
    both = EdgesToPhotos(size=16, num_patches=4, photographs=["coins", "retina"]).load("train").tensors["target"]
    assert len(both) == 8
    assert not torch.equal(both[:, 0], both[:, 1])
    assert torch.equal(both[:4, 0], both[:4, 2])  # coins are grey
    val = EdgesToPhotos(size=16, num_patches=64, photographs=["coins", "retina"]).load("val").tensors["target"]
    is_grey = (val[:, 0] == val[:, 2]).flatten(1).all(1)
    assert is_grey.sum() == 16
    assert 0 < is_grey[:16].sum() < 16  # both are among the first
    for names in ([], ["coin"]):
        with pytest.raises(ValueError, match=r"photographs: got \[.*\], allowed are one or more of astronaut, camera"):
            EdgesToPhotos(photographs=names)
    with pytest.raises(ValueError, match=r"scale: got 2, allowed is 1 or more with scale \* size \(here 128\)"):
        EdgesToPhotos(size=64)


def test_rings_are_turned_by_half_a_mode():
    data = RingToRing(num_samples=400, sigma=0.01, batch_size=50)
    val = data.load("val").tensors
    angles = [torch.atan2(val[key][:, 1], val[key][:, 0]) for key in ("source", "target")]
    turn = (angles[1] - angles[0]).remainder(2 * torch.pi)
    assert torch.allclose(turn, torch.full_like(turn, torch.pi / 8), atol=1e-4)
    assert (val["source"] - data.source_centers[val["label"]]).norm(dim=1).max() < 0.1
    assert (val["target"] - data.centers[val["label"]]).norm(dim=1).max() < 0.1
    train = data.load("train")
    nearest = torch.cdist(train.tensors["target"], data.centers).min(1).values
    assert nearest.max() < 0.1
    unturned = train.tensors["target"] @ torch.linalg.lstsq(data.centers, data.source_centers).solution
    assert (unturned - train.tensors["source"]).norm(dim=1).mean() > 1  # other draws, not the same points turned
    assert next(iter(data.train_dataloader())).keys() == {"source", "target"}


class Watcher(LightningModule):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        self.batches.append(batch)
        return self.weight**2


@pytest.mark.filterwarnings("ignore")
def test_a_run_stops_resumes_and_is_rebuilt_from_its_checkpoint(tmp_path):
    unaligned(tmp_path, shape=(9, 14))

    def run(data, ckpt_path=None, **until):
        model = Watcher()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(accelerator="cpu", limit_val_batches=0, enable_checkpointing=False, **quiet, **until)
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return model.batches, trainer

    def data():
        return UnalignedFolders(tmp_path, size=4, load_size=6, batch_size=2)

    straight, _ = run(data(), max_steps=9)
    first, trainer = run(data(), max_steps=4)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = rebuild(torch.load(tmp_path / "a.ckpt", weights_only=True)["datamodule_hyper_parameters"])
    assert again.fingerprint == data().fingerprint
    second, _ = run(again, tmp_path / "a.ckpt", max_steps=9)
    assert len(straight) == 9
    for ours, theirs in zip(first + second, straight, strict=True):
        assert ours.keys() == {"source", "target"}
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(value.dtype == torch.float32 and value.shape == (2, 3, 4, 4) for value in ours.values())


def test_a_set_of_pairs_is_a_plain_tensor_set():
    data = TensorSet({"source": torch.arange(6), "target": torch.arange(6)}, "Pairs")
    made = PairLoader(data, 2, shuffle=True)
    assert all(source == target for batch in pairs_of(made) for source, target in batch)
