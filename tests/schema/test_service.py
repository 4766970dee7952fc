"""``Query.service``: what the service says of itself."""

from __future__ import annotations

from pathlib import Path

from tams_gql import __version__
from tests.catalog import Catalog, quick_settings, running
from tests.recording import watched

SERVICE = """
{
  service {
    name description type apiVersion serviceVersion minObjectTimeout minPresignedUrlTimeout
    storageBackends {
      id label storeType provider region availabilityZone storeProduct default presigned
      tags { name values }
    }
  }
}
"""


async def test_the_service_says_what_it_is(catalog: Catalog) -> None:
    (media,) = catalog.services.media
    with watched() as calls:
        data = await catalog.gql.execute(SERVICE)
    assert calls == ["scan service"]  # name and description can be changed while it runs
    assert data["service"] == {
        "name": "tams-gql",
        "description": "Time-addressable media catalog",
        "type": "urn:x-tams:service.tams-gql",
        "apiVersion": "8.2",
        "serviceVersion": f"tams-gql.{__version__}",
        "minObjectTimeout": "600:0",
        "minPresignedUrlTimeout": "300:0",
        "storageBackends": [
            {
                "id": media.backend.id,
                "label": "local",
                "storeType": "http_object_store",
                "provider": None,
                "region": None,
                "availabilityZone": None,
                "storeProduct": None,
                "default": True,
                "presigned": True,
                "tags": [],
            }
        ],
    }


async def test_settings_change_what_the_service_says(tmp_path: Path) -> None:
    settings = quick_settings(
        tmp_path,
        service_name="Playout",
        service_description="The archive of the newsroom",
        min_object_timeout=900,
        min_presigned_url_timeout=60,
    )
    async with running(settings) as catalog:
        service = (await catalog.gql.execute(SERVICE))["service"]
    assert (service["name"], service["description"]) == ("Playout", "The archive of the newsroom")
    assert service["minObjectTimeout"] == "900:0"
    assert service["minPresignedUrlTimeout"] == "60:0"


async def test_the_storage_backend_keeps_its_id_over_a_restart(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        async with running(quick_settings(tmp_path)) as catalog:
            service = (await catalog.gql.execute(SERVICE))["service"]
            ids += [backend["id"] for backend in service["storageBackends"]]
    assert ids == [ids[0]] * 2


UPDATE = """
mutation Update($input: UpdateServiceInput!) {
  updateService(input: $input) { service { name description } }
}
"""


async def test_what_the_service_says_can_be_changed_and_reset(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, service_name="Configured")
    default = {"name": "Configured", "description": "Time-addressable media catalog"}
    for given, wanted in (
        ({"name": "Renamed"}, {"name": "Renamed"}),
        ({}, {"name": "Renamed"}),
        ({"description": ""}, {"name": "Renamed", "description": ""}),
        ({"name": None}, {"description": ""}),
        ({"description": None, "name": "ü"}, {"name": "ü"}),
    ):
        # Each time in a new program: it is the catalog that keeps it.
        async with running(settings) as catalog:
            done = await catalog.gql.execute(UPDATE, {"input": given})
            assert done["updateService"]["service"] == {**default, **wanted}
            service = (await catalog.gql.execute(SERVICE))["service"]
            assert {name: service[name] for name in default} == {**default, **wanted}


async def test_texts_that_are_too_long_are_refused(catalog: Catalog) -> None:
    before = await catalog.dump()
    for field, chars in (("name", 201), ("description", 2001)):
        (error,) = await catalog.gql.errors(UPDATE, {"input": {field: "x" * chars}})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": f"input.{field}"}
    assert await catalog.dump() == before
