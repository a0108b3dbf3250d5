"""What every command shares with the person at the terminal: progress bars, safe printing, signals and exit codes."""
