"""One module a published data set: from its files to the tables of schema.py."""
