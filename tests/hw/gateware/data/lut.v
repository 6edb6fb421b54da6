// Look-up tables that Yosys' simulation model of the ECP5 carry cell is made of: input A has the lowest weight.
module LUT4 #(parameter [15:0] INIT = 0) (input A, B, C, D, output Z);
  assign Z = INIT[{D, C, B, A}];
endmodule

module LUT2 #(parameter [3:0] INIT = 0) (input A, B, output Z);
  assign Z = INIT[{B, A}];
endmodule
