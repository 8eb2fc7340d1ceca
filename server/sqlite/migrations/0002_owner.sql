-- Which server may write: one row, compared in every write transaction. It is read before migrations run, also by a
-- program that knows fewer of them: its columns stay as they are.

CREATE TABLE owner (
	id       INTEGER PRIMARY KEY CHECK (id = 1),
	holder   TEXT NOT NULL,    -- one start of one server
	host     TEXT NOT NULL,
	boot     TEXT NOT NULL,    -- the kernel's boot id: a process number means something within one boot only
	pid      INTEGER NOT NULL,
	fence    INTEGER NOT NULL, -- grows with every start
	renewals INTEGER NOT NULL, -- grows with every renewal of one start
	expires  TEXT NOT NULL
) STRICT;
