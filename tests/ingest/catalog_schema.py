"""The part of the public schema that ingest calls, so that its operations are validated."""

from __future__ import annotations

from typing import Final

_COMMON: Final = """
  id: ID!
  sourceId: ID!
  label: String
  description: String
  tags: [TagInput!]
  generation: Int
  status: FlowStatus
  readOnly: Boolean
  avgBitRate: Int
  maxBitRate: Int
  container: MimeType
  segmentDuration: RationalInput
  containerMapping: ContainerMappingInput
  collection: [FlowMemberInput!]
  metadataVersion: String
  expectedVersion: Int
"""

SCHEMA: Final = f"""
scalar Timestamp
scalar TimeRange
scalar MimeType
scalar BigInt
directive @oneOf on INPUT_OBJECT

enum FlowStatus {{ AWAITING_CONTENT INGESTING REPLICATION_IN_PROGRESS CLOSED_COMPLETE }}
enum ContentFormat {{ VIDEO AUDIO IMAGE DATA MULTI }}
enum InterlaceMode {{ PROGRESSIVE INTERLACED_TFF INTERLACED_BFF INTERLACED_PSF }}
enum Colorspace {{ BT601 BT709 BT2020 BT2100 }}
enum TransferCharacteristic {{ SDR HLG PQ }}
enum ComponentType {{ YCBCR RGB }}
enum UncAudioType {{ INTERLEAVED PLANAR PAIRS }}

input RationalInput {{ numerator: Int!  denominator: Int = 1 }}
input TagInput {{ name: String!  values: [String!]! }}
input Mp2tsContainerInput {{ pid: Int! }}
input IsobmffContainerInput {{ trackId: Int! }}
input ContainerMappingInput {{
  trackIndex: Int
  formatTrackIndex: Int
  mp2tsContainer: Mp2tsContainerInput
  isobmffContainer: IsobmffContainerInput
}}
input FlowMemberInput {{ flowId: ID!  role: String  containerMapping: ContainerMappingInput }}
input AvcParametersInput {{ profile: Int!  level: Int!  flags: Int! }}
input VideoEssenceInput {{
  frameWidth: Int!
  frameHeight: Int!
  frameRate: RationalInput
  vfr: Boolean
  bitDepth: Int
  interlaceMode: InterlaceMode
  colorspace: Colorspace
  transferCharacteristic: TransferCharacteristic
  aspectRatio: RationalInput
  pixelAspectRatio: RationalInput
  componentType: ComponentType
  horizChromaSubs: Int
  vertChromaSubs: Int
  avcParameters: AvcParametersInput
  initSegments: Boolean
}}
input AudioCodecParametersInput {{ codedFrameSize: Int  mp4Oti: Int }}
input UncAudioParametersInput {{ uncType: UncAudioType! }}
input AudioEssenceInput {{
  sampleRate: Int!
  channels: Int!
  bitDepth: Int
  codecParameters: AudioCodecParametersInput
  uncParameters: UncAudioParametersInput
  initSegments: Boolean
}}
input MultiEssenceInput {{ initSegments: Boolean }}
input VideoFlowInput {{ {_COMMON} codec: MimeType!  essenceParameters: VideoEssenceInput! }}
input AudioFlowInput {{ {_COMMON} codec: MimeType!  essenceParameters: AudioEssenceInput! }}
input MultiFlowInput {{ {_COMMON} codec: MimeType  essenceParameters: MultiEssenceInput }}
input PutFlowInput @oneOf {{ video: VideoFlowInput  audio: AudioFlowInput  multi: MultiFlowInput }}
input PatchFlowInput {{
  id: ID!
  label: String
  status: FlowStatus
  avgBitRate: Int
  maxBitRate: Int
  tags: [TagInput!]
  collection: [FlowMemberInput!]
}}
input AllocateStorageInput {{
  flowId: ID!
  limit: Int = 10
  objectIds: [ID!]
  storageId: ID
  contentType: MimeType
}}
input SegmentInput {{
  objectId: ID!
  timerange: TimeRange!
  tsOffset: Timestamp
  objectTimerange: TimeRange
  lastDuration: Timestamp
  sampleOffset: Int
  sampleCount: Int
  keyFrameCount: Int
  initObjectId: ID
  tags: [TagInput!]
}}
input RegisterSegmentsInput {{
  flowId: ID!
  segments: [SegmentInput!]!
  atomic: Boolean = false
}}
input DeleteSegmentsInput {{ flowId: ID!  coveredBy: TimeRange  objectId: ID }}

type Tag {{ name: String!  values: [String!]! }}
type GetUrl {{ url: String!  label: String }}
type MediaObject {{
  id: ID!
  size: BigInt
  contentType: MimeType
  initObject: MediaObject
  getUrls: [GetUrl!]!
}}
type Segment {{
  objectId: ID!
  timerange: TimeRange!
  tsOffset: Timestamp!
  object: MediaObject!
  tags: [Tag!]!
}}
type PageInfo {{ hasNextPage: Boolean!  endCursor: String }}
type SegmentConnection {{ nodes: [Segment!]!  pageInfo: PageInfo!  totalCount: Int! }}
type Flow {{
  id: ID!
  format: ContentFormat!
  codec: MimeType
  container: MimeType
  status: FlowStatus
  readOnly: Boolean!
  timerange: TimeRange
  segments(
    window: TimeRange
    reverse: Boolean = false
    first: Int = 50
    after: String
  ): SegmentConnection!
}}
type PutFlowPayload {{ created: Boolean!  event: String! }}
type PatchFlowPayload {{ event: String! }}
type Header {{ name: String!  value: String! }}
type PutUrl {{ url: String!  headers: [Header!]! }}
type AllocatedObject {{ objectId: ID!  presigned: Boolean!  putUrl: PutUrl! }}
type AllocateStoragePayload {{ mediaObjects: [AllocatedObject!]! }}
type ItemError {{ code: String!  message: String!  field: String }}
type RegisterResult {{ index: Int!  error: ItemError }}
type RegisterSegmentsPayload {{
  registeredCount: Int!
  event: String
  results: [RegisterResult!]!
}}
type DeleteSegmentsPayload {{ deletedCount: Int!  event: String }}

type Query {{ flow(id: ID!): Flow }}
type Mutation {{
  putFlow(input: PutFlowInput!): PutFlowPayload!
  patchFlow(input: PatchFlowInput!): PatchFlowPayload!
  allocateStorage(input: AllocateStorageInput!): AllocateStoragePayload!
  registerSegments(input: RegisterSegmentsInput!): RegisterSegmentsPayload!
  deleteSegments(input: DeleteSegmentsInput!): DeleteSegmentsPayload!
}}
"""
