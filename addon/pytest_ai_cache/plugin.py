"""The options of the plugin, and the proxy that a run gets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest

from .address import safe_url
from .proxy import Control, ProxyError, Started, environment
from .session import AICache, Environment, Session

MODES = ("replay", "record", "refresh", "off")
NAME = "ai-cache-session"
MARK = "AI_CACHE_PROXY"
"""Set by `ai-cache run`, `record` and `replay` for what they start, and by us: the proxy around."""
ADDRESS = "AI_CACHE_URL"
"""Set by a user: a proxy that runs already."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ai-cache", "recorded LLM calls")
    group.addoption(
        "--ai-cache",
        choices=MODES,
        help="replay: recorded answers only; record: keep what is not recorded yet; refresh: buy every answer again; "
        "off: no proxy (default: AI_CACHE_MODE, else replay where CI is set, else record)",
    )
    group.addoption(
        "--ai-cache-dir", metavar="DIR", help="where the recordings are (default: ini option ai_cache_dir, cassettes)"
    )
    group.addoption(
        "--ai-cache-local",
        action="store_true",
        help="also calls to models on this machine over http: localhost, 127.0.0.1 and ::1",
    )
    group.addoption(
        "--ai-cache-ignore-project",
        "--ignore-project",
        dest="ai_cache_ignore_project",
        action="store_true",
        default=False,
        help="start without the settings of this directory's ai-cache.toml or [tool.ai-cache] that need trust "
        "(ai-cache trust --help)",
    )
    parser.addini("ai_cache_dir", "where the recordings are, relative to the configuration file", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'ai_cache(scope): recordings under this name instead of the test\'s own; ai_cache(mode="off"): no proxy',
    )
    _start(config)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest.py, so that clients that are made there go through the proxy, too."""
    _start(early_config)


@pytest.fixture(scope="session")
def ai_cache(pytestconfig: pytest.Config) -> AICache:
    """The proxy: `url`, `mode`, and the `counters` of the running test."""
    session: Session | None = pytestconfig.pluginmanager.get_plugin(NAME)
    return session.given if session is not None else AICache()


def _start(config: pytest.Config) -> None:
    options = config.known_args_namespace
    runs_nothing = ("help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")
    if config.pluginmanager.has_plugin(NAME) or any(getattr(options, name, None) for name in runs_nothing):
        return
    asked = options.ai_cache or os.environ.get("AI_CACHE_MODE") or ""
    if asked == "off":
        return
    try:
        around = _around(os.environ)
        session = _join(config, around, options) if around else _start_own(config, asked or _default_mode(os.environ))
    except ProxyError as error:
        raise pytest.UsageError(f"ai-cache: {error}") from None
    config.pluginmanager.register(session, NAME)


def _default_mode(environ: Mapping[str, str]) -> str:
    return "replay" if environ.get("CI", "").lower() not in ("", "0", "false") else "record"


def _around(environ: Mapping[str, str]) -> str:
    """The URL of the proxy to use, or nothing. Raises `ProxyError` where a user named one that is not there."""
    if named := environ.get(ADDRESS, "").rstrip("/"):
        Control(named).status()
        return named
    mark = environ.get(MARK, "")
    try:
        return mark if mark and Control(mark).status() else ""
    except ProxyError:
        return ""  # of a run that is over


def _join(config: pytest.Config, url: str, options: Any) -> Session:
    """A listener of our own on a proxy that runs already. Raises `ProxyError`."""
    outer = Control(url)
    url = outer.url  # without a password
    mode = outer.status()["mode"]
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if not is_worker and (options.ai_cache or mode) != mode:
        raise ProxyError(
            f"the proxy at {safe_url(url)} is in mode {mode}; leave out --ai-cache={options.ai_cache}, or the proxy"
        )
    if not is_worker and options.ai_cache_dir:
        raise ProxyError(
            f"the proxy at {safe_url(url)} has its recordings already; leave out --ai-cache-dir, or the proxy"
        )
    own = outer.open_listener()
    config.add_cleanup(_quietly(lambda: outer.close_listener(own)))
    if os.environ.get("HTTPS_PROXY") == url:
        values = elsewhere(os.environ, url, own)
    else:
        values = environment(own, _folder(config) if mode == "replay" else None, options.ai_cache_local)
    return _session(config, mode, own, values, is_worker=is_worker, password=outer.password)


def elsewhere(environ: Mapping[str, str], url: str, own: str) -> dict[str, str]:
    """What names the proxy at `url` in `environ` names the listener `own`."""
    values = {name: own for name, value in environ.items() if value == url and name != ADDRESS}
    if java := environ.get("JAVA_TOOL_OPTIONS"):
        before, after = (f".proxyPort={address.rpartition(':')[2]}" for address in (url, own))
        values["JAVA_TOOL_OPTIONS"] = java.replace(before, after)
    return values


def _start_own(config: pytest.Config, mode: str) -> Session:
    """Raises `ProxyError`."""
    options = config.known_args_namespace
    ignore = bool(options.ai_cache_ignore_project)
    started = Started(mode, directory(config), config.rootpath, local=options.ai_cache_local, ignore_project=ignore)
    config.add_cleanup(started.stop)
    return _session(config, mode, started.url, started.environment, notes=(started.directory, started.note))


def directory(config: pytest.Config) -> Path | None:
    """Of the cassettes, where somebody named one to pytest."""
    if given := config.known_args_namespace.ai_cache_dir:
        return Path(config.invocation_params.dir, Path(given).expanduser())
    beside = config.inipath.parent if config.inipath else config.rootpath
    ini = config.getini("ai_cache_dir")
    return Path(beside, Path(ini).expanduser()) if ini else None


def _session(
    config: pytest.Config,
    mode: str,
    url: str,
    values: dict[str, str],
    is_worker: bool = False,
    notes: tuple[str, str] = ("", ""),
    password: str = "",
) -> Session:
    control = Control(url, password)
    variables = Environment({**values, MARK: url})
    session = Session(AICache(mode, url, control), control, variables, is_worker, notes)
    variables.set()
    config.add_cleanup(variables.restore)
    return session


def _folder(config: pytest.Config) -> Path:
    """For files of placeholder credentials; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ai-cache-keys-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


def _quietly(work: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        with suppress(ProxyError):  # the proxy is gone, and its listeners with it
            work()

    return quiet
