-- Flows by format and by codec, in the order of lists; a codec's index also tells the format.
CREATE INDEX flows_by_format ON flows (format, created, id);
CREATE INDEX flows_by_codec ON flows (codec, created, id, format);
