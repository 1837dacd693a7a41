"""Runs on Celery workers, by dagster-celery: the application that workers run, and the launcher that knows its workers.

Loaded only where FINANCEHUB_RUN_LAUNCHER=celery; needs the extra [celery].
"""
