"""SDR SDRAM: chips by name, a controller behind the machine's memory port, and chips that check their timing."""
