"""What a process has once: the composition root, settings, clock, logs, telemetry, health and group commit."""
