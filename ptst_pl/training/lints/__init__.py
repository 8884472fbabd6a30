"""Warnings before a fit about templates and rows that look like a mistake. They never stop it."""
