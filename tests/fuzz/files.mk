fuzz-tests += fuzz_loader
fuzz-tests += fuzz_decode
fuzz-tests += fuzz_qmp
