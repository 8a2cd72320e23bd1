fuzz-tests += fuzz_loader
fuzz-tests += fuzz_decode
fuzz-tests += fuzz_qmp
fuzz-tests += fuzz_opts
fuzz-tests += fuzz_gdb
fuzz-tests += fuzz_nbd fuzz_formats
fuzz-tests += fuzz_qcow2
