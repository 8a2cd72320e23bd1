obj-y += accel/jit/x64/backend.o accel/jit/x64/dump.o accel/jit/x64/flags.o accel/jit/x64/lower.o accel/jit/x64/lower_flow.o
obj-y += accel/jit/x64/exact.o accel/jit/x64/lower_pass.o accel/jit/x64/mem.o accel/jit/x64/plan.o accel/jit/x64/signal.o accel/jit/x64/stubs.o
# Reached from translated code with the guest's vectors live in the host (sync_pc, faults).
general-regs += accel/jit/x64/backend.o accel/jit/x64/signal.o accel/jit/x64/exact.o
