"""Resumes and jobs from the files that people have: PDF, Word, HTML, text, tables."""
