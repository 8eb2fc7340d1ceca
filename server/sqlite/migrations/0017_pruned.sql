-- What a node has been through stays bounded (safety.md L7): its last 300 lines of history, and the attempts of its last 16
-- runs. Of 64 steps the last attempt that succeeded stays beside these, whatever came after: it says how and when the disks
-- were erased and what was written on them. Attempts that are open stay: they end what they are part of, whichever that is.
-- A database of before is pruned by a node's next line and next run. The numbers stand in docs/reference/kept.md, too.

ALTER TABLE steps ADD COLUMN name TEXT GENERATED ALWAYS AS (body ->> '$.step.name') VIRTUAL;
CREATE INDEX steps_done ON steps (node, name) WHERE state = 'succeeded';

CREATE TRIGGER steps_pruned AFTER INSERT ON steps
WHEN NOT EXISTS (SELECT 1 FROM steps WHERE node = new.node AND run = new.run AND seq < new.seq) BEGIN
	DELETE FROM steps WHERE node = new.node AND state NOT IN ('offered', 'started')
		AND run NOT IN (SELECT run FROM steps WHERE node = new.node GROUP BY run ORDER BY max(seq) DESC LIMIT 16)
		AND seq NOT IN (SELECT max(seq) FROM steps WHERE node = new.node AND state = 'succeeded' GROUP BY name ORDER BY 1 DESC LIMIT 64);
END;

CREATE TRIGGER history_pruned AFTER INSERT ON history BEGIN
	DELETE FROM history WHERE node = new.node AND seq <= (SELECT seq FROM history WHERE node = new.node ORDER BY seq DESC LIMIT 1 OFFSET 300);
END;
