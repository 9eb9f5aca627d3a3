"""How a target behaves, found out from the outside, question by question."""
