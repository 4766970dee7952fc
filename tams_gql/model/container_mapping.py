"""Where the essence of a flow lies in a container (schema ``container-mapping``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tams_gql.model.spec_model import NonNegative, SpecModel

# The pattern of the schema, whose unescaped dot between the words of a UMID is kept. The digits
# of a channel number are bounded because a channel number elsewhere is an integer of 32 bits.
_CHANNEL_RANGE = r"^[0-9]{1,10}_[0-9]{1,10}$"
_PACKAGE_UID = (
    r"^(?:urn:smpte:umid:[0-9a-fA-F]{8}(?:.[0-9a-fA-F]{8}){7}"
    r"|urn:uuid:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$"
)

# ISO/IEC 13818-1: the packet id has 13 bits.
_MAX_PID = 2**13 - 1


class AudioTrack(SpecModel):
    """Which channels of an audio track are the flow's, counted from 0."""

    channel_numbers: Annotated[list[NonNegative], Field(min_length=1)] | None = None
    channel_range: Annotated[str, Field(pattern=_CHANNEL_RANGE)] | None = None


class Mp2tsContainer(SpecModel):
    pid: Annotated[int, Field(ge=0, le=_MAX_PID)] | None = None


class MxfContainer(SpecModel):
    package_uid: Annotated[str, Field(pattern=_PACKAGE_UID)] | None = None
    track_id: NonNegative | None = None


class IsobmffContainer(SpecModel):
    track_id: NonNegative | None = None


class ContainerMapping(SpecModel):
    """Indexes count from 0, over all tracks or over those of the flow's format."""

    track_index: NonNegative | None = None
    format_track_index: NonNegative | None = None
    audio_track: AudioTrack | None = None
    mp2ts_container: Mp2tsContainer | None = None
    mxf_container: MxfContainer | None = None
    isobmff_container: IsobmffContainer | None = None
