"""What can go wrong with an input, beside the errors that the server answers.

Server refusals arrive as the ``TamsError`` class of their code (see ``api``).
"""

from __future__ import annotations

from tams_gql.model.errors import BadInput


class UnusableMedia(BadInput):
    """An input cannot be ingested; the message is one line naming the input and the reason."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {' '.join(reason.split())}", field="input", source=source)
        self.source = source
        self.reason = reason
