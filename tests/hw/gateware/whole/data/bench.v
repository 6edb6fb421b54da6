// The whole-token machine with a memory and a host around it: the same edges as bench.py has. Runs are separated by resets.
// Prints "retired OPERATION CYCLES", "answer ID", "status CODE", and at the end of a run "end RUN" or "cut RUN".
`timescale 1ns / 1ps
module bench;
  parameter WIDTH = 64, DEPTH = 16, LATENCY = 4, STALLS = 1, TOKENS = 1, RUNS = 1, LIMIT = 1000000, POSITION = 0;
  localparam BYTES = WIDTH / 8, ADDRESS = 28;

  reg [WIDTH-1:0] memory[0:DEPTH-1];
  reg stalls[0:STALLS-1];  // 0 keeps words and writes back; behind them nothing does
  reg [20:0] tokens[0:TOKENS-1];
  reg [31:0] cuts[0:RUNS-1];  // the edge of a run on which reset cuts it off; all ones: none does
  initial begin
    $readmemh("memory.hex", memory);
    $readmemb("stalls.bin", stalls);
    $readmemh("tokens.hex", tokens);
    $readmemh("cuts.hex", cuts);
  end

  reg clk = 0;
  always #1 clk = ~clk;

  integer edges = 0, run = 0, fed = 0, left = 0, held = 0, i;
  reg [ADDRESS-1:0] address = 0;
  reg sought = POSITION == 0, over = 0;
  wire open = edges >= STALLS || stalls[edges];
  wire cut = edges == cuts[run];
  wire rst = cut || over;

  wire token_ready, next_valid, seek_ready, request_valid, word_ready, write_valid, saturated, retired;
  wire [19:0] next, position;
  wire [55:0] request;
  wire [WIDTH+BYTES+ADDRESS-1:0] write;
  wire [3:0] status;
  wire [4:0] operation;
  wire [31:0] counter;
  wire word_valid = left != 0 && held == 0 && open;
  wire [WIDTH-1:0] word = address < DEPTH ? memory[address] : {WIDTH{1'b0}};
  wire [20:0] token = tokens[fed < TOKENS ? fed : 0];
  wire [ADDRESS-1:0] place = write[0+:ADDRESS];

  tritforge_machine machine (
      .clk(clk), .rst(rst),
      .tokens__payload(token), .tokens__valid(sought && fed < TOKENS), .tokens__ready(token_ready),
      .next__payload(next), .next__valid(next_valid), .next__ready(1'b1),
      .seek__payload(POSITION[19:0]), .seek__valid(!sought), .seek__ready(seek_ready),
      .request__payload(request), .request__valid(request_valid), .request__ready(left == 0),
      .words__payload(word), .words__valid(word_valid), .words__ready(word_ready),
      .writes__payload(write), .writes__valid(write_valid), .writes__ready(open),
      .status(status), .saturated(saturated), .position(position),
      .retired(retired), .operation(operation), .counter(counter)
  );

  always @(posedge clk) begin
    if (rst) begin
      if (cut) $display("cut %0d", run);
      edges <= 0;
      fed <= 0;
      left <= 0;
      held <= 0;
      sought <= POSITION == 0;
      over <= 0;
      run <= run + 1;
      if (run == RUNS - 1) begin
        $writememh("after.hex", memory);
        $finish;
      end
    end else begin
      edges <= edges + 1;
      if (left != 0 && held != 0) held <= held - 1;
      if (request_valid && left == 0) begin
        left <= request[ADDRESS+:ADDRESS];
        address <= request[0+:ADDRESS];
        held <= LATENCY - 1;
      end else if (word_valid && word_ready) begin
        left <= left - 1;
        address <= address + 1;
      end
      if (write_valid && open)
        for (i = 0; i < BYTES; i = i + 1)
          if (write[ADDRESS+WIDTH+i]) memory[place][8*i+:8] <= write[ADDRESS+8*i+:8];
      if (sought && fed < TOKENS && token_ready) fed <= fed + 1;
      if (seek_ready) sought <= 1;
      if (next_valid) $display("answer %0d", next);
      if (retired) $display("retired %0d %0d", operation, counter);
      if (status != 0) $display("status %0d", status);
      if (status != 0 || (sought && fed == TOKENS && token_ready)) begin
        $display("end %0d", run);
        over <= 1;
      end
      if (edges == LIMIT) begin
        $display("late %0d", run);
        $finish;
      end
    end
  end
endmodule
