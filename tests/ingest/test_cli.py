"""``tams-gql ingest`` as it is typed: exit codes, and one clear line when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tams_gql.cli.ingest import ingest
from tams_gql.model.time import TimeRange
from tests.ingest.catalog_server import FakeCatalog
from tests.ingest.media_maker import Recipe, make, make_hls
from tests.waiting import PATIENCE_SECONDS


def run(fake: FakeCatalog, *arguments: str | Path) -> Result:
    return CliRunner().invoke(ingest, ["--url", fake.url, *map(str, arguments)])


def test_files_and_playlists_are_stored(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    path = media("b-frames.mp4")
    index = make_hls(path, tmp_path / "show", kind="video")
    options = ("--segment-duration", "1.0", "--label", "Both", "--start", "10:0")
    result = run(fake, *options, path, index)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: 8 segments to store"
    assert lines[1].startswith(f"{path}: 8 segments stored, 0 were there; flows ")
    assert lines[3].startswith(f"{index}: 4 segments stored, 0 were there; flows ")
    starts = {
        TimeRange.parse(fake.segments(flow["id"])[0]["timerange"]).start_ns // 10**9
        for flow in fake.of_kind("video")
    }
    assert starts == {10}
    assert {flow["label"] for flow in fake.flows.values()} == {
        *("Both", "Both (video)", "Both (audio)")
    }
    again = run(fake, *options, path)
    assert "0 segments stored, 8 were there" in again.stdout


def test_quiet_prints_nothing(fake: FakeCatalog, media: Callable[[str], Path]) -> None:
    result = run(fake, "--quiet", "--container", "fmp4", media("sound.wav"))
    assert (result.exit_code, result.output) == (0, "")


def test_the_address_comes_from_the_environment(
    fake: FakeCatalog, media: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMS_INGEST_URL", fake.url)
    monkeypatch.setenv("TAMS_INGEST_TOKEN", "secret")
    seen = set()
    fake.inspect = lambda headers: seen.add(headers["Authorization"])
    assert CliRunner().invoke(ingest, [str(media("sound.m4a"))]).exit_code == 0
    assert seen == {"Bearer secret"}
    assert "secret" not in CliRunner().invoke(ingest, ["--help"]).output


def broken(name: str, media: Callable[[str], Path], folder: Path) -> Path:
    """A file that cannot be ingested, by what is wrong with it."""
    path = folder / name
    whole = media("b-frames.mp4").read_bytes()
    match name:
        case "text.txt":
            path.write_text("Not a film.\n" * 100)
        case "empty.mp4":
            path.write_bytes(b"")
        case "no-index.mp4":
            path.write_bytes(whole[: len(whole) // 2])
        case "cut-off.mp4":
            make(path, Recipe(muxer_options={"movflags": "faststart"}))
            content = path.read_bytes()
            path.write_bytes(content[: len(content) * 2 // 3])
        case "noise.ts":
            path.write_bytes(bytes((n * n * 31 + 7) % 256 for n in range(20_000)))
        case "locked.m3u8":
            path.write_text(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
                '#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:1,\na.ts\n'
            )
        case "lost-segment.m3u8":
            path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n")
        case "empty.m3u8":
            path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-ENDLIST\n")
        case "folder":
            path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "{path}: No such file or directory"),
        ("folder", "{path}: Is a directory"),
        ("text.txt", "{path}: is not a media file"),
        ("empty.mp4", "{path}: Invalid data found when processing input"),
        ("no-index.mp4", "{path}: Invalid data found when processing input"),
        ("cut-off.mp4", r"{path}: is truncated: its index reaches byte \d+, the file ends at \d+"),
        ("noise.ts", "{path}: Invalid data found when processing input"),
        (
            "locked.m3u8",
            r"{url}: is encrypted \(AES-128\); only clear HLS can be ingested",
        ),
        ("lost-segment.m3u8", "{folder}/a.ts: No such file or directory"),
        ("empty.m3u8", "{path}: lists no segments"),
    ],
)
def test_an_unusable_input_is_one_line(
    name: str, reason: str, fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    path = broken(name, media, tmp_path)
    result = run(fake, path)
    expected = reason.format(
        path=re.escape(str(path)), url=re.escape(path.as_uri()), folder=re.escape(str(tmp_path))
    )
    assert result.exit_code == 1
    assert re.fullmatch(f"tams-gql ingest: {expected}\n", result.stderr), result.stderr
    assert fake.flows == {}
    assert fake.uploads == 0


def test_a_codec_that_does_not_fit_is_named(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    path = media("sound.wav")
    result = run(fake, path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"tams-gql ingest: {path}: pcm_s16le audio cannot be stored in MPEG-TS "
        "(--container fmp4 can carry it)\n"
    )


@pytest.mark.parametrize("url", ["http://[bad/x.m3u8", "http://127.0.0.1:99999/x.m3u8"])
def test_a_wrong_address_of_a_playlist_is_one_line(url: str, fake: FakeCatalog) -> None:
    result = run(fake, url)
    assert result.exit_code == 1
    assert result.stderr == "tams-gql ingest: a malformed URL: is not an http(s) address\n"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (b"Interview: part 1.m4a", "Interview: part 1"),
        (b"file:x.m4a", "file:x"),
        (b"100% of it?#.m4a", "100% of it?#"),
        (b"caf\xe9.m4a", "caf\ufffd"),
    ],
)
def test_names_of_files_may_be_anything(
    name: bytes,
    label: str,
    fake: FakeCatalog,
    media: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(os.fsdecode(name))
    file.write_bytes(media("sound.m4a").read_bytes())
    result = run(fake, file)
    assert (result.exit_code, result.stderr) == (0, "")
    [flow] = fake.flows.values()
    assert flow["label"] == f"{label} (audio)"
    assert {"name": "file_name", "values": [f"{label}.m4a"]} in flow["tags"]


def test_the_servers_refusal_names_the_input(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    path = media("sound.m4a")
    fake.fail = lambda _: 401
    result = run(fake, path)
    assert result.exit_code == 1
    assert result.stderr == (f"tams-gql ingest: {path}: {fake.url}/graphql asks for credentials\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a file or a playlist, or use --live or --demo"),
        (["--live-window", "5", "x.mp4"], "--live-window needs --live or --demo"),
        (["--segment-duration", "0", "x"], "0 must be more than 0"),
        (["--segment-duration", "two", "x"], "'two' is not a number of seconds such as"),
        (["--segment-duration", "1e999999999", "x"], "is not a number of seconds such as"),
        (["--segment-duration", "3601", "x"], "--segment-duration is at most 3600 seconds"),
        (["--start", "12", "x"], 'a timestamp is "seconds:nanoseconds"'),
        (["--container", "avi", "x"], "'avi' is not one of 'ts', 'fmp4'"),
        (["--concurrency", "0", "x"], "0 is not in the range 1<=x<=64"),
        (["--flow-id-namespace", "abc", "x"], "'abc' is not a valid UUID"),
        (["--unknown"], "No such option"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, fake: FakeCatalog) -> None:
    result = run(fake, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not fake.calls


@pytest.mark.parametrize("url", ["nowhere", "http://127.0.0.1:99999", "http://[::1", "http://a..b"])
def test_a_wrong_address_is_one_line(url: str) -> None:
    result = CliRunner().invoke(ingest, ["--url", url, "--live"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "is not an http(s) address" in result.stderr


# Whoever started the tests may have had Ctrl-C ignored, as a shell does for what it runs with `&`.
_INTERRUPTIBLE = """
import signal
from tams_gql.cli.ingest import ingest
signal.signal(signal.SIGINT, signal.default_int_handler)
ingest()
"""


@contextmanager
def ingesting(fake: FakeCatalog, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, which does not outlive the test."""
    command = [sys.executable, "-c", _INTERRUPTIBLE, "--url", fake.url, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_ends_the_live_source(fake: FakeCatalog) -> None:
    with ingesting(fake, "--live") as process:
        wait_for(lambda: any(fake.segments(flow["id"]) for flow in fake.of_kind("video")))
        seen_ns = time.time_ns()
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        output, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert (process.returncode, output, errors) == (130, "Live test card\n", "interrupted\n")
    assert {flow["status"] for flow in fake.flows.values()} == {"AWAITING_CONTENT"}
    video = fake.of_kind("video")[0]["id"]
    span = TimeRange.parse(fake.segments(video)[0]["timerange"])
    assert span.end_ns - span.start_ns == 2 * 10**9
    # A segment is there as soon as it is over.
    assert 0 <= seen_ns - span.end_ns < 10 * 10**9


def test_a_server_that_never_answers_an_upload_does_not_hold_up_the_end(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def upload(*_: object) -> int:
        asked.set()
        answered.wait(60)
        return 200

    fake.upload = upload  # type: ignore[method-assign, assignment]
    with ingesting(fake, "--quiet", media("sound.m4a")) as process:
        assert asked.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    answered.set()
    assert (process.returncode, error) == (130, "interrupted\n")


def test_sigterm_ends_it_as_well(fake: FakeCatalog) -> None:
    with ingesting(fake, "--live") as process:
        wait_for(lambda: len(fake.flows) == 3)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")
