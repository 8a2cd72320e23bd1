obj-y += monitor/absent_cmds.o monitor/cpu_cmds.o monitor/device_cmds.o monitor/fd_cmds.o monitor/json_frame.o
obj-y += monitor/machine_cmds.o monitor/monitor.o monitor/qmp.o monitor/qom.o monitor/qom_cmds.o monitor/query_cmds.o
obj-y += monitor/run_cmds.o monitor/schema.o monitor/version.o
obj-y += monitor/expr.o monitor/guest_memory.o monitor/hmp.o monitor/hmp_info.o monitor/hmp_memory.o monitor/hmp_table.o monitor/line_edit.o
obj-y += monitor/gdb.o monitor/gdb_commands.o monitor/gdb_mem.o monitor/gdb_packet.o monitor/gdb_query.o monitor/gdb_regs.o
obj-y += monitor/dump.o monitor/dump_elf.o monitor/dump_kdump.o
obj-y += monitor/hmp_gdb.o
obj-y += monitor/profile.o monitor/symbols.o
