"""Media in a real browser: Chromium on a page of another origin, as a user interface would be."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import av
import numpy
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.http.media_site import Site, media_site
from tests.media.serving import serving
from tests.waiting import PATIENCE_SECONDS

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="needs chromium and chromedriver on PATH (Debian: chromium, chromium-driver)",
)

WEBM = "video/webm"
# What an attacker would upload: it leaves a mark if it runs as a page of the server's origin.
SCRIPT = "localStorage.setItem('ran', location.pathname); document.title = 'ran'"
HTML = f"<!doctype html><title>quiet</title><script>{SCRIPT}</script>".encode()
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{SCRIPT}</script></svg>'.encode()


async def blank(_request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>page</title><body></body>")


async def unsafe(_request: Request) -> Response:
    return HTMLResponse(HTML)


async def sandboxed(request: Request) -> Response:
    return HTMLResponse(HTML, headers={"content-security-policy": unquote(request.url.query)})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    others = Route("/", blank), Route("/unsafe", unsafe), Route("/sandboxed", sandboxed)
    with media_site(tmp_path_factory.mktemp("data"), *others) as site:
        yield site


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """A page of another origin."""
    with serving(lambda _url: Starlette(routes=[Route("/", blank)])) as url:
        yield url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
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
        "--mute-audio",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    downloads = {"download.default_directory": str(tmp_path_factory.mktemp("downloads"))}
    options.add_experimental_option("prefs", downloads)
    # A given path keeps Selenium from looking for a driver on the network.
    driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))
    driver.set_script_timeout(PATIENCE_SECONDS)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def film() -> bytes:
    """Two seconds of VP8 with a key frame every half second."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=20, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            picture = numpy.full((48, 64, 3), number * 6, dtype=numpy.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def run(driver: webdriver.Chrome, body: str, *arguments: object) -> Any:
    """Run the body of an async JavaScript function in the page; return what it returns."""
    script = f"""
        const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);
        (async (...given) => {{ {body} }})(...given).then(done, error => done(String(error)));
    """
    return driver.execute_async_script(script, *arguments)


def test_a_page_of_another_origin_uploads_and_reads(
    site: Site, page: str, chromium: webdriver.Chrome
) -> None:
    # given
    key = site.new_key()
    upload = site.upload_request(key)
    digest = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    chromium.get(page)
    # when
    put = run(
        chromium,
        """
        const [url, headers] = given;
        const answer = await fetch(url, {method: "PUT", headers, body: "0123456789"});
        return [answer.status, answer.headers.get("etag")];
        """,
        upload.url,
        dict(upload.headers) | {"x-amz-checksum-sha256": digest},
    )
    # then
    etag = f'"{hashlib.sha256(b"0123456789").hexdigest()}"'
    assert put == [200, etag]
    read = run(
        chromium,
        """
        const [url, etag] = given, of = answer => name => answer.headers.get(name);
        const part = await fetch(url, {headers: {"Range": "bytes=2-4", "If-Range": etag}});
        const head = await fetch(url, {method: "HEAD"});
        return [part.status, await part.text(), of(part)("content-range"),
                head.status, of(head)("content-length"), of(head)("accept-ranges")];
        """,
        site.read_url(key),
        etag,
    )
    assert read == [206, "234", "bytes 2-4/10", 200, "10", "bytes"]


def test_a_page_of_another_origin_reads_why_it_was_refused(
    site: Site, page: str, chromium: webdriver.Chrome
) -> None:
    chromium.get(page)
    refused = run(
        chromium,
        "const answer = await fetch(given[0]); return [answer.status, (await answer.json()).type];",
        site.read_url(site.new_key(), "HEAD"),
    )
    assert refused == [403, "FORBIDDEN"]


def test_a_player_plays_and_seeks(
    site: Site, page: str, chromium: webdriver.Chrome, film: bytes
) -> None:
    # given
    key = site.stored(film, WEBM)
    painted = 180  # picture 30 of the film, at 1.5 seconds
    chromium.get(page)
    # when
    played = run(
        chromium,
        """
        const video = document.createElement("video");
        const heard = name => new Promise((resolve, reject) => {
            video.addEventListener(name, resolve, {once: true});
            video.addEventListener("error", () => reject(video.error.message), {once: true});
        });
        video.muted = true;
        video.crossOrigin = "anonymous";
        document.body.append(video);
        let ready = heard("loadeddata");
        video.src = given[0];
        await ready;
        ready = heard("seeked");
        video.currentTime = 1.5;
        await ready;
        const canvas = document.createElement("canvas").getContext("2d");
        let red = null;
        for (let wait = 0; wait < 1000 && !(Math.abs(red - given[1]) <= 8); wait++) {
            canvas.drawImage(video, 0, 0);  // a moment after "seeked" it may be the old picture
            [red] = canvas.getImageData(20, 20, 1, 1).data;
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        return [video.videoWidth, video.videoHeight, video.currentTime, red];
        """,
        site.read_url(key),
        painted,
    )
    # then
    assert played[:3] == [64, 48, 1.5]
    assert abs(played[3] - painted) <= 8


def test_a_film_opened_by_itself_is_shown(
    site: Site, chromium: webdriver.Chrome, film: bytes
) -> None:
    chromium.get(site.read_url(site.stored(film, WEBM)))
    WebDriverWait(chromium, PATIENCE_SECONDS).until(
        lambda driver: driver.find_element(By.TAG_NAME, "video").get_property("videoWidth") == 64
    )


def mark_left_by_script(chromium: webdriver.Chrome, site: Site) -> object:
    """The path of the page whose script ran on the server's origin since this was last asked."""
    chromium.get(site.url)
    return run(
        chromium,
        "const mark = localStorage.getItem('ran'); localStorage.clear(); return mark;",
    )


def test_a_page_without_protection_would_leave_its_mark(
    site: Site, chromium: webdriver.Chrome
) -> None:
    chromium.get(f"{site.url}/unsafe")
    assert mark_left_by_script(chromium, site) == "/unsafe"
    assert mark_left_by_script(chromium, site) is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (HTML, "text/html"),
        (HTML, "application/xhtml+xml"),
        (SVG, "image/svg+xml"),
        (HTML, "video/mp4"),
        (HTML, "image/png"),
    ],
)
def test_an_uploaded_page_does_not_run_on_the_servers_origin(
    site: Site, chromium: webdriver.Chrome, body: bytes, content_type: str
) -> None:
    # given
    url = site.read_url(site.stored(body, content_type))
    # when: opened by itself, and inside a page of the same origin
    chromium.get(url)
    chromium.get(site.url)
    run(
        chromium,
        """
        const frame = document.createElement("iframe");
        frame.src = given[0];
        document.body.append(frame);
        await new Promise(resolve => { frame.onload = resolve; setTimeout(resolve, 500); });
        """,
        url,
    )
    # then
    assert mark_left_by_script(chromium, site) is None


def test_the_sandbox_alone_stops_a_script(site: Site, chromium: webdriver.Chrome) -> None:
    """Behind the rule that such files are saved: a browser that shows them does not run them."""
    # given
    url = site.read_url(site.stored(HTML, "text/html"))
    policy = site.client.get(url).headers["content-security-policy"]
    # when
    chromium.get(f"{site.url}/sandboxed?{quote(policy)}")
    # then
    assert chromium.title == "quiet"
    assert mark_left_by_script(chromium, site) is None
