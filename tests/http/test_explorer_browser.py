"""The explorer in a real browser: Chromium against a real server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import strawberry
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL

from tams_gql.http.explorer import PAGE_HEADERS, explorer_page, explorer_routes
from tests.waiting import PATIENCE_SECONDS

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="needs chromium and chromedriver on PATH (Debian: chromium, chromium-driver)",
)

QUERY = "query Greeting { greeting }"
SUBSCRIPTION = "subscription Announced { announced }"
QUERY_EDITOR = ".graphiql-query-editor .CodeMirror"
HEADER_EDITOR = 'section[aria-label="Headers"] .graphiql-editor:not(.hidden) .CodeMirror'
WAIT_SECONDS = PATIENCE_SECONDS
# GraphiQL takes over what is typed after a tenth of a second, and stores it after half a second.
TYPING_SETTLES_SECONDS = 0.8


@dataclass
class Announcer:
    """Feeds the subscription from the test's thread and tells when it starts and stops."""

    loop: asyncio.AbstractEventLoop
    values: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    subscribed: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)

    def announce(self, value: str) -> None:
        self.loop.call_soon_threadsafe(self.values.put_nowait, value)

    async def stream(self) -> AsyncIterator[str]:
        self.subscribed.set()
        try:
            while True:
                yield await self.values.get()
        finally:
            self.finished.set()


def _greeting(name: str = "world") -> str:
    return f"Hello, {name}"


def graphql_app(announcer: Announcer) -> GraphQL[None, None]:
    @strawberry.type
    class Query:
        greeting: str = strawberry.field(
            resolver=_greeting, description="A friendly word for whoever asks."
        )

        @strawberry.field
        def credentials(self, info: strawberry.Info) -> str | None:
            value: str | None = info.context["request"].headers.get("authorization")
            return value

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def announced(self) -> AsyncIterator[str]:
            async for value in announcer.stream():
                yield value

        @strawberry.subscription
        async def connection_credentials(self, info: strawberry.Info) -> AsyncIterator[str]:
            yield info.context["connection_params"]["Authorization"]

    schema = strawberry.Schema(query=Query, subscription=Subscription)
    return GraphQL(schema, graphql_ide=None)


class GraphQLEndpoint:
    """The page for browsers, GraphQL for everyone else, at the same path."""

    def __init__(self, graphql: GraphQL[None, None]) -> None:
        self._graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            accept = Request(scope).headers.get("accept", "")
            if "text/html" in accept:
                page = explorer_page(
                    graphql_path="/graphql",
                    title="Media catalog",
                    default_queries=[QUERY, SUBSCRIPTION],
                )
                await HTMLResponse(page, headers=dict(PAGE_HEADERS))(scope, receive, send)
                return
        await self._graphql(scope, receive, send)


@dataclass(frozen=True)
class Site:
    origin: str
    announcer: Announcer


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    loop = asyncio.new_event_loop()
    announcer = Announcer(loop)
    endpoint = GraphQLEndpoint(graphql_app(announcer))
    routes = [
        *explorer_routes(),
        Route("/graphql", endpoint, methods=["GET", "POST"]),
        WebSocketRoute("/graphql", endpoint),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), log_level="warning", ws="websockets-sansio", lifespan="off"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(server.serve(sockets=[listener]))
        )
        thread.start()
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", announcer)
        server.should_exit = True
        thread.join()
    loop.close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    assert CHROMIUM is not None
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1400,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # A given path keeps Selenium from looking for a driver on the network.
    driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))
    yield driver
    driver.quit()


class Explorer:
    """The page as a person uses it."""

    def __init__(self, driver: webdriver.Chrome, site: Site) -> None:
        self.driver = driver
        self._origin = site.origin
        self._wait = WebDriverWait(driver, WAIT_SECONDS, poll_frequency=0.05)
        # A page that is still there may store what was typed into it a moment later.
        driver.get("about:blank")
        driver.execute_cdp_cmd(
            "Storage.clearDataForOrigin", {"origin": site.origin, "storageTypes": "all"}
        )
        self._log("performance")
        self._log("browser")
        self.open()

    def open(self) -> None:
        self.driver.get(f"{self._origin}/graphql")
        self.find(".graphiql-execute-button")

    def find(self, selector: str) -> WebElement:
        return self._wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def tabs(self) -> list[str]:
        found = self.driver.find_elements(By.CSS_SELECTOR, ".graphiql-tab-button")
        return [tab.text for tab in found]

    def choose_tab(self, title: str) -> None:
        self.find(f'.graphiql-tab-button[title="{title}"]').click()
        self._wait_for_operation(title)

    def add_tab(self, operation_name: str, query: str) -> None:
        self.find('button[aria-label="New tab"]').click()
        self.type_into(QUERY_EDITOR, query)
        self._wait_for_operation(operation_name)

    def _wait_for_operation(self, name: str) -> None:
        # GraphiQL reads the operation to run out of the text a moment after the text changes.
        editor = f"document.querySelector('{QUERY_EDITOR}').CodeMirror"
        self._wait.until(
            lambda driver: driver.execute_script(f"return {editor}.operationName") == name
        )

    def type_into(self, selector: str, text: str) -> None:
        ActionChains(self.driver).click(self.find(selector)).send_keys(text).perform()

    def run(self) -> None:
        self.find(".graphiql-execute-button").click()

    def wait_for_result(self, expected: object) -> None:
        self._wait.until(lambda _: self._result() == expected, f"no result {expected!r}")

    def _result(self) -> object:
        text = self.driver.execute_script(
            "return document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
        )
        return json.loads(text) if text else None

    def wait_for_text(self, selector: str, text: str) -> None:
        self._wait.until(lambda _: text in self.find(selector).text, f"no text {text!r}")

    def stored(self) -> dict[str, str]:
        """Return what the browser keeps for this origin."""
        found = self.driver.execute_script("return JSON.stringify({...localStorage})")
        kept: dict[str, str] = json.loads(found)
        return kept

    def wait_for_stored(self, key: str, *texts: str) -> None:
        self._wait.until(
            lambda _: all(text in self.stored().get(key, "") for text in texts),
            f"no {texts!r} in {key}",
        )

    def store(self, key: str, value: str) -> None:
        self.driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, value)

    def _log(self, kind: str) -> list[dict[str, str]]:
        """Return what the browser logged since the last call."""
        entries: list[dict[str, str]] = self.driver.execute("getLog", {"type": kind})["value"]
        return entries

    def requested_urls(self) -> set[str]:
        """Return every URL that the browser asked for since the page was first opened."""
        urls = set()
        for entry in self._log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                urls.add(event["params"]["request"]["url"])
            elif event["method"] == "Network.webSocketCreated":
                urls.add(event["params"]["url"])
        return urls

    def complaints(self) -> list[str]:
        """Return the console's errors and warnings: failed loads, policy violations, exceptions."""
        return [
            entry["message"]
            for entry in self._log("browser")
            if entry["level"] in {"SEVERE", "WARNING"}
        ]


@pytest.fixture
def explorer(driver: webdriver.Chrome, site: Site) -> Explorer:
    site.announcer.subscribed.clear()
    site.announcer.finished.clear()
    return Explorer(driver, site)


def test_default_tab_runs_its_query(explorer: Explorer) -> None:
    assert explorer.driver.title == "Media catalog"
    assert explorer.tabs() == ["Greeting", "Announced"]
    explorer.run()
    explorer.wait_for_result({"data": {"greeting": "Hello, world"}})
    assert explorer.complaints() == []


def test_typed_query_runs(explorer: Explorer) -> None:
    explorer.add_tab("Ada", 'query Ada { greeting(name: "Ada") }')
    explorer.run()
    explorer.wait_for_result({"data": {"greeting": "Hello, Ada"}})


def test_documentation_shows_the_schema(explorer: Explorer) -> None:
    explorer.find('button[aria-label="Show Documentation Explorer"]').click()
    explorer.wait_for_text(".graphiql-doc-explorer", "subscription: Subscription")
    explorer.find(".graphiql-doc-explorer-type-name").click()
    explorer.wait_for_text(".graphiql-doc-explorer", "A friendly word for whoever asks.")


def test_subscription_shows_each_event_until_it_is_stopped(explorer: Explorer, site: Site) -> None:
    explorer.choose_tab("Announced")
    explorer.run()
    assert site.announcer.subscribed.wait(WAIT_SECONDS)
    for value in ("first", "second"):
        site.announcer.announce(value)
        explorer.wait_for_result({"data": {"announced": value}})
    explorer.run()
    assert site.announcer.finished.wait(WAIT_SECONDS)
    assert explorer.complaints() == []


def test_credentials_reach_both_transports_but_not_the_storage(explorer: Explorer) -> None:
    headers = '{"Authorization": "Bearer s3cret"}'
    explorer.add_tab("Mine", "query Mine { credentials }")
    explorer.find("button[data-name=headers]").click()
    explorer.type_into(HEADER_EDITOR, headers)
    # The tab learns of the headers a moment after the editor; its history would keep them then.
    time.sleep(TYPING_SETTLES_SECONDS)
    explorer.run()
    explorer.wait_for_result({"data": {"credentials": "Bearer s3cret"}})
    explorer.add_tab("Live", "subscription Live { connectionCredentials }")
    explorer.type_into(HEADER_EDITOR, headers)
    time.sleep(TYPING_SETTLES_SECONDS)
    explorer.run()
    explorer.wait_for_result({"data": {"connectionCredentials": "Bearer s3cret"}})
    explorer.wait_for_stored("graphiql:queries", "query Mine", "subscription Live")
    explorer.wait_for_stored("graphiql:tabState", "subscription Live")
    time.sleep(TYPING_SETTLES_SECONDS)
    assert "s3cret" not in json.dumps(explorer.stored())


def test_credentials_that_were_stored_before_are_removed(explorer: Explorer) -> None:
    query = {"query": QUERY, "headers": "Bearer s3cret", "operationName": "Greeting"}
    explorer.store("graphiql:queries", json.dumps({"queries": [query]}))
    explorer.store("graphiql:headers", "Bearer s3cret")
    explorer.open()
    stored = explorer.stored()
    assert QUERY in stored["graphiql:queries"]
    assert "s3cret" not in json.dumps(stored)


def test_a_second_visit_finds_the_same_tabs(explorer: Explorer) -> None:
    explorer.open()
    assert explorer.tabs() == ["Greeting", "Announced"]


def test_no_request_leaves_the_origin(explorer: Explorer, site: Site) -> None:
    explorer.run()
    explorer.wait_for_result({"data": {"greeting": "Hello, world"}})
    explorer.find('button[aria-label="Show Documentation Explorer"]').click()
    explorer.wait_for_text(".graphiql-doc-explorer", "query: Query")
    explorer.choose_tab("Announced")
    explorer.run()
    assert site.announcer.subscribed.wait(WAIT_SECONDS)
    explorer.run()
    requested = {url for url in explorer.requested_urls() if urlsplit(url).scheme != "data"}
    host = urlsplit(site.origin).netloc
    assert {urlsplit(url).netloc for url in requested} == {host}
    paths = {f"{urlsplit(url).scheme}:{urlsplit(url).path}" for url in requested}
    assert {"http:/graphql", "ws:/graphql"} < paths
    assert {Path(path).name for path in paths} >= {"explorer.js", "explorer.css"}
    # What the security policy refuses is no request, but the console tells of it.
    assert explorer.complaints() == []


def test_a_request_to_another_host_would_be_refused_and_seen(explorer: Explorer) -> None:
    outcome = explorer.driver.execute_async_script(
        "const done = arguments[0];"
        "new WebSocket('ws://other.test/');"
        "fetch('http://other.test/').then(() => done('sent'), () => done('refused'));"
    )
    assert outcome == "refused"
    assert "ws://other.test/" in explorer.requested_urls()
    assert any("Content Security Policy" in complaint for complaint in explorer.complaints())
