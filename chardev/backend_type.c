/* SPDX-License-Identifier: GPL-2.0-or-later */
/* backend_type - see the header; kinds and members: QEMU 7.2, qapi/char.json */
#include "chardev/backend_type.h"

#include "base/socket_addr_type.h"
#include "chardev/chardev.h"

#define COMMON                                                                                     \
    SHAPE("logfile", &type_str, FIELD_OPTIONAL, "all output goes there too"),                      \
        SHAPE("logappend", &type_bool, FIELD_OPTIONAL, "behind what it has")

static const Field common_fields[] = {COMMON};
static const Field hostdev_fields[] = {
    SHAPE("device", &type_str, FIELD_REQUIRED,
          "path of the device, or what a pipe's names begin with"),
    COMMON};
static const Field file_fields[] = {
    SHAPE("in", &type_str, FIELD_OPTIONAL, "where input is read from"),
    SHAPE("out", &type_str, FIELD_REQUIRED, "where output goes"),
    SHAPE("append", &type_bool, FIELD_OPTIONAL, "behind what it has"),
    COMMON,
};
static const Field socket_fields[] = {
    SHAPE("addr", &socket_address_legacy_type, FIELD_REQUIRED, "where to listen or connect to"),
    SHAPE("tls-creds", &type_str, FIELD_OPTIONAL, "id of the TLS credentials"),
    SHAPE("tls-authz", &type_str, FIELD_OPTIONAL, "id of the list of clients that may come"),
    SHAPE("server", &type_bool, FIELD_OPTIONAL, "listen (default on)"),
    SHAPE("wait", &type_bool, FIELD_OPTIONAL, "server: start only when a client is there"),
    SHAPE("nodelay", &type_bool, FIELD_OPTIONAL, "TCP_NODELAY"),
    SHAPE("telnet", &type_bool, FIELD_OPTIONAL, "the telnet protocol"),
    SHAPE("tn3270", &type_bool, FIELD_OPTIONAL, "the TN3270 protocol"),
    SHAPE("websocket", &type_bool, FIELD_OPTIONAL, "the WebSocket protocol"),
    SHAPE("reconnect", &type_i64, FIELD_OPTIONAL, "client: seconds between tries; 0: none"),
    COMMON,
};
static const Field udp_fields[] = {
    SHAPE("remote", &socket_address_legacy_type, FIELD_REQUIRED, "where datagrams go"),
    SHAPE("local", &socket_address_legacy_type, FIELD_OPTIONAL, "where they come"),
    COMMON,
};
static const Field mux_fields[] = {
    SHAPE("chardev", &type_str, FIELD_REQUIRED, "id of what is shared"), COMMON};
static const Field hub_fields[] = {
    SHAPE("chardevs", &type_str_list, FIELD_REQUIRED, "ids of its members"), COMMON};
static const Field stdio_fields[] = {
    SHAPE("signal", &type_bool, FIELD_OPTIONAL, "Ctrl-C ends the machine"), COMMON};
static const Field ringbuf_fields[] = {
    SHAPE("size", &type_i64, FIELD_OPTIONAL, "bytes, a power of two"), COMMON};

/* A kind's own struct and QAPI's wrapper around it. */
#define KIND(k, S)                                                                                 \
    static SHAPE_TYPE(k##_type, S, k##_fields);                                                    \
    static const Field k##_data[] = {SHAPE("data", &k##_type, FIELD_REQUIRED, "its options")};     \
    static SHAPE_TYPE(k##_wrapper, S "Wrapper", k##_data)

KIND(common, "ChardevCommon");
KIND(hostdev, "ChardevHostdev");
KIND(file, "ChardevFile");
KIND(socket, "ChardevSocket");
KIND(udp, "ChardevUdp");
KIND(mux, "ChardevMux");
KIND(hub, "ChardevHub");
KIND(stdio, "ChardevStdio");
KIND(ringbuf, "ChardevRingbuf");

static const Variant kinds[] = {
    {"file", &file_wrapper},     {"serial", &hostdev_wrapper},  {"pipe", &hostdev_wrapper},
    {"socket", &socket_wrapper}, {"udp", &udp_wrapper},         {"pty", &common_wrapper},
    {"null", &common_wrapper},   {"mux", &mux_wrapper},         {"hub", &hub_wrapper},
    {"stdio", &stdio_wrapper},   {"ringbuf", &ringbuf_wrapper}, {"memory", &ringbuf_wrapper},
};

static bool backend_variant(unsigned i, Variant *out)
{
    if (i < COUNT_OF(kinds))
        *out = kinds[i];
    return i < COUNT_OF(kinds);
}

static const Field base_fields[] = {SHAPE("type", &type_str, FIELD_REQUIRED, "kind")};
static SHAPE_TYPE(base_type, "ChardevBackendBase", base_fields);
UNION_TYPE(chardev_backend_type, ChardevBackend, &base_type, "type", backend_variant);
