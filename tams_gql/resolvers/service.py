"""What the service says of itself, as configured and as changed since."""

from __future__ import annotations

from tams_gql.context import Context
from tams_gql.model.bounds import check_text
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.store.changes import ChangeSet, Delete, Insert
from tams_gql.store.scan import eq
from tams_gql.store.tables import SERVICE

_KEYS = {"name": "service_name", "description": "service_description"}
_MAX_CHARS = {"name": 200, "description": 2_000}


async def service_name(ctx: Context) -> str | None:
    """What was set through the API, else what is configured."""
    stored = await ctx.loaders.service_value_by_name.load(_KEYS["name"])
    return ctx.services.info.name if stored is None else stored


async def service_description(ctx: Context) -> str | None:
    """What was set through the API, else what is configured."""
    stored = await ctx.loaders.service_value_by_name.load(_KEYS["description"])
    return ctx.services.info.description if stored is None else stored


async def update_service(ctx: Context, changed: dict[str, str | None]) -> None:
    """Change ``name`` or ``description``; None returns to what is configured (POST /service)."""
    for key, text in changed.items():
        if text is not None:
            check_text(text, key, max_chars=_MAX_CHARS[key])

    async def attempt() -> None:
        changes = ChangeSet(ctx.services.now_us())
        for key, text in changed.items():
            changes.delete.append(Delete(SERVICE, (eq("name", _KEYS[key]),)))
            if text is not None:
                changes.insert.append(Insert(SERVICE, SERVICE.columns, ((_KEYS[key], text),)))
        await ctx.commit(changes)

    await until_fresh(attempt)
