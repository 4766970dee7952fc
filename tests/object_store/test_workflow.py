"""From a file to its pictures again, with media in a bucket: the programs as they are typed."""

from __future__ import annotations

import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx

from tests.ingest.media_maker import Recipe, make
from tests.ingest.reading import frames_of, joined
from tests.media.s3_server import S3Server
from tests.object_store.conftest import Start, stored_keys
from tests.processes import Process

TAMS = [sys.executable, "-m", "tams_gql"]
RATE = Fraction(30000, 1001)
NTSC = Recipe(rate=RATE, pictures=150, gop=30)
SERVES = r"serves (http://\S+:\d+),"

FLOW = """
query Flow($id: ID!, $window: TimeRange!) {
  service { storageBackends { label default tags { name values } } }
  flow(id: $id) {
    timerange
    segments(window: $window, first: 100) {
      nodes {
        timerange tsOffset
        getUrls { url label presigned }
        object { size contentType instances { __typename } }
      }
    }
  }
}
"""


def ask(url: str, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    answer = httpx.post(f"{url}/graphql", json=body, trust_env=False, timeout=60).json()
    assert "errors" not in answer, answer
    return answer["data"]


def ingested(server: Process, url: str, path: Path, start: Start) -> list[str]:
    """Ingest a file with one-second segments; the ids of its flows."""
    command = [*TAMS, "ingest", "--url", url, "--segment-duration", "1", "--start", "100:0"]
    client = start([*command, str(path)])
    assert client.ended(60) == 0, client.output + server.output
    return client.wait_for(r"10 segments stored, 0 were there; flows (.+)")[1].split()


def test_what_was_ingested_is_read_back_by_timerange(
    start: Start, s3: S3Server, prefix: str, tmp_path: Path
) -> None:
    # given
    path = make(tmp_path / "ntsc.mp4", NTSC)
    server = start([*TAMS, "serve"])
    url = server.wait_for(SERVES)[1]
    # when
    video_id, audio_id, _ = ingested(server, url, path, start)
    # then
    data = ask(url, FLOW, id=video_id, window="[101:0_103:0)")
    (backend,) = data["service"]["storageBackends"]
    assert (backend["label"], backend["default"]) == ("s3-test", True)
    assert backend["tags"] == [{"name": "tier", "values": ["fast"]}]
    assert data["flow"]["timerange"] == "[100:0_105:5000000)"
    nodes = data["flow"]["segments"]["nodes"]
    second = 30 * 1001 * 10**9 // 30000  # of 30 pictures, in ns
    assert [node["timerange"] for node in nodes] == [
        f"[{100 + n}:{n * 1_000_000}_{101 + n}:{(n + 1) * 1_000_000})" for n in range(3)
    ]
    assert second == 1_001_000_000
    # when
    urls = [node["getUrls"][0] for node in nodes]
    assert all(found["url"].startswith(f"{s3.endpoint}/{s3.bucket}/{prefix}") for found in urls)
    assert {(found["label"], found["presigned"]) for found in urls} == {("s3-test", True)}
    contents = [httpx.get(found["url"], trust_env=False) for found in urls]
    # then
    assert {answer.status_code for answer in contents} == {200}
    assert {answer.headers["content-type"] for answer in contents} == {
        nodes[0]["object"]["contentType"]
    }
    assert [len(answer.content) for answer in contents] == [
        int(node["object"]["size"]) for node in nodes
    ]
    found = frames_of(joined([answer.content for answer in contents]))
    expected = frames_of(path)
    assert len(expected) == 150
    assert [frame.content for frame in found] == [frame.content for frame in expected[:90]]
    assert [frame.pts - found[0].pts for frame in found] == [n / RATE for n in range(90)]

    # when the rest and the sound are read too
    everything = ask(url, FLOW, id=video_id, window="_")["flow"]["segments"]["nodes"]
    whole = [httpx.get(n["getUrls"][0]["url"], trust_env=False).content for n in everything]
    assert [f.content for f in frames_of(joined(whole))] == [f.content for f in expected]
    sound = ask(url, FLOW, id=audio_id, window="_")["flow"]["segments"]["nodes"]
    assert len(stored_keys(s3, prefix)) == len(everything) + len(sound) == 10
    # a range, as players ask for it
    part = httpx.get(urls[0]["url"], headers={"Range": "bytes=188-375"}, trust_env=False)
    assert (part.status_code, part.content) == (206, whole[0][188:376])

    # finally
    assert server.stop(signal.SIGTERM, 30)[0] == 0
    assert "ERROR" not in server.output
    assert s3.secret_access_key not in server.output
    assert not (tmp_path / "data" / "media").exists()


def test_the_demo_plays_with_its_media_in_a_bucket(
    start: Start, s3: S3Server, prefix: str, tmp_path: Path
) -> None:
    server = start([*TAMS, "demo"])
    server.wait_for(r"GraphiQL +http://\S+")
    assert f"Data       {tmp_path / 'data'} and bucket {s3.bucket}" in server.output
    stored = server.wait_for(r"Demo programme: (.*stored)", 120)[1]
    server.wait_for("Demo live channel", 60)
    assert server.stop(signal.SIGINT, 30)[0] == 0
    assert stored.endswith("segments stored")
    assert len(stored_keys(s3, prefix)) >= 90
    assert "ERROR" not in server.output


def test_a_wrong_backend_stops_the_start_with_its_place(start: Start, s3: S3Server) -> None:
    wrong = f'[{{"label": "x", "buckett": "{s3.secret_access_key}"}}]'
    server = start([*TAMS, "serve"], TAMS_STORAGE_BACKENDS=wrong)
    assert server.ended() == 2
    assert "TAMS_STORAGE_BACKENDS: storage_backends.0.bucket: must be given" in server.output
    assert "TAMS_STORAGE_BACKENDS: storage_backends.0.buckett: unknown field" in server.output
    assert s3.secret_access_key not in server.output
