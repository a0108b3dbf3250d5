"""What each runner needs, and the commands that start one."""
