"""The catalog in a VAST Database cluster."""

import os

# Arrow would report every answer whose columns do not begin at a multiple of their size, as they do
# when they are used where they arrived. It reads this when it first computes with one.
os.environ.setdefault("ACERO_ALIGNMENT_HANDLING", "reallocate")
