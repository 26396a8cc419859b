"""The explorer in a real browser: every control is clicked, and nobody else is asked for anything."""

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from pl_genmodels.editing.edges import gradient_histograms, pool_cells
from pl_genmodels.explorer import Explorer, Session
from tests.conftest import ROOT
from tests.explorer.models import conditional, taught
from tests.small import loader

WAIT = 30  # seconds: as long as the machine may be busy with other tests
REQUIRED = "PL_GENMODELS_REQUIRE_BROWSER"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1600",
)
# what the server process connects to, written down by the interpreter itself
WATCHER = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {address!r}\\n")
sys.addaudithook(watch)
"""


def missing(what):
    """Skip, or fail where a browser is required."""
    sentence = f"{what} is missing: apt-get install chromium chromium-driver, and pip install 'pl_genmodels[test]'"
    if os.environ.get(REQUIRED):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="module")
def tools():
    """The browser and its driver."""
    found = [
        next(filter(None, map(shutil.which, names)), None) for names in (("chromium", "chrome"), ("chromedriver",))
    ]
    for name, path in zip(("Chromium", "chromedriver"), found, strict=True):
        if path is None:
            missing(name)
    for name in ("gradio", "selenium"):
        try:
            __import__(name)
        except ImportError:
            missing(name)
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An InfoGAN: latents, two of which move a bright spot, categories and a continuous code."""
    path = str(tmp_path_factory.mktemp("run") / "last.ckpt")
    model = taught(16)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_steps=1, limit_val_batches=0, enable_checkpointing=False, **quiet)
    trainer.fit(model, loader(2, (1, 16, 16)))
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def server(tools, checkpoint, tmp_path_factory):
    """The page's address, served by the command itself, and the file of what it connects to."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(WATCHER)
    watched = folder / "watched.txt"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "WATCHED": str(watched),
        "TMPDIR": str(folder / "temporary"),
    }
    (folder / "temporary").mkdir()
    command = [sys.executable, "-m", "pl_genmodels", "explore", "--ckpt_path", checkpoint]
    with open(folder / "err.txt", "w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    line = process.stdout.readline()
    assert "shows the page; Ctrl-C ends it" in line, (folder / "err.txt").read_text()
    yield line.split()[0], watched
    process.send_signal(2)
    assert process.wait(WAIT) == 130, "Ctrl-C ends it"
    assert not list((folder / "temporary").glob("pl_genmodels_*")), "uploads are not kept"
    assert "Traceback" not in (folder / "err.txt").read_text()


@pytest.fixture(scope="module")
def browser(tools, server, tmp_path_factory):
    """Chromium, on the page."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = tools[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service(tools[1]))
    driver.downloads = downloads
    try:
        visit(driver, server[0])
        yield driver
    finally:
        driver.quit()


def visit(driver, address):
    """Come as a new visitor, to sample 0."""
    driver.get(address)
    until(driver, lambda: find(driver, "#studio [data-shown]") and int(turn(driver)) > 0)


def until(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, WAIT, 0.05).until(lambda _: condition())


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def one(driver, selector):
    (element,) = find(driver, selector)
    return element


def turn(driver):
    return one(driver, "#studio [data-shown]").get_attribute("data-shown")


def picture(driver, which="now.png"):
    """What a download link of the page holds."""
    address = one(driver, f'#studio a[download="{which}"]').get_attribute("href")
    return io.BytesIO(base64.b64decode(address.partition(",")[2]))


def pixels(driver, which="now.png"):
    return np.array(Image.open(picture(driver, which)).convert("L")).astype(int)


def canvas(driver, which):
    """What is to be seen."""
    script = f"return document.querySelector('#studio .{which} canvas').toDataURL()"
    return driver.execute_script(script)


def latents(driver):
    return np.load(picture(driver, "latents.npz"))


def after(driver, action):
    """Do something, and wait until the page shows another turn; returns what it says."""
    earlier = turn(driver)
    action()
    until(driver, lambda: turn(driver) != earlier)
    return one(driver, "#message").text


def click(driver, selector):
    return after(driver, one(driver, selector).click)


def slide(driver, name, share):
    """Click on a slider's track."""
    from selenium.webdriver import ActionChains

    track = one(driver, f"#{name} input[type=range]")
    offset = int((share - 0.5) * track.size["width"])
    press = ActionChains(driver, duration=0).move_to_element_with_offset(track, offset, 0).click()
    return after(driver, press.perform)


def value(driver, name):
    return float(one(driver, f"#{name} input[type=range]").get_attribute("value"))


@pytest.mark.parametrize(
    ("entry", "given", "values"), [("label", [2], 2), ("attributes", [["2"]], [0, 1]), ("code", [1, 0.5], [1, 0.5])]
)
def test_controls_of_each_kind_of_condition(tools, entry, given, values):
    from pl_genmodels.explorer.page import Page

    page = Page(Explorer(conditional(entry)))
    session, state, note = page._told(Session(page.explorer), *given)
    assert session.now.values.tolist() == values
    assert entry in note
    assert state["turn"] == 1
    assert page._told_now(session) == given, "what the controls show"
    assert len(page._after(session, lambda session: "", True)) == 3 + len(page.told) + len(page.sliders)
    broken = page._after(session, lambda session: 1 / 0, True)
    assert "This failed (ZeroDivisionError: division by zero)." in broken[2]


def test_a_port_that_is_taken(tools):
    from pl_genmodels.explorer.page import Page

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port: got {port}, which is taken"):
            Page(Explorer(conditional("label"))).launch(port)


def test_every_slider_moves_the_picture(browser):
    for place in range(10):
        earlier, seen, start = pixels(browser), canvas(browser, "now"), latents(browser)["latents"]
        share = 0.2 if value(browser, f"axis-{place}") > 0 else 0.8
        assert f"Direction {place + 1} is" in slide(browser, f"axis-{place}", share)
        assert (pixels(browser) != earlier).any()
        assert canvas(browser, "now") != seen
        assert np.abs(latents(browser)["latents"] - start).max() > 0.1


def test_every_code_changes_the_picture_and_no_latent(browser):
    start = latents(browser)["latents"]
    for number in (2, 1, 0):
        earlier = pixels(browser)
        assert f"code {number},0" in click(browser, f"#told-0 label:nth-of-type({number + 1})")
        assert (pixels(browser) != earlier).any()
    earlier = pixels(browser)
    slide(browser, "told-1", 0.9)
    assert (pixels(browser) != earlier).any()
    assert latents(browser)["code"][1] > 1
    assert np.array_equal(latents(browser)["latents"], start)


def test_buttons(browser):
    earlier, positions = pixels(browser), [value(browser, f"axis-{place}") for place in range(10)]
    assert "Latents of sample" in click(browser, "#random")
    assert (pixels(browser) != earlier).any()
    until(browser, lambda: [value(browser, f"axis-{place}") for place in range(10)] != positions)
    assert "9 pictures from before to now" in click(browser, "#interpolate")
    until(browser, lambda: len(find(browser, "#studio .strip img")) == 9)
    middle = find(browser, "#studio .strip img")[4]
    address = middle.get_attribute("src")
    assert "Picture 5 of 9" in after(browser, middle.click)
    assert one(browser, '#studio a[download="now.png"]').get_attribute("href") == address
    last = pixels(browser)
    assert canvas(browser, "before") != canvas(browser, "now")
    click(browser, "#keep")
    assert canvas(browser, "before") == canvas(browser, "now")
    click(browser, "#random")
    assert (pixels(browser) != last).any()
    click(browser, "#undo")
    assert (pixels(browser) == last).all()
    assert "There is no upload to edit" in click(browser, "#carry-over")
    assert find(browser, "#message .error")


def test_an_upload_is_projected(browser, tmp_path):
    for _ in range(2):
        click(browser, "#random")
    wanted = pixels(browser)
    Image.fromarray(wanted.astype(np.uint8)).save(tmp_path / "own.png")
    click(browser, "#random")
    start = np.square(pixels(browser) - wanted).mean()
    note = after(browser, lambda: upload(browser, tmp_path / "own.png"))
    assert "own.png has 16x16 pixels" in note
    assert np.square(pixels(browser) - wanted).mean() < 0.5 * start
    Image.fromarray(wanted.astype(np.uint8)).resize((40, 50)).save(tmp_path / "large.png")
    assert "resized to 16x16" in after(browser, lambda: upload(browser, tmp_path / "large.png"))


def upload(driver, path):
    one(driver, "input[type=file]").send_keys(str(path))


def test_an_upload_that_is_no_picture_is_told_on_the_page(browser, tmp_path):
    earlier = pixels(browser)
    (tmp_path / "letter.txt").write_text("no picture")
    note = after(browser, lambda: upload(browser, tmp_path / "letter.txt"))
    assert note.startswith("letter.txt: cannot be read as a picture")
    assert find(browser, "#message .error")
    assert (pixels(browser) == earlier).all()
    click(browser, "#random")
    assert not find(browser, "#message .error")


def test_paint_moves_the_latent(browser):
    from selenium.webdriver import ActionChains

    start, earlier = latents(browser)["latents"], pixels(browser)
    board = one(browser, "#studio .now canvas")
    drag = ActionChains(browser, duration=0).move_to_element_with_offset(board, -40, -60).click_and_hold()
    note = after(browser, drag.move_by_offset(80, 0).release().perform)
    assert "pixels are painted" in note
    assert np.abs(latents(browser)["latents"] - start).max() > 0.01
    side = board.size["width"] / 16
    row, columns = int((board.size["height"] / 2 - 60) / side), slice(int(8 - 40 / side), int(8 + 40 / side) + 1)
    assert pixels(browser)[row, columns].mean() > earlier[row, columns].mean(), "towards the brush's white"
    held = canvas(browser, "now")
    click(browser, "#forget")
    assert canvas(browser, "now") != held, "the dots are gone"


def choose(driver, brush):
    one(driver, f"#studio .brushes input[value={brush}]").click()


def drag(driver, start, end):
    """Press at a place of the picture, in its pixels, and let go at another; returns what the page says."""
    from selenium.webdriver import ActionChains

    board = one(driver, "#studio .now canvas")
    scale = board.size["width"] / 16
    first, last = ([round((place - 8) * scale) for place in ends] for ends in (start, end))
    press = ActionChains(driver, duration=0).move_to_element_with_offset(board, *first).click_and_hold()
    return after(driver, press.move_by_offset(last[0] - first[0], last[1] - first[1]).release().perform)


def test_a_sketch_draws_an_edge(browser, server):
    visit(browser, server[0])
    choose(browser, "sketch")
    start, earlier, shown = latents(browser)["latents"], pixels(browser), canvas(browser, "now")
    stroke = torch.zeros(1, 1, 16, 16)
    stroke[..., 6, 4:13] = 1
    wanted, cells = gradient_histograms(2 * stroke - 1, 2), pool_cells(stroke, 2)

    def error(seen):
        found = gradient_histograms(torch.tensor(seen / 127.5 - 1).float()[None, None], 2)
        return float((cells * (found - wanted).square()).sum())

    assert "9 pixels are sketched" in drag(browser, (4.5, 6.5), (12.5, 6.5))
    assert np.abs(latents(browser)["latents"] - start).max() > 0.05
    assert error(pixels(browser)) < 0.95 * error(earlier)
    held = canvas(browser, "now")
    assert held != shown
    click(browser, "#forget")
    assert canvas(browser, "now") != held, "the marks are gone"
    choose(browser, "colour")


def test_a_dragged_patch_moves_what_is_in_it(browser, server):
    visit(browser, server[0])
    choose(browser, "warp")

    def centre():
        light = np.square(pixels(browser) / 255)
        places = np.arange(16) + 0.5
        return np.array([(light.sum(0) * places).sum(), (light.sum(1) * places).sum()]) / light.sum()

    def spot():
        seen = np.lib.stride_tricks.sliding_window_view(pixels(browser), (3, 3)).mean((2, 3))
        row, column = np.unravel_index(seen.argmax(), seen.shape)
        return column + 1.5, row + 1.5

    (x, y), earlier = spot(), centre()
    way = -4 if x > 8 else 4
    note = drag(browser, (x, y), (x + way, y))
    assert f"dragged 4 {'left' if way < 0 else 'right'} and 0 down" in note
    moved = centre() - earlier
    assert moved[0] * np.sign(way) > 0.5, "mass has gone the way of the patch"
    assert abs(moved[1]) < abs(moved[0])
    assert abs(spot()[0] - (x + way)) <= 2, "and what was in the patch is there"
    drawn, last = canvas(browser, "now"), pixels(browser)
    assert "the patch has not left its place" in drag(browser, (8.5, 8.5), (8.6, 8.5))
    assert find(browser, "#message .error")
    assert (pixels(browser) == last).all()
    assert canvas(browser, "now") == drawn
    click(browser, "#forget")
    choose(browser, "colour")


def test_every_brush_has_a_size_of_its_own(browser):
    size = one(browser, "#studio .radius")
    assert size.get_attribute("value") == "4"
    choose(browser, "warp")
    assert size.get_attribute("value") == "12"
    browser.execute_script("arguments[0].value = 20", size)
    choose(browser, "sketch")
    choose(browser, "warp")
    assert size.get_attribute("value") == "20"
    browser.execute_script("arguments[0].value = 12", size)
    choose(browser, "colour")


def test_an_edit_reaches_the_upload_in_its_own_resolution(browser, server, tmp_path):
    visit(browser, server[0])
    smooth = np.array(Image.fromarray(pixels(browser).astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC))
    whole = np.full((120, 96), 90, np.uint8)
    whole[12:108] = smooth
    whole[::2, ::2] = whole[::2, ::2] // 2 + 60  # what the model cannot make
    Image.fromarray(whole).save(tmp_path / "photo.png")
    click(browser, "#random")
    after(browser, lambda: upload(browser, tmp_path / "photo.png"))
    assert not one(browser, "#studio .edited").is_displayed()
    assert "painted" in drag(browser, (3, 4), (12, 4))
    assert "the upload, 120x96 pixels (height x width)" in click(browser, "#carry-over")
    assert one(browser, "#studio .edited").is_displayed()
    edited = pixels(browser, "edited.png")
    assert edited.shape == (120, 96)
    assert (edited[:12] == whole[:12]).all()
    assert (edited[108:] == whole[108:]).all()
    assert edited[32:40, 20:72].mean() > whole[32:40, 20:72].mean(), "towards the brush's white"
    texture = np.abs(np.diff(edited[14:106].astype(int), axis=1)).mean()
    assert texture > 0.7 * np.abs(np.diff(whole[14:106].astype(int), axis=1)).mean(), "the texture is kept"
    click(browser, "#random")
    assert not one(browser, "#studio .edited").is_displayed()


def test_downloads(browser):
    for name in ("now.png", "before_now.png", "latents.npz"):
        one(browser, f'#studio a[download="{name}"]').click()
        until(browser, (browser.downloads / name).exists)
    assert np.array_equal(np.array(Image.open(browser.downloads / "now.png")), pixels(browser))


def test_nobody_else_was_asked_for_anything(browser, server):
    address, watched = server
    asked = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    sent = [url for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")]
    assert len(sent) > 10
    assert not [url for url in sent if not url.startswith(address)]
    for line in watched.read_text().splitlines():
        assert "127.0.0.1" in line or "localhost" in line or "/" in line, line
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    with pytest.raises(OSError, match=r"refused|timed out|assign"):  # other addresses of this machine are not served
        socket.create_connection(("127.0.0.2", parts.port), 5)
