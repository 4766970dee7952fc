"""The explorer's page and files as a client sees them: complete, local, cacheable."""

from __future__ import annotations

import gzip
import html.parser
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from tams_gql.http.explorer import PAGE_HEADERS, explorer_page, explorer_routes

REPOSITORY = Path(__file__).parents[2]
STATIC = REPOSITORY / "tams_gql/http/explorer/static"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
PAGE = explorer_page(graphql_path="/graphql", title="Catalog", default_queries=["{ a }", "{ b }"])

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}

# Absolute URLs that stand in the script without being requested: names of XML vocabularies, links
# that a reader may click, and the texts of GraphQL's own scalars and of React's errors.
HARMLESS_URLS = {
    "http://www.w3.org/1998/Math/MathML",
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/XML/1998/namespace",
    "https://codemirror.net/5/doc/manual.html",
    "https://commonmark.org/",
    "https://en.wikipedia.org/wiki/IEEE_floating_point",
    "https://github.com/graphql/graphiql",
    "https://react.dev/errors/",
}


class _Page(html.parser.HTMLParser):
    """What the page refers to, and the text of its inline scripts by media type."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: dict[str | None, str] = {}
        self._open_script: str | None = None
        self._in_inline = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.references += [value for name in ("src", "href") if (value := named.get(name))]
        self._in_inline = tag == "script" and "src" not in named
        self._open_script = named.get("type")

    def handle_data(self, data: str) -> None:
        if self._in_inline:
            self.inline[self._open_script] = data

    def handle_endtag(self, tag: str) -> None:
        self._in_inline = False


BASE = _Page(PAGE).references[0].removesuffix("/favicon.svg")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=explorer_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://catalog.test") as client:
        yield client


def test_page_refers_only_to_its_own_files_under_one_version() -> None:
    references = _Page(PAGE).references
    assert re.fullmatch(r"/graphql/static/[0-9a-f]{16}", BASE)
    assert references == [f"{BASE}/favicon.svg", f"{BASE}/explorer.css", f"{BASE}/explorer.js"]


def test_page_is_configured_by_data_and_has_no_inline_script() -> None:
    inline = _Page(PAGE).inline
    assert inline.keys() == {"application/json"}
    assert json.loads(inline["application/json"]) == {
        "graphqlPath": "/graphql",
        "title": "Catalog",
        "defaultQueries": ["{ a }", "{ b }"],
    }
    assert "style=" not in PAGE
    assert "onload" not in PAGE


def test_page_escapes_its_title_and_queries() -> None:
    title = "</title><script>alert(1)</script>"
    query = "# </script><script>alert(2)</script> <!-- é"
    page = explorer_page(graphql_path="/graphql", title=title, default_queries=[query])
    inline = _Page(page).inline
    assert inline.keys() == {"application/json"}
    config = json.loads(inline["application/json"])
    assert config["title"] == title
    assert config["defaultQueries"] == [query]
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>" in page


def test_page_follows_a_prefix() -> None:
    page = explorer_page(graphql_path="/tams/graphql", title="Catalog", default_queries=[])
    assert _Page(page).references == [f"/tams{reference}" for reference in _Page(PAGE).references]


@pytest.mark.parametrize("path", ["", "graphql", "//evil.test", "/\\evil.test", "/a//b", '/"a'])
def test_page_refuses_what_could_name_another_host(path: str) -> None:
    with pytest.raises(ValueError, match="graphql_path: "):
        explorer_page(graphql_path=path, title="Catalog", default_queries=[])


def test_page_headers_keep_the_browser_at_home() -> None:
    policy = dict(
        directive.split(" ", 1) for directive in PAGE_HEADERS["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws: wss:"
    assert policy["frame-ancestors"] == "'none'"
    assert "script-src" not in policy
    assert PAGE_HEADERS["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_for_a_year(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"{BASE}/{name}", headers={"Accept-Encoding": "identity"})
    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["content-type"] == MEDIA_TYPES[name.rsplit(".")[-1]]
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in response.headers


async def test_the_files_are_the_expected_ones() -> None:
    assert [name for name in FILES if not name.startswith("fonts/")] == [
        "THIRD_PARTY_LICENSES.txt",
        "explorer.css",
        "explorer.js",
        "favicon.svg",
    ]
    assert sum((STATIC / name).stat().st_size for name in FILES) < 2_500_000


async def test_text_is_compressed_when_the_client_takes_it(client: httpx.AsyncClient) -> None:
    plain = await client.get(f"{BASE}/explorer.js", headers={"Accept-Encoding": "gzip;q=0, br"})
    async with client.stream("GET", f"{BASE}/explorer.js") as compressed:
        assert compressed.headers["content-encoding"] == "gzip"
        assert compressed.headers["vary"] == "Accept-Encoding"
        wire = b"".join([chunk async for chunk in compressed.aiter_raw()])
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(wire) == plain.content == (STATIC / "explorer.js").read_bytes()
    assert len(wire) < len(plain.content) * 0.4
    assert compressed.headers["etag"] != plain.headers["etag"]


async def test_fonts_are_not_compressed_twice(client: httpx.AsyncClient) -> None:
    font = next(name for name in FILES if name.endswith(".woff2"))
    response = await client.get(f"{BASE}/{font}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_known_etag_is_not_sent_again(client: httpx.AsyncClient, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = await client.get(f"{BASE}/explorer.css", headers=headers)
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}', **headers}
    second = await client.get(f"{BASE}/explorer.css", headers=known)
    assert second.status_code == 304
    assert second.content == b""
    assert second.headers["etag"] == first.headers["etag"]
    third = await client.get(f"{BASE}/explorer.css", headers={"If-None-Match": '"x"', **headers})
    assert third.status_code == 200


async def test_another_version_answers_but_must_be_checked_again(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql/static/0000000000000000/explorer.css")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "%2e%2e/page.py", "..%2Fpage.py", "", "fonts"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"{BASE}/{name}")).status_code == 404


def test_style_sheet_loads_only_own_fonts_and_embedded_marks() -> None:
    style = (STATIC / "explorer.css").read_text("utf-8")
    targets = re.findall(r"url\(\s*[\"']?([^\"')]+)", style)
    own = {target.removeprefix("./") for target in targets if not target.startswith("data:")}
    assert own == {name for name in FILES if name.startswith("fonts/")}
    assert "@import" not in style
    assert not re.search(r"https?://", style)


def test_script_names_no_host_that_would_be_asked() -> None:
    script = (STATIC / "explorer.js").read_text("utf-8")
    assert set(re.findall(r"https?://[A-Za-z0-9./_-]+", script)) == HARMLESS_URLS
    assert "sourceMappingURL" not in script
    # The page's security policy forbids code made from text, so the script must not need it.
    assert not re.search(r"\bnew Function\(|(?<![.\w])eval\(|\bimportScripts\(", script)


def test_licences_name_every_pinned_package_of_the_build() -> None:
    manifest = json.loads((REPOSITORY / "scripts/explorer/package.json").read_text("utf-8"))
    pinned = manifest["dependencies"] | manifest["overrides"]
    licences = (STATIC / "THIRD_PARTY_LICENSES.txt").read_text("utf-8")
    listed = re.findall(
        r"^(\S+) (\d\S*) \((?:MIT|Apache-2\.0|BSD-2-Clause|0BSD|OFL-1\.1)\)$",
        licences,
        re.MULTILINE,
    )
    assert dict(listed) == pinned
    assert all(re.fullmatch(r"\d+\.\d+\.\d+(-rc\.\d+)?", version) for version in pinned.values())
