-- What stands beside nodes, ports first, is in one table: kind tells them apart.

CREATE TABLE records (
	id   INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation
	kind TEXT NOT NULL,
	uuid TEXT NOT NULL,
	name TEXT,
	node TEXT REFERENCES nodes (uuid) ON DELETE CASCADE,
	mark TEXT, -- what else is unique within the kind: a port's address
	body TEXT NOT NULL,
	UNIQUE (kind, uuid),
	UNIQUE (kind, name),
	UNIQUE (kind, mark)
) STRICT;
CREATE INDEX records_node ON records (node, kind);

-- Names of ports were not unique before: the first port keeps a name that several have.
INSERT INTO records (id, kind, uuid, name, node, mark, body)
	SELECT id, 'port', uuid, nullif(CASE WHEN first THEN body ->> '$.name' END, ''), node, address,
		CASE WHEN first THEN body ELSE json_remove(body, '$.name') END
	FROM (SELECT *, row_number() OVER (PARTITION BY coalesce(nullif(body ->> '$.name', ''), uuid) ORDER BY id) = 1 AS first FROM ports)
	ORDER BY id;
DROP TABLE ports;
