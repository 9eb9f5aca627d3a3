"""What has to do with no batch norm: files written whole, signals, types of arguments."""
