"""Encoders, search, and evaluation of rankings."""
