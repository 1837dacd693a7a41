"""Asset checks: one step for each table, and what each check looks at."""
