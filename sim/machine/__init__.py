"""What each op of a trace costs on one array with one memory."""
