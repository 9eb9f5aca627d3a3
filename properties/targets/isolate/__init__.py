"""A target in a process of its own, so that nothing it does loses anything."""
