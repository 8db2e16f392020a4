"""Notebook runs as pages to read: safe tables, HTML reports, an index of a run, a comparison of
runs."""
