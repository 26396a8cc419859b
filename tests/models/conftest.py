"""Starts the pair of processes that trains every config as soon as it is known which tests will ask for it.

At the end it says which configs are dear: with a hundred of them the contract has five seconds of a core for each.
"""

import time
from pathlib import Path

import pytest

from tests.models.pair import Pair

DEAR = 8.0  # seconds of a core, all processes together


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
PRICES = pytest.StashKey[dict[str, float]]()


@pytest.fixture
def trained_by_pair(request):
    """Results of the case `name`."""
    return request.config.stash[PAIR].results(request.getfixturevalue("name"))


# ---- what each config costs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    began = time.process_time()
    result = yield
    params = item.callspec.params if hasattr(item, "callspec") else {}
    name = params["name"] if wants_pair(item) else params["built"].stem if isinstance(params.get("built"), Path) else ""
    if name:
        prices = item.config.stash.setdefault(PRICES, {})
        prices[name] = prices.get(name, 0.0) + time.process_time() - began
    return result


def pytest_terminal_summary(terminalreporter, config):
    prices, pair = config.stash.get(PRICES, {}), config.stash.get(PAIR, None)
    for name, seconds in (pair.seconds if pair else {}).items():
        prices[name] = prices.get(name, 0.0) + seconds
    if not prices:
        return
    terminalreporter.section("what the contract costs")
    total = sum(prices.values())
    terminalreporter.write_line(f"{total:.0f} s of a core for {len(prices)} cases, {total / len(prices):.1f} s each")
    for name, seconds in sorted(prices.items(), key=lambda price: -price[1]):
        if seconds > DEAR:
            terminalreporter.write_line(f"{name}: {seconds:.1f} s, more than {DEAR:.0f} s")
