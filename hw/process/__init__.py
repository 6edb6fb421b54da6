"""What a process may use of the machine it runs on, its logs, and programs that Verilator compiles."""
