"""Real implementations as targets; each is imported only when it is asked for."""
