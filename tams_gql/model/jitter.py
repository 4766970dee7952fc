"""Chance that keeps programs apart: how long they wait to try again, the values of locks."""

from __future__ import annotations

from random import Random
from typing import Final

# Not the generator of the module ``random``: whoever seeds that one, as test tools and data
# generators do, would make all programs that wait for each other look again at the same moments.
CHANCE: Final = Random()
