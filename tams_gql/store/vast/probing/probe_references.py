"""Do objects say where their users are? Tried on some of them, against their counts."""

from __future__ import annotations

from collections import Counter
from string import hexdigits

from tams_gql.model.errors import TamsError
from tams_gql.model.jitter import CHANCE
from tams_gql.store.findings import Finding, Status
from tams_gql.store.scan import Op, Where, compare, is_in
from tams_gql.store.tables import OBJECTS, SEGMENTS
from tams_gql.store.vast.layout import USES, physical_of
from tams_gql.store.vast.uses import bounds_of_users
from tams_gql.store.vast.wire.client import Gone, Tx, VastClient

_CHECK = "references"
_WANTED = 100  # objects of one look
_MOST = 5_000
_MOST_DIGITS = 12
_LOOKS = 3  # with writers at work, a look that is no snapshot may see half of a change

_OBJECTS, _SEGMENTS = physical_of(OBJECTS), physical_of(SEGMENTS)


def references(client: VastClient) -> Finding:
    """Count the users of some media objects where their rows say that they are."""
    wrong: list[str] = []
    for _ in range(_LOOKS):
        tx = client.begin()
        try:
            seen, unknown, wrong = _look(tx)
        except (TamsError, Gone) as failed:
            return Finding(_CHECK, Status.FAILED, f"objects cannot be read: {failed}")
        finally:
            tx.rollback()
        if not wrong:
            facts = {"objects": seen, "without": unknown}
            text = f"the users of {seen} objects are where their rows say"
            if unknown:
                text += f"; {unknown} more do not say, so all segments are read for them"
            return Finding(_CHECK, Status.OK, text, "", facts)
    text = f"{len(wrong)} of {seen} objects have other users than their rows say"
    advice = (
        "stop all servers, set the row `schema_version` of the table `service` to 2, and run"
        " `tams-gql migrate`, which reads all segments again"
    )
    return Finding(_CHECK, Status.FAILED, text, advice, {"objects": seen, "wrong": wrong[:10]})


def _look(tx: Tx) -> tuple[int, int, list[str]]:
    """How many objects were tried, how many say nothing, and the ids of those that are wrong."""
    rows = tx.select(_OBJECTS, ("id", "role", "ref_count", USES), [_some(tx)]).to_pylist()
    media = [row for row in rows if row["role"] == "media"]
    told = {row["id"]: row[USES] for row in media if row[USES] is not None}
    users: Counter[str] = Counter()
    if told:
        where = (is_in("object_id", told), *bounds_of_users(SEGMENTS, told))
        users.update(tx.select(_SEGMENTS, ("object_id",), where).column("object_id").to_pylist())
    wrong = [r["id"] for r in media if r["id"] in told and users[r["id"]] != r["ref_count"]]
    return len(told), len(media) - len(told), wrong


def _some(tx: Tx) -> Where:
    """Ids of some objects, about as many as wanted if ids are spread evenly."""
    count, prefix = tx.estimate(_OBJECTS), ""
    while count > _WANTED and len(prefix) < _MOST_DIGITS:
        count, prefix = count // 16, prefix + CHANCE.choice(hexdigits[:16])
    some = compare("id", Op.PREFIX, prefix)
    while prefix and len(prefix) < _MOST_DIGITS and tx.count(_OBJECTS, [some]) > _MOST:
        prefix += CHANCE.choice(hexdigits[:16])
        some = compare("id", Op.PREFIX, prefix)
    return some
