"""The jobs, one idea each: what a run covers, and the schedule or sensor that belongs to that job alone."""
