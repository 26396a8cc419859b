"""The loader's order, its shares among ranks, and its place in a real Trainer."""

import itertools

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import Dataset

from pl_genmodels.data import Loader, TensorSet, loader
from pl_genmodels.data.seeds import stable_seed


class Squares(Dataset):
    """A map-style data set."""

    def __init__(self, num_items):
        self.num_items = num_items

    def __len__(self):
        return self.num_items

    def __getitem__(self, index):
        return {"image": torch.full((1, 2, 2), index, dtype=torch.uint8), "label": index * index}


def numbers(num_items):
    return TensorSet({"image": torch.arange(num_items)}, "Numbers")


def passed(some_loader):
    return [batch["image"].tolist() for batch in some_loader]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def on_ranks(monkeypatch, world, make):
    """What each rank's loader gives: (len, batches)."""
    results = []
    for rank in range(world):
        monkeypatch.setattr(loader, "shard", lambda rank=rank: (rank, world))
        made = make()
        results.append((len(made), passed(made)))
    monkeypatch.setattr(loader, "shard", lambda: (0, 1))
    return results


def test_order_is_a_function_of_seed_and_epoch_alone():
    def orders(seed, first_epoch=0):
        made = Loader(numbers(50), 5, shuffle=True, seed=seed)
        made.set_epoch(first_epoch)
        return passed(made)

    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert orders(0) != orders(0, first_epoch=1)
    free = Loader(numbers(50), 5, shuffle=True)
    assert [passed(free), passed(free), passed(free)] == [orders(0, epoch) for epoch in range(3)]
    assert sorted(joined(orders(3))) == list(range(50))


def test_order_is_the_same_in_every_process():
    made = Loader(numbers(6), 6, shuffle=True, seed=1)
    made.set_epoch(2)
    seed = stable_seed("order", 1, 2)
    assert seed == 1334773305200372404
    assert passed(made) == [torch.randperm(6, generator=torch.Generator().manual_seed(seed)).tolist()]


@pytest.mark.parametrize("data", [numbers(12), Squares(12)], ids=["tensors", "items"])
def test_global_random_state_is_neither_read_nor_changed(data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = passed(Loader(data, 4, shuffle=True, flip=True))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert passed(Loader(data, 4, shuffle=True, flip=True)) == first


def test_items_and_tensors_give_the_same_batches():
    tensors = TensorSet(
        {"image": torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 1, 2, 2), "label": torch.arange(7) ** 2}
    )
    for options in ({"shuffle": True, "flip": True}, {"shuffle": True, "drop_last": True}, {"shuffle": False}):
        pairs = list(zip(Loader(tensors, 3, **options), Loader(Squares(7), 3, **options), strict=True))
        assert len(pairs) == (2 if "drop_last" in options else 3)
        for ours, decoded in pairs:
            assert ours.keys() == decoded.keys()
            assert all(torch.equal(ours[key], decoded[key]) for key in ours)


def test_worker_processes_decode_and_resume():
    made = Loader(Squares(10), 3, shuffle=True, num_workers=1)
    straight = passed(made)
    made.load_state_dict({"epoch": 0, "batch": 2, "batch_size": 3, "world_size": 1})
    assert passed(made) == straight[2:] != []


@pytest.mark.parametrize(
    "options", [{"shuffle": True}, {"shuffle": True, "drop_last": True}, {"shuffle": False}], ids=str
)
@pytest.mark.parametrize("make", [numbers, Squares])
def test_resume_at_every_batch(options, make):
    def stream(made, laps):
        # flips belong to the position too; the state is read while the loader is suspended, as at a checkpoint
        for _ in range(laps):
            for batch in made:
                image = batch["image"].flatten(1)[:, 0] if batch["image"].ndim > 1 else batch["image"]
                yield image.tolist(), batch["flip"].tolist(), made.state_dict()

    def new():
        return Loader(make(11), 3, seed=5, flip=True, **options)

    straight = list(stream(new(), 3))
    num_batches = len(new())
    assert len(straight) == 3 * num_batches
    assert num_batches == (3 if "drop_last" in options else 4)
    for seen, (_, _, state) in enumerate(straight, start=1):
        resumed = new()
        resumed.load_state_dict(state)
        rest = straight[seen:]
        assert list(itertools.islice(stream(resumed, 4), len(rest))) == rest
        again = new()  # the end of the pass is the end of the epoch, not a whole number of batches later
        again.load_state_dict(state)
        assert sum(1 for _ in again) == (num_batches - seen % num_batches)


def test_making_an_iterator_moves_nothing():
    made = Loader(numbers(6), 2, shuffle=True)
    first = passed(Loader(numbers(6), 2, shuffle=True))
    iter(made), iter(made)
    assert passed(made) == first


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("num_items", [1, 5, 12, 13, 16, 25, 26])
@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_ranks_share_every_global_batch(monkeypatch, world, num_items, batch_size):
    def make(size=batch_size, **options):
        return lambda: Loader(numbers(num_items), size, **options)

    # evaluation: each item once, shares as equal as they can be
    shares = on_ranks(monkeypatch, world, make(shuffle=False))
    assert all(length == len(batches) for length, batches in shares)
    flat = [joined(batches) for _, batches in shares]
    assert sorted(joined(flat)) == list(range(num_items))
    assert max(map(len, flat)) - min(map(len, flat)) <= 1
    assert all(0 < len(batch) <= batch_size for _, batches in shares for batch in batches)
    if batch_size > 1 and num_items >= world:
        assert len({length for length, _ in shares}) == 1  # DDP broadcasts buffers at every forward

    # training with the rest dropped: whole batches, none twice, and the global batches of one process
    whole = num_items // (world * batch_size)
    if whole:
        shares = on_ranks(monkeypatch, world, make(shuffle=True, drop_last=True))
        assert [length for length, _ in shares] == [whole] * world
        together = [sorted(joined(parts)) for parts in zip(*(batches for _, batches in shares), strict=True)]
        one = make(size=batch_size * world, shuffle=True, drop_last=True)()
        assert together == [sorted(batch) for batch in passed(one)]
    else:
        with pytest.raises(ValueError, match=f"Numbers: has {num_items} images.*batch_size={batch_size}"):
            on_ranks(monkeypatch, world, make(shuffle=True, drop_last=True))

    # training with the rest padded: equally many, all there, and no more repeated than needed
    shares = on_ranks(monkeypatch, world, make(shuffle=True))
    flat = [joined(batches) for _, batches in shares]
    assert {len(part) for part in flat} == {-(-num_items // world)}
    assert len({length for length, _ in shares}) == 1
    assert set(joined(flat)) == set(range(num_items))


def test_flips_do_not_depend_on_the_number_of_ranks(monkeypatch):
    def coins(made):
        return {int(item): bool(coin) for b in made for item, coin in zip(b["image"], b["flip"], strict=True)}

    one = coins(Loader(numbers(40), 4, shuffle=True, flip=True))
    assert len(one) == 40
    assert 8 < sum(one.values()) < 32
    two = {}
    for rank in range(2):
        monkeypatch.setattr(loader, "shard", lambda rank=rank: (rank, 2))
        two |= coins(Loader(numbers(40), 2, shuffle=True, flip=True))
    assert two == one
    monkeypatch.setattr(loader, "shard", lambda: (0, 1))
    other = Loader(numbers(40), 4, shuffle=True, flip=True)
    other.set_epoch(1)
    assert coins(other) != one


def test_resume_with_another_number_of_ranks_repeats_nothing(monkeypatch):
    monkeypatch.setattr(loader, "shard", lambda: (0, 4))
    four = Loader(numbers(40), 2, shuffle=True)
    batches = iter(four)
    for _ in range(3):
        next(batches)
    state = four.state_dict()
    monkeypatch.setattr(loader, "shard", lambda: (0, 1))
    one = Loader(numbers(40), 5, shuffle=True)
    straight = passed(Loader(numbers(40), 5, shuffle=True))
    one.load_state_dict(state)
    assert passed(one) == straight[5:]  # 24 items were seen, 25 are passed over


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match=r"Numbers: has 3 images, fewer than .* batch_size=4 .* 1 to 3"):
        Loader(numbers(3), 4, shuffle=True, drop_last=True)
    with pytest.raises(ValueError, match="Squares: has 0 images"):
        Loader(Squares(0), 4, shuffle=False)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        Loader(numbers(3), 0, shuffle=False)
    with pytest.raises(ValueError, match="num_workers: got -1"):
        Loader(numbers(3), 1, shuffle=False, num_workers=-1)
    with pytest.raises(ValueError, match="state: got keys"):
        Loader(numbers(3), 1, shuffle=False).load_state_dict({"epoch": 1})
    with pytest.raises(ValueError, match="lengths"):
        TensorSet({"image": torch.zeros(3), "label": torch.zeros(4)})


class Recorder(LightningModule):
    """Writes down which items it saw, when."""

    def __init__(self, automatic=True):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.automatic_optimization = automatic
        self.seen = []
        self.ended = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_end(self):
        self.ended.append(self.current_epoch)

    def training_step(self, batch, batch_idx):
        parts = batch.values() if "image" not in batch else [batch]
        self.seen.append((self.current_epoch, batch_idx, *(part["image"].tolist() for part in parts)))
        if self.automatic_optimization:
            return self.weight**2
        self.optimizers().step()
        return None

    def validation_step(self, batch, batch_idx):
        pass


def fit(make, folder, ckpt_path=None, automatic=True, validate=False, **options):
    saver = ModelCheckpoint(
        folder, filename="{step}", save_top_k=-1, every_n_train_steps=1, save_on_train_epoch_end=False
    )
    ends = ModelCheckpoint(folder, filename="epoch-{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    quiet = {
        "enable_checkpointing": not ckpt_path,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = Trainer(max_epochs=3, callbacks=[] if ckpt_path else [saver, ends], **quiet, **options)
    module = Recorder(automatic)
    trainer.fit(module, make(), Loader(numbers(4), 2, shuffle=False) if validate else None, ckpt_path=ckpt_path)
    return module, trainer


def plain():
    return Loader(numbers(11), 3, shuffle=True, drop_last=True)


def cycled():
    return CombinedLoader(
        {"long": Loader(numbers(8), 2, shuffle=True), "short": Loader(numbers(5), 2, shuffle=True, seed=1)},
        "max_size_cycle",
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "per_epoch", "options"),
    [
        (plain, 3, {}),
        (plain, 3, {"automatic": False}),
        (plain, 2, {"limit_train_batches": 2}),
        (plain, 3, {"validate": True, "val_check_interval": 1}),
        (cycled, 4, {}),
    ],
    ids=["plain", "manual", "limited", "validated", "cycled"],
)
def test_trainer_resumes_exactly_from_every_checkpoint(tmp_path, make, per_epoch, options):
    straight, trainer = fit(make, tmp_path, **options)
    assert [(epoch, batch) for epoch, batch, *_ in straight.seen] == list(itertools.product(range(3), range(per_epoch)))
    checkpoints = {int(path.stem.split("=")[1]): path for path in tmp_path.glob("step=*.ckpt")}
    assert sorted(checkpoints) == list(range(1, 3 * per_epoch + 1))
    ends = {(int(path.stem.split("=")[1]) + 1) * per_epoch: path for path in tmp_path.glob("epoch-*.ckpt")}
    assert len(ends) == 3
    if per_epoch != len(plain()):
        ends = {}  # Lightning restores no loaders at the end of an epoch; ImageData does it (see test_base.py)
    for step, path in [*checkpoints.items(), *ends.items()]:
        resumed, again = fit(make, tmp_path, ckpt_path=path, **options)
        assert resumed.seen == straight.seen[step:], path.name
        assert (again.current_epoch, again.global_step) == (trainer.current_epoch, trainer.global_step)
        assert resumed.ended == [epoch for epoch in range(3) if (epoch + 1) * per_epoch > step], path.name


@pytest.mark.filterwarnings("ignore")
def test_a_limited_epoch_continues_with_what_the_last_one_left(tmp_path):
    limited, _ = fit(plain, tmp_path, limit_train_batches=2)
    whole = [items for _, _, items in fit(plain, tmp_path)[0].seen]
    assert [items for _, _, items in limited.seen] == whole[:6]


@pytest.mark.filterwarnings("ignore")
def test_trainer_tells_a_new_loader_the_epoch(tmp_path):
    straight, _ = fit(plain, tmp_path)

    class Reloading(Recorder):
        def train_dataloader(self):
            return plain()

    module = Reloading()
    trainer = Trainer(
        max_epochs=3,
        reload_dataloaders_every_n_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    assert module.seen == straight.seen
