"""URLs of CDNs: the same as others compute them, and good for nothing else."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tams_gql.media.cdn.cloudfront import CloudFront, load_key
from tams_gql.media.cdn.edgeauth import EdgeAuth
from tams_gql.media.cdn.signer import Scope
from tams_gql.media.port import ObjectLocation, ReadMethod
from tams_gql.media.registry import MediaRegistry
from tams_gql.media.s3.config import S3BackendSettings, open_s3
from tams_gql.model.errors import BadInput, Unavailable
from tams_gql.model.ids import new_id
from tests.catalog import quick_settings, running
from tests.media.serving import serving

BASE = "https://cdn.example.com/m"
URLS = [f"{BASE}/2025/a.ts", f"{BASE}/a%20b/%C3%BC~x%2A.ts", f"{BASE}/2025/a.ts"]
ENDS = 1_900_000_000
HEX = "52a152a152a152a152a152a152a1"
PAIR = "K2JCJMDEHXQW5F"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class CountingKey:
    """An RSA key that counts its signatures."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key, self.signed = key, 0

    def sign(self, *given: Any) -> bytes:
        self.signed += 1
        return self._key.sign(*given)


def cloudfront(key: Any, scope: Scope = "object", step: int = 1) -> CloudFront:
    return CloudFront(BASE, key, key_pair_id=PAIR, scope=scope, step=step)


def reference(key: rsa.RSAPrivateKey) -> CloudFrontSigner:
    return CloudFrontSigner(PAIR, lambda text: key.sign(text, PKCS1v15(), SHA1()))


def test_cloudfront_urls_are_those_of_botocore(key: rsa.RSAPrivateKey) -> None:
    ends = datetime.fromtimestamp(ENDS, UTC)
    theirs = [reference(key).generate_presigned_url(url, date_less_than=ends) for url in URLS]
    assert cloudfront(key).sign(URLS, ENDS) == theirs


def test_one_signature_may_open_all_that_is_below_the_base(key: rsa.RSAPrivateKey) -> None:
    signer, counting = reference(key), CountingKey(key)
    policy = signer.build_policy(f"{BASE}/*", datetime.fromtimestamp(ENDS, UTC))
    theirs = [signer.generate_presigned_url(url, policy=policy) for url in URLS]
    assert cloudfront(counting, "base").sign(URLS, ENDS) == theirs
    assert counting.signed == 1


def test_a_signature_is_computed_once_for_each_step(key: rsa.RSAPrivateKey) -> None:
    counting = CountingKey(key)
    signer = cloudfront(counting, step=60)
    pages = [signer.sign(URLS, at) for at in range(ENDS, ENDS + 120)]
    ends = {int(parse_qs(urlsplit(url).query)["Expires"][0]) for page in pages for url in page}
    assert ENDS % 60 == 40
    assert ends == {ENDS + 20, ENDS + 80, ENDS + 140}
    assert counting.signed == 2 * 3  # two URLs, three ends


@pytest.mark.parametrize(
    ("escape", "signatures"),
    [
        # Computed with Akamai's own library, akamai-edgeauth 0.3.2.
        (
            False,
            [
                "a75a714be5fd99fa5af76c7adc0872a85e7e20c940c9a26e1a38e263a29e6ae0",
                "6cfb5ad5f42bd4e51ed13f48a44e24c5de0d711790337297585d22f4ef36b948",
            ],
        ),
        (
            True,
            [
                "447f0318d02015bdb88ef9e7705a1da22a0cc9a260d14f6d6dd5fbd2b2c9aaf6",
                "2a3b155f6f342411ab11b6108b4ac18d2e4a386ecefb2f51a0e11dcfbd109375",
            ],
        ),
    ],
)
def test_tokens_are_those_of_akamai(escape: bool, signatures: list[str]) -> None:
    signer = edgeauth(escape=escape)
    urls = [f"{BASE}/2025/a.ts", f"{BASE}/a%20b/%C3%BC~x"]
    assert signer.sign(urls, ENDS) == [
        f"{url}?hdnts=exp={ENDS}~hmac={signature}"
        for url, signature in zip(urls, signatures, strict=True)
    ]


def test_one_token_may_open_all_that_is_below_the_base() -> None:
    signature = "08738e91a1ab0ceb8650289b71cc7ba92f9aec008008ecf2ff2ef8d906fad6f9"
    token = f"t=exp={ENDS}~acl=/m/*~hmac={signature}"
    assert edgeauth(scope="base", parameter="t").sign(URLS, ENDS) == [f"{u}?{token}" for u in URLS]
    with pytest.raises(BadInput, match="may hold no ~"):
        edgeauth("https://cdn.example.com/m~1", scope="base")


def edgeauth(
    base: str = BASE, *, parameter: str = "hdnts", scope: Scope = "object", escape: bool = False
) -> EdgeAuth:
    return EdgeAuth(base, bytes.fromhex(HEX), parameter=parameter, scope=scope, escape=escape)


# As a verifier sees it


async def _edge(request: Request) -> Response:
    """What stands at the edge: it knows the key and the request, nothing of who signed."""
    query = request.scope["query_string"].decode()
    name, _, token = query.partition("=")
    told, _, signature = token.rpartition("~hmac=")
    fields = dict(part.split("=", 1) for part in told.split("~") if "=" in part)
    path = request.scope["raw_path"].decode()
    signed = told if "acl" in fields else f"{told}~url={path}"
    wanted = hmac.new(bytes.fromhex(HEX), signed.encode(), "sha256").hexdigest()
    opens = "acl" not in fields or path.startswith(fields["acl"].removesuffix("*"))
    good = name == "hdnts" and hmac.compare_digest(wanted, signature) and opens
    if not good or int(fields["exp"]) < time.time():
        return PlainTextResponse("no", 403)
    return PlainTextResponse("bytes")


@pytest.mark.parametrize("scope", ["object", "base"])
async def test_a_token_opens_what_it_says_and_no_longer(scope: Scope) -> None:
    with serving(lambda _: Starlette(routes=[Route("/{key:path}", _edge)])) as url:
        signer = edgeauth(f"{url}/m", scope=scope)
        now = int(time.time())
        names = [f"{url}/m/a.ts", f"{url}/m/b%20%C3%BC~.ts"]
        one, two = signer.sign(names, now + 60)
        [old] = signer.sign(names[:1], now - 1)
        (outside,) = signer.sign([f"{url}/other/a.ts"], now + 60)
        wanted = {
            one: 200,
            two: 200,
            old: 403,
            one.replace("/m/a.ts", "/m/c.ts"): 200 if scope == "base" else 403,
            one.replace("/m/", "/n/"): 403,
            one.replace(f"exp={now + 60}", f"exp={now + 90}"): 403,
            one[:-1] + ("0" if one[-1] != "0" else "1"): 403,
            one.partition("?")[0]: 403,
            outside: 403 if scope == "base" else 200,
        }
        async with httpx.AsyncClient() as client:
            found = {name: (await client.get(name)).status_code for name in wanted}
    assert found == wanted


# As an operator sets it up


def settings(signer: dict[str, Any] | str, **values: Any) -> S3BackendSettings:
    return S3BackendSettings.model_validate(
        {
            "label": "cdn",
            "bucket": "media",
            "endpoint": "http://127.0.0.1:9",
            "credentials": {"kind": "keys", "access_key_id": "id", "secret_access_key": "s3cret"},
            "public_base_url": BASE,
            "url_signer": signer,
            **values,
        }
    )


async def test_built_in_signers_are_chosen_by_the_settings(
    tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    (tmp_path / "key.pem").write_bytes(pem(key))
    (tmp_path / "token").write_text(f"{HEX}\n")
    first = {"kind": "cloudfront", "key_pair_id": PAIR, "private_key": str(tmp_path / "key.pem")}
    second = {"kind": "edgeauth", "key": str(tmp_path / "token"), "parameter": "t"}
    chosen = (settings(first), settings(second, label="akamai"))
    async with running(quick_settings(tmp_path / "data", storage_backends=chosen)) as catalog:
        _, one, two = catalog.services.media
        assert (one.signs_slowly, two.signs_slowly) == (True, False)
        [url] = one.sign_get(["a b"], expires_in=60)
        [token] = two.sign_get(["a b"], expires_in=60)
        # CDNs do not tell HEAD from GET, so such URLs are the bucket's.
        [head] = one.sign_get(["a b"], expires_in=60, method="HEAD")
    query = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{BASE}/a%20b?Expires=")
    assert set(query) == {"Expires", "Signature", "Key-Pair-Id"}
    assert query["Key-Pair-Id"] == PAIR
    assert 60 <= int(query["Expires"]) - time.time() + 1 <= 122
    assert token.startswith(f"{BASE}/a%20b?t=exp=")
    assert head.startswith("http://127.0.0.1:9/media/a%20b?X-Amz-Algorithm=")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("private_key", b"", "holds no key"),
        ("private_key", b"-----BEGIN s3cret", "the private key is not PEM without a password"),
        ("private_key", None, "cannot be read (FileNotFoundError)"),
        ("private_key", "ec", "the private key is not one of RSA"),
        ("key", b"s3cret", "the key is not an even number of hexadecimal digits"),
        ("key", b"\xff\xfe", "the key is not an even number of hexadecimal digits"),
        ("key", b"ab" * 40_000, "holds no key"),
    ],
)
async def test_a_key_that_cannot_be_used_keeps_the_server_from_starting(
    tmp_path: Path, name: str, content: bytes | str | None, problem: str
) -> None:
    file = tmp_path / "key"
    if content == "ec":
        content = pem(ec.generate_private_key(ec.SECP256R1()))
    if isinstance(content, bytes):
        file.write_bytes(content)
    pair = {"kind": "cloudfront", "key_pair_id": PAIR} if name != "key" else {"kind": "edgeauth"}
    chosen = (settings({**pair, name: str(file)}),)
    with pytest.raises(BadInput) as refused:
        async with running(quick_settings(tmp_path / "data", storage_backends=chosen)):
            pass
    assert refused.value.message.startswith("storage_backends.0 (cdn): ")
    assert problem in refused.value.message
    assert "s3cret" not in refused.value.message


def test_nothing_secret_shows_when_printed(key: rsa.RSAPrivateKey) -> None:
    assert repr(cloudfront(load_key(pem(key)))) == f"CloudFront({PAIR})"
    assert repr(edgeauth()) == "EdgeAuth(hdnts)"


# What a page costs


async def test_others_go_on_while_a_page_is_signed(key: rsa.RSAPrivateKey) -> None:
    """A first page of CloudFront URLs takes half a second of RSA; the loop must not."""
    config = settings("unused:here").with_id(new_id(), default=False)
    media = await open_s3(config, authorise=cloudfront(key))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    try:
        places = [ObjectLocation(media.backend.id, f"k{n}") for n in range(500)]
        await asyncio.sleep(0)
        begun = ticks
        urls = await MediaRegistry([media]).sign_get(places, expires_in=60)
        assert len({str(url) for url in urls}) == 500
        assert ticks - begun > 20
    finally:
        other.cancel()
        await media.aclose()


def _broken(urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[str]:
    raise RuntimeError("s3cret")


def _short(urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[str]:
    return list(urls[1:])


def _bytes(urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[bytes]:
    return [url.encode() for url in urls]


def _unfit(urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[str]:
    raise BadInput("s3cret")


@pytest.mark.parametrize(
    ("authorise", "problem"),
    [
        (_broken, "its URL signer failed (RuntimeError)"),
        (_unfit, "its URL signer failed (BadInput)"),
        (lambda urls, method, expires_at: None, "its URL signer failed (TypeError)"),
        (_short, "its URL signer did not give one URL for each"),
        (_bytes, "its URL signer did not give one URL for each"),
    ],
)
async def test_a_function_that_fails_spoils_only_its_own_urls(
    authorise: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings("unused:here").with_id(new_id(), default=False)
    media = await open_s3(config, authorise=authorise)
    try:
        [failed, unknown] = await MediaRegistry([media]).sign_get(
            [ObjectLocation(media.backend.id, "k"), ObjectLocation(new_id(), "k")], expires_in=60
        )
    finally:
        await media.aclose()
    assert isinstance(failed, Unavailable)
    assert failed.message == f"storage backend cdn cannot sign URLs: {problem}"
    assert unknown is None
    assert "s3cret" not in caplog.text
