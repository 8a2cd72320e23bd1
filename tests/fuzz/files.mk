fuzz-tests += fuzz_loader
fuzz-tests += fuzz_decode
