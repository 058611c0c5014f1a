"""What a script calls: arguments are checked here and graphs are built."""
