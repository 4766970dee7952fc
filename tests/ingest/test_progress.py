"""What the user sees."""

from __future__ import annotations

import io

from rich.console import Console

from tams_gql.ingest.progress import Bar, Lines


def shown(terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=100), text


def test_lines_are_plain() -> None:
    console, text = shown(terminal=False)
    lines = Lines(console)
    lines.begin("film [red].mp4", 3)
    lines.stored(1, 1_000)
    lines.note("a remark")
    lines.end("done")
    lines.begin("live", None)
    assert text.getvalue() == "film [red].mp4: 3 segments to store\na remark\ndone\nlive\n"


def test_a_bar_counts_segments_and_leaves_the_summary() -> None:
    console, text = shown(terminal=True)
    with Bar(console) as bar:
        bar.begin("film.mp4", 2)
        bar.stored(1, 2_500_000)
        bar._progress.refresh()
        bar.stored(1, 500_000)
        bar.end("film.mp4: 2 segments stored")
        bar.begin("next.mp4", None)
    assert "1/2" in text.getvalue()
    assert "2.5 MB" in text.getvalue()
    assert "film.mp4: 2 segments stored" in text.getvalue()
