obj-y += accel/jit/jit.o accel/jit/vcpu.o accel/jit/block.o accel/jit/compile.o accel/jit/smc.o
obj-y += accel/jit/interp/interp.o accel/jit/alu.o
# Called by translated code with the guest's vectors live in the host.
general-regs += accel/jit/smc.o accel/jit/alu.o
