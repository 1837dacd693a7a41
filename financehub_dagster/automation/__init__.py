"""Jobs, schedules, sensors and hooks over the assets."""
