"""Data sets on disk and what the model reads of them: schema, reader, processor, collation."""
