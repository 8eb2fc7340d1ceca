-- What a BMC tells of a machine's parts: one list a row, so that a reading replaces it whole.

CREATE TABLE parts (
	node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	part TEXT NOT NULL, -- bios, firmware
	body TEXT NOT NULL,
	PRIMARY KEY (node, part)
) STRICT, WITHOUT ROWID;
