"""Host side of the boards' serial link: protocol, line, session, self-test; needs no gateware library."""
