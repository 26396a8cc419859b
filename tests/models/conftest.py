"""Starts the processes that try every config as soon as it is known which tests will ask for them.

At the end it says which configs are dear: with a hundred of them the contract has five seconds of a core for each.
"""

import pytest

pytest.register_assert_rewrite("tests.models.contract")

from tests.models.background import Background  # noqa: E402

DEAR = 8.0  # seconds of a core, all processes together
BACKGROUND = pytest.StashKey[Background]()


def asks(item):
    return "background" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items):
    items.sort(key=asks)  # the sort is stable: they come last, when the background has been at work for a while


@pytest.hookimpl
def pytest_collection_finish(session):
    wanted = {}
    for item in filter(asks, session.items):
        wanted.setdefault(item.callspec.params["name"], set()).update(item.get_closest_marker("tries").args)
    if wanted and not session.config.option.collectonly:
        folder = session.config._tmp_path_factory.mktemp("background")
        session.config.stash[BACKGROUND] = Background(folder, wanted)


def pytest_sessionfinish(session):
    background = session.config.stash.get(BACKGROUND, None)
    if background is not None:
        background.close()


@pytest.fixture
def background(request):
    return request.config.stash[BACKGROUND]


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
