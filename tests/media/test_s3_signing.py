"""Presigned URLs: byte for byte those of botocore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tams_gql.media.s3.signing import Credentials, Presigner, Terms, quoted_path
from tests.media.s3_reference import Reference, Variant, reference

VARIANTS = [
    Variant(None, "us-east-1", "virtual"),
    Variant(None, "us-east-1", "path"),
    Variant(None, "eu-west-2", "virtual"),
    Variant(None, "eu-west-2", "path"),
    Variant(None, "cn-north-1", "virtual"),
    Variant(None, "eu-west-2", "virtual", "bucket.with.dots"),
    Variant("http://127.0.0.1:9000", "us-east-1", "path"),
    Variant("https://s3.example.com", "any", "virtual"),
    Variant("http://S3.Example.com:80", "us-east-1", "path"),
    Variant("https://s3.example.com:443", "us-east-1", "virtual"),
    Variant("https://s3.example.com:8443/below/a path", "us-east-1", "path"),
    Variant("http://[::1]:9000", "us-east-1", "path"),
]
MPEG_TS = "video/mp2t"
NOW = 1_780_000_000
PLAIN = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

characters = st.characters(exclude_categories=["Cs"])
keys = st.one_of(
    st.text(characters, min_size=1, max_size=40),
    st.text("aZ9 +/%.~-_*'()&=?#;:@!$,ü🎬\u0301\n", min_size=1, max_size=40),
    st.lists(st.sampled_from(["", ".", "..", "a", "ä b", "%2F", "+", "~"]), min_size=1).map(
        lambda parts: "/".join(parts) or "/"
    ),
)
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
credentials = st.builds(
    Credentials, printable, printable, st.none() | printable, expires_at=st.none()
)
content_types = st.sampled_from(
    [MPEG_TS, "image/svg+xml", "text/plain;  charset=utf-8", "a/b", "application/x!#$%&'*^_`|~"]
)
terms = st.one_of(
    st.builds(
        Terms,
        st.sampled_from(["GET", "HEAD", "PUT"]),
        st.integers(0, 4_102_444_800),
        st.integers(1, 604_800),
        st.none(),
    ),
    st.builds(
        Terms,
        st.just("PUT"),
        st.integers(0, 4_102_444_800),
        st.integers(1, 604_800),
        content_types,
    ),
)


@pytest.fixture(scope="module")
def botocore() -> Iterator[Reference]:
    with reference() as made:
        yield made


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=keys, terms=terms, credentials=credentials)
@example(key="/", terms=Terms("GET", NOW, 60), credentials=PLAIN)
@example(key="a//b/../c/./", terms=Terms("PUT", NOW, 60, MPEG_TS), credentials=PLAIN)
@example(key="ü +%2B%/日本語", terms=Terms("HEAD", NOW, 1), credentials=PLAIN)
@example(key="k" * 1_024, terms=Terms("GET", NOW, 604_800), credentials=PLAIN)
def test_a_url_is_that_of_botocore(
    botocore: Reference, variant: Variant, key: str, terms: Terms, credentials: Credentials
) -> None:
    signer = botocore.presigner(variant)
    assert signer.urls([key], terms, credentials) == [
        botocore.url(variant, key, terms, credentials)
    ]


def test_a_page_is_signed_key_by_key_in_order(botocore: Reference) -> None:
    # given
    variant, terms = VARIANTS[2], Terms("GET", NOW, 3_600)
    names = [f"2026/01/{n}/ü{n}" for n in range(50)] + ["2026/01/0/ü0"]
    # when
    urls = botocore.presigner(variant).urls(names, terms, PLAIN)
    # then
    assert urls == [botocore.url(variant, name, terms, PLAIN) for name in names]


def test_the_signing_key_follows_the_day_and_the_credentials(botocore: Reference) -> None:
    # given: the last second of a day, the first of the next, and other credentials in between
    midnight = 1_780_012_800
    variant = VARIANTS[0]
    other = Credentials("AKIDOTHER", "another secret", "a token/with+signs==")
    signer = botocore.presigner(variant)
    # then
    for now, who in [
        (midnight - 1, PLAIN),
        (midnight, PLAIN),
        (midnight, other),
        (midnight - 1, other),
        (midnight - 1, PLAIN),
    ]:
        terms = Terms("GET", now, 60)
        assert signer.urls(["a"], terms, who) == [botocore.url(variant, "a", terms, who)]


def test_the_url_of_the_documentation_comes_out() -> None:
    # The example in "Authenticating Requests: Using Query Parameters" of the S3 documentation.
    who = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    signer = Presigner("https://examplebucket.s3.amazonaws.com/", "us-east-1")
    [url] = signer.urls(["test.txt"], Terms("GET", 1_369_353_600, 86_400), who)
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@given(keys)
def test_a_quoted_path_is_one_ascii_word(key: str) -> None:
    quoted = quoted_path(key)
    assert quoted.isascii()
    assert not set(quoted) & set(' ?#+\n"<>\\')
    assert quoted.count("/") == key.count("/")


def test_nothing_secret_shows_when_printed(botocore: Reference) -> None:
    secret = Credentials("AKIDEXAMPLE", "the-secret", "the-token")
    signer = botocore.presigner(VARIANTS[0])
    signer.urls(["a"], Terms("GET", NOW, 60), secret)
    for shown in (repr(secret), str(secret), repr(signer)):
        assert "the-secret" not in shown
        assert "the-token" not in shown
