# ruff: noqa: INP001 - Alembic runs these files by path; importing them as modules would mean nothing
"""Alembic's entry: run the migrations on the connection that `connector.journal.migrate` hands over."""

from __future__ import annotations

from alembic import context

from connector.journal.tables import metadata

# The caller's transaction holds everything: `transactional_ddl` is Alembic's belief about SQLite, which has it too.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
