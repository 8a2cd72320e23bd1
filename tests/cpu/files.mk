ifeq ($(shell uname -m),x86_64)
cpu-test += tests/cpu/check_cpu.o tests/cpu/check_sequence.o tests/cpu/compare.o
cpu-test += tests/cpu/generate.o tests/cpu/segments.o tests/cpu/sequence.o tests/cpu/native.o tests/cpu/engine.o
endif
