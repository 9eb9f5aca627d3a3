"""The regression corpus: its files, how they are read, written, replayed and shown."""
