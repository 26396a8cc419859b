"""Starts the processes that try every config, and those of every launcher, as soon as it is known who asks for them.

At the end it says which configs are dear: with a hundred of them the contract has five seconds of a core for each.
"""

import pytest

pytest.register_assert_rewrite("tests.models.contract", "tests.models.devices")

from tests.models.background import Background  # noqa: E402
from tests.models.launches import Launch, start_all, start_sharded, stop_all  # noqa: E402

DEAR = 8.0  # seconds of a core, all processes together
BACKGROUND = pytest.StashKey[Background]()
LAUNCHES = pytest.StashKey[dict[str, Launch]]()
SHARDED = pytest.StashKey[Launch]()


def asks(item, what="background"):
    return what in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items):
    # the sort is stable: those that wait for processes come last, when these have been at work for a while
    items.sort(key=lambda item: 2 * asks(item) + (asks(item, "launches") or asks(item, "sharded")))


@pytest.hookimpl
def pytest_collection_finish(session):
    wanted = {}
    for item in filter(asks, session.items):
        wanted.setdefault(item.callspec.params["name"], set()).update(item.get_closest_marker("tries").args)
    if session.config.option.collectonly:
        return
    if wanted:
        folder = session.config._tmp_path_factory.mktemp("background")
        session.config.stash[BACKGROUND] = Background(folder, wanted)
    if any(asks(item, "sharded") for item in session.items):
        session.config.stash[SHARDED] = start_sharded(session.config._tmp_path_factory.mktemp("pair"))
    if any(asks(item, "launches") for item in session.items):
        session.config.stash[LAUNCHES] = start_all(session.config._tmp_path_factory.mktemp("launches"))


def pytest_sessionfinish(session):
    background = session.config.stash.get(BACKGROUND, None)
    if background is not None:
        background.close()
    stop_all(session.config.stash.get(LAUNCHES, {}).values())
    if SHARDED in session.config.stash:
        stop_all([session.config.stash[SHARDED]])


@pytest.fixture
def background(request):
    return request.config.stash[BACKGROUND]


@pytest.fixture
def launches(request):
    return request.config.stash[LAUNCHES]


@pytest.fixture
def sharded(request):
    return request.config.stash[SHARDED]


def pytest_terminal_summary(terminalreporter, config):
    background = config.stash.get(BACKGROUND, None)
    if background is None or not background.seconds:
        return
    prices = {}
    for (name, _), seconds in background.seconds.items():
        prices[name] = prices.get(name, 0.0) + seconds
    terminalreporter.section("what the contract costs")
    total = sum(prices.values())
    terminalreporter.write_line(f"{total:.0f} s of a core for {len(prices)} cases, {total / len(prices):.1f} s each")
    for name, seconds in sorted(prices.items(), key=lambda price: -price[1]):
        if seconds > DEAR:
            terminalreporter.write_line(f"{name}: {seconds:.1f} s, more than {DEAR:.0f} s")
