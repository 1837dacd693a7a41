"""The database as a whole: connections, addresses, errors, the schema and its migrations, the embedded server."""
