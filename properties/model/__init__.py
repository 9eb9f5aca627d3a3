"""What everything speaks of: the contract, cases, layouts, the verdict, what is expected."""
