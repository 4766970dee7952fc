"""The GraphQL operations that ingest uses; nothing else of the API is needed."""

from __future__ import annotations

from typing import Final

FLOW: Final = """
query IngestFlow($id: ID!) {
  flow(id: $id) { id format codec container status timerange }
}
"""

SEGMENTS: Final = """
query IngestSegments(
  $id: ID!, $window: TimeRange, $reverse: Boolean!, $first: Int!, $after: String
) {
  flow(id: $id) {
    segments(window: $window, reverse: $reverse, first: $first, after: $after) {
      nodes { objectId timerange tsOffset object { size } tags { name values } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

INIT_OBJECT: Final = """
query IngestInitObject($id: ID!) {
  flow(id: $id) {
    segments(reverse: true, first: 1) {
      nodes { object { initObject { id getUrls { url } } } }
    }
  }
}
"""

PUT_FLOW: Final = """
mutation IngestPutFlow($input: PutFlowInput!) {
  putFlow(input: $input) { created }
}
"""

PATCH_FLOW: Final = """
mutation IngestPatchFlow($input: PatchFlowInput!) {
  patchFlow(input: $input) { event }
}
"""

ALLOCATE: Final = """
mutation IngestAllocate($input: AllocateStorageInput!) {
  allocateStorage(input: $input) {
    mediaObjects { objectId putUrl { url headers { name value } } }
  }
}
"""

REGISTER: Final = """
mutation IngestRegister($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) {
    registeredCount
    results { index error { code message field } }
  }
}
"""

DELETE: Final = """
mutation IngestDelete($input: DeleteSegmentsInput!) {
  deleteSegments(input: $input) { deletedCount }
}
"""
