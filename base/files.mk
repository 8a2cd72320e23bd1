obj-y += base/alloc.o base/error.o base/lock.o base/log.o base/loop.o base/opts.o
obj-y += base/base64.o base/opts_json.o base/socket_addr.o base/socket_addr_type.o
obj-y += $(if $(CONFIG_GNUTLS),base/tls.o,base/tls_none.o)
obj-y += base/reflect.o base/reflect_json.o base/reflect_state.o base/strbuf.o
obj-y += base/zero.o
