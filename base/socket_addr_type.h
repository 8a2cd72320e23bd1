/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socket_addr_type - socket addresses as QMP describes them: for arguments that stay JSON until socket_addr_from_json() */
#ifndef BASE_SOCKET_ADDR_TYPE_H
#define BASE_SOCKET_ADDR_TYPE_H

#include "base/reflect.h"

extern const Type socket_address_type;        /* {"type": "inet", "host", "port", ...} */
extern const Type socket_address_legacy_type; /* {"type": "inet", "data": {"host", ...}} */

#endif
