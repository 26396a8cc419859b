"""Standard data sets, from files in their own formats with other pixels."""

import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import celeba, cifar, stl10

from pl_genmodels.callbacks.fixed_images import spread_batch
from pl_genmodels.data import CIFAR10, LSUN, MNIST, STL10, CelebA, FashionMNIST


def write_idx(folder, name, images, labels):
    folder.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIII", 0x803, *images.shape)
    (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_mnist_files_are_read_and_padded(tmp_path, kind):
    generator = np.random.default_rng(0)
    written = {}
    for name, number in (("train", 30), ("t10k", 12)):
        images = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, number).astype(np.uint8)
        write_idx(tmp_path / kind.__name__ / "raw", name, images, labels)
        written[name] = torch.from_numpy(images), torch.from_numpy(labels).long()
    plain, padded = kind(root=tmp_path, size=28, num_val=5), kind(root=tmp_path, num_val=5)
    assert plain.image_shape == (1, 28, 28)
    assert padded.image_shape == (1, 32, 32)
    for split, (name, part) in {
        "train": ("train", slice(0, 25)),
        "val": ("train", slice(25, 30)),
        "test": ("t10k", slice(None)),
    }.items():
        images, labels = (tensor[part] for tensor in written[name])
        ours = padded.load(split).tensors
        assert torch.equal(plain.load(split).tensors["image"][:, 0], images)
        assert torch.equal(ours["label"], labels)
        assert torch.equal(ours["image"][:, 0, 2:-2, 2:-2], images)
        assert ours["image"].sum() == images.sum()
    large = kind(root=tmp_path, size=64, channels=3, num_val=5).load("val").tensors["image"]
    assert large.shape == (5, 3, 64, 64)
    assert large[:, :, :2].max() == 0
    assert torch.equal(large[:, 0], large[:, 2])
    assert kind(root=tmp_path, num_val=0).load("val") is not None
    assert len(kind(root=tmp_path, num_val=0).load("train")) == 30
    assert len(kind(root=tmp_path, num_val=0).load("val")) == 12
    with pytest.raises(ValueError, match="num_val: got 30, allowed is 0 to 29"):
        kind(root=tmp_path, num_val=30).load("train")


def write_cifar(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        content = {"data": generator.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [0, 9, 2, 5]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {number}" for number in range(10)]}))


def test_cifar_files_are_read(tmp_path, monkeypatch):
    write_cifar(tmp_path)
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py is missing or broken"):
        CIFAR10(root=tmp_path).load("train")  # the check-sums are not those of the real files
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: True)
    data = CIFAR10(root=tmp_path)
    train, test = data.load("train").tensors, data.load("test").tensors
    assert train["image"].shape == (20, 3, 32, 32)
    assert train["label"].tolist() == [0, 9, 2, 5] * 5
    assert data.load("val") is data.load("test")
    stored = pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    assert np.array_equal(test["image"].flatten(1).numpy(), stored)  # files hold red, green, blue planes
    assert len(CIFAR10(root=tmp_path, num_val=6).load("val")) == 6
    grey = CIFAR10(root=tmp_path, channels=1, size=16)
    assert grey.load("train").tensors["image"].shape == (20, *grey.image_shape) == (20, 1, 16, 16)


def write_stl(root):
    folder, generator = root / "stl10_binary", np.random.default_rng(0)
    folder.mkdir()
    written = {}
    for name, number in (("train", 12), ("unlabeled", 7), ("test", 4)):
        written[name] = generator.integers(0, 256, (number, 3, 96, 96), dtype=np.uint8)
        (folder / f"{name}_X.bin").write_bytes(written[name].transpose(0, 1, 3, 2).tobytes())  # columns are stored
        (folder / f"{name}_y.bin").write_bytes((np.arange(number, dtype=np.uint8) % 10 + 1).tobytes())
    folds = [" ".join(str((number + step) % 12) for step in range(3)) for number in range(10)]
    (folder / "fold_indices.txt").write_text("\n".join(folds) + "\n")
    return written


def test_stl_files_are_read(tmp_path, monkeypatch):
    written = write_stl(tmp_path)
    with pytest.raises(FileNotFoundError, match="stl10_binary is missing or broken"):
        STL10(root=tmp_path).load("train")
    monkeypatch.setattr(stl10, "check_integrity", lambda path, md5=None: True)
    data = STL10(root=tmp_path, fold=1, batch_size=5)
    train, test = data.load("train"), data.load("test")
    assert train.tensors["label"].tolist() == [1, 2, 3, *[-1] * 7]
    images = np.concatenate([written["train"][1:4], written["unlabeled"]])
    assert np.array_equal(train.tensors["image"].numpy(), images)
    assert np.array_equal(test.tensors["image"].numpy(), written["test"])
    assert test.tensors["label"].tolist() == [0, 1, 2, 3]
    batch = next(iter(data.train_dataloader()))
    assert set(batch["labelled_label"].tolist()) <= {1, 2, 3}
    assert batch["labelled_image"].shape == batch["image"].shape == (5, 3, 96, 96)
    labelled = STL10(root=tmp_path, unlabelled=False, size=32, channels=1).load("train")
    assert labelled.tensors["image"].shape == (12, 1, 32, 32)
    assert labelled.tensors["label"].tolist() == [*range(10), 0, 1]
    assert data.load("val") is test


def test_squares_are_cut_out_of_stl_at_random_and_in_the_middle(tmp_path, monkeypatch):
    written = write_stl(tmp_path)
    monkeypatch.setattr(stl10, "check_integrity", lambda path, md5=None: True)
    data = STL10(root=tmp_path, fold=1, size=64, load_size=96, batch_size=5)
    middle = data.load("test").tensors["image"].numpy()
    assert np.array_equal(middle, written["test"][:, :, 16:80, 16:80])
    raw = next(iter(data.train_dataloader()))
    places = (raw["crop"] * 33).long().tolist()
    batch = data.on_after_batch_transfer(raw, 0)
    for key in ("image", "labelled_image"):
        assert batch[key].shape == (5, 3, 64, 64)
        for whole, square, (top, left) in zip(raw[key], batch[key], places, strict=True):
            assert torch.equal(square, whole[:, top : top + 64, left : left + 64] / 127.5 - 1)
    assert len({tuple(place) for place in places}) > 1
    other = STL10(root=tmp_path, fold=1, size=64, load_size=96, batch_size=5).train_dataloader()
    assert torch.equal(next(iter(other))["crop"], raw["crop"]), "a function of seed and epoch"
    evaluated = next(iter(data.evaluation_loader("train")))
    assert torch.equal(evaluated["image"], data.load("train").tensors["image"][:5, :, 16:80, 16:80])
    assert spread_batch(data, "train", 3)["image"].shape == (3, 3, 64, 64)


def test_what_stl_has_not():
    with pytest.raises(ValueError, match=r"load_size: got 32, allowed is 96 \(the size\) or more"):
        STL10(load_size=32)
    with pytest.raises(ValueError, match="fold: got 10, allowed are 0 to 9"):
        STL10(fold=10)
    with pytest.raises(ValueError, match="unlabelled: got true, allowed with labels_per_class or partners is false"):
        STL10(labels_per_class=3)


def write_celeba(root):
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.png" for number in range(1, 8)]
    rows, columns = np.mgrid[:218, :178].astype(np.uint8)
    for number, name in enumerate(names):
        Image.fromarray(np.stack([rows, columns, np.full_like(rows, number)], 2)).save(
            folder / "img_align_celeba" / name
        )
    attributes = ["\n".join(["5", " ".join(f"A{k}" for k in range(40))])]
    attributes += [
        f"{name} " + " ".join("1" if k == number else "-1" for k in range(40)) for number, name in enumerate(names)
    ]
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes))
    (folder / "identity_CelebA.txt").write_text("\n".join(f"{name} 7" for name in names))
    (folder / "list_bbox_celeba.txt").write_text("\n".join(["5", "x y w h", *(f"{name} 1 2 3 4" for name in names)]))
    landmarks = ["5", " ".join(f"p{k}" for k in range(10)), *(f"{name} " + " ".join("1" * 10) for name in names)]
    (folder / "list_landmarks_align_celeba.txt").write_text("\n".join(landmarks))
    partition = zip(names, [0, 0, 0, 1, 1, 2, 2], strict=True)
    (folder / "list_eval_partition.txt").write_text("\n".join(f"{name} {part}" for name, part in partition))


def test_celeba_files_are_read_cropped_and_divided(tmp_path, monkeypatch):
    write_celeba(tmp_path)
    with pytest.raises(FileNotFoundError, match="celeba is missing or broken, give the folder"):
        CelebA(root=tmp_path).load("train")
    monkeypatch.setattr(celeba, "check_integrity", lambda path, md5=None: True)
    data = CelebA(root=tmp_path, size=148, batch_size=2, num_workers=1)
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    rows, columns, _ = data.load("train")[0]["image"]
    assert torch.equal(rows[:, 0], torch.arange(35, 183).byte())  # the central 148 of 218 rows
    assert torch.equal(columns[0], torch.arange(15, 163).byte())  # and of 178 columns
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].dtype == torch.uint8
    assert batch["image"][0, 2].unique().tolist() == [5]
    assert batch["attributes"][0].nonzero().flatten().tolist() == [5]
    small = CelebA(root=tmp_path, size=37, crop=108, channels=1)
    assert small.load("train")[0]["image"].shape == small.image_shape == (1, 37, 37)
    with pytest.raises(ValueError, match="crop: got 179, allowed is 1 to 178"):
        CelebA(root=tmp_path, crop=179)


def test_lsun_data_bases_are_read(tmp_path, monkeypatch):
    lmdb = pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)  # torchvision writes its list of keys here
    for split, number in (("train", 5), ("val", 2)):
        with (
            lmdb.open(str(tmp_path / f"tower_{split}_lmdb")) as environment,
            environment.begin(write=True) as transaction,
        ):
            for index in range(number):
                path = tmp_path / "one.png"
                Image.fromarray(np.full((20, 30, 3), 10 * index, np.uint8)).save(path)
                transaction.put(f"key {index}".encode(), path.read_bytes())
    data = LSUN(root=tmp_path, category="tower", size=16, batch_size=5)
    assert len(data.load("train")) == 5
    assert data.load("test") is data.load("val")
    (batch,) = data.evaluation_loader("train")
    assert batch["image"].shape == (5, 3, 16, 16)
    assert batch["image"][:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    again = pickle.loads(pickle.dumps(data.load("train")))  # as for worker processes that are spawned
    assert torch.equal(again[3]["image"], data.load("train")[3]["image"])


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    for kind, layout in ((MNIST, "MNIST/raw"), (CIFAR10, "cifar-10-batches-py"), (CelebA, "celeba")):
        with pytest.raises(FileNotFoundError) as caught:
            kind(root=tmp_path).setup("fit")
        assert str(caught.value) == (
            f"root: got {str(tmp_path)!r}, below which {layout} is missing or broken, give the folder that holds it, "
            "or set download=True"
        )
    with pytest.raises(FileNotFoundError, match="below which bedroom_train_lmdb is missing"):
        LSUN(root=tmp_path).load("train")
    (tmp_path / "bedroom_train_lmdb").mkdir()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="LSUN: needs the package lmdb"):
        LSUN(root=tmp_path).load("train")
    with pytest.raises(ValueError, match="category: got 'cat'"):
        LSUN(category="cat")
    with pytest.raises(ValueError, match="num_val: got -1"):
        MNIST(num_val=-1)
