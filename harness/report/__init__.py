"""Boards as terminal tables, Markdown, CSV, JSON, HTML and figures."""
