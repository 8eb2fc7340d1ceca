INSERT INTO webhooks (uuid, project, url, key_id, sealed, created_at, epoch, seq, failures, last_error, delivered_at)
VALUES ('11111111-1111-4111-8111-111111111111', 'blue', 'https://hooks.example/', 'k', x'00', '2026-11-20T12:00:00Z', 'e', 7, 2, 'the destination does not answer', '');
