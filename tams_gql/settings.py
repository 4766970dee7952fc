"""The one settings object of the server: frozen, validated, read once at start.

``docs/settings.md`` has the table for operators; a test keeps it equal to this model. Only ``cli``
and ``app`` see this object, other layers are given plain values.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tams_gql.settings_media import MediaSettings
from tams_gql.settings_sources import Note, env_name, read
from tams_gql.settings_store import StoreSettings, is_base_url, lower, split

_WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared, not bound)
_BASE_URL = "an absolute http or https URL without user name, query, fragment or final /"
_SECONDS = Note(unit="seconds")
_BYTES = Note(unit="bytes")


def _url_of_listener(data: dict[str, Any]) -> str:
    # A field that was refused is missing here; its own error is reported, so any text will do.
    return _local_url(data.get("host", "127.0.0.1"), data.get("port", 8000))


def _poll_of_store(data: dict[str, Any]) -> int:
    # Looking costs the embedded store microseconds, a cluster a query.
    return 100 if data.get("store") == "vast" else 25


def _local_url(host: str, port: int) -> str:
    if host in _WILDCARD_HOSTS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Settings(StoreSettings, MediaSettings):
    """All settings of the server. Times are whole seconds and sizes bytes unless a name says more.

    ``Settings(...)`` looks at its arguments only; ``load_settings`` reads the outside world.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="TAMS_",
        env_ignore_empty=True,
        validate_default=True,  # a changed limit may contradict a default
        hide_input_in_errors=True,
    )

    # Where the server listens, and what it says about itself
    host: Annotated[str, Note(allowed="a host name or IP address")] = Field(
        "127.0.0.1", description="Address to listen on; `0.0.0.0` or `::` for every interface."
    )
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port to listen on; 0 takes any free port."
    )
    public_url: Annotated[str, Note(allowed=_BASE_URL, default="http://HOST:PORT")] = Field(
        default_factory=_url_of_listener,
        description="URL under which clients reach the server, written into media URLs; when it "
        "listens on every interface, the default has 127.0.0.1 as HOST.",
    )
    service_name: Annotated[str, Note(allowed="1 to 200 characters")] = Field(
        "tams-gql", min_length=1, max_length=200, description="Name in the service resource."
    )
    service_description: Annotated[str, Note(allowed="up to 2,000 characters")] = Field(
        "Time-addressable media catalog",
        max_length=2000,
        description="Description in the service resource.",
    )

    # Logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = (
        Field("info", description="Least severity that is logged.")
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = Field(
        "text", description="Text for people, or one JSON object a line for log collectors."
    )
    debug: bool = Field(
        False,
        description="Log everything and report callbacks that block the event loop; slow.",
    )

    # Sizes of pages, requests and objects
    max_page_size: Annotated[int, Note(unit="items")] = Field(
        1000, ge=1, le=10_000, description="Largest page a client may ask for."
    )
    default_page_size: Annotated[int, Note(unit="items")] = Field(
        50,
        ge=1,
        le=10_000,
        description="Page size without `first` or `last`; at most max_page_size.",
    )
    max_request_bytes: Annotated[int, _BYTES] = Field(
        8 * 2**20,
        ge=1024,
        le=2**30,
        description="Largest request body or WebSocket message, media uploads excepted.",
    )
    max_object_bytes: Annotated[int, _BYTES] = Field(
        5 * 2**30, ge=1, le=5 * 2**40, description="Largest upload into the local media folder."
    )

    # Media
    presign_ttl: Annotated[int, _SECONDS] = Field(
        3600, ge=30, le=604_800, description="How long a signed media URL stays valid."
    )
    min_object_timeout: Annotated[int, _SECONDS] = Field(
        600,
        ge=300,
        le=31_536_000,
        description="How long an allocated object is kept at least until a segment uses it; "
        "advertised by the service.",
    )
    min_presigned_url_timeout: Annotated[int, _SECONDS] = Field(
        300,
        ge=30,
        le=604_800,
        description="Validity of signed URLs that the service advertises; at most "
        "min_object_timeout and presign_ttl.",
    )
    verify_uploads: bool = Field(
        True, description="Refuse to register a segment whose object was not uploaded."
    )
    allocation_grace: Annotated[int, _SECONDS] = Field(
        60,
        ge=0,
        le=31_536_000,
        description="How long an allocated object is kept beyond min_object_timeout.",
    )

    # Background work
    background_work: bool = Field(
        True,
        description="Do the background work in this server; with false, `tams-gql worker` has to "
        "run somewhere.",
    )
    job_lease: Annotated[int, _SECONDS] = Field(
        60,
        ge=2,
        le=3600,
        description="How long the job of a worker that vanished waits for another one.",
    )
    integrity_checks_per_hour: Annotated[int, Note(unit="objects")] = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Stored objects that each worker reads in an hour to compare them with their "
        "checksums; 0 reads none.",
    )

    # Change log
    event_retention: Annotated[int, _SECONDS] = Field(
        604_800,
        ge=0,
        le=3_153_600_000,
        description="How long the change log keeps an event; 0 keeps it for ever.",
    )
    event_poll_ms: Annotated[
        int, Note(unit="milliseconds", default="25, or 100 with TAMS_STORE=vast")
    ] = Field(
        default_factory=_poll_of_store,
        ge=1,
        le=60_000,
        description="How often to look for changes by other processes.",
    )

    # Limits of a GraphQL request
    max_query_depth: Annotated[int, Note(unit="levels")] = Field(
        16,
        ge=1,
        le=100,
        description="Deepest nesting of selected fields; introspection has a bound of its own.",
    )
    max_query_tokens: Annotated[int, Note(unit="tokens")] = Field(
        5000, ge=100, le=1_000_000, description="Most tokens of a query document."
    )
    max_query_characters: Annotated[int, Note(unit="characters")] = Field(
        200_000, ge=1000, le=100_000_000, description="Longest query document."
    )
    max_query_definitions: Annotated[int, Note(unit="definitions")] = Field(
        50, ge=1, le=10_000, description="Most operations and fragments of a query document."
    )
    max_query_aliases: Annotated[int, Note(unit="aliases")] = Field(
        100, ge=0, le=10_000, description="Most aliased or repeated fields in one operation."
    )
    max_query_root_fields: Annotated[int, Note(unit="fields")] = Field(
        50, ge=1, le=10_000, description="Most fields at the root of one operation."
    )
    max_query_directives: Annotated[int, Note(unit="directives")] = Field(
        100, ge=0, le=10_000, description="Most directives in a query document."
    )
    max_query_cost: Annotated[int, Note(unit="cost")] = Field(
        100_000,
        ge=1,
        le=1_000_000_000,
        description="Most that one operation, or one event of a subscription, may cost: about "
        "one for each item it reads, page sizes multiplied.",
    )
    max_input_depth: Annotated[int, Note(unit="levels")] = Field(
        40,
        ge=1,
        le=200,
        description="Deepest nesting of lists and objects in variables and arguments.",
    )
    max_batch_operations: Annotated[int, Note(unit="operations")] = Field(
        0, ge=0, le=100, description="Most operations in one request body; 0 refuses batches."
    )
    max_concurrent_operations: Annotated[int, Note(unit="operations")] = Field(
        64, ge=1, le=10_000, description="Most queries and mutations that run at once."
    )
    max_waiting_operations: Annotated[int, Note(unit="operations")] = Field(
        1000,
        ge=0,
        le=100_000,
        description="Most queries and mutations that wait until they may run; more are refused "
        "with status 503.",
    )
    max_subscriptions: Annotated[int, Note(unit="subscriptions")] = Field(
        10_000, ge=1, le=1_000_000, description="Most open subscriptions of the whole server."
    )
    max_websockets: Annotated[int, Note(unit="connections")] = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Most open WebSockets of the whole server; more are closed with code 1013.",
    )
    max_subscriptions_per_connection: Annotated[int, Note(unit="operations")] = Field(
        50, ge=1, le=10_000, description="Most open operations of any kind on one WebSocket."
    )
    request_timeout: Annotated[int, _SECONDS] = Field(
        30, ge=1, le=3600, description="Longest execution of a query or mutation."
    )
    stream_heartbeat: Annotated[int, _SECONDS] = Field(
        15,
        ge=1,
        le=3600,
        description="How long an HTTP subscription is silent at most; less than the idle time of "
        "the proxies before the server.",
    )
    operation_cache_bytes: Annotated[int, _BYTES] = Field(
        64 * 2**20,
        ge=2**20,
        le=2**40,
        description="Memory for parsed and validated query documents, which are kept for the next "
        "request.",
    )
    persisted_query_bytes: Annotated[int, _BYTES] = Field(
        16 * 2**20,
        ge=0,
        le=2**40,
        description="Memory for documents that clients name by their hash (automatic persisted "
        "queries); 0 turns that off.",
    )

    # Web
    cors_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(split),
        Note(allowed="*, none, or origins such as https://ui.example.com separated by commas"),
    ] = Field(("*",), description="Web origins whose pages may call the server.")
    shutdown_grace: Annotated[int, _SECONDS] = Field(
        8,
        ge=2,
        le=3600,
        description="How long a stopping server lets open requests finish; container engines "
        "usually kill after 10.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look at the arguments only: ``load_settings`` layers the rest and knows each origin."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str) -> str:
        allowed = "a host name or IP address, such as 127.0.0.1 or ::"
        if not host or any(char.isspace() or char in "/[]@?#" for char in host):
            raise ValueError(allowed)
        try:
            host.encode("idna")  # what looking it up does first
        except UnicodeError:
            raise ValueError(allowed) from None
        return host

    @field_validator("public_url")
    @classmethod
    def _public_url_is_a_base(cls, url: str) -> str:
        if not is_base_url(url):
            raise ValueError(_BASE_URL)
        return url

    @field_validator("default_page_size")
    @classmethod
    def _default_page_fits(cls, size: int, info: ValidationInfo) -> int:
        _at_most(size, info, "max_page_size")
        return size

    @field_validator("min_presigned_url_timeout")
    @classmethod
    def _advertised_validity_is_kept(cls, seconds: int, info: ValidationInfo) -> int:
        # Specification of /service: not above min_object_timeout, or an object could be collected
        # while its PUT URL is still valid.
        _at_most(seconds, info, "min_object_timeout", "presign_ttl")
        return seconds

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(origins) > 1:
            raise ValueError("either * alone or a list of origins: * already allows every origin")
        for origin in origins:
            if origin != "*" and not (is_base_url(origin) and urlsplit(origin).path == ""):
                raise ValueError(
                    f"*, none, or origins such as https://ui.example.com; {origin!r} is not one"
                )
        return origins

    @property
    def data_place(self) -> str:
        """Where all data is, in words."""
        places = [f"bucket {backend.bucket}" for backend in self.storage_backends]
        if self.store == "vast":
            places = [str(self.media_dir)] * self.local_media + places
            return f"{self.catalog_place}, media in {', '.join(places)}"
        if not places:
            return str(self.data_dir)
        return f"{self.data_dir} and {', '.join(places)}"

    @property
    def loopback_only(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def listening_on(self, port: int) -> Self:
        """Return the settings for the port that was really taken, when ``port`` is 0."""
        changes: dict[str, object] = {"port": port}
        if "public_url" not in self.model_fields_set:
            changes["public_url"] = _local_url(self.host, port)
        return self.model_copy(update=changes)


def load_settings(
    command_line: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Settings:
    """Read the settings: defaults < file (``TAMS_CONFIG_FILE``) < environment < command line.

    ``command_line`` has the options that were given, by field name. ``defaults`` are a command's
    own. Raises InvalidSettings, which lists every problem.
    """
    return read(Settings, command_line, defaults)


def _at_most(value: int, info: ValidationInfo, *others: str) -> None:
    # A setting that was refused itself is missing from the data.
    limits = {name: info.data[name] for name in others if name in info.data}
    passed = [f"{env_name(name)} ({top:,})" for name, top in limits.items() if value > top]
    if passed:
        raise ValueError(f"at most {' and '.join(passed)}")
