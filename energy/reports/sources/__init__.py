"""What cost files come to: tables of docs/energy.md, published FPGAs beside ours, one machine under every source."""
