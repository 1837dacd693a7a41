"""Backups of both databases in one file, and restoring them into any server, by pg_dump and pg_restore."""
