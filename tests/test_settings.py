"""Where settings come from, what is refused, and that everything wrong is said at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tams_gql.settings import Settings, load_settings
from tams_gql.settings_sources import InvalidSettings, Note, read


class Guarded(BaseSettings):
    """A model with a secret, to test what becomes of it."""

    model_config = SettingsConfigDict(
        env_prefix="TAMS_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    port: int = Field(8000, ge=0, le=65535)
    signing_key: Annotated[SecretStr | None, Note(allowed="at least 16 characters")] = Field(
        None, min_length=16
    )


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in os.environ:
        if key.startswith("TAMS_"):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)


def _problems(**command_line: object) -> list[str]:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(command_line)
    return list(refused.value.problems)


def test_the_defaults_are_safe_for_a_local_trial(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.data_dir == tmp_path / ".data"
    assert settings.loopback_only
    assert not settings.debug


def test_file_environment_and_command_line_override_in_this_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "tams.toml"
    file.write_text('port = 1\nservice_name = "from file"\ncors_origins = ["https://a.example"]\n')
    monkeypatch.setenv("TAMS_CONFIG_FILE", str(file))
    monkeypatch.setenv("TAMS_PORT", "2")
    monkeypatch.setenv("TAMS_HOST", "localhost")
    settings = load_settings({"port": "3"}, defaults={"log_level": "warning", "host": "::1"})
    assert settings.port == 3
    assert settings.host == "localhost"
    assert settings.service_name == "from file"
    assert settings.cors_origins == ("https://a.example",)
    assert settings.log_level == "warning"
    assert load_settings().port == 2


def test_arguments_alone_decide_without_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMS_PORT", "2")
    assert Settings().port == 8000


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_everything_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tams.toml"
    file.write_text('log_format = "xml"\nlgo_level = "info"\n')
    monkeypatch.setenv("TAMS_CONFIG_FILE", str(file))
    monkeypatch.setenv("TAMS_PORT", "70000")
    monkeypatch.setenv("TAMS_VERIFY_UPLOAD", "yes")
    monkeypatch.setenv("TAMS_VERIFY_UPLOADS", "perhaps")
    monkeypatch.setenv("TAMS_MAX_PAGE_SIZE", "20")
    monkeypatch.setenv("TAMS_PRESIGN_TTL", "60")
    monkeypatch.setenv("TAMS_STORE", "sqlite")
    with pytest.raises(InvalidSettings) as refused:
        load_settings({"public_url": "ftp://x", "min_object_timeout": "299"})
    assert str(refused.value).splitlines() == [
        "10 settings are wrong:",
        "  TAMS_VERIFY_UPLOAD: unknown setting; did you mean TAMS_VERIFY_UPLOADS?",
        "  TAMS_STORE='sqlite': must be embedded or vast",
        "  TAMS_PORT='70000': must be a whole number from 0 to 65,535",
        "  --public-url='ftp://x': must be an absolute http or https URL without user name, "
        "query, fragment or final /",
        f"  log_format='xml' in {file}: must be text or json",
        "  TAMS_DEFAULT_PAGE_SIZE=50 (the default): must be at most TAMS_MAX_PAGE_SIZE (20)",
        "  --min-object-timeout='299': must be a whole number from 300 to 31,536,000",
        "  TAMS_MIN_PRESIGNED_URL_TIMEOUT=300 (the default): must be at most TAMS_PRESIGN_TTL (60)",
        "  TAMS_VERIFY_UPLOADS='perhaps': must be true or false",
        f"  lgo_level in {file}: unknown setting; did you mean log_level?",
    ]


def test_a_wrong_port_is_one_problem_though_the_public_url_derives_from_it() -> None:
    assert _problems(port="x") == ["--port='x': must be a whole number from 0 to 65,535"]


@pytest.mark.parametrize("key", ["TAMS_INGEST_URL", "TAMS_TEST_VAST_ENDPOINT", "TAMSX", "PORT"])
def test_keys_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(key, "anything")
    assert load_settings() == Settings()


def test_an_unknown_key_like_no_other_has_no_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMS_WXYZ", "1")
    assert _problems() == ["TAMS_WXYZ: unknown setting"]


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMS_PORT", "")
    monkeypatch.setenv("TAMS_CONFIG_FILE", "")
    assert load_settings().port == 8000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("port = = 3", "is not a TOML file (Invalid value (at line 1, column 8))"),
    ],
)
def test_a_bad_file_is_a_problem_beside_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, reason: str
) -> None:
    file = tmp_path / "tams.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("TAMS_CONFIG_FILE", str(file))
    monkeypatch.setenv("TAMS_DEBUG", "perhaps")
    assert _problems() == [
        f"TAMS_CONFIG_FILE={str(file)!r}: {reason}",
        "TAMS_DEBUG='perhaps': must be true or false",
    ]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://127.0.0.1:8123"),
        ("::1", "http://[::1]:8123"),
        ("tams.internal", "http://tams.internal:8123"),
    ],
)
def test_the_public_url_follows_the_listener_unless_it_is_given(host: str, url: str) -> None:
    derived = Settings(host=host, port=0).listening_on(8123)
    given_url = Settings(host=host, port=0, public_url="https://tams.example.com/v1")
    assert (derived.port, derived.public_url) == (8123, url)
    assert given_url.listening_on(8123).public_url == "https://tams.example.com/v1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tams.example.com",
        "http://",
        "http://tams.example.com/",
        "http://tams.example.com?",
        "http://tams.example.com/a#b",
        "http://user@tams.example.com",
        "http://tams.example.com:port",
        "http://tams.example.com/a b",
        "http://täms.example.com",
        "ws://tams.example.com",
    ],
)
def test_a_public_url_that_cannot_be_a_base_is_refused(url: str) -> None:
    (problem,) = _problems(public_url=url)
    assert problem.startswith(f"--public-url={url!r}: must be an absolute http or https URL")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_hosts_are_known(host: str) -> None:
    assert Settings(host=host).loopback_only
    assert not Settings(host="0.0.0.0").loopback_only
    assert not Settings(host="tams.internal").loopback_only


@pytest.mark.parametrize("host", ["", "a b", "http://x", "x/y"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    assert _problems(host=host) == [
        f"--host={host!r}: must be a host name or IP address, such as 127.0.0.1 or ::"
    ]


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("none", ()),
        ("https://a.example", ("https://a.example",)),
        (
            " https://a.example , http://localhost:3000,",
            ("https://a.example", "http://localhost:3000"),
        ),
    ],
)
def test_origins_are_read_as_a_list(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TAMS_CORS_ORIGINS", text)
    assert load_settings().cors_origins == origins


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*,https://a.example", "must be either * alone or a list of origins: * already"),
        ("a.example", "'a.example' is not one"),
        ("https://a.example/page", "'https://a.example/page' is not one"),
    ],
)
def test_what_is_no_origin_is_refused(text: str, reason: str) -> None:
    (problem,) = _problems(cors_origins=text)
    assert problem.startswith(f"--cors-origins={text!r}: must be ")
    assert reason in problem


def test_the_data_directory_is_absolute_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Settings(data_dir=Path("~/tams")).data_dir == Path.home() / "tams"
    assert Settings(data_dir=Path("a")).data_dir == tmp_path / "a"
    assert _problems(data_dir="file") == ["--data-dir='file': must be a directory; this is a file"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("~nobody-of-this-name/x", "Could not determine home directory"),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_is_a_problem_like_others(path: str, reason: str) -> None:
    shown = repr(path) if len(path) < 80 else f"{repr(path)[:80]}..."
    assert _problems(data_dir=path, vast_verify_tls=path) == [
        f"--data-dir={shown}: must be a directory, or a path where one can be made; {reason}",
        f"--vast-verify-tls={shown}: must be true, false, or a file of CAs (PEM); {reason}",
    ]


@pytest.mark.parametrize("host", ["a..example", f"{'a' * 64}.example", "xn--a..b"])
def test_a_host_that_could_not_be_looked_up_is_refused(host: str) -> None:
    assert _problems(host=host, public_url="http://a.example") == [
        f"--host={host!r}: must be a host name or IP address, such as 127.0.0.1 or ::"
    ]


@pytest.mark.parametrize("key", ["tams_config_file", "Tams_Vast_Secret_Key_File"])
def test_a_variable_that_is_read_in_capitals_only_is_not_overlooked(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(key, "/x")
    assert _problems() == [f"{key}: unknown setting; did you mean {key.upper()}?"]
    monkeypatch.delenv(key)
    monkeypatch.setenv("tams_port", "8123")
    assert load_settings().port == 8123


@given(
    smallest=st.integers(30, 604_800),
    objects=st.integers(300, 31_536_000),
    ttl=st.integers(30, 604_800),
)
def test_the_advertised_url_validity_never_exceeds_what_is_kept(
    smallest: int, objects: int, ttl: int
) -> None:
    values = {
        "min_presigned_url_timeout": smallest,
        "min_object_timeout": objects,
        "presign_ttl": ttl,
    }
    if smallest <= objects and smallest <= ttl:
        assert Settings.model_validate(values).min_presigned_url_timeout == smallest
    else:
        with pytest.raises(ValidationError, match="at most"):
            Settings.model_validate(values)


def test_a_long_value_is_shown_in_part() -> None:
    (problem,) = _problems(port="9" * 500)
    assert len(problem) < 200


SECRET = "correct horse battery staple"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_comes_from_the_environment_or_a_file_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(f"{SECRET}{ending}".encode())
    monkeypatch.setenv("TAMS_SIGNING_KEY_FILE", str(file))
    from_file = read(Guarded)
    monkeypatch.delenv("TAMS_SIGNING_KEY_FILE")
    monkeypatch.setenv("TAMS_SIGNING_KEY", SECRET)
    assert from_file == read(Guarded)
    assert from_file.signing_key is not None
    assert from_file.signing_key.get_secret_value() == SECRET
    assert SECRET not in f"{from_file} {from_file!r} {from_file.model_dump()}"


def test_a_refused_secret_is_not_shown_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAMS_SIGNING_KEY", "too short")
    file = tmp_path / "tams.toml"
    file.write_text('sining_key = "misspelt"\n')
    monkeypatch.setenv("TAMS_CONFIG_FILE", str(file))
    with pytest.raises(InvalidSettings) as refused:
        read(Guarded)
    assert refused.value.problems == (
        "TAMS_SIGNING_KEY: must be at least 16 characters",
        f"sining_key in {file}: unknown setting; did you mean signing_key?",
    )
    # the validation error holds the values: a traceback must not print it
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("given_too", [False, True])
def test_a_secret_file_that_cannot_serve_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given_too: bool
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("TAMS_SIGNING_KEY_FILE", str(missing))
    if given_too:
        monkeypatch.setenv("TAMS_SIGNING_KEY", SECRET)
    with pytest.raises(InvalidSettings) as refused:
        read(Guarded)
    assert refused.value.problems == (
        "TAMS_SIGNING_KEY_FILE: give this or TAMS_SIGNING_KEY, not both"
        if given_too
        else f"TAMS_SIGNING_KEY_FILE={str(missing)!r}: cannot be read (No such file or directory)",
    )


def test_a_file_variable_is_for_secrets_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMS_PORT_FILE", "port.txt")
    assert _problems() == ["TAMS_PORT_FILE: unknown setting; did you mean TAMS_PORT?"]
