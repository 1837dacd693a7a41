"""What upgrading a database needs beside the migrations: what it must allow, its revision, tables and indexes."""
