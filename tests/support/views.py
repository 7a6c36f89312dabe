"""Views in a host page, and the real server behind them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import FrameLocator, Page, expect

from tests.support.dashboard import Scene

Answer = dict[str, Any]


@dataclass(frozen=True)
class Backend:
    """A real server and its data. Answers are as they are on the wire."""

    scene: Scene
    call: Callable[[str, Mapping[str, Any]], Answer]
    document: Callable[[str], str]
    """The HTML of the view of a tool."""


@dataclass
class Shown:
    """A view in its host."""

    page: Page
    backend: Backend
    tool: str
    said: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])
    calls: list[Answer] = field(default_factory=list[Answer])
    asked: int = 0

    @property
    def view(self) -> FrameLocator:
        return self.page.frame_locator("iframe")

    def evaluate(self, script: str) -> Any:
        """The value of a script that runs in the view itself."""
        return self.page.frames[1].evaluate(script)

    def received(self, method: str) -> list[Answer]:
        return self.page.evaluate("method => host.received.filter(one => one.method === method)", method)

    def answer_to(self, method: str) -> Answer:
        """What the view answers to a request of the host. It has read by then whatever was sent before."""
        self.asked += 1
        id_ = f"test-{self.asked}"
        self.page.evaluate("([id, method]) => host.send({ id, method, params: {} })", [id_, method])
        self.page.wait_for_function("id => host.received.some(one => one.id === id)", arg=id_)
        return self.page.evaluate("id => host.received.find(one => one.id === id)", id_)

    def notify(self, name: str, **params: Any) -> None:
        """Notify the view of something, and wait until it has read it."""
        self.page.evaluate("([name, params]) => host.notify(name, params)", [name, params])
        self.answer_to("ping")

    def give(self, result: Answer, **arguments: Any) -> None:
        """Tell the view of a call and its result."""
        self.notify("tool-input", arguments=arguments)
        self.notify("tool-result", **result)

    def answered(self, **arguments: Any) -> Answer:
        """Tell the view of a call to the real server; the structured answer."""
        result = self.backend.call(self.tool, arguments)
        self.give(result, **arguments)
        expect(self.view.get_by_role("status")).to_contain_text("As of")
        return result["structuredContent"]


Show = Callable[..., Shown]
