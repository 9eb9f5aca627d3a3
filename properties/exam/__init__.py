"""The exam of other people's tests: known bugs put in place of what they test."""
