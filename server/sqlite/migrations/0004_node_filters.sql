-- What nodes are filtered by since then has a column too.

ALTER TABLE nodes ADD COLUMN instance_name TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN lessee TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN shard TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN chassis TEXT NOT NULL DEFAULT '';

-- The name of an instance was shown from instance_info, and not kept.
UPDATE nodes SET body = json_set(body, '$.instance_name', substr(body ->> '$.instance_info.display_name', 1, 255))
	WHERE json_type(body, '$.instance_info.display_name') = 'text' AND body ->> '$.instance_info.display_name' <> '';
UPDATE nodes SET instance_name = coalesce(body ->> '$.instance_name', ''), lessee = coalesce(body ->> '$.lessee', ''), shard = coalesce(body ->> '$.shard', '');

CREATE INDEX nodes_parent ON nodes (parent) WHERE parent <> '';
