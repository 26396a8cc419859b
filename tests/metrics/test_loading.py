import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)
from torch.utils.data.distributed import DistributedSampler

from pl_genmodels.metrics.loading import every_image_once

DATA = TensorDataset(torch.arange(23))


def read(loader):
    return [int(item) for (batch,) in every_image_once(loader) for item in batch]


@pytest.mark.parametrize(
    "settings",
    [
        {"shuffle": True, "drop_last": True},
        {"shuffle": False},
        {"sampler": DistributedSampler(DATA, num_replicas=4, rank=1)},
    ],
    ids=["shuffled", "plain", "distributed"],
)
def test_plain_loaders_give_everything_once_in_order(settings):
    assert read(DataLoader(DATA, 5, **settings)) == list(range(23))


def test_processes_share_without_repeats(monkeypatch):
    loader, shares = DataLoader(DATA, 5, sampler=DistributedSampler(DATA, num_replicas=4, rank=0)), []
    for rank in range(4):
        monkeypatch.setattr("pl_genmodels.metrics.loading.rank_and_size", lambda rank=rank: (rank, 4))
        shares.append(read(loader))
    assert sorted(item for share in shares for item in share) == list(range(23))
    assert shares[1] == list(range(1, 23, 4))


def test_own_samplers_decide_what_is_read_and_are_left_alone():
    generator = torch.Generator().manual_seed(0)
    sampler = SubsetRandomSampler([3, 5, 8, 9], generator=generator)
    loader = DataLoader(DATA, 3, sampler=sampler, generator=generator)
    before = generator.get_state()
    assert sorted(read(loader)) == [3, 5, 8, 9]
    assert torch.equal(before, generator.get_state())
    batches = DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(range(7)), 3, drop_last=True))
    assert read(batches) == list(range(6))
    assert len(list(every_image_once(DataLoader(DATA, batch_size=None)))) == 23


def test_a_pass_in_the_middle_of_an_epoch_does_not_disturb_it():
    torch.manual_seed(0)
    loader = DataLoader(DATA, 5, shuffle=True, num_workers=1, persistent_workers=True)
    epoch = iter(loader)
    first = [next(epoch)]
    state = torch.get_rng_state()
    assert read(loader) == list(range(23))
    assert torch.equal(state, torch.get_rng_state())
    rest = list(epoch)
    assert sorted(int(item) for (batch,) in first + rest for item in batch) == list(range(23))


def test_streams_and_foreign_iterables_are_read_as_they_are():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from ((torch.tensor(i),) for i in range(7))

    assert read(DataLoader(Stream(), 3)) == list(range(7))
    batches = [[torch.arange(4)], [torch.arange(2)]]
    assert every_image_once(batches) is batches
