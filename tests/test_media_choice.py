"""The application with the storage backends of its settings: which there are, and which is down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tams_gql.media.port import PutRequest
from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.model.errors import BadInput, Unavailable
from tests.catalog import Catalog, quick_settings, running

BACKENDS = """
{ service { storageBackends {
  id label default region availabilityZone provider storeProduct presigned tags { name values }
} } }
"""
FIXED = "7c1f0f53-8d3e-4b41-9a53-1f9f6d7f5a10"
KEYS = {"kind": "keys", "access_key_id": "key-id", "secret_access_key": "secret"}
# Nobody listens there.
DOWN = {
    "endpoint": "http://127.0.0.1:9",
    "credentials": KEYS,
    "max_attempts": 1,
    "connect_timeout": 0.5,
}


def s3(label: str, **values: Any) -> S3BackendSettings:
    return S3BackendSettings(**{"label": label, "bucket": f"{label}-media", **DOWN, **values})


async def backends(catalog: Catalog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await catalog.gql.execute(BACKENDS))["service"][
        "storageBackends"
    ]
    return found


async def test_all_backends_are_told_with_what_is_known_of_them(tmp_path: Path) -> None:
    cold = s3(
        "cold",
        id=FIXED,
        region="eu-west-2",
        availability_zone="eu-west-2a",
        provider="example",
        store_product="Example Store",
        tags={"tier": ["archive", "tape"], "owner": "news"},
    )
    settings = quick_settings(tmp_path, storage_backends=(s3("fast"), cold))
    async with running(settings) as catalog:
        local, fast, cold_told = await backends(catalog)
    assert (local["label"], local["default"]) == ("local", True)
    assert (fast["label"], fast["default"], fast["presigned"]) == ("fast", False, True)
    assert cold_told == {
        "id": FIXED,
        "label": "cold",
        "default": False,
        "region": "eu-west-2",
        "availabilityZone": "eu-west-2a",
        "provider": "example",
        "storeProduct": "Example Store",
        "presigned": True,
        "tags": [
            {"name": "tier", "values": ["archive", "tape"]},
            {"name": "owner", "values": ["news"]},
        ],
    }


async def test_ids_are_made_once_for_each_label(tmp_path: Path) -> None:
    async with running(quick_settings(tmp_path, storage_backends=(s3("a"), s3("b")))) as catalog:
        before = {told["label"]: told["id"] for told in await backends(catalog)}
    chosen = (s3("b"), s3("a", bucket="another"))
    async with running(quick_settings(tmp_path, storage_backends=chosen)) as catalog:
        after = {told["label"]: told["id"] for told in await backends(catalog)}
    assert before == after
    assert len(set(before.values())) == 3


@pytest.mark.parametrize(
    ("local", "said", "default"),
    [
        (True, [False, False], "local"),
        (True, [False, True], "b"),
        (False, [False, False], "a"),
        (False, [False, True], "b"),
    ],
)
async def test_the_default_is_the_one_that_says_so_else_the_first(
    tmp_path: Path, local: bool, said: list[bool], default: str
) -> None:
    chosen = (s3("a", default=said[0]), s3("b", default=said[1]))
    settings = quick_settings(tmp_path, storage_backends=chosen, local_media=local)
    async with running(settings) as catalog:
        told = await backends(catalog)
    assert [b["label"] for b in told if b["default"]] == [default]
    assert [b["label"] for b in told] == ["local"] * local + ["a", "b"]


async def test_a_server_without_local_media_has_no_such_folder(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, storage_backends=(s3("a"),), local_media=False)
    async with running(settings) as catalog:
        assert (await catalog.http.get("/media/x")).status_code == 404
    assert not (tmp_path / "media").exists()


async def test_a_store_that_is_down_keeps_nobody_from_starting(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, storage_backends=(s3("a", default=True),))
    async with running(settings) as catalog:
        ready = await catalog.http.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["media"]) == (200, {"status": "ok"})
    alone = quick_settings(tmp_path, storage_backends=(s3("a"),), local_media=False)
    async with running(alone) as catalog:
        ready = await catalog.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {
            "store": {"status": "ok"},
            "media": {"status": "failed"},
        }
        assert len(await backends(catalog)) == 1


async def test_credentials_may_come_later_unless_nothing_else_works(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("access_key_id", "secret_access_key")}
    late = s3("late", credentials={"kind": "files", **files}, credentials_recheck=0.05)
    alone = quick_settings(tmp_path / "data", storage_backends=(late,), local_media=False)
    with pytest.raises(Unavailable, match=r"^storage_backends\.0 \(late\): .*access_key_id"):
        async with running(alone):
            pass
    async with running(quick_settings(tmp_path / "data", storage_backends=(late,))) as catalog:
        _, media = catalog.services.media
        with pytest.raises(Unavailable, match="credentials are missing"):
            media.sign_get(["key"], expires_in=60)
        for file in files.values():
            file.write_text("value")
        with pytest.raises(Unavailable, match="did not answer"):
            await media.stat(["key"])  # they are found; nobody listens there
        assert media.sign_get(["key"], expires_in=60)[0].startswith("http://127.0.0.1:9/")


SIGNER = """
def sign(urls, *, method, expires_at):
    return [f"{url}?{method}={expires_at}" for url in urls]
"""


async def test_a_function_of_the_operator_signs_the_urls_of_a_cdn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cdn_of_test.py").write_text(SIGNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    cdn = {"public_base_url": "https://cdn.example.com/m", "url_signer": "cdn_of_test:sign"}
    try:
        settings = quick_settings(tmp_path / "data", storage_backends=(s3("a", **cdn),))
        async with running(settings) as catalog:
            _, media = catalog.services.media
            [url] = media.sign_get(["a b"], expires_in=60)
            [put] = media.sign_put([PutRequest("a b", "video/mp2t")], expires_in=60)
        assert url.startswith("https://cdn.example.com/m/a%20b?GET=")
        assert put.url.startswith("http://127.0.0.1:9/a-media/a%20b?")
    finally:
        sys.modules.pop("cdn_of_test", None)
    for signer, problem in (
        ("no_such_module:sign", "no_such_module:sign cannot be loaded"),
        ("string:digits", "url_signer string:digits is not a function"),
    ):
        absent = s3("a", **{**cdn, "url_signer": signer})
        with pytest.raises(BadInput, match=problem):
            async with running(quick_settings(tmp_path / "data", storage_backends=(absent,))):
                pass
