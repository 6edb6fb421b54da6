"""Cost per action: tables, operators, gates, and the sources that join them."""
