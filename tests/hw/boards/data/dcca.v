// Stand-in for the ECP5's clock gate in simulation: the enable is taken while the clock is low, so that no pulse is cut.
module DCCA (input CLKI, CE, output CLKO);
  reg open = 0;
  always @(CLKI or CE) if (!CLKI) open <= CE;
  assign CLKO = CLKI & open;
endmodule
