obj-y += base/alloc.o base/error.o base/lock.o base/log.o base/loop.o base/opts.o
obj-y += base/reflect.o base/reflect_json.o base/reflect_state.o base/strbuf.o
