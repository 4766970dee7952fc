"""What an operation may ask, decided from its text and variables before anything is executed.

A document is measured (``shapes``) and priced (``costing``) once. The price is a formula, into
which each request puts its variables.
"""

from __future__ import annotations

from tams_gql.schema.limits.analysis import Analyses
from tams_gql.schema.limits.bounds import QueryLimits
from tams_gql.schema.limits.extension import LimitedOperation

__all__ = ["Analyses", "LimitedOperation", "QueryLimits"]
