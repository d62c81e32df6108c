"""A test run with a proxy: environment set and restored, a scope for each test, misses that fail their test."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable

import pytest

from .proxy import Control, ProxyError
from .scope import Wish, explanation, shown_store, summary, wish


@dataclass(frozen=True)
class AICache:
    """What the fixture `ai_cache` gives. Without a proxy (`--ai-cache=off`) `url` is empty."""

    mode: str = "off"
    url: str = ""
    _control: Control | None = None

    @property
    def counters(self) -> dict[str, Any]:
        """Of the running test: `calls`, `statuses` (HIT, MISS, ...), `stored`, `missed`, `misses`, `refused`."""
        nothing = {"calls": 0, "statuses": {}, "stored": 0, "missed": 0, "misses": [], "refused": {}}
        return {**nothing, **(self._control.counts() if self._control is not None else {})}

    def base_url(self, url: str) -> str:
        """`url` by way of the proxy, for clients that know no proxies. Without one it stays."""
        return f"{self.url}/{url}" if self.url else url


class Environment:
    """Variables that are set for a while."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self._before: dict[str, str | None] = {}

    def set(self) -> None:
        for name, value in self._values.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()


class Session:
    """The hooks of a run that has a proxy."""

    def __init__(
        self,
        given: AICache,
        control: Control,
        environment: Environment,
        is_worker: bool,
        notes: tuple[str, str],
    ) -> None:
        """`notes`: which settings came from the directory, and what there is to say of the recordings."""
        self.given = given
        self._control = control
        self._environment = environment
        self._is_worker = is_worker
        self._directory, self._note = notes
        self._before = control.status()
        self._wish: Wish | None = None
        self._seen = 0
        self._passed = True

    def pytest_report_header(self) -> list[str]:
        note = f" ({self._note})" if self._note else ""
        told = [f"ai-cache: {self._directory}"] if self._directory else []
        return [*told, f"ai-cache: {self.given.mode}, {shown_store(self._before['store'])}{note}"]

    # A test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before its fixtures."""
        self._end(False)  # one that was broken off; and a test that runs again begins anew
        marker = item.get_closest_marker("ai_cache")
        try:
            self._begin(wish(item.nodeid, marker.args if marker else (), marker.kwargs if marker else {}))
        except (ValueError, ProxyError) as error:
            pytest.fail(f"ai-cache: {error}", pytrace=False)

    def _begin(self, wished: Wish) -> None:
        self._wish, self._seen, self._passed = wished, 0, True
        if wished.off:
            self._environment.restore()
        else:
            self._control.scope(wished.namespace)

    def _end(self, passed: bool) -> dict[str, Any]:
        """The counts of the test that ends."""
        ended, self._wish = self._wish, None
        if ended is None:
            return {}
        if ended.off:
            self._environment.set()
            return {}
        # What a shared scope did not ask for in this test may belong to another one.
        return self._control.scope("", passed and not ended.shared)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, None]:
        outcome = yield
        report: pytest.TestReport = outcome.get_result()
        self._passed = self._passed and report.passed
        counts: dict[str, Any] = {}
        try:
            if report.when == "teardown":
                counts = self._end(self._passed)
            elif self._may_have_missed(report):
                counts = self._control.counts()
        except ProxyError as error:
            _fail(report, f"ai-cache: {error}")
        if self.given.mode == "replay" and counts.get("missed", 0) > self._seen:
            _fail(report, explanation(counts, self._seen, item.nodeid))
            self._seen = counts["missed"]

    def _may_have_missed(self, report: pytest.TestReport) -> bool:
        """After a setup that went well there is no need to ask: the call will tell of both."""
        on = self._wish is not None and not self._wish.off
        return on and self.given.mode == "replay" and (report.when == "call" or report.failed)

    # The end

    def pytest_sessionfinish(self) -> None:
        with suppress(ProxyError):
            self._end(False)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._is_worker:
            return
        try:
            after = self._control.status()
            terminalreporter.write_line(summary(self._before, after, shown_store(after["store"])))
            if self._note:
                terminalreporter.write_line(f"ai-cache: {self._note}")
        except ProxyError as error:
            terminalreporter.write_line(f"ai-cache: {error}")


def _fail(report: pytest.TestReport, text: str) -> None:
    """What was expected to fail, or was skipped, stays so."""
    if report.skipped or hasattr(report, "wasxfail"):
        return
    if report.passed:
        report.outcome = "failed"
        report.longrepr = text
        return
    add: Callable[[str, str], None] | None = getattr(report.longrepr, "addsection", None)
    if add is not None:
        add("ai-cache", text)
    else:
        report.sections.append(("ai-cache", text))
