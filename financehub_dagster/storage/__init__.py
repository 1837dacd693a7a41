"""The only code that speaks SQL: engine, tables, migrations, writer and the stores other layers share."""
