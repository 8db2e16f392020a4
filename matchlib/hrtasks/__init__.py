"""RJDB's HR tasks (arXiv 2311.06383): generated triples, small students, fabrication checks."""
