"""Wrong implementations on purpose, and the textbook form they are one change away from."""
