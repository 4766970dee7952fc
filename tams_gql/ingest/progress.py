"""What the user sees while segments are stored."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class Observer(Protocol):
    """Is told how an ingest goes on."""

    def begin(self, title: str, total: int | None) -> None:
        """An input starts; ``total`` segments are to be stored, None is unknown."""

    def stored(self, segments: int, size: int) -> None:
        """``segments`` more are registered, of ``size`` bytes together."""

    def note(self, text: str) -> None:
        """A remark worth one line."""

    def end(self, summary: str) -> None:
        """The input is done."""


class Silent:
    """Shows nothing."""

    def begin(self, title: str, total: int | None) -> None:
        """See ``Observer``."""

    def stored(self, segments: int, size: int) -> None:
        """See ``Observer``."""

    def note(self, text: str) -> None:
        """See ``Observer``."""

    def end(self, summary: str) -> None:
        """See ``Observer``."""


class Lines(Silent):
    """Plain lines, for logs and pipes: one at the start, one at the end, remarks between."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, title: str, total: int | None) -> None:
        """See ``Observer``."""
        count = "" if total is None else f": {total} segments to store"
        self._print(f"{title}{count}")

    def note(self, text: str) -> None:
        """See ``Observer``."""
        self._print(text)

    def end(self, summary: str) -> None:
        """See ``Observer``."""
        self._print(summary)

    def _print(self, text: str) -> None:
        # A file's name may hold what cannot be written.
        text = text.encode("utf-8", "replace").decode("utf-8")
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar(Lines):
    """A progress bar on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[size]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._bytes = 0

    def begin(self, title: str, total: int | None) -> None:
        """See ``Observer``."""
        self._bytes = 0
        title = title.encode("utf-8", "replace").decode("utf-8")
        self._task = self._progress.add_task(title, total=total, size="")
        self._progress.start()

    def stored(self, segments: int, size: int) -> None:
        """See ``Observer``."""
        if self._task is not None:
            self._bytes += size
            shown = f"{self._bytes / 1e6:.1f} MB"
            self._progress.update(self._task, advance=segments, size=shown)

    def end(self, summary: str) -> None:
        """See ``Observer``."""
        self.close()
        self._print(summary)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
