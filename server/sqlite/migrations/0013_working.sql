-- Whether work on a node is open has a column, and those at work an index, for what a start asks of every node: taken out of
-- the JSON of 10,000 nodes it took several times as long. Nodes at work count as changed, once; no watcher is told.

ALTER TABLE nodes ADD COLUMN working INTEGER NOT NULL DEFAULT 0;
UPDATE nodes SET working = 1 WHERE body ->> '$.lease' IS NOT NULL OR body ->> '$.flow' IS NOT NULL AND body ->> '$.flow.phase' IS NOT 'ended';
CREATE INDEX nodes_working ON nodes (working) WHERE working = 1;
