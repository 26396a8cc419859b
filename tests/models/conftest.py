"""Starts the pair of processes that trains every config as soon as it is known which tests will ask for it."""

import pytest

from tests.models.pair import Pair


def wants_pair(item):
    return "trained_by_pair" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items):
    items.sort(key=wants_pair)  # the sort is stable: they come last, when the pair has been at work for a while


@pytest.hookimpl
def pytest_collection_finish(session):
    names = [item.callspec.params["name"] for item in session.items if wants_pair(item)]
    if names and not session.config.option.collectonly:
        folder = session.config._tmp_path_factory.mktemp("pair")
        session.config.stash[PAIR] = Pair(folder, list(dict.fromkeys(names)))


def pytest_sessionfinish(session):
    pair = session.config.stash.get(PAIR, None)
    if pair is not None:
        pair.close()


PAIR = pytest.StashKey[Pair]()


@pytest.fixture
def trained_by_pair(request):
    """Results of the case `name`."""
    return request.config.stash[PAIR].results(request.getfixturevalue("name"))
