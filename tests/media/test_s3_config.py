"""What an operator may write about an S3 backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tams_gql.media.port import StorageBackend
from tams_gql.media.s3.config import ChainCredentials, S3BackendConfig, open_s3
from tams_gql.model.errors import BadInput

ID = "7c1f0f53-8d3e-4b41-9a53-1f9f6d7f5a10"
KEYS = {
    "kind": "keys",
    "access_key_id": "AKIDEXAMPLE",
    "secret_access_key": "very-secret",
    "session_token": "token-secret",
}


def parsed(**values: Any) -> S3BackendConfig:
    return S3BackendConfig.model_validate(
        {"id": ID, "label": "archive", "bucket": "media", **values}
    )


def test_little_is_enough_for_aws() -> None:
    config = parsed()
    assert config.credentials == ChainCredentials()
    assert config.addressing_style == "virtual"
    assert config.backend() == StorageBackend(id=ID, label="archive")


def test_everything_that_clients_are_told_is_passed_on() -> None:
    told = {
        "provider": "minio",
        "region": "eu-west-2",
        "availability_zone": "eu-west-2a",
        "store_product": "minio",
        "tags": {"tier": "archive", "use": ("playout", "edit")},
        "default": True,
    }
    config = parsed(**told, presigned=False, public_base_url="https://media.example.com/")
    assert config.backend() == StorageBackend(id=ID, label="archive", presigned=False, **told)  # type: ignore[arg-type]
    assert config.public_base_url == "https://media.example.com"


@pytest.mark.parametrize(
    ("values", "style"),
    [
        ({"endpoint": "http://127.0.0.1:9000"}, "path"),
        ({"endpoint": "http://127.0.0.1:9000", "addressing": "virtual"}, "virtual"),
        ({"addressing": "path"}, "path"),
    ],
)
def test_stores_with_an_endpoint_of_their_own_get_the_bucket_in_the_path(
    values: dict[str, Any], style: str
) -> None:
    assert parsed(**values).addressing_style == style


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"id": "not-a-uuid"}, "is not a lower-case UUID"),
        ({"id": ID.upper()}, "is not a lower-case UUID"),
        ({"label": ""}, "label"),
        ({"bucket": "a/b"}, "bucket"),
        ({"endpoint": "s3.example.com"}, "endpoint"),
        ({"endpoint": "https://user:pass@s3.example.com"}, "without user name"),
        ({"endpoint": "https://s3.example.com?x=1"}, "endpoint"),
        ({"endpoint": "https://s3.example.com:99999"}, "endpoint"),
        ({"public_base_url": "https://cdn.example.com/m?"}, "query and fragment"),
        ({"public_base_url": "https://cdn.example.com/m#"}, "query and fragment"),
        ({"public_base_url": "https://cdn.example.com/a b"}, "printable ASCII"),
        ({"public_base_url": "https://cdn.example.com/ü"}, "printable ASCII"),
        ({"public_base_url": "https://cdn.example.com/m\n"}, "printable ASCII"),
        ({"key_template": "{flow_id}"}, "key template"),
        ({"key_template": "{object_id.x}"}, "key template"),
        ({"key_prefix": "/absolute/"}, "storage key"),
        ({"presigned": False}, "needs a public_base_url"),
        ({"url_lifetime": 604_801}, "url_lifetime"),
        ({"copy_part_bytes": 1_000}, "copy_part_bytes"),
        ({"addressing": "dns"}, "addressing"),
        ({"credentials": {"kind": "magic"}}, "credentials"),
        ({"credentials": {"kind": "keys", "access_key_id": "a"}}, "secret_access_key"),
        ({"credentials": {"kind": "environment", "access_key_id": "a b"}}, "access_key_id"),
        ({"typo": 1}, "typo"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parsed(**values)
    assert problem in str(refused.value)


def test_nothing_secret_shows_when_printed_or_refused() -> None:
    config = parsed(credentials=KEYS)
    with pytest.raises(ValidationError) as refused:
        parsed(credentials=KEYS, presigned=False)
    for text in (repr(config), str(config), config.model_dump_json(), str(refused.value)):
        assert "very-secret" not in text
        assert "token-secret" not in text


async def test_keys_are_made_by_the_template() -> None:
    from datetime import UTC, datetime

    media = await open_s3(
        parsed(credentials=KEYS, key_template="{prefix}{shard}/{object_id}", key_prefix="tams/")
    )
    try:
        key = media.new_key("object-1", flow_id="flow", now=datetime(2026, 1, 1, tzinfo=UTC))
        [url] = media.sign_get([key], expires_in=60)
    finally:
        await media.aclose()
    assert key.startswith("tams/")
    assert key.endswith("/object-1")
    assert url.startswith(f"https://media.s3.amazonaws.com/{key}?X-Amz-Algorithm=")
    assert "very-secret" not in url


async def test_a_region_of_aws_has_its_own_host() -> None:
    media = await open_s3(parsed(credentials=KEYS, region="eu-west-2"))
    try:
        [url] = media.sign_get(["a"], expires_in=60)
    finally:
        await media.aclose()
    assert url.startswith("https://media.s3.eu-west-2.amazonaws.com/a?")
    assert "%2Feu-west-2%2Fs3%2F" in url


async def test_a_cdn_address_needs_its_signer_and_a_signer_its_address() -> None:
    with pytest.raises(BadInput, match="signer of URLs"):
        await open_s3(parsed(credentials=KEYS, public_base_url="https://cdn.example.com"))
    with pytest.raises(BadInput, match="signer of URLs"):
        await open_s3(
            parsed(credentials=KEYS), authorise=lambda urls, method, expires_at: list(urls)
        )


async def test_a_certificate_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    config = parsed(credentials=KEYS, endpoint="https://127.0.0.1:9", ca_file=str(file))
    with pytest.raises(BadInput, match=r"storage backend archive: .*No such file"):
        await open_s3(config)
    file.write_text("no certificate")
    with pytest.raises(BadInput, match="storage backend archive: "):
        await open_s3(config)
