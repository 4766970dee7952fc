"""What to try first: printed by the demo, and the first tabs of the explorer."""

from __future__ import annotations

CATALOG_QUERY = """\
query Catalog {
  sources(first: 20) {
    nodes {
      id
      label
      format
      flows(first: 20) {
        nodes { id label codec timerange tags { name values } }
      }
    }
  }
}
"""

TIMELINE_QUERY = """\
query Timeline {
  flows(first: 20) {
    nodes {
      id
      label
      segments(window: "[0:0_10:0)", first: 10) {
        nodes { timerange objectId getUrls { label url } }
      }
    }
  }
}
"""

LIVE_QUERY = """\
subscription Live {
  segmentsAdded {
    cursor
    flow { id label }
    segments { timerange objectId }
  }
}
"""

QUERIES = {
    "The catalog": CATALOG_QUERY,
    "Ten seconds of every timeline, with media URLs": TIMELINE_QUERY,
    "New segments, live": LIVE_QUERY,
}
