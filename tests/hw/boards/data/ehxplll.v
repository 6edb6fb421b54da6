// Stand-in for the ECP5's PLL in simulation: the output follows the input, and the lock comes a little later.
module EHXPLLL #(
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
    parameter FEEDBK_PATH = "", PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "",
    parameter OUTDIVIDER_MUXA = "", CLKOP_ENABLE = ""
) (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
    output CLKOP, output reg LOCK
);
  assign CLKOP = CLKI;
  initial begin
    LOCK = 0;
    #1000 LOCK = 1;
  end
endmodule
