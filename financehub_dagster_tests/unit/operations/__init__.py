"""Health, SLA, metrics, alerts and retention."""
