"""Failed and deferred work, and its replays."""
