"""Alembic's entry: runs the steps on the connection that `migrations` hands over, in its transaction."""

from alembic import context

from financehub_dagster.storage.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
