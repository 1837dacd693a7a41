"""What follows failed and killed runs: dead letters, replays, recovery and their clean-up."""
