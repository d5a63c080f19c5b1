"""Events out: topics and payloads, MQTT, JSON lines, and the outbox on disk."""
