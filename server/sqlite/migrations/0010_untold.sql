-- Each write of a node takes its last untold entry out of the journal. Without an index of those it reads all that the
-- journal has of the node: a busy one has thousands.

CREATE INDEX changes_untold ON changes (node) WHERE told = 0;
