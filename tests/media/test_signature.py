"""Signed URLs of the local backend: what they let through, and that nothing else does."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tams_gql.media._signature import UrlSigner
from tams_gql.media.keys import check_key
from tams_gql.model.errors import BadInput, Forbidden

SECRET = bytes(range(32))
SIGNER = UrlSigner(SECRET, storage_id="storage", base_url="http://media.test/media/")
EXPIRES = 1_800_000_000
NOW = EXPIRES - 60
MPEG_TS = "video/mp2t"


def is_key(text: str) -> bool:
    try:
        check_key(text)
    except BadInput:
        return False
    return True


keys = st.text(min_size=1, max_size=60).filter(is_key)
content_types = st.sampled_from(["video/mp2t", "image/svg+xml", "application/x%y", "a/b.c~d"])


def sign(method: str, key: str, content_type: str = "", expires: int = EXPIRES) -> str:
    assert method in ("GET", "HEAD", "PUT")
    [url] = SIGNER.urls(method, [key], expires=expires, content_type=content_type)  # type: ignore[arg-type]
    return url


def claimed(url: str) -> tuple[str, bytes]:
    """The decoded key and the raw query, as a server sees them."""
    parts = urlsplit(url)
    return unquote(parts.path).removeprefix("/media/"), parts.query.encode()


@given(keys, content_types)
def test_a_url_carries_its_key_and_type_unharmed(key: str, content_type: str) -> None:
    url = sign("PUT", key, content_type)
    assert url.isascii()
    assert " " not in url
    grant = SIGNER.verify("PUT", *claimed(url), now=NOW)
    assert (grant.method, grant.key, grant.content_type, grant.expires) == (
        "PUT",
        key,
        content_type,
        EXPIRES,
    )


@given(
    key=keys,
    method=st.sampled_from(["GET", "HEAD", "PUT"]),
    place=st.integers(min_value=0),
    replacement=st.characters(codec="utf-8"),
)
def test_no_character_of_a_url_can_be_changed(
    key: str, method: str, place: int, replacement: str
) -> None:
    # given
    url = sign(method, key, MPEG_TS if method == "PUT" else "")
    signed_key, query = claimed(url)
    text = f"{signed_key}?{query.decode()}"
    place %= len(text)
    changed = text[:place] + replacement + text[place + 1 :]
    assume(changed != text)
    # when
    changed_key, changed_query = changed[: len(signed_key)], changed[len(signed_key) + 1 :]
    if place == len(signed_key):  # the question mark: all of it is the key then
        changed_key, changed_query = changed, ""
    # then
    for asked in ("GET", "HEAD", "PUT"):
        with pytest.raises(Forbidden, match="signature does not match"):
            SIGNER.verify(asked, changed_key, changed_query.encode(), now=NOW)


@given(keys, st.integers(min_value=0), st.sampled_from(["insert", "delete", "append"]), st.data())
def test_no_character_of_a_query_can_be_added_or_left_out(
    key: str, place: int, change: str, data: st.DataObject
) -> None:
    signed_key, query = claimed(sign("PUT", key, MPEG_TS))
    place %= len(query)
    extra = data.draw(st.binary(min_size=1, max_size=8))
    changed = {
        "insert": query[:place] + extra + query[place:],
        "delete": query[:place] + query[place + 1 :],
        "append": query + b"&" + extra,
    }[change]
    with pytest.raises(Forbidden, match="signature does not match"):
        SIGNER.verify("PUT", signed_key, changed, now=NOW)


@given(keys, keys)
def test_a_signature_counts_for_one_key(key: str, other: str) -> None:
    assume(key != other)
    _, query = claimed(sign("GET", key))
    with pytest.raises(Forbidden, match="signature does not match"):
        SIGNER.verify("GET", other, query, now=NOW)


@pytest.mark.parametrize(
    ("signed", "allowed"),
    [("GET", {"GET", "HEAD"}), ("HEAD", {"HEAD"}), ("PUT", {"PUT"})],
)
def test_a_method_allows_what_it_implies(signed: str, allowed: set[str]) -> None:
    key, query = claimed(sign(signed, "key", MPEG_TS if signed == "PUT" else ""))
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        if method in allowed:
            assert SIGNER.verify(method, key, query, now=NOW).method == signed
        else:
            with pytest.raises(Forbidden, match=f"signed for {signed}, not for {method}"):
                SIGNER.verify(method, key, query, now=NOW)


def test_a_url_ends_with_its_last_second() -> None:
    key, query = claimed(sign("GET", "key"))
    assert SIGNER.verify("GET", key, query, now=EXPIRES - 0.001).expires == EXPIRES
    with pytest.raises(Forbidden, match=r"expired at 2027-01-15T08:00:00\+00:00"):
        SIGNER.verify("GET", key, query, now=EXPIRES)


def test_an_expired_forgery_is_told_nothing_but_that_it_is_one() -> None:
    key, query = claimed(sign("GET", "key"))
    with pytest.raises(Forbidden, match="signature does not match"):
        SIGNER.verify("GET", key + "x", query, now=EXPIRES + 1)


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"&&&&",
        b"method=GET",
        b"method=GET&expires=&signature=",
        b"method=GET&expires=x&signature=0",
        b"method=GET&expires=99999999999999999999&signature=0",
        b"method=DELETE&expires=1800000000&signature=0",
        b"method=PUT&expires=1800000000&type=a%0Ab&signature=0",
        b"\xff\xfe",
        b"a=1&" * 1_000,
    ],
)
def test_a_query_of_somebody_else_is_refused(query: bytes) -> None:
    with pytest.raises(Forbidden, match="signature does not match"):
        SIGNER.verify("GET", "key", query, now=NOW)


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/etc/passwd", "a\x00b", "a\\b", "\ud800"])
def test_what_is_no_key_is_refused_before_anything_is_computed(key: str) -> None:
    _, query = claimed(sign("GET", "key"))
    with pytest.raises(Forbidden, match="signature does not match"):
        SIGNER.verify("GET", key, query, now=NOW)


def test_another_secret_and_another_backend_sign_differently() -> None:
    key, query = claimed(sign("GET", "key"))
    for other in (
        UrlSigner(bytes(32), storage_id="storage", base_url="http://media.test/media/"),
        UrlSigner(SECRET, storage_id="other", base_url="http://media.test/media/"),
    ):
        with pytest.raises(Forbidden):
            other.verify("GET", key, query, now=NOW)


def test_the_signer_does_not_show_its_secret() -> None:
    for text in (repr(SIGNER), str(SIGNER)):
        assert SECRET.hex() not in text
        assert repr(SECRET) not in text
