"""DDR3 behind the machine's memory port: LiteDRAM's controller and ECP5 PHY, generated, and what brings it up."""
