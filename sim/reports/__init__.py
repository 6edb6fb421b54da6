"""What a run shows: tables, explanation, timeline, Gantt chart."""
