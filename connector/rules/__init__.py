"""Conditions, segments and the SQL that computes every number."""
