"""Where the credentials of a backend come from, and how they stay good while the server runs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tams_gql.media.s3.signing import Credentials
from tams_gql.model.errors import Unavailable

logger = logging.getLogger(__name__)

# STS gives out credentials for 15 minutes at least; metadata services renew theirs late.
REFRESH_AHEAD_SECONDS: Final = 15 * 60.0
RECHECK_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 5.0
_FUTILE_SECONDS: Final = 5.0
_MAX_FILE_BYTES: Final = 64 * 1024


class CredentialSource(Protocol):
    """Gives the credentials that are valid now."""

    async def load(self) -> Credentials:
        """Read them anew. Raises Unavailable if there are none, saying where they were sought."""
        ...


class FixedSource:
    """Credentials that were given once."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def load(self) -> Credentials:
        return self._credentials


class EnvironmentSource:
    """Credentials in environment variables with names of the operator's choice."""

    def __init__(self, access_key_id: str, secret_access_key: str, token: str | None) -> None:
        """The names of the variables."""
        self._names = (access_key_id, secret_access_key, token)

    async def load(self) -> Credentials:
        key_id, secret, token = self._names
        session_token = os.environ.get(token) if token else None
        return Credentials(_variable(key_id), _variable(secret), session_token or None)


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise Unavailable(f"the environment variable {name} holds no S3 credentials")
    return value


class FilesSource:
    """Credentials in one file each, as secrets are mounted into containers."""

    def __init__(self, access_key_id: Path, secret_access_key: Path, token: Path | None) -> None:
        self._paths = (access_key_id, secret_access_key, token)

    async def load(self) -> Credentials:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Credentials:
        key_id, secret, token = self._paths
        return Credentials(_content(key_id), _content(secret), _content(token) if token else None)


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            value = file.read(_MAX_FILE_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # Not the error's own text: a failed decoding shows the bytes.
        raise Unavailable(
            f"the S3 credentials in {path} cannot be read ({type(error).__name__})"
        ) from None
    if not value:
        raise Unavailable(f"the file {path} holds no S3 credentials")
    return value


class CredentialKeeper:
    """Holds the credentials of one backend and renews them before they expire.

    Those that do not expire are looked up again every ``recheck_seconds``, so that an operator can
    rotate them in place.
    """

    def __init__(
        self,
        source: CredentialSource,
        *,
        recheck_seconds: float = RECHECK_SECONDS,
        refresh_ahead_seconds: float = REFRESH_AHEAD_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` gives Unix seconds."""
        self._source = source
        self._recheck = recheck_seconds
        self._ahead = refresh_ahead_seconds
        self._clock = clock
        self._current: Credentials | None = None
        self._lock = asyncio.Lock()
        self._futile_until = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, patient: bool = False) -> None:
        """Load the first credentials and keep renewing them.

        Raises Unavailable if there are none, unless ``patient``: then they may come later.
        """
        try:
            self._current = await self._source.load()
        except Unavailable as error:
            if not patient:
                raise
            logger.error("there are no S3 credentials yet: %s", error.message)
        self._task = asyncio.create_task(self._keep(), name="s3-credentials")

    async def aclose(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def current(self) -> Credentials:
        """The credentials to sign with now. No I/O. Raises Unavailable if they have expired."""
        current = self._current
        if current is None or self._seconds_left(current) <= 0:
            state = "are missing" if current is None else "have expired and could not be renewed"
            raise Unavailable(f"the S3 credentials {state}")
        return current

    async def fresh(self) -> Credentials:
        """The same, but renewed first if they have expired."""
        current = self._current
        if current is None or self._seconds_left(current) <= 0:
            await self.reload(current)
        return self.current()

    async def reload(self, refused: Credentials | None) -> bool:
        """Load again after ``refused`` did not work; whether there are others now.

        Callers that come together share one load, and after a load that failed or brought nothing
        new the next has to wait: a thousand refused requests must not become a thousand loads,
        each of which may wait for a metadata service that does not answer.
        Raises Unavailable.
        """
        async with self._lock:
            if self._current == refused and time.monotonic() >= self._futile_until:
                try:
                    self._take(await self._source.load())
                except Exception:
                    self._wait()
                    raise
                if self._current == refused:
                    self._wait()
        return self._current != refused

    def _wait(self) -> None:
        self._futile_until = time.monotonic() + min(_FUTILE_SECONDS, self._recheck)

    def _take(self, loaded: Credentials) -> None:
        if loaded != self._current:
            self._current = loaded
            logger.info("S3 credentials renewed: access key id ends in %s", _tail(loaded))

    def _seconds_left(self, credentials: Credentials) -> float:
        if credentials.expires_at is None:
            return float("inf")
        return credentials.expires_at - self._clock()

    def _pause(self) -> float:
        """Seconds until the next look at the source."""
        left = self._seconds_left(self._current) if self._current else 0.0
        if left == float("inf"):
            return self._recheck
        # A source may give the same ones again until shortly before their end.
        return max(left - self._ahead, min(self._recheck, max(left / 2, 1.0)))

    async def _keep(self) -> None:
        pause = self._pause()
        while True:
            await asyncio.sleep(pause)
            try:
                async with self._lock:
                    self._take(await self._source.load())
                pause = self._pause()
            except Unavailable as error:
                logger.warning("S3 credentials could not be renewed: %s", error.message)
                pause = min(_RETRY_SECONDS, self._recheck)
            except Exception as error:
                # Nobody waits for this task. The error's text might show a secret.
                logger.error("S3 credentials could not be renewed: %s", type(error).__name__)
                pause = min(_RETRY_SECONDS, self._recheck)


def _tail(credentials: Credentials) -> str:
    return f"...{credentials.access_key_id[-4:]}" if len(credentials.access_key_id) > 8 else "..."
