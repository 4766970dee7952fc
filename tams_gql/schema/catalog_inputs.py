"""Inputs of the mutations on sources, tags, object instances, profiles and the service."""

from __future__ import annotations

import strawberry

from tams_gql.model.formats import ContentFormat
from tams_gql.schema.documents import document_of
from tams_gql.schema.flow_inputs import (
    IDEMPOTENCY_KEY,
    AudioEssenceInput,
    ContainerMappingInput,
    DataEssenceInput,
    ImageEssenceInput,
    RationalInput,
    VideoEssenceInput,
    optional,
    required,
)
from tams_gql.schema.scalars import MimeType
from tams_gql.schema.tags import TagInput, tags_document

_VERSION = "Refuse with CONFLICT unless at this version."


@strawberry.input(description="A source to make without a flow.")
class CreateSourceInput:
    """A new source."""

    id: strawberry.ID = required("A UUID of your choice that is not in use.")
    format: ContentFormat = required("The kind of content.")
    label: str | None = optional("A short name, at most 1,024 characters.")
    description: str | None = optional("A longer text, at most 16,384 characters.")
    tags: list[TagInput] | None = optional("At most 64.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="Changes to a source. What is left out stays; null removes.")
class UpdateSourceInput:
    """A change of a source."""

    id: strawberry.ID = required("The source.")
    label: str | None = optional("A short name.", strawberry.UNSET)
    description: str | None = optional("A longer text.", strawberry.UNSET)
    tags: list[TagInput] | None = optional("They replace all present tags.", strawberry.UNSET)
    expected_version: int | None = optional(_VERSION)
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="A source to delete. It must not have flows.")
class DeleteSourceInput:
    """A deletion of a source."""

    id: strawberry.ID = required("The source.")
    expected_version: int | None = optional(_VERSION)
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="Tags to set and remove on a flow or source; the others stay.")
class SetTagsInput:
    """A change of single tags."""

    id: strawberry.ID = required("A flow or source.")
    set: list[TagInput] | None = optional("Tags to set, replacing those of the same name.")
    remove: list[str] | None = optional("Names of tags to remove; unknown names are ignored.")


@strawberry.input(
    description="A copy of an object: give `storageId` to have one made in a storage backend, or"
    " `url` and `label` to register one outside this service."
)
class AddObjectInstanceInput:
    """A new controlled or uncontrolled instance."""

    object_id: strawberry.ID = required("A registered object.")
    storage_id: strawberry.ID | None = optional(
        "A storage backend, into which the service copies the object in the background."
    )
    url: str | None = optional(
        "An absolute http or https URL that answers GET with the same bytes."
    )
    label: str | None = optional("Tells the copies apart; not the label of a storage backend.")


@strawberry.input(description="A copy of an object to remove: give `storageId` or `label`.")
class RemoveObjectInstanceInput:
    """A removal of an instance."""

    object_id: strawberry.ID = required("A registered object.")
    storage_id: strawberry.ID | None = optional("The storage backend; its bytes are deleted.")
    label: str | None = optional("The copy's label.")


@strawberry.input(one_of=True, description="What the flows of a profile are like.")
class ProfileEssenceInput:
    """The formats of a profile."""

    video: VideoEssenceInput | None = optional("Moving pictures.", strawberry.UNSET)
    audio: AudioEssenceInput | None = optional("Sound.", strawberry.UNSET)
    image: ImageEssenceInput | None = optional("Still images.", strawberry.UNSET)
    data: DataEssenceInput | None = optional("Data.", strawberry.UNSET)


@strawberry.input(description="A profile to make. It can never be changed.")
class CreateProfileInput:
    """A new profile."""

    id: strawberry.ID = required("A UUID of your choice that is not in use.")
    label: str | None = optional("A short name, at most 1,024 characters.")
    description: str | None = optional("A longer text, at most 16,384 characters.")
    tags: list[TagInput] | None = optional("At most 64; flows do not take them over.")
    codec: MimeType = required("The coding, such as `video/h264`.")
    container: MimeType | None = optional("The container of the flows' objects.")
    avg_bit_rate: int | None = optional("1000 bit/s.")
    segment_duration: RationalInput | None = optional("The target duration in seconds.")
    container_mapping: ContainerMappingInput | None = optional("Where flows lie in the container.")
    essence_parameters: ProfileEssenceInput = required("What the essence is like.")


@strawberry.input(description="Changes to the service. What is left out stays; null resets.")
class UpdateServiceInput:
    """A change of the service."""

    name: str | None = optional("At most 200 characters.", strawberry.UNSET)
    description: str | None = optional("At most 2,000 characters.", strawberry.UNSET)


def source_document(source: CreateSourceInput | UpdateSourceInput) -> dict[str, object]:
    """The given fields of a source; for an update None removes one."""
    document: dict[str, object] = {}
    for name in ("label", "description"):
        value = getattr(source, name)
        if value is not strawberry.UNSET:
            document[name] = value
    if source.tags is not strawberry.UNSET:
        document["tags"] = tags_document(source.tags, "input.tags")
    return document


def profile_document(profile: CreateProfileInput) -> dict[str, object]:
    """A profile in the specification's JSON."""
    document: dict[str, object] = document_of(profile)
    document.pop("tags", None)
    if profile.tags is not None:
        document["tags"] = tags_document(profile.tags, "input.tags")
    (name,) = (
        f.name for f in ContentFormat if getattr(profile.essence_parameters, f.name.lower(), None)
    )
    essence = getattr(profile.essence_parameters, name.lower())
    technical: dict[str, object] = {"format": ContentFormat[name].value}
    for key in ("codec", "container", "avg_bit_rate", "segment_duration", "container_mapping"):
        if key in document:
            technical[key] = document.pop(key)
    technical["essence_parameters"] = document_of(essence)
    document.pop("essence_parameters")
    return {**document, "flow_metadata": technical}


def service_changes(service: UpdateServiceInput) -> dict[str, str | None]:
    """The given fields of the service."""
    return {
        name: value
        for name in ("name", "description")
        if (value := getattr(service, name)) is not strawberry.UNSET
    }
