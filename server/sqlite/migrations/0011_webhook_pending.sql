-- The delivery that was last begun and not taken: it is repeated as it was, with its id, also by a new start of the server.

ALTER TABLE webhooks ADD COLUMN pending TEXT NOT NULL DEFAULT '';
