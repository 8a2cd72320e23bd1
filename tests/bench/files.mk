# Linked into every test program.
test-objs += tests/bench/bench.o
