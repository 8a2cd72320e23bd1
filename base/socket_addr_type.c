/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socket_addr_type - see the header; members and names: QEMU 7.2, qapi/sockets.json */
#include "base/socket_addr_type.h"

#include "base/socket_addr.h"

static const Field inet_fields[] = {
    SHAPE("host", &type_str, FIELD_REQUIRED, "name or number; empty: any"),
    SHAPE("port", &type_str, FIELD_REQUIRED, "number or name of a service"),
    SHAPE("numeric", &type_bool, FIELD_OPTIONAL, "no names are looked up"),
    SHAPE("to", &type_u16, FIELD_OPTIONAL, "listen: last port to try"),
    SHAPE("ipv4", &type_bool, FIELD_OPTIONAL, "use IPv4"),
    SHAPE("ipv6", &type_bool, FIELD_OPTIONAL, "use IPv6"),
    SHAPE("keep-alive", &type_bool, FIELD_OPTIONAL, "TCP keep-alive"),
};
static const Field unix_fields[] = {
    SHAPE("path", &type_str, FIELD_REQUIRED, "of the socket"),
    SHAPE("abstract", &type_bool, FIELD_OPTIONAL, "in the abstract name space"),
    SHAPE("tight", &type_bool, FIELD_OPTIONAL, "the abstract name is not padded"),
};
static const Field fd_fields[] = {
    SHAPE("str", &type_str, FIELD_REQUIRED, "number of a descriptor, or its name by getfd"),
};
static SHAPE_TYPE(inet_type, "InetSocketAddress", inet_fields);
static SHAPE_TYPE(unix_type, "UnixSocketAddress", unix_fields);
static SHAPE_TYPE(fd_type, "String", fd_fields);

static const Field inet_data[] = {SHAPE("data", &inet_type, FIELD_REQUIRED, "the address")};
static const Field unix_data[] = {SHAPE("data", &unix_type, FIELD_REQUIRED, "the address")};
static const Field fd_data[] = {SHAPE("data", &fd_type, FIELD_REQUIRED, "the address")};
static SHAPE_TYPE(inet_wrapper, "InetSocketAddressWrapper", inet_data);
static SHAPE_TYPE(unix_wrapper, "UnixSocketAddressWrapper", unix_data);
static SHAPE_TYPE(fd_wrapper, "StringWrapper", fd_data);

static const struct {
    const char *kind;
    const Type *flat, *wrapped;
} kinds[] = {
    [SOCKET_INET] = {"inet", &inet_type, &inet_wrapper},
    [SOCKET_UNIX] = {"unix", &unix_type, &unix_wrapper},
    [SOCKET_FD] = {"fd", &fd_type, &fd_wrapper},
};

static bool flat_variant(unsigned i, Variant *out)
{
    if (i < COUNT_OF(kinds))
        *out = (Variant){kinds[i].kind, kinds[i].flat};
    return i < COUNT_OF(kinds);
}

static bool wrapped_variant(unsigned i, Variant *out)
{
    if (i < COUNT_OF(kinds))
        *out = (Variant){kinds[i].kind, kinds[i].wrapped};
    return i < COUNT_OF(kinds);
}

static const Field base_fields[] = {SHAPE("type", &type_str, FIELD_REQUIRED, "kind of socket")};
static SHAPE_TYPE(base_type, "SocketAddressBase", base_fields);
UNION_TYPE(socket_address_type, SocketAddress, &base_type, "type", flat_variant);
UNION_TYPE(socket_address_legacy_type, SocketAddressLegacy, &base_type, "type", wrapped_variant);
