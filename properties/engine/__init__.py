"""Hypothesis at work: strategies, sequences of calls, exercising an invariant, stored examples."""
