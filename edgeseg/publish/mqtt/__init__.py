"""MQTT: publisher, outbox, delivery and the connection to the broker."""
