"""Watching the platform: health, SLA, metrics, alerts, retention."""
