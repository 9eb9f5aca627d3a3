"""The commands of bncheck, one file each."""
