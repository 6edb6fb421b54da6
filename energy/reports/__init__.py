"""What a run shows: page, screen, markdown, rows, studies, comparisons, generated docs."""
