-- An inventory as it came, and before it its disks, which decisions are made by: what a row holds behind a long value is
-- read through it. A row without has all of it in the body.
ALTER TABLE inventories ADD COLUMN disks TEXT;
ALTER TABLE inventories ADD COLUMN found TEXT;
