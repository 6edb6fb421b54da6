// Memories of tritforge's Verilog: a behavioural default of each module that a macro, or a vendor's RAM, may replace.
// SPDX-License-Identifier: Apache-2.0
//
// Parameters: WIDTH bits of a word, DEPTH words, ADDRESS_BITS of an address (addresses at or beyond DEPTH do not come),
// MASK_BITS write enables, each of WIDTH / MASK_BITS neighbouring bits, the first of the lowest.
// Contents are undefined until they are written. A word that was read stays at the port until the next read.
// A macro per WIDTH and DEPTH is chosen where this file chooses its array: by a generate on the parameters.
/* verilator lint_off DECLFILENAME */ // several modules in one file

// One clock, read on an edge. What is read on the edge that writes the same word may be anything and is not used, but the
// word must be written.
module tritforge_memory_1r1w #(
    parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS_BITS = 1, parameter MASK_BITS = 1
) (
    input clk,
    input [MASK_BITS-1:0] write_enable,
    input [ADDRESS_BITS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input read_enable,
    input [ADDRESS_BITS-1:0] read_address,
    output reg [WIDTH-1:0] read_data
);
  localparam PART = WIDTH / MASK_BITS;
  reg [WIDTH-1:0] words[0:DEPTH-1];
  integer i;
  always @(posedge clk) begin
    for (i = 0; i < MASK_BITS; i = i + 1)
      if (write_enable[i]) words[write_address][i*PART+:PART] <= write_data[i*PART+:PART];
    if (read_enable) read_data <= words[read_address];
`ifndef SYNTHESIS
    if (read_enable && |write_enable && read_address == write_address) read_data <= {WIDTH{1'bx}};
`endif
  end
endmodule

// Two clocks. A word may be read while it is written, as its clock cannot know; what is read then is not used, and the
// macro must write the word all the same.
module tritforge_memory_1r1w_2clk #(
    parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS_BITS = 1, parameter MASK_BITS = 1
) (
    input write_clk,
    input [MASK_BITS-1:0] write_enable,
    input [ADDRESS_BITS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input read_clk,
    input read_enable,
    input [ADDRESS_BITS-1:0] read_address,
    output reg [WIDTH-1:0] read_data
);
  localparam PART = WIDTH / MASK_BITS;
  reg [WIDTH-1:0] words[0:DEPTH-1];
  integer i;
  always @(posedge write_clk)
    for (i = 0; i < MASK_BITS; i = i + 1)
      if (write_enable[i]) words[write_address][i*PART+:PART] <= write_data[i*PART+:PART];
  always @(posedge read_clk) if (read_enable) read_data <= words[read_address];
endmodule

// One clock, read at once: queues of a few words. A word is read as it is before the edge. Flip-flops or latches as it
// stands; a macro must be one that reads without a clock.
module tritforge_registers_1r1w #(
    parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS_BITS = 1, parameter MASK_BITS = 1
) (
    input clk,
    input [MASK_BITS-1:0] write_enable,
    input [ADDRESS_BITS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input [ADDRESS_BITS-1:0] read_address,
    output [WIDTH-1:0] read_data
);
  localparam PART = WIDTH / MASK_BITS;
  reg [WIDTH-1:0] words[0:DEPTH-1];
  integer i;
  assign read_data = words[read_address];
  always @(posedge clk)
    for (i = 0; i < MASK_BITS; i = i + 1)
      if (write_enable[i]) words[write_address][i*PART+:PART] <= write_data[i*PART+:PART];
endmodule
