"""Tasks that need no data set: prose's last words, next sentences and pages; word patterns for learning in context."""
