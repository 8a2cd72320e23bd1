fuzz-tests += fuzz_loader
