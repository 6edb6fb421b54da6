"""Energy of simulated actions, reports and what-if studies."""
