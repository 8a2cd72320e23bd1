# Linked into every test program.
test-objs += tests/bench/bench.o
unit-tests += test_serial16550
unit-tests += test_i8259
unit-tests += test_lapic
unit-tests += test_i8254
unit-tests += test_mc146818
unit-tests += test_hpet
unit-tests += test_acpi_pm
unit-tests += test_pc_ports
unit-tests += test_hostile_pc
