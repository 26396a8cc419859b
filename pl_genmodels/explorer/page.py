"""The page itself, made with Gradio; nothing but the command `explore` imports it."""

from __future__ import annotations

import html
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pl_genmodels.explorer.explorer import Explorer
from pl_genmodels.explorer.files import shown
from pl_genmodels.explorer.session import Session
from pl_genmodels.layers import Attributes, Codes, Labels

HERE = Path(__file__).parent
HOST = "127.0.0.1"
FEW = 24  # classes that are shown as buttons; more are a list
CODE_REACH = 2.0  # how far continuous codes go; they are trained within 1
LARGEST_UPLOAD = "64mb"
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # the browser asks no other host for anything


class OwnHostOnly:
    """Middleware that forbids the page to ask anybody but its own server.

    Args:
        app: What answers.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Add the policy to an answer's head."""

        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy)


class Page:
    """The page of an explorer.

    Args:
        explorer: Of the model.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.turn = 0
        name = type(explorer.model).__name__
        with gr.Blocks(title=f"{name} - pl_genmodels", analytics_enabled=False, fill_width=True) as self.blocks:
            self.session = gr.State(None)
            gr.HTML(f"<h2>{name}</h2>{_about(explorer)}", elem_id="about")
            self.message = gr.HTML(elem_id="message")
            with gr.Row():
                with gr.Column(scale=3, min_width=400):
                    self.studio = self._studio()
                    buttons, upload = self._buttons()
                with gr.Column(scale=2, min_width=280):
                    self.told = self._condition_controls()
                    self.sliders = [self._slider(place) for place in range(len(explorer.axes))]
            self._listen(buttons, upload)

    # ---- what is on it

    def _studio(self) -> Any:
        value = shown(Session(self.explorer), 0)
        parts = {name: (HERE / f"studio.{name}").read_text() for name in ("html", "css", "js")}
        return gr.HTML(
            value,
            html_template=parts["html"],
            css_template=parts["css"],
            js_on_load=parts["js"],
            apply_default_css=False,
            elem_id="studio",
        )

    def _buttons(self) -> tuple[dict[str, Any], Any]:
        small: dict[str, Any] = {"size": "sm", "min_width": 80}
        with gr.Row():
            buttons = {
                "random": gr.Button("Random", variant="primary", elem_id="random", **small),
                "interpolate": gr.Button("Interpolate", elem_id="interpolate", **small),
                "keep": gr.Button("Before = now", elem_id="keep", **small),
                "forget": gr.Button("Clear paint", elem_id="forget", **small),
                "undo": gr.Button("Undo", elem_id="undo", **small),
            }
        with gr.Row():
            upload = gr.UploadButton("Upload", elem_id="upload", **small)
            buttons["carry_over"] = gr.Button("Apply to the upload", elem_id="carry-over", **small)
        return buttons, upload

    def _condition_controls(self) -> list[Any]:
        """One for labels and for attributes, one for each code."""
        condition = self.explorer.condition
        if isinstance(condition, Labels):
            return [_choice("label", condition.num_classes, "told-0")]
        if isinstance(condition, Attributes):
            names = [str(number) for number in condition.chosen]
            return [gr.CheckboxGroup(names, label="attributes", elem_id="told-0")]
        if not isinstance(condition, Codes):
            return []
        controls = []
        for place in range(condition.length):
            name, place_id = f"code {place + 1}", f"told-{place}"
            if place < len(condition.categories):
                controls.append(_choice(name, condition.categories[place], place_id))
            else:
                ends = {"minimum": -CODE_REACH, "maximum": CODE_REACH, "value": 0.0, "step": 0.01}
                controls.append(gr.Slider(**ends, label=name, elem_id=place_id, buttons=[]))
        return controls

    def _slider(self, place: int) -> Any:
        axis = self.explorer.axes[place]
        ends = {"minimum": round(axis.low, 2), "maximum": round(axis.high, 2), "step": 0.01}
        return gr.Slider(**ends, value=0.0, label=axis.name, elem_id=f"axis-{place}", buttons=[])

    # ---- what it does

    def _listen(self, buttons: dict[str, Any], upload: Any) -> None:
        quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        slow: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        few = [self.session, self.studio, self.message]
        every = [*few, *self.told, *self.sliders]
        self.blocks.load(lambda: self._after(None, lambda session: "", True), None, every, **quick)
        actions: dict[str, Callable[[Session], str]] = {
            "random": lambda session: session.sample(),
            "interpolate": lambda session: session.interpolate(),
            "keep": lambda session: session.keep(),
            "forget": lambda session: session.clear(),
            "undo": lambda session: session.undo(),
            "carry_over": lambda session: session.carry_over(),
        }
        for name, action in actions.items():
            speed = slow if name == "carry_over" else quick
            buttons[name].click(self._handler(action), self.session, every, **speed)

        def painted(session: Session | None, event: gr.EventData) -> list[Any]:
            return self._after(session, lambda one: one.paint(event._data), True)

        def picked(session: Session | None, event: gr.EventData) -> list[Any]:
            return self._after(session, lambda one: one.pick(int(event._data["number"])), True)

        def uploaded(session: Session | None, path: str) -> list[Any]:
            return self._after(session, lambda one: one.upload(path), True)

        self.studio.paint(painted, self.session, every, **quick)
        self.studio.pick(picked, self.session, every, **quick)
        upload.upload(uploaded, [self.session, upload], every, **slow)
        for control in self.told:
            control.input(self._told, [self.session, *self.told], few, trigger_mode="always_last", **quick)
        for place, slider in enumerate(self.sliders):
            slider.input(self._moved(place), [self.session, slider], few, trigger_mode="always_last", **quick)

    def _handler(self, action: Callable[[Session], str]) -> Callable[..., list[Any]]:
        return lambda session: self._after(session, action, True)

    def _moved(self, place: int) -> Callable[..., list[Any]]:
        return lambda session, value: self._after(session, lambda one: one.move(place, value), False)

    def _told(self, session: Session | None, *given: Any) -> list[Any]:
        condition = self.explorer.condition
        values: Any = given[0] if isinstance(condition, Labels) else list(given)
        if isinstance(condition, Attributes):
            values = [int(str(number) in given[0]) for number in condition.chosen]
        return self._after(session, lambda one: one.tell(values), False)

    def _after(self, session: Session | None, action: Callable[[Session], str], controls: bool) -> list[Any]:
        """What the page shows after an action; an error is a sentence on the page, and all else stays as it was."""
        with self.explorer.lock:
            session = session or Session(self.explorer)
            self.turn += 1
            try:
                note = f"<p>{html.escape(action(session))}</p>"
            except Exception as error:
                note = f'<p class="error" role="alert">{html.escape(_sentence(error))}</p>'
            few = [session, shown(session, self.turn), note]
            positions = [round(position, 2) for position in session.positions()]
            return [*few, *self._told_now(session), *positions] if controls else few

    def _told_now(self, session: Session) -> list[Any]:
        """Values of the controls of the condition."""
        condition, values = self.explorer.condition, session.now.values
        if condition is None or values is None:
            return []
        if isinstance(condition, Labels):
            return [int(values)]
        if isinstance(condition, Attributes):
            return [[str(number) for number, there in zip(condition.chosen, values.tolist(), strict=True) if there]]
        number = len(condition.categories) if isinstance(condition, Codes) else 0
        choices, numbers = values[:number].int().tolist(), values[number:].clamp(-CODE_REACH, CODE_REACH).tolist()
        return [*choices, *numbers]

    # ---- serving

    def launch(self, port: int | None = None, open_browser: bool = False) -> str:
        """Serve the page to this machine, and to no other; returns its address.

        Args:
            port: By default the first free one from 7860 on.
            open_browser: Show the page in the default browser.

        Raises:
            ValueError: For a port that cannot be had.
        """
        local = f"{HOST},localhost"  # whatever proxy there is, it is not asked for this machine
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = f"{os.environ[name]},{local}" if os.environ.get(name) else local
        try:
            _, address, _ = self.blocks.launch(
                server_name=HOST,
                server_port=port,
                inbrowser=open_browser,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=True,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                root_path="",
                max_file_size=LARGEST_UPLOAD,
                css=(HERE / "page.css").read_text(),
                theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono="monospace"),
                app_kwargs={"middleware": [Middleware(OwnHostOnly)], "docs_url": None, "redoc_url": None},
            )
        except OSError as error:
            raise ValueError(f"port: got {port}, which is taken; allowed is a free one") from error
        return address


def _choice(name: str, number: int, elem_id: str) -> Any:
    """One of some numbers from 0 on."""
    choices = [(str(one), one) for one in range(number)]
    kind = gr.Radio if number <= FEW else gr.Dropdown
    return kind(choices, value=0, label=name, elem_id=elem_id)


def _about(explorer: Explorer) -> str:
    channels, height, width = explorer.shape
    length, number = len(explorer.low), len(explorer.axes)
    sliders = "one slider each" if length == number else f"{number} sliders along the directions that change most"
    return f"<p>{height}x{width} pixels, {'grey' if channels == 1 else 'colour'}; {length} latents, {sliders}.</p>"


def _sentence(error: Exception) -> str:
    """What to tell the visitor; a defect of the program is also told to who started it."""
    if isinstance(error, (ValueError, OSError)):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    return f"This failed ({type(error).__name__}: {next(iter(str(error).splitlines()), '')})."
