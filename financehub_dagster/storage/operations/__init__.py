"""What the platform records about itself: health, SLA breaches, alerts, statistics of jobs."""
