"""What a document says: skills, years, place, level, degree, with the words that say so."""
