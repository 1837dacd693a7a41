"""Pure domain: instruments, calendars, bars, quality rules and indicators. No SQL, no network, no Dagster."""
