// Self-checking bench of tritforge_axi: example GEMMs out of .hex files, results compared beat by beat. Ends with "PASS",
// or with $fatal. Needs a simulator with delays: Icarus 11, Verilator 5 with --timing, or a vendor's.
// SPDX-License-Identifier: Apache-2.0

module tritforge_tb;
  `include "tritforge_tb_sizes.svh"
  localparam CONTROL = 32'h0c, STATUS = 32'h10, M = 32'h14, N = 32'h18, K = 32'h1c, FORMAT = 32'h50, SCALES = 32'h54;
  localparam LONGEST = 1000000;  // edges that one GEMM may take

  reg aclk = 0, aresetn = 0;
  always #5 aclk = !aclk;
`ifdef TRITFORGE_CORE_CLOCK
  parameter CORE_PERIOD_PS = 7000;
  reg core_clk = 0;
  always #(CORE_PERIOD_PS / 2000.0) core_clk = !core_clk;
`endif

  // Example GEMMs: m, n, k, format, scales, beats of weights, activations and results.
  reg [31:0] gemms[0:8*GEMMS-1];
  reg [WEIGHTS_BITS-1:0] weights[0:WEIGHTS_BEATS-1];
  reg [ACTIVATIONS_BITS-1:0] activations[0:ACTIVATIONS_BEATS-1];
  reg [RESULTS_BITS-1:0] results[0:RESULTS_BEATS-1];

  reg [31:0] awaddr = 0, wdata = 0, araddr = 0;
  reg awvalid = 0, wvalid = 0, arvalid = 0;
  wire awready, wready, bvalid, arready, rvalid, interrupt;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;
  integer weights_at = 0, weights_end = 0, activations_at = 0, activations_end = 0, results_at = 0, results_end = 0;
  integer edges = 0, errors = 0, number = 0;
  reg [31:0] word;

  wire weights_ready, activations_ready, results_valid, results_last;
  wire [RESULTS_BITS-1:0] result;
  wire [RESULTS_BITS/8-1:0] result_keep;
  wire results_ready = edges % 5 != 3;  // some back-pressure

  tritforge_axi dut (
`ifdef TRITFORGE_CORE_CLOCK
      .core_clk(core_clk),
`endif
      .aclk(aclk), .aresetn(aresetn), .interrupt(interrupt),
      .s_axil_awaddr(awaddr[6:0]), .s_axil_awprot(3'b000), .s_axil_awvalid(awvalid), .s_axil_awready(awready),
      .s_axil_wdata(wdata), .s_axil_wstrb(4'b1111), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
      .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
      .s_axil_araddr(araddr[6:0]), .s_axil_arprot(3'b000), .s_axil_arvalid(arvalid), .s_axil_arready(arready),
      .s_axil_rdata(rdata), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(1'b1),
      .s_axis_weights_tdata(weights[weights_at < WEIGHTS_BEATS ? weights_at : 0]),
      .s_axis_weights_tkeep({WEIGHTS_BITS / 8{1'b1}}), .s_axis_weights_tlast(weights_at == weights_end - 1),
      .s_axis_weights_tvalid(weights_at < weights_end), .s_axis_weights_tready(weights_ready),
      .s_axis_activations_tdata(activations[activations_at < ACTIVATIONS_BEATS ? activations_at : 0]),
      .s_axis_activations_tkeep({ACTIVATIONS_BITS / 8{1'b1}}),
      .s_axis_activations_tlast(activations_at == activations_end - 1),
      .s_axis_activations_tvalid(activations_at < activations_end), .s_axis_activations_tready(activations_ready),
      .m_axis_results_tdata(result), .m_axis_results_tkeep(result_keep), .m_axis_results_tlast(results_last),
      .m_axis_results_tvalid(results_valid), .m_axis_results_tready(results_ready)
  );

  always @(posedge aclk) begin
    edges <= edges + 1;
    if (weights_at < weights_end && weights_ready) weights_at <= weights_at + 1;
    if (activations_at < activations_end && activations_ready) activations_at <= activations_at + 1;
    if (results_valid && results_ready) begin
      results_at <= results_at + 1;
      if (results_at >= results_end || result !== results[results_at] || &result_keep !== 1'b1
          || results_last !== (results_at == results_end - 1)) begin
        $display("beat %0d is %h, not %h", results_at, result, results[results_at]);
        errors <= errors + 1;
      end
    end
  end

  // Driven between rising edges, so that nothing races with them.
  task write(input [31:0] address, input [31:0] value);
    begin
      @(negedge aclk);
      awaddr = address; wdata = value; awvalid = 1; wvalid = 1;
      while (!(awready && wready)) @(negedge aclk);
      @(negedge aclk);
      awvalid = 0; wvalid = 0;
      while (!bvalid) @(negedge aclk);
      if (bresp != 0) $fatal(1, "writing register %h was refused", address);
    end
  endtask

  task read(input [31:0] address);
    begin
      @(negedge aclk);
      araddr = address; arvalid = 1;
      while (!arready) @(negedge aclk);
      @(negedge aclk);
      arvalid = 0;
      while (!rvalid) @(negedge aclk);
      word = rdata;
      if (rresp != 0) $fatal(1, "reading register %h was refused", address);
    end
  endtask

  task run(input integer first);
    integer start;
    begin
      write(M, gemms[first]); write(N, gemms[first+1]); write(K, gemms[first+2]);
      write(FORMAT, gemms[first+3]); write(SCALES, gemms[first+4]);
      write(CONTROL, 32'h5);  // start, with interrupt
      weights_end = weights_end + gemms[first+5];
      activations_end = activations_end + gemms[first+6];
      results_end = results_end + gemms[first+7];
      start = edges;
      while (!interrupt || results_at != results_end) begin
        @(negedge aclk);
        if (edges - start > LONGEST) $fatal(1, "GEMM %0d does not end", number);
      end
      read(STATUS);
      if (word != 2) $fatal(1, "status of GEMM %0d is %h", number, word);
      if (weights_at != weights_end || activations_at != activations_end) $fatal(1, "GEMM %0d left words", number);
      write(CONTROL, 32'h8);  // acknowledge
      $display("GEMM %0d: m %0d, n %0d, k %0d", number, gemms[first], gemms[first+1], gemms[first+2]);
    end
  endtask

  initial begin
    $readmemh("gemms.hex", gemms);
    $readmemh("weights.hex", weights);
    $readmemh("activations.hex", activations);
    $readmemh("results.hex", results);
    repeat (4) @(negedge aclk);
    aresetn = 1;
    for (number = 0; number < GEMMS; number = number + 1) run(8 * number);
    if (errors != 0) $fatal(1, "%0d result beats are wrong", errors);
    $display("PASS: %0d GEMMs", GEMMS);
    $finish;
  end
endmodule
