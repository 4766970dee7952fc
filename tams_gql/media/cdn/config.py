"""What an operator says of the network that delivers a backend's objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from tams_gql.media.cdn.signer import CdnSigner, Scope, content_of


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CloudFrontSettings(_Model):
    """Amazon CloudFront, with the key pair of a trusted key group. ``step`` is in seconds."""

    kind: Literal["cloudfront"]
    key_pair_id: str = Field(pattern=r"^[A-Za-z0-9]{1,128}$")
    private_key: Path
    scope: Scope = "object"
    step: int = Field(60, ge=1, le=86_400)

    def signer(self, base_url: str) -> CdnSigner:
        """Read the key. Blocks. Raises BadInput."""
        from tams_gql.media.cdn.cloudfront import CloudFront, load_key

        key = load_key(content_of(self.private_key))
        return CloudFront(
            base_url, key, key_pair_id=self.key_pair_id, scope=self.scope, step=self.step
        )


class EdgeAuthSettings(_Model):
    """Akamai's token authentication, or another verifier of its tokens."""

    kind: Literal["edgeauth"]
    key: Path
    parameter: str = Field("hdnts", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    scope: Scope = "object"
    escape: bool = False

    def signer(self, base_url: str) -> CdnSigner:
        """Read the key. Blocks. Raises BadInput."""
        from tams_gql.media.cdn.edgeauth import EdgeAuth, load_key

        return EdgeAuth(
            base_url,
            load_key(content_of(self.key)),
            parameter=self.parameter,
            scope=self.scope,
            escape=self.escape,
        )


def _kind(value: object) -> object:
    if isinstance(value, str):
        return "function"
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


UrlSigner = Annotated[
    Annotated[str, Field(pattern=r"^[\w.]+:\w+$"), Tag("function")]
    | Annotated[CloudFrontSettings, Tag("cloudfront")]
    | Annotated[EdgeAuthSettings, Tag("edgeauth")],
    Discriminator(_kind),
]
"""One that is built in, or a function of the operator's own as "module:function"."""
