/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hotplug - devices that come and go by management's word: -device, device_add, device_del */
#ifndef CORE_HOTPLUG_H
#define CORE_HOTPLUG_H

#include "core/device.h"

/* {"driver", "id", property: value...}: makes, realizes and resets a device.  @late: the machine
 * is complete, so only classes that can be plugged in.  NULL: the message is QEMU's.  Main
 * thread. */
Device *device_add_json(Machine *m, const json_t *props, bool late, Error *err);
bool device_set_json(Device *d, const char *prop, const json_t *value, Error *err);
/* Ask for the removal of @d (unplug_ask), or remove it. */
bool device_del(Device *d, Error *err);
/* The guest let go: from any thread; the main loop frees the device and tells management
 * (DEVICE_DELETED). */
void device_detach_post(Device *d);
/* The guest refused: DEVICE_UNPLUG_GUEST_ERROR.  Any thread. */
void device_unplug_refused(Device *d);

char *device_path(
    const Device *d); /* "/machine/peripheral/ID", "/machine/unattached/device[3]"; caller frees */

#endif
