"""Self-contained HTML pages: what each shows, its figures and tables, the templates."""
